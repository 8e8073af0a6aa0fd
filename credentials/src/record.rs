//! One record: as it is made, as it is stored, as it may be shown.

use std::sync::Arc;

use jiff::Timestamp;
use keyside_store::{
    Effect, Hash,
    chain::{ChainName, Link, Stored},
};
use serde::{Deserialize, Serialize, de::IntoDeserializer};

use crate::{
    encoding::base64_bytes,
    keyring::Keyring,
    model::{ActorContext, ActorId, CredentialId, Fingerprint, WorkspaceId},
    sealing::{SealContext, SealingKey},
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A workspace was made.
    WorkspaceCreated,
    /// Everything of a workspace but its secrets was handed out.
    WorkspaceExported,
    /// A workspace was erased: its keys are destroyed, its records gone.
    WorkspaceErased,
    /// Records of a workspace were sealed anew under another key.
    WorkspaceKeyRotated,
    /// All keys were wrapped anew, under another master key.
    MasterKeyRotated,
    /// Another signing key was announced, under the one before.
    SigningKeyRotated,
    /// A backup was made.
    BackupMade,
    /// The installation was restored from a backup.
    BackupRestored,
    /// A clock that was behind the log was said to be right: no earlier record tells what the time was.
    ClockAccepted,
    /// A credential was stored.
    CredentialCreated,
    /// A new secret took the place of the one before.
    CredentialRotated,
    /// A new secret is there, and not used before it has passed its check.
    RotationStaged,
    /// It has not passed, and was destroyed.
    RotationAbandoned,
    /// The provider was asked about the key in use.
    CredentialVerified,
    /// An earlier version was put back.
    CredentialRolledBack,
    /// Something about a credential was changed that is not its secret.
    CredentialEdited,
    /// A credential was withdrawn, and all its versions destroyed.
    CredentialRevoked,
    /// Another version of a secret that stays in Vault is used from now on.
    CredentialSourceChanged,
    /// A secret that stays in Vault is not used any more: it is gone there, or may not be read.
    CredentialSourceLost,
    /// The grace of a version has ended, and its sealed bytes are gone.
    VersionDestroyed,
    /// Requests asked for a credential past its end. At most once an hour.
    ExpiredUseAttempted,
    /// Requests asked for a credential that was withdrawn. At most once an hour.
    RevokedUseAttempted,
    /// Requests asked for a credential that does not open. At most once an hour.
    CredentialUndecryptable,
    /// A token was made.
    TokenCreated,
    /// A token was withdrawn.
    TokenRevoked,
    /// The log, or a part of it, was taken away.
    AuditExported,
    /// Something was refused to a person.
    Refused,
    /// A stored document was found edited, moved, replayed or gone.
    DocumentDamaged,
    /// A record of this log was found edited or gone.
    AuditDamaged,
    /// A workspace's own chain has begun.
    ChainBegun,
    /// A workspace's own chain names nothing any more: it is erased.
    ChainEnded,
    /// How far the chains of workspaces had come.
    ChainsLinked,
    /// A chain has gone over to another signing key.
    SigningKeyAdopted,
}

impl Event {
    /// The event of a stable name.
    pub fn parse(name: &str) -> Option<Self> {
        let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
            name.into_deserializer();
        Self::deserialize(name).ok()
    }

