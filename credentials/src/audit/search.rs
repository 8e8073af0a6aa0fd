//! Searches all chains by time, newest first and a page at a time.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use keyside_store::{
    StorageError,
    chain::{ChainName, Damage, LoadError, State, StoredRecord},
};

use super::{Audit, Break, ReadError};
use crate::{
    chains::{Chains, Registration, Tracked},
    model::{ActorId, CredentialId, Scope, WorkspaceId},
    record::{AuditRecord, Event, Record},
};

/// Selects audit records; `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The workspaces that the caller may see. A limited caller sees no records without a
    /// workspace, and none of an erased workspace that had the same id.
    pub within: Scope,
    /// Records about this workspace.
    pub workspace: Option<WorkspaceId>,
    /// Records of this actor.
    pub actor: Option<ActorId>,
    /// Records of this event.
    pub event: Option<Event>,
    /// Records about this credential.
    pub credential: Option<CredentialId>,
    /// Records of this time or later.
    pub since: Option<Timestamp>,
    /// Records from before this time.
    pub until: Option<Timestamp>,
}

/// A position in the order of all records: by time (`Chains::order_time`), then chain, then
/// position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Microseconds since the Unix epoch.
    at: i64,
    chain: String,
    position: u64,
}

impl Cursor {
    /// Before every record of this time or later.
    fn before_time(at: Timestamp) -> Self {
        Self {
            at: at.as_microsecond(),
            chain: String::new(),
            position: 0,
        }
    }
}

/// A page of search results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// Newest first.
    pub records: Vec<AuditRecord>,
    /// Where the next page begins, if there may be more. A page may be empty before the last.
    pub before: Option<Cursor>,
    /// Why records are missing on this page: damaged chains, each with what is wrong.
    pub damaged: Vec<Break>,
}

impl Audit {
    /// Up to `limit` records before `before`, newest first.
    ///
    /// # Errors
    /// The backend failed. Damaged records are omitted, and the page says so.
    pub async fn search(
        &self,
        filter: &AuditFilter,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<AuditPage, StorageError> {
        let before = [before, filter.until.map(Cursor::before_time)];
        let before = before.into_iter().flatten().min();
        let mut merge = Merge::new(self.chains_for(filter), before);
        merge.damaged = self.unreadable_for(filter);
        let (mut records, mut is_exhausted) = (Vec::new(), false);
        for _ in 0..MAX_SCANNED {
            let Some((at, chain, stored)) = merge.next().await? else {
                is_exhausted = true;
                break;
            };
            // All that follow are older still.
            if filter
                .since
                .is_some_and(|since| at.at < since.as_microsecond())
            {
                is_exhausted = true;
                break;
            }
            records.extend(self.shown(filter, &chain.name, stored));
            merge.last = Some(at);
            if records.len() == limit {
                break;
            }
        }
        Ok(AuditPage {
            records,
            before: merge.last.filter(|_| !is_exhausted),
            damaged: merge.damaged,
        })
    }

    /// What the caller may see of a record, if it passes the filter.
    pub(super) fn shown(
        &self,
        filter: &AuditFilter,
        chain: &ChainName,
        stored: StoredRecord,
    ) -> Option<AuditRecord> {
        let record = Record::parse(&stored)?;
        let passes = filter.passes(&record, chain, &self.chains);
        passes.then(|| record.view(chain, stored, &self.keyring))
    }

    /// The chains that may have matching records, as of one state of the installation's chain: the
    /// head of a workspace that was decided on a later one would not match it in an export.
    pub(super) fn chains_for(&self, filter: &AuditFilter) -> Vec<Source> {
        let chains = &self.chains;
        loop {
            let own = chains.installation().state();
            let registrations = chains.registrations();
            let workspaces = registrations.keys().filter(|id| filter.may_match(id));
            let of_workspaces = workspaces.map(|id| chains.of(id));
            let sources: Vec<_> = [chains.installation().clone()]
                .into_iter()
                .chain(of_workspaces)
                .filter_map(|tracked| Source::of(chains, tracked))
                .collect();
            let seq = |state: Option<Arc<State>>| state.map(|state| state.head.seq);
            if seq(own) == seq(chains.installation().state()) {
                return sources;
            }
        }
    }

    /// The workspaces' chains that may have matching records and cannot be read at all.
    pub(super) fn unreadable_for(&self, filter: &AuditFilter) -> Vec<Break> {
        let registrations = self.chains.registrations();
        // A link outlives the workspace, as the chain does.
        let begun = registrations
            .iter()
            .filter(|(_, it)| it.link.is_some() || it.exists && it.pending.is_none());
        let matching = begun.filter(|(id, _)| filter.may_match(id));
        let chains = matching.map(|(id, _)| self.chains.of(id));
        let unreadable = chains.filter(|tracked| tracked.state().is_none());
        let finding = "its head failed verification, so none of its records can be read";
        let damaged = unreadable.map(|tracked| Break::of_chain(tracked.chain.name(), finding));
        damaged.collect()
    }
}

/// A chain as it was when reading began.
pub(super) struct Source {
    chains: Arc<Chains>,
    pub(super) name: ChainName,
    pub(super) tracked: Arc<Tracked>,
    pub(super) state: Arc<State>,
}

impl Source {
    fn of(chains: &Arc<Chains>, tracked: Arc<Tracked>) -> Option<Self> {
        Some(Self {
            chains: chains.clone(),
            name: tracked.chain.name().clone(),
            state: tracked.state()?,
            tracked,
        })
    }

