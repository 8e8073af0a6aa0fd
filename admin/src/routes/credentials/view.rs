//! A credential on the wire.

use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_credentials::{
    ActorId, Credential, CredentialId, Declared, Environment, Fingerprint, Hint, Label, Listed,
    LostCredential, Status, UsageTag, Verification, Version, VersionState, WorkspaceId,
    source::VaultReference,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::schemas::words;

/// Everything about a credential but its secret. Fields without a value are null, so that the shape is always the same.
///
/// `provider`, `label`, `environment`, `createdBy` and `createdAt` are null only where the record cannot be read, and `damaged`
/// is true then; `status` is null there too until the credential is revoked.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CredentialView {
    #[schema(value_type = String)]
    id: CredentialId,
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    #[schema(value_type = Option<String>)]
    provider: Option<ProviderId>,
    #[schema(value_type = Option<String>)]
    label: Option<Label>,
    #[schema(value_type = Option<words::Environment>)]
    environment: Option<Environment>,
    #[schema(value_type = Option<words::Status>)]
    status: Option<Status>,
    is_default: bool,
    #[schema(value_type = Option<String>)]
    usage_tag: Option<UsageTag>,
    expires_at: Option<Timestamp>,
    endpoint: Option<String>,
    #[schema(value_type = Option<String>)]
    fingerprint: Option<Fingerprint>,
    #[schema(value_type = Option<String>)]
    hint: Option<Hint>,
    #[schema(value_type = Option<String>)]
    created_by: Option<ActorId>,
    created_at: Option<Timestamp>,
    last_rotated_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    last_verified_at: Option<Timestamp>,
    #[schema(value_type = Option<words::Verification>)]
    verification: Option<Verification>,
    versions: Vec<VersionView>,
    /// Where in Vault its secret stays, if it was stored without one.
    secret_ref: Option<SecretRefView>,
    /// Where its secret is kept, if not here: it is changed there then, and not here.
    source: Option<String>,
    /// The version that is used, as the source counts.
    source_version: Option<String>,
    /// Why its secret was not read the last time.
    source_fault: Option<String>,
    /// Whether its record failed authentication or cannot be read: what is shown is then what the record claims, if anything.
    damaged: bool,
    warnings: Vec<String>,
    /// Others with the same secret. Null in lists, and to those who do not see everything.
    duplicates: Option<Vec<Twin>>,
}

/// A field of a secret in Vault.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SecretRefView {
    mount: Option<String>,
    path: String,
    field: String,
    version: Option<u64>,
}

/// Another credential with the same secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Twin {
    #[schema(value_type = String)]
    id: CredentialId,
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    #[schema(value_type = String)]
    provider: ProviderId,
    #[schema(value_type = String)]
    label: Label,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VersionView {
    number: u32,
    #[schema(value_type = words::VersionState)]
    state: VersionState,
    created_at: Timestamp,
    grace_until: Option<Timestamp>,
    /// Of the one in use, if its secret stays in Vault: the version there.
    source_version: Option<String>,
}

impl CredentialView {
    pub(super) fn of(credential: Credential, warnings: Vec<String>) -> Self {
        let (source, source_version, source_fault) = match credential.declared {
            Some(Declared {
                source,
                version,
                fault,
            }) => (Some(source), version, fault),
            None => (None, None, None),
        };
        Self {
            id: credential.id,
            workspace_id: credential.workspace,
            provider: Some(credential.provider),
            label: Some(credential.label),
            environment: Some(credential.environment),
            status: Some(credential.status),
            is_default: credential.is_default,
            usage_tag: credential.usage_tag,
            expires_at: credential.expires_at,
            endpoint: credential.endpoint,
            fingerprint: credential.fingerprint,
            hint: credential.hint,
            created_by: Some(credential.created_by),
            created_at: Some(credential.created_at),
            last_rotated_at: credential.last_rotated_at,
            last_used_at: credential.last_used_at,
            last_verified_at: credential.last_verified_at,
            verification: credential.verification,
            versions: credential
                .versions
                .into_iter()
                .map(|version| VersionView::of(version, source_version.as_ref()))
                .collect(),
            secret_ref: credential.reference.map(SecretRefView::of),
            source,
            source_version,
            source_fault,
            damaged: credential.damaged,
            warnings,
            duplicates: None,
        }
    }

    /// As lists show it.
    pub(super) fn listed(listed: Listed) -> Self {
        match listed {
            Listed::Known(credential) => Self::of(*credential, Vec::new()),
            Listed::Lost(lost) => Self::lost(lost),
        }
    }

    /// One whose record cannot be read: what only that said is null.
    pub(super) fn lost(lost: LostCredential) -> Self {
        Self {
            id: lost.id,
            workspace_id: lost.workspace,
            provider: None,
            label: None,
            environment: None,
            status: lost.is_revoked.then_some(Status::Revoked),
            is_default: lost.is_default,
            usage_tag: None,
            expires_at: None,
            endpoint: None,
            fingerprint: None,
            hint: None,
            created_by: None,
            created_at: None,
            last_rotated_at: None,
            last_used_at: lost.last_used_at,
            last_verified_at: None,
            verification: None,
            versions: Vec::new(),
            secret_ref: None,
            source: None,
            source_version: None,
            source_fault: None,
            damaged: true,
            warnings: Vec::new(),
            duplicates: None,
        }
    }

    pub(super) fn with_duplicates(self, duplicates: Option<Vec<Twin>>) -> Self {
        Self { duplicates, ..self }
    }
}

impl SecretRefView {
    fn of(reference: VaultReference) -> Self {
        Self {
            mount: reference.mount,
            path: reference.path,
            field: reference.field,
            version: reference.version,
        }
    }
}

impl Twin {
    pub(super) fn of(credential: Credential) -> Self {
        Self {
            id: credential.id,
            workspace_id: credential.workspace,
            provider: credential.provider,
            label: credential.label,
        }
    }
}

impl VersionView {
    fn of(version: Version, in_use: Option<&String>) -> Self {
        let is_in_use = version.state == VersionState::Current;
        Self {
            number: version.number,
            state: version.state,
            created_at: version.created_at,
            grace_until: version.grace_until,
            source_version: in_use.filter(|_| is_in_use).cloned(),
        }
    }
}
