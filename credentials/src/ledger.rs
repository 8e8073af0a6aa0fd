//! What the audit log says of the documents: the judge of what storage hands out.
//!
//! Read once, when the registry opens. A document is believed when it is, byte for byte, what the last record that speaks
//! of it led to, and when no record after that one is missing: a missing one might have been about it.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use crate::{
    CredentialId, WorkspaceId,
    audit::{Audit, Event, KeyAct, Lead, Record, Scan},
    authentic::Hash,
    documents,
    sealing::SealError,
    storage::StorageError,
};

/// The last word on each document, and what a crash has left to be finished.
pub(crate) struct Ledger {
    last: HashMap<String, Entry>,
    /// Changes that are on record, of those that were asked for, and where.
    changes: HashMap<String, u64>,
    /// Keys that are to be no more.
    pub(crate) destroyed: HashSet<String>,
    /// Workspaces that were erased, and when last.
    pub(crate) erased: HashMap<WorkspaceId, Timestamp>,
    /// The master key that everything is to be wrapped with, if it ever changed.
    pub(crate) master_key: Option<String>,
    /// The restore that is on record last.
    pub(crate) restored: Option<String>,
    /// The latest time that a record tells, of those since the clock was last said to be right.
    pub(crate) latest: Timestamp,
    /// The last record that tells which secret is used of a credential whose secret stays in Vault.
    pub(crate) sources: HashMap<CredentialId, u64>,
    /// Findings that are on record, so that each is written once.
    reported: HashSet<(String, Option<Hash>)>,
    pub(crate) scan: Scan,
}

#[derive(Clone, Copy)]
struct Entry {
    hash: Option<Hash>,
    position: u64,
}

/// Why a document is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("it is gone")]
    Gone,
    #[error(
        "it is not what the audit log says was written last: edited, or put back to an older state"
    )]
    NotLastWritten,
    #[error("the audit log knows nothing of it")]
    NotOnRecord,
    #[error("an audit record after its last one is missing or edited, so it may be out of date")]
    AfterwardsUnknown,
    #[error("its key is not in the keyring")]
    KeyGone,
    #[error("it stands in another place than it was written for")]
    Misplaced,
    #[error(transparent)]
    Sealed(#[from] SealError),
}

impl Ledger {
    /// Reads the audit log. `pending` are the changes to look out for.
    pub(crate) async fn read(
        audit: &Audit,
        pending: &HashSet<String>,
    ) -> Result<Self, StorageError> {
        let mut ledger = Self {
            last: HashMap::new(),
            changes: HashMap::new(),
            destroyed: HashSet::new(),
            erased: HashMap::new(),
            master_key: None,
            restored: None,
            latest: Timestamp::UNIX_EPOCH,
            sources: HashMap::new(),
            reported: HashSet::new(),
            scan: Scan::default(),
        };
        let scan = audit.scan(|record| ledger.take(record, pending)).await?;
        ledger.scan = scan;
        Ok(ledger)
    }

    fn take(&mut self, record: Record, pending: &HashSet<String>) {
        let Record {
            event,
            position,
            change,
            documents,
            workspace,
            credential,
            keys,
            at,
            note,
            ..
        } = record;
        self.tell(event, at);
        if let Some(credential) = credential {
            self.tell_source(event, credential, position);
        }
        if matches!(event, Event::DocumentDamaged | Event::AuditDamaged) {
            self.reported
                .extend(documents.into_iter().map(|found| (found.key, found.hash)));
            return;
        }
        let pending = change.filter(|change| pending.contains(change));
        self.changes
            .extend(pending.map(|change| (change, position)));
        let entries = documents
            .into_iter()
            .map(|Lead { key, hash }| (key, Entry { hash, position }));
        self.last.extend(entries);
        match keys {
            Some(KeyAct::Destroy(ids)) => self.destroyed.extend(ids),
            Some(KeyAct::WrapWith(master_key)) => self.master_key = Some(master_key),
            None => {}
        }
        if event == Event::BackupRestored {
            self.restored = note;
        }
        if let (Event::WorkspaceErased, Some(workspace)) = (event, workspace) {
            self.erase(workspace, at, position);
        }
    }

    fn tell_source(&mut self, event: Event, credential: CredentialId, position: u64) {
        match event {
            // Where the secret is sealed here, nobody asks for it.
            Event::CredentialCreated
            | Event::CredentialSourceChanged
            | Event::CredentialSourceLost => {
                self.sources.insert(credential, position);
            }
            Event::CredentialRevoked => {
                self.sources.remove(&credential);
            }
            _ => {}
        }
    }

    fn tell(&mut self, event: Event, at: Timestamp) {
        if event != Event::ClockAccepted {
            self.latest = self.latest.max(at);
            return;
        }
        self.latest = at;
        // What is made from now on is not of a workspace that was erased at a time still to come.
        for until in self.erased.values_mut() {
            *until = at.min(*until);
        }
    }

    /// Nothing of it is left, whatever of it was gone or unreadable before.
    fn erase(&mut self, workspace: WorkspaceId, at: Timestamp, position: u64) {
        let erased = Entry {
            hash: None,
            position,
        };
        for (key, entry) in &mut self.last {
            if documents::is_of(key, &workspace) {
                *entry = erased;
            }
        }
        self.erased.insert(workspace, at);
    }

    /// Where the change was put on record, if it was: then it happened.
    pub(crate) fn position_of(&self, change: &str) -> Option<u64> {
        self.changes.get(change).copied()
    }

    /// Whether `body` is what was last written under `key`.
    pub(crate) fn is_last(&self, key: &str, body: Option<&[u8]>) -> bool {
        self.last
            .get(key)
            .is_some_and(|entry| entry.hash == body.map(Hash::of))
    }

    /// Whether a stored document is to be believed, as far as the log can tell.
    pub(crate) fn vouch(&self, key: &str, body: &[u8]) -> Result<(), Damage> {
        match self.last.get(key) {
            None => Err(Damage::NotOnRecord),
            Some(_) if !self.is_last(key, Some(body)) => Err(Damage::NotLastWritten),
            Some(entry) if entry.position < self.scan.last_break => Err(Damage::AfterwardsUnknown),
            Some(_) => Ok(()),
        }
    }

    /// The documents under `prefix` that should be there, by key.
    pub(crate) fn expected<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let there =
            |(key, entry): (&'a String, &Entry)| entry.hash.is_some().then_some(key.as_str());
        self.last
            .iter()
            .filter_map(there)
            .filter(move |key| key.starts_with(prefix))
    }

    /// Whether a finding is on record already.
    pub(crate) fn is_reported(&self, finding: &Lead) -> bool {
        self.reported.contains(&(finding.key.clone(), finding.hash))
    }
}