    /// Up to `limit` records from a position.
    pub(super) async fn read(
        &self,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, ReadError> {
        let head = &self.state.head;
        match self.chains.records(&self.tracked, head, from, limit).await {
            Ok(records) => Ok(records),
            Err(error) => {
                let damage = error.into_damage()?;
                tracing::error!(chain = %self.name, from, %damage, "damaged audit records are omitted");
                Err(self.broken(&damage).into())
            }
        }
    }

    fn broken(&self, damage: &Damage) -> Break {
        Break::of_chain(&self.name, damage.to_string())
    }

    fn cursor_of(&self, record: &StoredRecord) -> Cursor {
        Cursor {
            at: self.order_time(record),
            chain: self.name.to_string(),
            position: record.position,
        }
    }

    fn order_time(&self, record: &StoredRecord) -> i64 {
        let StoredRecord { position, at, .. } = *record;
        self.chains.order_time(&self.name, position, at)
    }

    /// Number of records from before a time.
    pub(super) async fn before(&self, at: i64) -> Result<u64, LoadError> {
        let head = &self.state.head;
        self.chains.records_before(&self.tracked, head, at).await
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.tracked.chain.forget_records();
    }
}

/// Merges the records of several chains, newest first.
struct Merge {
    /// By the cursor of the next record. Until one was read, by an upper bound.
    readers: BTreeMap<Cursor, ChainReader>,
    last: Option<Cursor>,
    /// The first damage found in each chain.
    damaged: Vec<Break>,
}

struct ChainReader {
    source: Arc<Source>,
    /// Records before this position are still to be read.
    before: u64,
    /// Oldest first: `pop` returns the next record.
    read: Vec<StoredRecord>,
    is_started: bool,
    /// Why records are missing in `read`.
    damage: Option<Break>,
}

impl Merge {
    fn new(sources: Vec<Source>, before: Option<Cursor>) -> Self {
        let readers = sources.into_iter().map(|source| {
            let bound = Cursor {
                at: source.state.head.at,
                chain: source.name.to_string(),
                position: u64::MAX,
            };
            let reader = ChainReader {
                before: source.state.head.records + 1,
                source: Arc::new(source),
                read: Vec::new(),
                is_started: false,
                damage: None,
            };
            (bound, reader)
        });
        Self {
            readers: readers.collect(),
            last: before,
            damaged: Vec::new(),
        }
    }

