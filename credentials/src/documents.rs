//! The stored form of workspaces and credentials, and their names. Separate from the views, so that
//! either can change without the other.

mod versions;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_store::{
    Hash,
    chain::{Entry, Write},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    damage::Damage,
    encoding::base64_bytes,
    keyring::Keyring,
    model::{
        ActorId, CredentialEvent, CredentialEventKind, CredentialId, Environment, Fingerprint,
        Hint, Label, Limits, UsageTag, Warning, WorkspaceId,
    },
    sealing::{SealContext, SealError, SealingKey},
    secret::Secret,
    source::VaultReference,
};

/// A credential with all its versions, so that each transition is one compare-and-swap of one
/// document.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CredentialDocument {
    pub(crate) id: CredentialId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) provider: ProviderId,
    pub(crate) label: Label,
    pub(crate) environment: Environment,
    pub(crate) usage_tag: Option<UsageTag>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub(crate) limits: Limits,
    /// Where the secret is kept, if not here. The only version then has no sealed bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<Box<VaultReference>>,
    /// The last recorded state of the secret in Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<SourceDocument>,
    pub(crate) created_by: ActorId,
    pub(crate) created_at: Timestamp,
    pub(crate) last_rotated_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) revision: u64,
    /// The version in use, or in use when the credential was revoked.
    pub(crate) current: u32,
    /// Oldest first.
    pub(crate) versions: Vec<VersionDocument>,
}

/// The last audit record about a secret in Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SourceDocument {
    /// This version is in use, by Vault's count.
    Version(String),
    /// The secret is not used any more.
    Lost,
}

/// Replaces the document of a credential that was revoked after its record was lost, under the same
/// name. No other document has exactly these fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LostDocument {
    pub(crate) id: CredentialId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) revoked_at: Timestamp,
    pub(crate) revision: u64,
}

/// A version of the secret. Its state follows from its times, so that no job has to run for it to
/// change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionDocument {
    pub(crate) number: u32,
    pub(crate) created_at: Timestamp,
    /// When it became current for the first time; `None` only before it is.
    pub(crate) promoted_at: Option<Timestamp>,
    /// Until when it is kept if it is not current: the end of its grace period.
    pub(crate) until: Option<Timestamp>,
    /// When its sealed bytes were removed.
    pub(crate) destroyed_at: Option<Timestamp>,
    /// The expiry of its secret, saved when it is replaced. `None` for the current version, whose
    /// expiry is the credential's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ends: Option<End>,
    /// The sealed secret; empty once it is destroyed. Shared by the copies of the document, and by
    /// what opens it.
    #[serde(with = "base64_bytes")]
    pub(crate) sealed: Arc<[u8]>,
    /// The sealed metadata. Kept after destruction, so that audit records can be attributed.
    #[serde(rename = "trace", with = "base64_bytes")]
    pub(crate) metadata: Arc<[u8]>,
}

/// The expiry of a replaced secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) at: Option<Timestamp>,
}

/// What may be known about a secret, and which request created it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretMetadata {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) hint: Hint,
    #[serde(default, rename = "mark", skip_serializing_if = "Option::is_none")]
    pub(crate) idempotency: Option<IdempotencyRecord>,
}

/// Recognises a repeated request. Sealed, because a short secret could be guessed from the hash of
/// its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdempotencyRecord {
    /// SHA-256 of the actor and the idempotency key.
    pub(crate) key: Hash,
    /// SHA-256 of the request.
    pub(crate) request: Hash,
    pub(crate) warnings: Vec<Warning>,
}

/// A workspace, with the default credentials of each provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkspaceDocument {
    pub(crate) id: WorkspaceId,
    /// Counts the workspaces that had this id, from 1.
    pub(crate) incarnation: u64,
    pub(crate) name: String,
    pub(crate) created_by: ActorId,
    pub(crate) created_at: Timestamp,
    /// When the workspace's key was replaced last; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_rotated_at: Option<Timestamp>,
    /// The id of the key that seals what is stored next: nothing authenticates the order of the
    /// keyring. `None` if nothing is sealed, and in a workspace of a development build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) revision: u64,
    pub(crate) defaults: BTreeMap<ProviderId, Defaults>,
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub(crate) limits: Limits,
}

/// A provider's credentials for requests without a label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Defaults {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) live: Option<CredentialId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox: Option<CredentialId>,
}

/// A stored document. Its name and revision must match the entry that refers to it.
pub(crate) trait Document: Serialize + DeserializeOwned {
    /// The document's name within its chain.
    fn name(&self) -> String;
    /// Number of writes.
    fn revision(&self) -> u64;

    fn write(&self) -> Write {
        let body = serde_json::to_vec(self).expect("our own types have string keys and serialize");
        Write::put(self.name(), body)
    }

    /// Parses the document that `entry` names, and checks name and revision.
    fn read(entry: &Entry, body: &[u8]) -> Result<Self, Damage> {
        let document: Self = serde_json::from_slice(body).map_err(|_| SealError::Malformed)?;
        match document.name() == *entry.name && document.revision() == entry.revision {
            true => Ok(document),
            false => Err(Damage::Misplaced),
        }
    }
}

