//! What credentials were used for: one record a proxied request, written behind.
//!
//! The data plane only puts a record into a queue. A task takes them out and appends them to a log in blocks, at most
//! 100 ms or 1,000 records late; what is older than the retention goes first. While they cannot be written, requests are
//! served all the same or refused, as the settings say.

mod block;
mod erase;
mod search;
mod writer;

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use keyside_config::WhenFull;
use keyside_store::{Memory, RunLog, StorageError};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, oneshot};

use self::{
    block::Block,
    erase::ErasedWorkspaces,
    writer::{MAX_QUEUED_RECORDS, Writer},
};
pub use self::{
    block::{StoredRun, StoredUse},
    search::RunFilter,
};
use crate::model::{CredentialId, Environment, Label, Scope, WorkspaceId};

/// One proxied request. Never its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it came in.
    pub at: Timestamp,
    /// Its id in responses and logs.
    pub request_id: Box<str>,
    /// The workspace that paid.
    pub workspace: WorkspaceId,
    /// The provider.
    pub provider: Arc<str>,
    /// The credential it used; `None` for a request that was refused without one.
    pub used: Option<Used>,
    /// The upstream's status, 0 for no response; of a refusal, ours.
    pub status: u16,
    /// How it ended, in one word: of a refusal, its code.
    pub outcome: &'static str,
    /// What was refused: method and path.
    pub refused: Option<Box<str>>,
    /// From its first byte to the answer's last, in microseconds.
    pub latency_us: u64,
    /// From its first byte to the answer's head, in microseconds.
    pub first_byte_us: Option<u64>,
    /// What it cost.
    pub tokens: Tokens,
    /// The runner's own id for it.
    pub run_id: Option<Box<str>>,
    /// The runner's tag.
    pub tag: Option<Box<str>>,
}

/// The credential that a request used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// Its id.
    pub credential: CredentialId,
    /// Its name at the time.
    pub label: Label,
    /// Live or sandbox.
    pub environment: Environment,
}

/// Tokens as the provider reported them; `None` where it did not, which is not 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// All that are billed as input, those read from and written to a cache included.
    pub input: Option<u64>,
    /// All that are billed as output, reasoning included.
    pub output: Option<u64>,
    /// Of the input, those read from a cache.
    pub cached_input: Option<u64>,
    /// Of the input, those written to a cache.
    pub cache_write: Option<u64>,
    /// Of the output, those the model reasoned with.
    pub reasoning: Option<u64>,
}

/// The run records. Cheap to clone.
#[derive(Clone)]
pub struct Runs {
    queue: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

/// What the data plane, the readers and the writer share.
struct Shared {
    log: Arc<dyn RunLog>,
    /// Whether there is somebody to keep records for.
    kept: bool,
    /// How many records are kept.
    keep: AtomicUsize,
    /// Records in the queue.
    queued: AtomicUsize,
    /// Told when there are enough for a block, or someone waits.
    enough: Notify,
    /// The last records could not be written, and none have been since.
    failing: AtomicBool,
    /// Requests are refused while that is so.
    refusing: AtomicBool,
    unrecorded: AtomicU64,
    last_used: RwLock<HashMap<CredentialId, Timestamp>>,
    erased: ErasedWorkspaces,
}

/// What goes through the queue: in order, so that a flush covers what was recorded before it.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are runs, and a box would cost an allocation for each"
)]
enum Message {
    Run(Run),
    Flush(oneshot::Sender<()>),
    /// Find out whether records can be written.
    Probe,
    /// Go through what is kept for runs that are to be forgotten, and say how many there were.
    Erase(oneshot::Sender<Option<usize>>),
}

impl Runs {
    /// Starts the writer on the current runtime. Runs of `erased` workspaces go first, if there are any left.
    pub(crate) fn start(log: Arc<dyn RunLog>, erased: HashMap<WorkspaceId, Timestamp>) -> Self {
        let (queue, records) = mpsc::channel(QUEUE_CAPACITY);
        let shared = Shared::new(log, true, erased);
        tokio::spawn(Writer::new(shared.clone()).run(records));
        Self { queue, shared }
    }

    /// For a process without a store: log and metrics are what it says of requests. No record is kept.
    pub fn disabled() -> Self {
        let (queue, _) = mpsc::channel(1);
        let shared = Shared::new(Arc::new(Memory::new()), false, HashMap::new());
        Self { queue, shared }
    }

    /// How many records are kept at least, from now on; older ones go with a later block.
    pub fn set_retention(&self, keep: usize) {
        self.shared.keep.store(keep, Ordering::Relaxed);
    }

    /// What becomes of requests while records cannot be written, from now on. Nothing else is refused than what
    /// [`Self::refuses`] says.
    pub fn set_when_full(&self, when_full: WhenFull) {
        let refuse = when_full == WhenFull::Refuse;
        self.shared.refusing.store(refuse, Ordering::Relaxed);
        // Where the disk is full already, the first requests are not to be served for want of a record that failed.
        if refuse && self.queue.try_send(Message::Probe).is_ok() {
            self.shared.enough.notify_one();
        }
    }

