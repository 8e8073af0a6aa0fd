//! One record: as it is made, as it is stored, as it may be shown.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::IntoDeserializer};

use crate::{
    Act, ActorId, CredentialId, Fingerprint, WorkspaceId,
    authentic::{self, Hash, Stored},
    encoding::base64_bytes,
    keyring::Keyring,
    sealing::{Place, SealError, SealingKey},
    storage::Effect,
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
            | Self::TokenRevoked => Effect::EndsUse,
            Self::WorkspaceCreated
            | Self::WorkspaceExported
            | Self::WorkspaceKeyRotated
            | Self::MasterKeyRotated
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
            | Self::AuditDamaged => Effect::Adds,
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
        }
    }
}

/// One record of the log as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Counts from 1, without gaps.
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
    /// SHA-256 of [`Self::stored`].
    pub hash: Hash,
    /// The hash of the one before.
    pub previous: Hash,
    /// The record as it is stored, so that the chain can be checked with nothing but SHA-256.
    pub stored: String,
}

/// One record as it is stored, as JSON behind its MAC.
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
    /// The change that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<String>,
    /// The documents that it leads to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) documents: Vec<Lead>,
    /// What it does to keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<KeyAct>,
    pub(crate) previous: Hash,
}

/// Why an entry of the log is no record.
pub(super) enum Unread {
    /// It is not what was written there.
    Edited(&'static str),
    /// It is, by a release that knows of more than this one. With its hash.
    Newer(Hash),
}

/// What a record does to keys: once it is on disk, it is carried out, after a crash too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum KeyAct {
    /// The keys of these ids are destroyed.
    Destroy(Vec<String>),
    /// All keys are wrapped with the master key of this id.
    WrapWith(String),
}

/// A document as a record leaves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lead {
    pub(crate) key: String,
    /// SHA-256 of what is stored; nothing when the document is removed, or was found gone.
    pub(crate) hash: Option<Hash>,
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
    pub(crate) by: Act,
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) credential: Option<CredentialId>,
    pub(crate) provider: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) detail: Option<(Arc<SealingKey>, Detail)>,
    pub(crate) change: Option<String>,
    pub(crate) documents: Vec<Lead>,
    pub(crate) keys: Option<KeyAct>,
}

impl Draft {
    pub(crate) fn new(event: Event, by: &Act) -> Self {
        Self {
            event,
            effect: event.effect(),
            by: by.clone(),
            workspace: None,
            credential: None,
            provider: None,
            note: None,
            detail: None,
            change: None,
            documents: Vec::new(),
            keys: None,
        }
    }

    pub(super) fn record(self, position: u64, at: Timestamp, previous: Hash) -> Record {
        Record {
            position,
            at,
            event: self.event,
            detail: self.sealed_detail(position),
            actor: self.by.actor,
            request_id: self.by.request_id,
            workspace: self.workspace,
            credential: self.credential,
            provider: self.provider,
            note: self.note,
            change: self.change,
            documents: self.documents,
            keys: self.keys,
            previous,
        }
    }

    fn sealed_detail(&self, record: u64) -> Vec<u8> {
        let (Some((key, detail)), Some(workspace)) = (&self.detail, &self.workspace) else {
            return Vec::new();
        };
        let json = serde_json::to_vec(detail).expect("a string serializes");
        key.seal(&Place::RecordDetail { workspace, record }, &json)
    }
}

impl Record {
    /// As it is stored, and its hash: of the JSON, so that an export can be checked with nothing but SHA-256.
    pub(super) fn to_entry(&self, key: &SealingKey) -> (Vec<u8>, Hash) {
        let entry = authentic::write(key, &Place::Record, self);
        let hash = Self::hash_of(&entry);
        (entry, hash)
    }

    /// The record that stands at `position`, if it was written there, and its hash.
    pub(super) fn from_entry(
        key: &SealingKey,
        position: u64,
        entry: &[u8],
    ) -> Result<(Self, Hash), Unread> {
        let edited = |_| Unread::Edited("was edited: it fails authentication");
        let stored = Stored::parse(entry).map_err(edited)?;
        let hash = Hash::of(stored.json);
        let record: Self = stored
            .verify(key, &Place::Record)
            .map_err(|error| match error {
                SealError::Malformed => Unread::Newer(hash),
                error => edited(error),
            })?;
        match record.position == position {
            true => Ok((record, hash)),
            false => Err(Unread::Edited("was written for another position")),
        }
    }

    /// What may be shown of the record in `entry`, if it is authentic and `wanted`.
    pub(super) fn shown(
        (position, entry): &(u64, Vec<u8>),
        keyring: &Keyring,
        wanted: impl FnOnce(&Self) -> bool,
    ) -> Option<AuditRecord> {
        let (record, hash) = Self::from_entry(keyring.installation(), *position, entry).ok()?;
        let stored = Stored::parse(entry).ok()?.json;
        let stored = String::from_utf8_lossy(stored).into_owned();
        wanted(&record).then(|| record.view(hash, stored, keyring))
    }

    pub(super) fn hash_of(entry: &[u8]) -> Hash {
        Stored::parse(entry).map_or_else(|_| Hash::of(entry), |stored| Hash::of(stored.json))
    }

    fn view(self, hash: Hash, stored: String, keyring: &Keyring) -> AuditRecord {
        AuditRecord {
            fingerprint: self.open_detail(keyring).map(|detail| detail.fingerprint),
            position: self.position,
            at: self.at,
            event: self.event,
            actor: self.actor,
            request_id: self.request_id,
            workspace: self.workspace,
            credential: self.credential,
            provider: self.provider,
            note: self.note,
            hash,
            previous: self.previous,
            stored,
        }
    }

    fn open_detail(&self, keyring: &Keyring) -> Option<Detail> {
        let workspace = self.workspace.as_ref()?;
        let key = keyring.key(workspace, SealingKey::id_in(&self.detail)?)?;
        let place = Place::RecordDetail {
            workspace,
            record: self.position,
        };
        serde_json::from_slice(&key.open(&place, &self.detail).ok()?).ok()
    }
}
