//! Run records: what credentials were used for, one per request or live check, written behind.
//!
//! The data plane only queues a record. A task appends queued records to a log in blocks, at most
//! 100 ms or 1,000 records late; records beyond the retention are removed first. While records
//! cannot be written, requests are served or refused, according to the settings.

mod block;
mod erase;
mod figures;
mod kind;
mod outcome;
mod search;
mod writer;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use keyside_config::{ProviderId, WhenFull};
use keyside_store::{Memory, RunLog};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, oneshot};

pub use self::{
    block::{StoredRun, StoredUse},
    figures::{Dimension, Figures, Group, GroupFigures, Percentiles, RunFigures},
    kind::RunKind,
    outcome::Outcome,
    search::{REFUSED, RunFilter, RunPage, RunPosition, RunPositionError},
};
use self::{
    erase::ErasedWorkspaces,
    writer::{MAX_QUEUED_RECORDS, Writer},
};
use crate::model::{CredentialId, Environment, Label, Refusal, WorkspaceId};

/// A proxied request, never its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it was received.
    pub at: Timestamp,
    /// The request's id in responses and logs.
    pub request_id: Box<str>,
    /// What it was made for.
    pub kind: RunKind,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The provider; `None` for a refusal of a request that names no known one.
    pub provider: Option<ProviderId>,
    /// The credential; `None` if the request was refused without one.
    pub used: Option<Used>,
    /// The upstream's status; 0 without a response; for a refusal, its own status.
    pub status: u16,
    /// The name of its [`Outcome`]; for a refusal, its code.
    pub outcome: &'static str,
    /// Method and path, for refusals only.
    pub refused: Option<Box<str>>,
    /// From the request's first byte to the response's last, in microseconds.
    pub latency_us: u64,
    /// From the request's first byte to the response's head, in microseconds.
    pub first_byte_us: Option<u64>,
    /// The tokens it used.
    pub tokens: Tokens,
    /// The run id that the runner sent.
    pub run_id: Option<Box<str>>,
    /// The tag that the runner sent.
    pub tag: Option<Box<str>>,
}

/// The credential that a request used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The credential's id.
    pub credential: CredentialId,
    /// The number of the version whose secret was sent, from 1.
    pub version: u32,
    /// The label at that time.
    pub label: Label,
    /// The environment.
    pub environment: Environment,
}

/// Tokens as the provider reported them; `None` if it did not, which differs from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// All billed input tokens, including cache reads and writes.
    pub input: Option<u64>,
    /// All billed output tokens, including reasoning.
    pub output: Option<u64>,
    /// Input tokens that were read from a cache.
    pub cached_input: Option<u64>,
    /// Input tokens that were written to a cache.
    pub cache_write: Option<u64>,
    /// Output tokens that were used for reasoning.
    pub reasoning: Option<u64>,
}

impl Tokens {
    /// Input and output together; `None` if the provider reported neither.
    pub fn total(self) -> Option<u64> {
        sum_reported(self.input, self.output)
    }
}

/// The sum of two counts; `None` if neither was reported.
pub(crate) fn sum_reported(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).reduce(u64::saturating_add)
}

/// The run records. Cheap to clone.
#[derive(Clone)]
pub struct Runs {
    queue: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

/// State that the data plane, readers and the writer share.
struct Shared {
    log: Arc<dyn RunLog>,
    /// Whether records are kept at all.
    kept: bool,
    keep: AtomicUsize,
    /// Records in the queue.
    queued: AtomicUsize,
    /// Notified when a block is full, or a caller is waiting.
    enough: Notify,
    failing: AtomicBool,
    /// Refuse requests while writes fail.
    refusing: AtomicBool,
    unrecorded: AtomicU64,
    last_used: RwLock<HashMap<CredentialId, Timestamp>>,
    /// When a request was last refused because its workspace had no credential for the provider.
    missing: RwLock<BTreeMap<(WorkspaceId, ProviderId), Timestamp>>,
    erased: ErasedWorkspaces,
}

/// Queued messages, in order: a flush covers all earlier records.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are runs, and a box would cost an allocation for each"
)]
enum Message {
    Run(Run),
    Flush(oneshot::Sender<()>),
    /// Test whether records can be written.
    Probe,
    /// Remove the runs of erased workspaces, and return their number.
    Erase(oneshot::Sender<Option<usize>>),
}

impl Runs {
    /// Starts the writer on the current runtime, which first removes remaining runs of `erased`
    /// workspaces.
    pub(crate) fn start(log: Arc<dyn RunLog>, erased: HashMap<WorkspaceId, Timestamp>) -> Self {
        let (queue, records) = mpsc::channel(QUEUE_CAPACITY);
        let shared = Shared::new(log, true, erased);
        tokio::spawn(Writer::new(shared.clone()).run(records));
        Self { queue, shared }
    }