    /// Notes a run. Never waits: when the queue is full the record is counted and dropped.
    pub fn record(&self, run: Run) {
        if !self.shared.kept {
            return;
        }
        // Counted first, so that the writer never takes away more than was added.
        let queued = self.shared.queued.fetch_add(1, Ordering::Relaxed) + 1;
        if self.queue.try_send(Message::Run(run)).is_err() {
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
            self.lose();
        } else if queued == MAX_QUEUED_RECORDS {
            self.shared.enough.notify_one();
        }
    }

    /// Counts a run for which the queue had no place.
    fn lose(&self) {
        self.shared.unrecorded.fetch_add(1, Ordering::Relaxed);
        let was_failing = self.shared.failing.swap(true, Ordering::Relaxed);
        // The writer may have emptied the queue meanwhile, found that all is well, and wait for a message that never comes
        // where requests are refused. If there is no place for this one either, the writer is not waiting.
        if !was_failing && self.queue.try_send(Message::Probe).is_ok() {
            self.shared.enough.notify_one();
        }
    }

    /// How many runs have no record, because the queue was full or storage failed.
    pub fn unrecorded(&self) -> u64 {
        self.shared.unrecorded.load(Ordering::Relaxed)
    }

    /// Whether records are being written, as far as the last attempt tells. There is one a second while they are not.
    pub fn are_recorded(&self) -> bool {
        !self.shared.failing.load(Ordering::Relaxed)
    }

    /// Whether requests are to be refused, because they could not be recorded. Once a request: one atomic load while all
    /// is well.
    pub fn refuses(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed) && self.shared.refusing.load(Ordering::Relaxed)
    }

    /// The latest runs of the workspaces in `within`, newest first; fewer when storage fails meanwhile.
    pub async fn recent(&self, limit: usize, within: &Scope) -> Vec<StoredRun> {
        self.search(limit, &RunFilter::within(within)).await
    }

    /// The latest runs that pass, newest first; fewer when storage fails meanwhile. Reads back until it has `limit` of them,
    /// over everything that is kept if need be.
    pub async fn search(&self, limit: usize, filter: &RunFilter) -> Vec<StoredRun> {
        let mut runs = Vec::new();
        if let Err(error) = self.shared.read_back(limit, filter, &mut runs).await {
            tracing::warn!(%error, "the run records cannot be read");
        }
        runs.truncate(limit);
        runs
    }

    /// When a credential was last used by a request.
    pub fn last_used(&self, credential: &CredentialId) -> Option<Timestamp> {
        let last_used = self
            .shared
            .last_used
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        last_used.get(credential).copied()
    }

    /// Returns when everything recorded so far is on disk, or storage has failed to take it.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            self.shared.enough.notify_one();
            // A writer that ended with its runtime has nothing left to write with.
            let _ = flushed.await;
        }
    }
}

impl Shared {
    fn new(log: Arc<dyn RunLog>, kept: bool, erased: HashMap<WorkspaceId, Timestamp>) -> Arc<Self> {
        Arc::new(Self {
            log,
            kept,
            keep: AtomicUsize::new(DEFAULT_RETENTION),
            queued: AtomicUsize::new(0),
            enough: Notify::new(),
            failing: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            unrecorded: AtomicU64::new(0),
            last_used: RwLock::default(),
            erased: ErasedWorkspaces::new(erased),
        })
    }

    /// Block by block from the end, until there are enough.
    async fn read_back(
        &self,
        limit: usize,
        filter: &RunFilter,
        runs: &mut Vec<StoredRun>,
    ) -> Result<(), StorageError> {
        let mut position = self.log.last().await?;
        while position > 0 && runs.len() < limit {
            let found = self.log.read(position, 1).await?;
            match found.first().filter(|(at, _)| *at == position) {
                Some((_, block)) => {
                    let block = Block::read(block);
                    let passing = block.runs().filter(|run| filter.passes(run));
                    runs.extend(passing.rev());
                }
                // Either this is the beginning, or damage has left nothing here.
                None if position <= self.first_block().await? => break,
                None => {}
            }
            position -= 1;
        }
        Ok(())
    }

    async fn first_block(&self) -> Result<u64, StorageError> {
        let oldest = self.log.read(1, 1).await?;
        Ok(oldest.first().map_or(u64::MAX, |(first, _)| *first))
    }

    fn note_last_use(&self, runs: impl Iterator<Item = (CredentialId, Timestamp)>) {
        let mut last_used = self
            .last_used
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for (credential, at) in runs {
            let last = last_used.entry(credential).or_insert(at);
            *last = at.max(*last);
        }
    }
}

/// About half a second at 30,000 requests a second, in some 8 MB.
const QUEUE_CAPACITY: usize = 16_384;
/// Unless the settings say otherwise.
const DEFAULT_RETENTION: usize = 100_000;

#[cfg(test)]
mod tests;