    async fn next(&mut self) -> Result<Option<(Cursor, Arc<Source>, StoredRecord)>, StorageError> {
        while let Some((_, mut reading)) = self.readers.pop_last() {
            let was_known = !reading.read.is_empty();
            reading.fill(self.last.as_ref()).await?;
            if let Some(found) = reading.damage.take()
                && self.damaged.iter().all(|it| it.chain != found.chain)
            {
                self.damaged.push(found);
            }
            let Some(newest) = reading.read.last() else {
                continue;
            };
            let at = reading.source.cursor_of(newest);
            if !was_known {
                // Only now is its position among the other chains known.
                self.readers.insert(at, reading);
                continue;
            }
            let stored = reading.read.pop();
            let source = reading.source.clone();
            match reading.read.last() {
                Some(next) => {
                    let next = source.cursor_of(next);
                    self.readers.insert(next, reading);
                }
                None if reading.before > 1 => {
                    let bound = Cursor {
                        position: reading.before - 1,
                        ..at.clone()
                    };
                    self.readers.insert(bound, reading);
                }
                None => {}
            }
            return Ok(stored.map(|stored| (at, source, stored)));
        }
        Ok(None)
    }
}

impl ChainReader {
    /// Reads the next records, unless some are left.
    async fn fill(&mut self, last: Option<&Cursor>) -> Result<(), StorageError> {
        if !std::mem::replace(&mut self.is_started, true)
            && let Some(last) = last
        {
            self.before = match self.source.before(last.at.saturating_add(1)).await {
                Ok(count) => count + 1,
                Err(error) => {
                    self.damage = Some(self.source.broken(&error.into_damage()?));
                    1
                }
            };
        }
        let source = &self.source;
        while self.read.is_empty() && self.before > 1 {
            let from = self.before.saturating_sub(WINDOW).max(1);
            let count = (self.before - from) as usize;
            let read = match self.source.read(from, count).await {
                Ok(read) => read,
                Err(ReadError::Storage(error)) => return Err(error),
                Err(ReadError::Damaged(found)) => {
                    self.damage = Some(found);
                    Vec::new()
                }
            };
            let is_before = |stored: &StoredRecord| {
                last.is_none_or(|last| {
                    let stored = (
                        source.order_time(stored),
                        source.name.as_str(),
                        stored.position,
                    );
                    stored < (last.at, &*last.chain, last.position)
                })
            };
            self.read = read.into_iter().filter(is_before).collect();
            self.before = from;
        }
        Ok(())
    }
}

impl AuditFilter {
    /// Whether the chain of a workspace may have matching records.
    fn may_match(&self, workspace: &WorkspaceId) -> bool {
        let wanted = self.workspace.as_ref();
        self.within.holds(workspace) && wanted.is_none_or(|wanted| wanted == workspace)
    }

    pub(super) fn passes(&self, record: &Record, chain: &ChainName, chains: &Chains) -> bool {
        fn is<T: PartialEq>(wanted: &Option<T>, found: Option<&T>) -> bool {
            wanted.is_none() || wanted.as_ref() == found
        }
        let is_visible = match (&self.within, &record.workspace) {
            (Scope::All, _) => true,
            (Scope::Only(_), None) => false,
            (within, Some(workspace)) => {
                within.holds(workspace)
                    && !is_of_erased(record, chain, chains.registration(workspace))
            }
        };
        let at = record.at.as_microsecond();
        let at = chains.order_time(chain, record.position, at);
        is_visible
            && is(&self.workspace, record.workspace.as_ref())
            && is(&self.actor, Some(&record.actor))
            && is(&self.event, Some(&record.event))
            && is(&self.credential, record.credential.as_ref())
            && self.since.is_none_or(|since| at >= since.as_microsecond())
            && self.until.is_none_or(|until| at < until.as_microsecond())
    }
}

/// Whether a record is about an erased predecessor of the workspace, or may be.
fn is_of_erased(record: &Record, chain: &ChainName, registration: Option<Registration>) -> bool {
    if registration.as_ref().is_some_and(|it| it.is_unreadable) {
        return true;
    }
    let Some(erased) = registration.and_then(|it| it.erased) else {
        return false;
    };
    let last = match chain.workspace_id() {
        Some(_) => erased.records,
        None => erased.position,
    };
    record.position <= last
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.at, self.position, self.chain)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(());
        Ok(Self {
            at: part()?.parse().map_err(drop)?,
            position: part()?.parse().map_err(drop)?,
            chain: part()?.to_owned(),
        })
    }
}

/// Records of a chain per read.
const WINDOW: u64 = 64;
/// Records that a search may read for one page.
const MAX_SCANNED: usize = 20_000;