    /// For a process without a store: keeps no records.
    pub fn disabled() -> Self {
        let (queue, _) = mpsc::channel(1);
        let shared = Shared::new(Arc::new(Memory::new()), false, HashMap::new());
        Self { queue, shared }
    }

    /// Sets how many records are kept at least. Older ones are removed with a later block.
    pub fn set_retention(&self, keep: usize) {
        self.shared.keep.store(keep, Ordering::Relaxed);
    }

    /// Sets whether requests are refused while records cannot be written; see [`Self::refuses`].
    pub fn set_when_full(&self, when_full: WhenFull) {
        let refuse = when_full == WhenFull::Refuse;
        self.shared.refusing.store(refuse, Ordering::Relaxed);
        // If the disk is full already, requests must be refused without waiting for a failed write.
        if refuse && self.queue.try_send(Message::Probe).is_ok() {
            self.shared.enough.notify_one();
        }
    }

    /// Queues a record. Never waits: if the queue is full, the record is counted and dropped.
    pub fn record(&self, run: Run) {
        if !self.shared.kept {
            return;
        }
        // Incremented before sending, so that the writer never subtracts more than was added.
        let queued = self.shared.queued.fetch_add(1, Ordering::Relaxed) + 1;
        if self.queue.try_send(Message::Run(run)).is_err() {
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
            self.lose();
        } else if queued == MAX_QUEUED_RECORDS {
            self.shared.enough.notify_one();
        }
    }

    /// Counts a record that did not fit into the queue.
    fn lose(&self) {
        self.shared.unrecorded.fetch_add(1, Ordering::Relaxed);
        let was_failing = self.shared.failing.swap(true, Ordering::Relaxed);
        // The writer may have emptied the queue in the meantime and be waiting for a message that
        // never comes if requests are refused. If the probe does not fit either, the writer is not
        // waiting.
        if !was_failing && self.queue.try_send(Message::Probe).is_ok() {
            self.shared.enough.notify_one();
        }
    }

    /// Number of runs without a record, because the queue was full or storage failed.
    pub fn unrecorded(&self) -> u64 {
        self.shared.unrecorded.load(Ordering::Relaxed)
    }

    /// Whether the last write succeeded. While writes fail, the writer retries once a second.
    pub fn are_recorded(&self) -> bool {
        !self.shared.failing.load(Ordering::Relaxed)
    }

    /// Whether to refuse requests because they cannot be recorded. Once per request; one atomic
    /// load while writes succeed.
    pub fn refuses(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed) && self.shared.refusing.load(Ordering::Relaxed)
    }

    /// When a request last used the credential.
    pub fn last_used(&self, credential: &CredentialId) -> Option<Timestamp> {
        let last_used = self.shared.last_used.read();
        last_used.get(credential).copied()
    }

    /// The providers for which the workspace had no credential when requests asked for one, at this
    /// time or later. Only memory has it: a restart forgets it until the next such request.
    pub fn missing(&self, workspace: &WorkspaceId, since: Timestamp) -> Vec<ProviderId> {
        let missing = self.shared.missing.read();
        let recent = missing
            .iter()
            .filter(|((of, _), at)| of == workspace && **at >= since);
        recent.map(|((_, provider), _)| provider.clone()).collect()
    }

    /// Waits until all records so far are on disk, or storage has failed.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            self.shared.enough.notify_one();
            // The writer may have ended with its runtime.
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
            missing: RwLock::default(),
            erased: ErasedWorkspaces::new(erased),
        })
    }

    fn note_last_use(&self, runs: impl Iterator<Item = (CredentialId, Timestamp)>) {
        let mut last_used = self.last_used.write();
        for (credential, at) in runs {
            let last = last_used.entry(credential).or_insert(at);
            *last = at.max(*last);
        }
    }

    /// Bounded: a request of an unknown workspace or provider is refused for that.
    fn note_missing(&self, runs: &[Run]) {
        let is_missing = |run: &&Run| {
            run.kind == RunKind::Traffic && run.outcome == Refusal::CredentialMissing.code()
        };
        for run in runs.iter().filter(is_missing) {
            let Some(provider) = run.provider.clone() else {
                continue;
            };
            let mut missing = self.missing.write();
            let last = missing
                .entry((run.workspace.clone(), provider))
                .or_insert(run.at);
            *last = run.at.max(*last);
        }
    }
}

/// About half a second at 30,000 requests per second, in about 8 MB.
const QUEUE_CAPACITY: usize = 16_384;
/// Used unless the settings say otherwise.
const DEFAULT_RETENTION: usize = 100_000;

#[cfg(test)]
mod tests;
