//! Who did what: a hash-chained log that is on disk before the act.
//!
//! Each record carries the hash of the one before, and a MAC under the installation's key: someone with write access to
//! the store can neither edit a record nor write the chain anew. What they can do is cut its end off, and against that
//! the head is kept in a file beside the keyring (`anchor.rs`) and written to the logs.

mod anchor;
mod at_rest;
mod chain;
mod erased;
mod receipt;
mod record;
mod search;

use std::{path::Path, sync::Arc};

use tokio::sync::Mutex;

pub(crate) use self::anchor::{read as read_anchor, write as write_anchor};
use self::{anchor::Anchor, erased::Erased};
pub use self::{
    at_rest::{AtRest, ClockBehind},
    chain::{Break, Head, VerifyError},
    receipt::Receipt,
    record::{AuditRecord, Event},
    search::{AuditFilter, Export, Found},
};
pub(crate) use self::{
    chain::Scan,
    record::{Detail, Draft, KeyAct, Lead, Record},
};
use crate::{
    Act, WorkspaceId,
    clock::Ratchet,
    keyring::Keyring,
    storage::{Log, Storage, StorageError},
};

/// The audit log.
pub struct Audit {
    storage: Arc<dyn Storage>,
    keyring: Arc<Keyring>,
    clock: Arc<Ratchet>,
    anchor: Anchor,
    erased: Erased,
    /// Where the next record goes. Its lock is held while one is appended, and not while the disk is waited for.
    end: Mutex<End>,
}

/// The end of the log, as far as it is known.
#[derive(Default)]
struct End {
    head: Head,
    /// An append has failed: the record may be there all the same, and the next one has to look.
    in_doubt: bool,
}

impl Audit {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        keyring: Arc<Keyring>,
        clock: Arc<Ratchet>,
        anchor: &Path,
    ) -> Self {
        Self {
            storage,
            keyring,
            clock,
            anchor: Anchor::at(anchor),
            erased: Erased::default(),
            end: Mutex::default(),
        }
    }

    /// Reads the whole log, oldest first, and goes on from its end. `visit` sees every record that is authentic.
    pub(crate) async fn scan(&self, mut visit: impl FnMut(Record)) -> Result<Scan, StorageError> {
        let mut end = self.end.lock().await;
        let noted = |record: Record| {
            self.erased.note(&record);
            visit(record);
        };
        let scan = self.read(Head::default(), None, noted).await?;
        *end = End {
            head: scan.head,
            in_doubt: false,
        };
        Ok(scan)
    }

    /// The head that was last known to be on disk, kept outside the store.
    pub(crate) fn anchored(&self) -> Option<Head> {
        self.anchor.read(self.keyring.installation())
    }

    /// Puts a record on disk.
    pub(crate) async fn put_on_record(&self, draft: Draft) -> Result<Head, StorageError> {
        self.storage.expect_room(draft.effect).await?;
        let head = self.append(draft).await?;
        self.to_disk(head).await?;
        Ok(head)
    }

    /// Appends a record. It is on disk once storage has been synced after.
    pub(crate) async fn append(&self, draft: Draft) -> Result<Head, StorageError> {
        let mut end = self.end.lock().await;
        if end.in_doubt {
            let missed = |record: Record| self.erased.note(&record);
            end.head = self.read(end.head, None, missed).await?.head;
        }
        let position = end.head.position + 1;
        let record = draft.record(position, self.clock.now(), end.head.hash);
        let (entry, hash) = record.to_entry(self.keyring.installation());
        // Before it is awaited: whoever asked may be gone by the time storage has done it.
        end.in_doubt = true;
        self.storage.append(Log::Audit, position, entry).await?;
        end.in_doubt = false;
        self.erased.note(&record);
        end.head = Head { position, hash };
        Ok(end.head)
    }

    /// Brings everything up to `head` to disk, and says so outside the store: in the process's own logs and in the anchor.
    pub(crate) async fn to_disk(&self, head: Head) -> Result<(), StorageError> {
        self.storage.sync().await?;
        self.anchor.write(self.keyring.installation(), head).await;
        tracing::info!(audit_head = %head, "audit record on disk");
        Ok(())
    }

    /// Reads the log from behind `from` on, and holds it against the head that stands outside the store, and another one.
    async fn read(
        &self,
        from: Head,
        known: Option<Head>,
        visit: impl FnMut(Record),
    ) -> Result<Scan, StorageError> {
        // Known before the log is read: records that are appended meanwhile only make it longer.
        let known = self.anchored().into_iter().chain(known).collect();
        let key = self.keyring.installation();
        chain::scan(&*self.storage, key, from, known, visit).await
    }

    /// Notes that something was refused to a person: a wrong token, a change they may not make. On disk when it returns.
    ///
    /// # Errors
    /// Storage's.
    pub async fn refused(&self, by: &Act, what: &str) -> Result<(), StorageError> {
        self.note(Event::Refused, by, None, what).await
    }

    /// Notes that records of this log are about to be taken away. On disk when it returns: nothing leaves before.
    ///
    /// # Errors
    /// Storage's.
    pub async fn exported(
        &self,
        by: &Act,
        workspace: Option<&WorkspaceId>,
        what: &str,
    ) -> Result<(), StorageError> {
        self.note(Event::AuditExported, by, workspace, what).await
    }

    async fn note(
        &self,
        event: Event,
        by: &Act,
        workspace: Option<&WorkspaceId>,
        note: &str,
    ) -> Result<(), StorageError> {
        let draft = Draft {
            workspace: workspace.cloned(),
            note: Some(note.to_owned()),
            ..Draft::new(event, by)
        };
        self.put_on_record(draft).await.map(drop)
    }

    /// Whether a workspace of that name was erased: its records are still there.
    pub fn has_erased(&self, workspace: &WorkspaceId) -> bool {
        self.erased.last(workspace).is_some()
    }

    /// Where the log ends. It goes to the process's own logs at the start and with each record, so that a log cut short shows.
    pub async fn head(&self) -> Head {
        self.end.lock().await.head
    }

    /// Reads the whole log and holds it against what is known of it.
    ///
    /// # Errors
    /// The first record that is not what was written, or storage's failure.
    pub async fn verify(&self) -> Result<Head, VerifyError> {
        let known = self.head().await;
        let scan = self.read(Head::default(), Some(known), drop).await?;
        match (scan.first_break(), scan.newer) {
            (Some(found), _) => Err(VerifyError::Broken(found)),
            (None, Some(position)) => Err(VerifyError::Newer { position }),
            (None, None) => Ok(scan.head),
        }
    }
}