    /// What a change of this kind does to the uses that there are, unless its draft says otherwise.
    fn effect(self) -> Effect {
        // Without a wildcard: a new kind has to decide.
        match self {
            Self::WorkspaceErased
            | Self::RotationAbandoned
            | Self::CredentialRevoked
            | Self::VersionDestroyed
            | Self::TokenRevoked
            | Self::ChainEnded => Effect::EndsUse,
            Self::ChainsLinked | Self::SigningKeyAdopted => Effect::Finishes,
            Self::WorkspaceCreated
            | Self::WorkspaceExported
            | Self::WorkspaceKeyRotated
            | Self::MasterKeyRotated
            | Self::SigningKeyRotated
            | Self::BackupMade
            | Self::BackupRestored
            | Self::ClockAccepted
            | Self::CredentialCreated
            | Self::CredentialRotated
            | Self::RotationStaged
            | Self::CredentialVerified
            | Self::CredentialRolledBack
            | Self::CredentialEdited
            | Self::CredentialSourceChanged
            | Self::CredentialSourceLost
            | Self::ExpiredUseAttempted
            | Self::RevokedUseAttempted
            | Self::CredentialUndecryptable
            | Self::TokenCreated
            | Self::AuditExported
            | Self::Refused
            | Self::DocumentDamaged
            | Self::AuditDamaged
            | Self::ChainBegun => Effect::Adds,
        }
    }

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorkspaceCreated => "workspace_created",
            Self::WorkspaceExported => "workspace_exported",
            Self::WorkspaceErased => "workspace_erased",
            Self::WorkspaceKeyRotated => "workspace_key_rotated",
            Self::MasterKeyRotated => "master_key_rotated",
            Self::SigningKeyRotated => "signing_key_rotated",
            Self::BackupMade => "backup_made",
            Self::BackupRestored => "backup_restored",
            Self::ClockAccepted => "clock_accepted",
            Self::CredentialCreated => "credential_created",
            Self::CredentialRotated => "credential_rotated",
            Self::RotationStaged => "rotation_staged",
            Self::RotationAbandoned => "rotation_abandoned",
            Self::CredentialVerified => "credential_verified",
            Self::CredentialRolledBack => "credential_rolled_back",
            Self::CredentialEdited => "credential_edited",
            Self::CredentialRevoked => "credential_revoked",
            Self::CredentialSourceChanged => "credential_source_changed",
            Self::CredentialSourceLost => "credential_source_lost",
            Self::VersionDestroyed => "version_destroyed",
            Self::ExpiredUseAttempted => "expired_use_attempted",
            Self::RevokedUseAttempted => "revoked_use_attempted",
            Self::CredentialUndecryptable => "credential_undecryptable",
            Self::TokenCreated => "token_created",
            Self::TokenRevoked => "token_revoked",
            Self::AuditExported => "audit_exported",
            Self::Refused => "refused",
            Self::DocumentDamaged => "document_damaged",
            Self::AuditDamaged => "audit_damaged",
            Self::ChainBegun => "chain_begun",
            Self::ChainEnded => "chain_ended",
            Self::ChainsLinked => "chains_linked",
            Self::SigningKeyAdopted => "signing_key_adopted",
        }
    }
}

/// One record of the log as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// The chain that it is in: the installation's, or a workspace's.
    pub chain: ChainName,
    /// Its place there: counts from 1, without gaps.
    pub position: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: Event,
    /// Who.
    pub actor: ActorId,
    /// In which request.
    pub request_id: String,
    /// In which workspace.
    pub workspace: Option<WorkspaceId>,
    /// To which credential.
    pub credential: Option<CredentialId>,
    /// For which provider.
    pub provider: Option<String>,
    /// Of the secret. `None` too once the workspace was erased: it is sealed under the workspace's key.
    pub fingerprint: Option<Fingerprint>,
    /// What else there is to say.
    pub note: Option<String>,
    /// The chain hash after it: SHA-256 of the one before and the SHA-256 of [`Self::stored`].
    pub hash: Hash,
    /// The chain hash before it.
    pub previous: Hash,
    /// The record as it is stored, so that the chain can be checked with nothing but SHA-256.
    pub stored: String,
}

/// One record as it is stored, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) position: u64,
    pub(crate) at: Timestamp,
    pub(crate) event: Event,
    pub(crate) actor: ActorId,
    pub(crate) request_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workspace: Option<WorkspaceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<CredentialId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// What must become unreadable when the workspace is erased, sealed under its key.
    #[serde(default, with = "base64_bytes", skip_serializing_if = "Vec::is_empty")]
    pub(crate) detail: Vec<u8>,
    /// What it does to keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<KeyOperation>,
    /// What went with a workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) erased: Option<ErasureSummary>,
    /// States that other chains had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) links: Vec<(WorkspaceId, Link)>,
}

