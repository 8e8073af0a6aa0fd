//! Reading the log: filtered, newest first and a page at a time, or oldest first and all of it.

use super::{Audit, AuditRecord, Event, Head, Record, erased::Erased};
use crate::{
    ActorId, CredentialId, Scope, WorkspaceId,
    storage::{Log, StorageError},
};

/// Which records to show; `None` lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of the workspaces that are there for whoever asks. Who is limited sees no record that is about no workspace, and none
    /// of an erased workspace that had the same name.
    pub within: Scope,
    /// Of this workspace.
    pub workspace: Option<WorkspaceId>,
    /// By this actor.
    pub actor: Option<ActorId>,
    /// Of this event.
    pub event: Option<Event>,
    /// About this credential.
    pub credential: Option<CredentialId>,
}

/// A part of what was searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Newest first.
    pub records: Vec<AuditRecord>,
    /// Where to go on, if there may be more: before this position. A rare record may be some pages away.
    pub before: Option<u64>,
}

/// The records on their way out, oldest first, up to the head that was known when it began.
pub struct Export<'a> {
    audit: &'a Audit,
    filter: AuditFilter,
    head: Head,
    next: u64,
}

impl Audit {
    /// Up to `limit` records before position `before`, newest first. What fails authentication is left out here; `verify`
    /// names it.
    ///
    /// # Errors
    /// Storage's.
    pub async fn search(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Found, StorageError> {
        let head = self.head().await.position;
        let mut before = before.unwrap_or(u64::MAX).min(head + 1);
        let floor = before.saturating_sub(LOOKED_AT).max(1);
        let mut records = Vec::new();
        while before > floor {
            let from = before.saturating_sub(BATCH).max(floor);
            let entries = self
                .storage
                .entries(Log::Audit, from, (before - from) as usize);
            for entry in entries.await?.iter().rev() {
                records.extend(Record::shown(entry, &self.keyring, |record| {
                    filter.passes(record, &self.erased)
                }));
                if records.len() == limit {
                    let before = Some(entry.0).filter(|position| *position > 1);
                    return Ok(Found { records, before });
                }
            }
            before = from;
        }
        let before = Some(floor).filter(|floor| *floor > 1);
        Ok(Found { records, before })
    }

    /// Up to `limit` records from position `from` on, oldest first.
    ///
    /// # Errors
    /// Storage's.
    pub async fn records(&self, from: u64, limit: usize) -> Result<Vec<AuditRecord>, StorageError> {
        let entries = self.storage.entries(Log::Audit, from, limit).await?;
        let shown = |entry| Record::shown(entry, &self.keyring, |_| true);
        Ok(entries.iter().filter_map(shown).collect())
    }

    /// All records from position `from` on that pass.
    pub async fn export(&self, filter: AuditFilter, from: u64) -> Export<'_> {
        Export {
            head: self.head().await,
            audit: self,
            filter,
            next: from.max(1),
        }
    }
}

impl Export<'_> {
    /// The next ones: none may pass while there are more to come. Nothing once the head was reached.
    ///
    /// # Errors
    /// Storage's.
    pub async fn next(&mut self) -> Result<Option<Vec<AuditRecord>>, StorageError> {
        if self.next > self.head.position {
            return Ok(None);
        }
        let count = BATCH.min(self.head.position - self.next + 1);
        let storage = &self.audit.storage;
        let entries = storage.entries(Log::Audit, self.next, count as usize);
        let shown = |entry| {
            Record::shown(entry, &self.audit.keyring, |record| {
                self.filter.passes(record, &self.audit.erased)
            })
        };
        let records = entries.await?.iter().filter_map(shown).collect();
        self.next += count;
        Ok(Some(records))
    }

    /// Where it ends.
    pub fn head(&self) -> Head {
        self.head
    }
}

impl AuditFilter {
    fn passes(&self, record: &Record, erased: &Erased) -> bool {
        fn is<T: PartialEq>(wanted: &Option<T>, found: Option<&T>) -> bool {
            wanted.is_none() || wanted.as_ref() == found
        }
        let is_there = match (&self.within, &record.workspace) {
            (Scope::All, _) => true,
            (Scope::Only(_), None) => false,
            (within, Some(workspace)) => {
                within.holds(workspace) && !erased.covers(workspace, record.position)
            }
        };
        is_there
            && is(&self.workspace, record.workspace.as_ref())
            && is(&self.actor, Some(&record.actor))
            && is(&self.event, Some(&record.event))
            && is(&self.credential, record.credential.as_ref())
    }
}

/// Records that are read at once.
const BATCH: u64 = 512;

/// Records that one page may cost, a few milliseconds a thousand.
const LOOKED_AT: u64 = 20_000;
