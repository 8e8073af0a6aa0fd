//! Audit records: as drafts, as stored, and as shown.

use std::sync::Arc;

use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_store::{
    Effect, Hash,
    chain::{ChainName, Link, StoredRecord},
};
use serde::{Deserialize, Serialize};

use crate::{
    encoding::base64_bytes,
    keyring::Keyring,
    model::{
        ActorContext, ActorId, CredentialChange, CredentialId, Fingerprint, WorkspaceId, named,
    },
    sealing::{SealContext, SealingKey},
};

/// Defines [`Event`]. Each line gives an event's stable name, and what its change does to existing
/// uses of keys unless the draft says otherwise.
macro_rules! events {
    ($($(#[$doc:meta])+ $event:ident = $name:literal, $effect:ident;)+) => {
        named! {
            /// What happened.
            #[non_exhaustive]
            pub enum Event {
                $($(#[$doc])+ $event = $name,)+
            }
        }

        impl Event {
            fn effect(self) -> Effect {
                match self {
                    $(Self::$event => Effect::$effect,)+
                }
            }
        }
    };
}

events! {
    /// A workspace was created.
    WorkspaceCreated = "workspace_created", Adds;
    /// A workspace's limits were changed.
    WorkspaceEdited = "workspace_edited", Adds;
    /// A workspace was exported: everything but its secrets.
    WorkspaceExported = "workspace_exported", Adds;
    /// A workspace was erased: its keys are destroyed, its documents and runs removed.
    WorkspaceErased = "workspace_erased", EndsUse;
    /// Documents of a workspace were sealed again under a new key.
    WorkspaceKeyRotated = "workspace_key_rotated", Adds;
    /// A rotation began: all keys are wrapped again with a new master key.
    MasterKeyRotated = "master_key_rotated", Adds;
    /// A new signing key was announced, in a commit signed with the previous one.
    SigningKeyRotated = "signing_key_rotated", Adds;
    /// A backup was created.
    BackupMade = "backup_made", Adds;
    /// The installation was restored from a backup.
    BackupRestored = "backup_restored", Adds;
    /// An operator confirmed a clock that is behind the log: earlier records may have wrong times.
    ClockAccepted = "clock_accepted", Adds;
    /// A credential was created.
    CredentialCreated = "credential_created", Adds;
    /// A new secret replaced the previous one.
    CredentialRotated = "credential_rotated", Adds;
    /// The provider was asked about the secret in use, and its verdict differs from the last one.
    CredentialVerified = "credential_verified", Adds;
    /// An earlier version is in use again.
    CredentialRolledBack = "credential_rolled_back", Adds;
    /// A credential's label, usage tag, expiry, limits or default was changed.
    CredentialEdited = "credential_edited", Adds;
    /// A credential was revoked, and all its versions destroyed.
    CredentialRevoked = "credential_revoked", EndsUse;
    /// A new version of a secret that is kept in Vault is in use; of a declared credential, its
    /// secret can be read again.
    CredentialSourceChanged = "credential_source_changed", Adds;
    /// A secret that is kept in Vault or in a file is no longer used: it was deleted, or may not be
    /// read.
    CredentialSourceLost = "credential_source_lost", Adds;
    /// The grace period of a version ended, and its sealed bytes were removed.
    VersionDestroyed = "version_destroyed", EndsUse;
    /// A request asked for an expired credential. At most once an hour.
    ExpiredUseAttempted = "expired_use_attempted", Adds;
    /// A request asked for a revoked credential. At most once an hour.
    RevokedUseAttempted = "revoked_use_attempted", Adds;
    /// A request asked for a credential that cannot be opened. At most once an hour.
    CredentialUndecryptable = "credential_undecryptable", Adds;
    /// A token was created.
    TokenCreated = "token_created", Adds;
    /// A token was revoked.
    TokenRevoked = "token_revoked", EndsUse;
    /// The log, or a part of it, was exported.
    AuditExported = "audit_exported", Adds;
    /// A person signed in to the admin page with a token, or with a one-time link of it.
    SignedIn = "signed_in", Adds;
    /// A person proved again who they are, before something that cannot be undone.
    Reauthenticated = "reauthenticated", Adds;
    /// A caller of the admin API was refused.
    Refused = "refused", Adds;
    /// A stored document was found edited, moved, replayed or missing.
    DocumentDamaged = "document_damaged", Adds;
    /// First record of a workspace's own chain.
    ChainBegun = "chain_begun", Adds;
    /// Last record of an erased workspace's chain: it names no documents any more.
    ChainEnded = "chain_ended", EndsUse;
    /// States of workspaces' chains were linked from the installation's chain.
    ChainsLinked = "chains_linked", Finishes;
    /// A chain is signed with the new signing key from this record on.
    SigningKeyAdopted = "signing_key_adopted", Finishes;
}

impl Event {
    /// The change that subscribers learn of.
    pub(crate) fn change(self) -> Option<CredentialChange> {
        Some(match self {
            Self::CredentialCreated => CredentialChange::Created,
            Self::CredentialEdited => CredentialChange::Edited,
            Self::CredentialRotated => CredentialChange::Rotated,
            Self::CredentialRolledBack => CredentialChange::RolledBack,
            Self::CredentialRevoked => CredentialChange::Revoked,
            Self::CredentialSourceChanged => CredentialChange::SourceChanged,
            Self::CredentialSourceLost => CredentialChange::SourceLost,
            _ => return None,
        })
    }
}

/// An audit record as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// The chain of the record: the installation's, or a workspace's.
    pub chain: ChainName,
    /// Position in the chain, from 1, without gaps.
    pub position: u64,
    /// Time of the commit.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
    /// Who caused it.
    pub actor: ActorId,
    /// The id of the request.
    pub request_id: String,
    /// The workspace that it concerns.
    pub workspace: Option<WorkspaceId>,
    /// The credential that it concerns.
    pub credential: Option<CredentialId>,
    /// The provider of the credential.
    pub provider: Option<ProviderId>,
    /// Fingerprint of the secret. `None` also after the workspace was erased: it is sealed under
    /// the workspace's key.
    pub fingerprint: Option<Fingerprint>,
    /// Details as text.
    pub note: Option<String>,
    /// The chain hash after this record: SHA-256 of the previous chain hash and of the SHA-256 of
    /// [`Self::stored`].
    pub hash: Hash,
    /// The chain hash before this record.
    pub previous: Hash,
    /// The record as it is stored, so that the chain can be verified with SHA-256 alone.
    pub stored: String,
}

/// An audit record as it is stored, in JSON.
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
    pub(crate) provider: Option<ProviderId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// The part that must become unreadable when the workspace is erased, sealed under its key.
    #[serde(default, with = "base64_bytes", skip_serializing_if = "Vec::is_empty")]
    pub(crate) detail: Vec<u8>,
    /// The operation on keys that the record orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<KeyOperation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) erased: Option<ErasureSummary>,
    /// Linked states of other chains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) links: Vec<(WorkspaceId, Link)>,
}

/// An operation on keys. Executed once its record is on disk, also after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum KeyOperation {
    Destroy(Vec<String>),
    WrapWith(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErasureSummary {
    pub(crate) incarnation: u64,
    pub(crate) credentials: usize,
    /// The tokens whose scope had the workspace.
    pub(crate) tokens: Vec<ActorId>,
}

/// The sealed part of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Detail {
    pub(crate) fingerprint: Fingerprint,
}

/// An audit record without a position.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) event: Event,
    /// The effect of the change, which decides whether it may use the disk's reserve.
    pub(crate) effect: Effect,
    pub(crate) by: ActorContext,
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) credential: Option<CredentialId>,
    pub(crate) provider: Option<ProviderId>,
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

    /// A draft with details as text.
    pub(crate) fn noted(event: Event, by: &ActorContext, note: impl Into<String>) -> Self {
        Self {
            note: Some(note.into()),
            ..Self::new(event, by)
        }
    }

    /// This record of an erasure as several that differ only in their lists of keys and tokens, if one
    /// would be too long.
    pub(crate) fn in_parts(self) -> Vec<Self> {
        let (Some(KeyOperation::Destroy(keys)), Some(erased)) = (&self.keys, &self.erased) else {
            return vec![self];
        };
        let most = keys.len().max(erased.tokens.len());
        let parts = (0..most.div_ceil(IDS_PER_RECORD).max(1)).map(|n| Self {
            keys: Some(KeyOperation::Destroy(part(keys, n))),
            erased: Some(ErasureSummary {
                tokens: part(&erased.tokens, n),
                ..erased.clone()
            }),
            ..self.clone()
        });
        parts.collect()
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

fn part<T: Clone>(ids: &[T], number: usize) -> Vec<T> {
    let part = ids.chunks(IDS_PER_RECORD).nth(number);
    part.unwrap_or_default().to_vec()
}

impl Record {
    /// Whether `other` is a part of the same erasure: see [`Draft::in_parts`].
    pub(crate) fn continues(&self, other: &Self) -> bool {
        let same = (self.event, &self.note) == (other.event, &other.note);
        same && self.erased.is_some() && other.erased.is_some()
    }

    /// Adds the lists of the part that is stored before this one.
    pub(crate) fn prepend(&mut self, part: Self) {
        if let (Some(KeyOperation::Destroy(keys)), Some(KeyOperation::Destroy(before))) =
            (&mut self.keys, part.keys)
        {
            keys.splice(0..0, before);
        }
        if let (Some(erased), Some(before)) = (&mut self.erased, part.erased) {
            erased.tokens.splice(0..0, before.tokens);
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers serialize")
    }

    /// Parses a stored record; `None` if a later release wrote it in a form that is unknown here.
    pub(crate) fn parse(stored: &StoredRecord) -> Option<Self> {
        serde_json::from_slice(&stored.bytes).ok()
    }

    pub(crate) fn view(
        self,
        chain: &ChainName,
        stored: StoredRecord,
        keyring: &Keyring,
    ) -> AuditRecord {
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

/// Keys, and as many tokens: some 3 KB of a record's 4 KiB.
const IDS_PER_RECORD: usize = 48;