/// What a record does to keys: once it is on disk, it is carried out, after a crash too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum KeyOperation {
    /// The keys of these ids are destroyed.
    Destroy(Vec<String>),
    /// All keys are wrapped with the master key of this id.
    WrapWith(String),
}

/// What is gone with an erased workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErasureSummary {
    /// Which one of its id it was.
    pub(crate) incarnation: u64,
    /// How many credentials.
    pub(crate) credentials: usize,
    /// Tokens that open it no more.
    pub(crate) tokens: Vec<ActorId>,
}

/// The sealed part of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Detail {
    pub(crate) fingerprint: Fingerprint,
}

/// A record that has no position yet.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) event: Event,
    /// Of the change that it is the record of: whether that may use the reserve of the disk.
    pub(crate) effect: Effect,
    pub(crate) by: ActorContext,
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) credential: Option<CredentialId>,
    pub(crate) provider: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) detail: Option<(Arc<SealingKey>, Detail)>,
    pub(crate) keys: Option<KeyOperation>,
    pub(crate) erased: Option<ErasureSummary>,
    pub(crate) links: Vec<(WorkspaceId, Link)>,
}

impl Draft {
    pub(crate) fn new(event: Event, by: &ActorContext) -> Self {
        Self {
            effect: event.effect(),
            event,
            by: by.clone(),
            workspace: None,
            credential: None,
            provider: None,
            note: None,
            detail: None,
            keys: None,
            erased: None,
            links: Vec::new(),
        }
    }

    pub(crate) fn record(self, position: u64, at: Timestamp) -> Record {
        Record {
            detail: self.sealed_detail(position),
            position,
            at,
            event: self.event,
            actor: self.by.actor,
            request_id: self.by.request_id,
            workspace: self.workspace,
            credential: self.credential,
            provider: self.provider,
            note: self.note,
            keys: self.keys,
            erased: self.erased,
            links: self.links,
        }
    }

    fn sealed_detail(&self, record: u64) -> Vec<u8> {
        let (Some((key, detail)), Some(workspace)) = (&self.detail, &self.workspace) else {
            return Vec::new();
        };
        let json = serde_json::to_vec(detail).expect("a string serializes");
        key.seal(&SealContext::RecordDetail { workspace, record }, &json)
    }
}

impl Record {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers serialize")
    }

    /// The record that stands in a chain; nothing where a later release has written what this one does not know.
    pub(crate) fn parse(stored: &Stored) -> Option<Self> {
        serde_json::from_slice(&stored.bytes).ok()
    }

    /// What may be shown of it.
    pub(crate) fn view(self, chain: &ChainName, stored: Stored, keyring: &Keyring) -> AuditRecord {
        AuditRecord {
            fingerprint: self.open_detail(keyring).map(|detail| detail.fingerprint),
            chain: chain.clone(),
            position: self.position,
            at: self.at,
            event: self.event,
            actor: self.actor,
            request_id: self.request_id,
            workspace: self.workspace,
            credential: self.credential,
            provider: self.provider,
            note: self.note,
            hash: stored.hash,
            previous: stored.previous,
            stored: String::from_utf8_lossy(&stored.bytes).into_owned(),
        }
    }

    fn open_detail(&self, keyring: &Keyring) -> Option<Detail> {
        let workspace = self.workspace.as_ref()?;
        let key = keyring.key(workspace, SealingKey::id_in(&self.detail)?)?;
        let context = SealContext::RecordDetail {
            workspace,
            record: self.position,
        };
        serde_json::from_slice(&key.open(&context, &self.detail).ok()?).ok()
    }
}
