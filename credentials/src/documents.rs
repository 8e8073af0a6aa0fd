//! The stored forms of workspaces and credentials, and the keys they stand under. Apart from the views, so that either can
//! change without the other.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ActorId, CredentialId, Environment, Fingerprint, Hint, Label, Secret, UsageTag, Verification,
    VersionState, WorkspaceId,
    encoding::{arc_str, base64_bytes},
    sealing::{Place, SealError, SealingKey},
};

/// One credential with all its versions, so that every step of its life is one compare-and-swap on one document.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CredentialDocument {
    pub(crate) id: CredentialId,
    pub(crate) workspace: WorkspaceId,
    #[serde(with = "arc_str")]
    pub(crate) provider: Arc<str>,
    pub(crate) label: Label,
    pub(crate) environment: Environment,
    pub(crate) usage_tag: Option<UsageTag>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) endpoint: Option<String>,
    pub(crate) created_by: ActorId,
    pub(crate) created_at: Timestamp,
    pub(crate) last_rotated_at: Option<Timestamp>,
    pub(crate) last_verified_at: Option<Timestamp>,
    pub(crate) verification: Option<Verification>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) revision: u64,
    /// Oldest first; exactly one is current.
    pub(crate) versions: Vec<VersionDocument>,
}

/// One version of its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionDocument {
    pub(crate) number: u32,
    pub(crate) state: VersionState,
    pub(crate) created_at: Timestamp,
    pub(crate) grace_until: Option<Timestamp>,
    /// The secret; empty once it is destroyed.
    #[serde(with = "base64_bytes")]
    pub(crate) sealed: Vec<u8>,
    /// Its fingerprint and hint, sealed as well.
    #[serde(with = "base64_bytes")]
    pub(crate) trace: Vec<u8>,
}

/// What may be known of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trace {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) hint: Hint,
}

/// One workspace, with the defaults of each provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkspaceDocument {
    pub(crate) id: WorkspaceId,
    pub(crate) name: String,
    pub(crate) created_by: ActorId,
    pub(crate) created_at: Timestamp,
    pub(crate) revision: u64,
    pub(crate) defaults: BTreeMap<String, Defaults>,
}

/// What is used for one provider when no label is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Defaults {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) live: Option<CredentialId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox: Option<CredentialId>,
}

/// A document as it stands in storage: what it says of itself must be what it stands under.
pub(crate) trait Stored {
    /// The key it stands under.
    fn key(&self) -> String;
    /// Its revision, the same as storage counts.
    fn revision(&self) -> u64;
}

impl CredentialDocument {
    /// The version that is used.
    pub(crate) fn current(&self) -> Option<&VersionDocument> {
        self.versions
            .iter()
            .find(|version| version.state == VersionState::Current)
    }

    /// Seals a new version's secret and its trace for this credential.
    pub(crate) fn seal(
        &self,
        key: &SealingKey,
        number: u32,
        secret: &Secret,
        prefixes: &[String],
        now: Timestamp,
    ) -> (VersionDocument, Trace) {
        let trace = Trace {
            fingerprint: Fingerprint::of(secret),
            hint: Hint::of(secret, prefixes),
        };
        let json = serde_json::to_vec(&trace).expect("two strings serialize");
        let version = VersionDocument {
            number,
            state: VersionState::Current,
            created_at: now,
            grace_until: None,
            sealed: key.seal_secret(&self.secret_place(number), secret),
            trace: key.seal(&self.trace_place(number), &json),
        };
        (version, trace)
    }

    /// What may be known of a version's secret.
    pub(crate) fn open_trace(
        &self,
        key: &SealingKey,
        version: &VersionDocument,
    ) -> Result<Trace, SealError> {
        let json = key.open(&self.trace_place(version.number), &version.trace)?;
        serde_json::from_slice(&json).map_err(|_| SealError::Malformed)
    }

    /// What a version's secret is bound to.
    pub(crate) fn secret_place(&self, version: u32) -> Place<'_> {
        Place::Secret {
            workspace: &self.workspace,
            credential: &self.id,
            version,
            provider: &self.provider,
            endpoint: self.endpoint.as_deref().unwrap_or_default(),
        }
    }

    /// What its fingerprint and hint are bound to.
    pub(crate) fn trace_place(&self, version: u32) -> Place<'_> {
        Place::Trace {
            workspace: &self.workspace,
            credential: &self.id,
            version,
        }
    }
}

impl Defaults {
    pub(crate) fn of(&self, environment: Environment) -> Option<&CredentialId> {
        match environment {
            Environment::Live => self.live.as_ref(),
            Environment::Sandbox => self.sandbox.as_ref(),
        }
    }

    pub(crate) fn set(&mut self, environment: Environment, id: CredentialId) {
        match environment {
            Environment::Live => self.live = Some(id),
            Environment::Sandbox => self.sandbox = Some(id),
        }
    }
}

impl Stored for CredentialDocument {
    fn key(&self) -> String {
        credential_key(&self.workspace, &self.id)
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

impl Stored for WorkspaceDocument {
    fn key(&self) -> String {
        workspace_key(&self.id)
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

pub(crate) fn workspace_key(id: &WorkspaceId) -> String {
    format!("{WORKSPACES}{id}")
}

pub(crate) fn credential_key(workspace: &WorkspaceId, id: &CredentialId) -> String {
    format!("{CREDENTIALS}{workspace}/{id}")
}

/// The workspace and the credential that a key under [`CREDENTIALS`] speaks of.
pub(crate) fn parse_credential_key(key: &str) -> Option<(WorkspaceId, CredentialId)> {
    let (workspace, id) = key.strip_prefix(CREDENTIALS)?.split_once('/')?;
    Some((workspace.parse().ok()?, id.parse().ok()?))
}

/// Whether a document stands under a key that belongs to `workspace`.
pub(crate) fn is_of(key: &str, workspace: &WorkspaceId) -> bool {
    let of_credential = key
        .strip_prefix(CREDENTIALS)
        .and_then(|key| key.split_once('/'));
    of_credential.is_some_and(|(of, _)| of == workspace.as_str())
        || key.strip_prefix(WORKSPACES) == Some(workspace.as_str())
}

/// The workspace that a key under [`WORKSPACES`] speaks of.
pub(crate) fn parse_workspace_key(key: &str) -> Option<WorkspaceId> {
    key.strip_prefix(WORKSPACES)?.parse().ok()
}

pub(crate) const WORKSPACES: &str = "workspaces/";
pub(crate) const CREDENTIALS: &str = "credentials/";
pub(crate) const TOKENS: &str = "tokens/";