impl CredentialDocument {
    /// Seals a secret and its metadata as the next version of this credential, which is promoted
    /// in the same commit.
    pub(crate) fn seal(
        &self,
        key: &SealingKey,
        secret: &Secret,
        metadata: &SecretMetadata,
        now: Timestamp,
    ) -> VersionDocument {
        let context = self.secret_context(self.next_number());
        VersionDocument {
            sealed: key.seal_secret(&context, secret).into(),
            ..self.refer(key, metadata, now)
        }
    }

    /// The only version of a credential whose secret stays in Vault: only its metadata is sealed.
    pub(crate) fn refer(
        &self,
        key: &SealingKey,
        metadata: &SecretMetadata,
        now: Timestamp,
    ) -> VersionDocument {
        let number = self.next_number();
        VersionDocument {
            number,
            created_at: now,
            promoted_at: None,
            until: None,
            destroyed_at: None,
            ends: None,
            sealed: Arc::default(),
            metadata: self.seal_metadata(key, number, metadata),
        }
    }

    /// Replaces the metadata of the secret in use, and keeps which request created the version.
    pub(crate) fn update_metadata(
        &mut self,
        key: &SealingKey,
        now: &SecretMetadata,
        keyring: &Keyring,
    ) -> Result<(), SealError> {
        let before = self.open_metadata(self.current, keyring)?;
        let metadata = SecretMetadata {
            idempotency: before.idempotency,
            ..now.clone()
        };
        let sealed = self.seal_metadata(key, self.current, &metadata);
        let current = self.current;
        let versions = self.versions.iter_mut();
        for version in versions.filter(|version| version.number == current) {
            version.metadata.clone_from(&sealed);
        }
        Ok(())
    }

    fn seal_metadata(&self, key: &SealingKey, number: u32, metadata: &SecretMetadata) -> Arc<[u8]> {
        let json = serde_json::to_vec(metadata).expect("texts and numbers serialize");
        key.seal(&self.metadata_context(number), &json).into()
    }

    /// The metadata of a version's secret. Versions may be sealed under different keys of the
    /// workspace.
    pub(crate) fn open_metadata(
        &self,
        version: u32,
        keyring: &Keyring,
    ) -> Result<SecretMetadata, SealError> {
        let version = self.version(version).ok_or(SealError::Malformed)?;
        let key = SealingKey::id_in(&version.metadata).ok_or(SealError::Malformed)?;
        let key = keyring
            .key(&self.workspace, key)
            .ok_or(SealError::OtherKey)?;
        self.open_metadata_with(version, &key)
    }

    /// The metadata of a version, opened with a given key.
    pub(crate) fn open_metadata_with(
        &self,
        version: &VersionDocument,
        key: &SealingKey,
    ) -> Result<SecretMetadata, SealError> {
        let json = key.open(&self.metadata_context(version.number), &version.metadata)?;
        serde_json::from_slice(&json).map_err(|_| SealError::Malformed)
    }

    pub(crate) fn event(&self, kind: CredentialEventKind, at: Timestamp) -> CredentialEvent {
        CredentialEvent {
            at,
            workspace: self.workspace.clone(),
            provider: Some(self.provider.clone()),
            credential: Some(self.id.clone()),
            version: Some(self.current),
            label: Some(self.label.clone()),
            environment: Some(self.environment),
            kind,
        }
    }

    pub(crate) fn secret_context(&self, version: u32) -> SealContext<'_> {
        SealContext::Secret {
            workspace: &self.workspace,
            credential: &self.id,
            version,
            provider: &self.provider,
            endpoint: self.endpoint.as_deref().unwrap_or_default(),
        }
    }

    pub(crate) fn metadata_context(&self, version: u32) -> SealContext<'_> {
        SealContext::SecretMetadata {
            workspace: &self.workspace,
            credential: &self.id,
            version,
        }
    }
}

impl SecretMetadata {
    pub(crate) fn of(
        secret: &Secret,
        prefixes: &[String],
        idempotency: Option<IdempotencyRecord>,
    ) -> Self {
        Self {
            fingerprint: Fingerprint::of(secret),
            hint: Hint::of(secret, prefixes),
            idempotency,
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

    pub(crate) fn names(&self, id: &CredentialId) -> bool {
        self.live.as_ref() == Some(id) || self.sandbox.as_ref() == Some(id)
    }

    pub(crate) fn set(&mut self, environment: Environment, id: CredentialId) {
        match environment {
            Environment::Live => self.live = Some(id),
            Environment::Sandbox => self.sandbox = Some(id),
        }
    }
}

impl Document for CredentialDocument {
    fn name(&self) -> String {
        credential_name(&self.id)
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

impl Document for LostDocument {
    fn name(&self) -> String {
        credential_name(&self.id)
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

impl Document for WorkspaceDocument {
    fn name(&self) -> String {
        WORKSPACE.to_owned()
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

/// The name of a credential's document in its workspace's chain.
pub(crate) fn credential_name(id: &CredentialId) -> String {
    format!("{CREDENTIAL}{id}")
}

/// The name of a token's document in the installation's chain.
pub(crate) fn token_name(id: &ActorId) -> String {
    format!("{TOKEN}{id}")
}

/// The name of the workspace's own document in its chain.
pub(crate) const WORKSPACE: &str = "workspace";
pub(crate) const CREDENTIAL: &str = "credential/";
/// Prefix of the names of tokens, in the installation's chain.
pub(crate) const TOKEN: &str = "token/";
