//! From the domain's credentials to their views on the wire.

use keyside_credentials::{
    Credential, Listed, LostCredential, Rejection, Status, TrafficState, Version, VersionState,
    source::VaultReference,
};

use crate::wire::{
    CredentialView, Duplicate, Limits, SecretRef, TrafficView, UsageView, VersionView,
};

impl CredentialView {
    pub(super) fn of(credential: Credential, warnings: Vec<String>) -> Self {
        let declared = credential.declared;
        let (source, source_version, source_fault) = declared.map_or((None, None, None), |from| {
            (Some(from.source), from.version, from.fault)
        });
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
            limits: Limits::of(credential.limits),
            usage: credential.usage.map(UsageView::of),
            fingerprint: credential.fingerprint,
            hint: credential.hint,
            created_by: Some(credential.created_by),
            created_at: Some(credential.created_at),
            last_rotated_at: credential.last_rotated_at,
            last_used_at: credential.last_used_at,
            last_verified_at: credential.last_verified_at,
            verification: credential.verification,
            traffic: Some(TrafficView::of(credential.rejection)),
            check: None,
            versions: credential
                .versions
                .into_iter()
                .map(|version| VersionView::of(version, source_version.as_ref()))
                .collect(),
            secret_ref: credential.reference.map(SecretRef::of),
            source,
            source_version,
            source_fault,
            damaged: credential.damaged,
            warnings,
            duplicates: None,
        }
    }

    pub(super) fn listed(listed: Listed) -> Self {
        match listed {
            Listed::Known(credential) => Self::of(*credential, Vec::new()),
            Listed::Lost(lost) => Self::lost(lost),
        }
    }

    /// Of a credential whose record cannot be read: fields that only the record holds are null.
    pub(super) fn lost(lost: LostCredential) -> Self {
        Self {
            status: lost.is_revoked.then_some(Status::Revoked),
            is_default: lost.is_default,
            last_used_at: lost.last_used_at,
            damaged: true,
            id: lost.id,
            workspace_id: lost.workspace,
            provider: None,
            label: None,
            environment: None,
            usage_tag: None,
            expires_at: None,
            endpoint: None,
            limits: None,
            usage: None,
            fingerprint: None,
            hint: None,
            created_by: None,
            created_at: None,
            last_rotated_at: None,
            last_verified_at: None,
            verification: None,
            traffic: None,
            check: None,
            versions: Vec::new(),
            secret_ref: None,
            source: None,
            source_version: None,
            source_fault: None,
            warnings: Vec::new(),
            duplicates: None,
        }
    }
}

impl TrafficView {
    fn of(rejection: Option<Rejection>) -> Self {
        Self {
            state: match rejection {
                Some(_) => TrafficState::Rejected,
                None => TrafficState::Ok,
            },
            since: rejection.map(|rejection| rejection.since),
            count: rejection.map_or(0, |rejection| rejection.count),
            cause: rejection.map(|rejection| rejection.cause),
        }
    }
}

impl SecretRef {
    fn of(reference: VaultReference) -> Self {
        Self {
            mount: reference.mount,
            path: reference.path,
            field: reference.field,
            version: reference.version,
        }
    }
}

impl Duplicate {
    pub(super) fn of(credential: Credential) -> Self {
        Self {
            id: credential.id,
            workspace_id: credential.workspace,
            provider: credential.provider,
            label: credential.label,
            status: credential.status,
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
