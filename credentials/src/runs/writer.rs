//! The task that writes queued run records.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use keyside_store::StorageError;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Message, Run, Shared, block::Block};

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Position of the last block, once the log was scanned.
    position: u64,
    contents: LogContents,
    scanned: bool,
}

/// Messages that were taken from the queue together.
#[derive(Default)]
struct Batch {
    runs: Vec<Run>,
    waiting: Vec<oneshot::Sender<()>>,
    erasing: Vec<oneshot::Sender<Option<usize>>>,
    probing: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            position: 0,
            contents: LogContents::default(),
            scanned: false,
        }
    }

    /// Runs until the registry is dropped and the queue is empty.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        self.scan().await;
        loop {
            let first = match self.shared.failing.load(Ordering::Relaxed) {
                false => queue.recv().await,
                // If requests are refused, no further record arrives to show that writing works
                // again.
                true => match timeout(PROBE_INTERVAL, queue.recv()).await {
                    Ok(first) => first,
                    Err(_) => Some(Message::Probe),
                },
            };
            let Some(first) = first else {
                return;
            };
            let mut batch = gather(first, &mut queue, &self.shared).await;
            // Drops runs of requests that were in progress while their workspace was erased.
            let erased = &self.shared.erased;
            batch
                .runs
                .retain(|run| !erased.covers(run.workspace.as_str(), run.at));
            match batch.runs.is_empty() && batch.probing {
                true => self.probe().await,
                false => self.write(&batch.runs).await,
            }
            // The waiting caller may be gone.
            for waiting in batch.waiting {
                let _ = waiting.send(());
            }
            for erasing in batch.erasing {
                let _ = erasing.send(self.scan().await);
            }
        }
    }

    /// Scans the whole log: removes the runs of erased workspaces, counts records, and collects
    /// times of last use. Returns the number of removed records; `None` if storage fails, and then
    /// the next scan continues.
    async fn scan(&mut self) -> Option<usize> {
        let read = self.read_log().await;
        self.scanned = read.is_ok();
        read.inspect_err(|error| tracing::warn!(%error, "the run records cannot be read"))
            .ok()
    }

    async fn read_log(&mut self) -> Result<usize, StorageError> {
        let (shared, seen) = (self.shared.clone(), Arc::<Mutex<ScanResult>>::default());
        let noted = seen.clone();
        let scan = move |position, block: &[u8]| {
            let (left, erased) = shared.erase(Block::read(block));
            shared.note_last_use(left.usage());
            let mut seen = noted.lock();
            seen.contents.note(position, left.len());
            seen.erased += erased;
            // An empty block is kept, because positions must stay contiguous.
            (erased > 0).then(|| left.to_vec())
        };
        self.shared.log.edit(Box::new(scan)).await?;
        let ScanResult { contents, erased } = {
            let mut seen = seen.lock();
            std::mem::take(&mut *seen)
        };
        if erased > 0 {
            self.shared.log.sync().await?;
        }
        self.position = self.shared.log.last().await?;
        self.contents = contents;
        Ok(erased)
    }

    async fn write(&mut self, runs: &[Run]) {
        if runs.is_empty() {
            return;
        }
        let uses = runs.iter().filter(|run| run.kind.is_use());
        self.shared.note_last_use(uses.filter_map(|run| {
            let used = run.used.as_ref()?;
            Some((used.credential.clone(), run.at))
        }));
        self.shared.note_missing(runs);
        if !self.scanned {
            self.scan().await;
        }
        let (written, appended) = self.append(runs).await;
        if let Err(error) = &appended {
            // Not retried: requests continue, and a full disk must not lead to exhausted memory.
            let lost = runs.len() - written;
            self.shared
                .unrecorded
                .fetch_add(lost as u64, Ordering::Relaxed);
            tracing::warn!(%error, records = lost, "run records were lost");
        }
        self.note(appended.is_ok());
    }

    /// Writes an empty block, which is the only reliable test of the disk.
    async fn probe(&mut self) {
        if !self.scanned {
            self.scan().await;
        }
        let appended = match self.append_block(&[]).await {
            Ok(()) => self.shared.log.sync().await,
            Err(error) => Err(error),
        };
        if let Err(error) = &appended {
            tracing::debug!(%error, "run records cannot be written");
        }
        self.note(appended.is_ok());
    }

    fn note(&mut self, is_written: bool) {
        // The failed block may exist nevertheless; a scan finds the end of the log.
        self.scanned &= is_written;
        let was_failing = self.shared.failing.swap(!is_written, Ordering::Relaxed);
        match (was_failing, is_written) {
            (false, false) => tracing::error!("run records cannot be written"),
            (true, true) => tracing::info!("run records are written again"),
            _ => {}
        }
    }

    /// Returns how many records, from the first on, are on disk, and the error, if any.
    async fn append(&mut self, runs: &[Run]) -> (usize, Result<(), StorageError>) {
        let (mut written, mut appended) = (0, Ok(()));
        for block in runs.chunks(RECORDS_PER_BLOCK) {
            appended = self.append_block(block).await;
            if appended.is_err() {
                break;
            }
            written += block.len();
        }
        if appended.is_ok() {
            appended = self.forget().await;
        }
        match self.shared.log.sync().await {
            Ok(()) => (written, appended),
            Err(error) => (0, Err(error)),
        }
    }

    async fn forget(&mut self) -> Result<(), StorageError> {
        let keep = self.shared.keep.load(Ordering::Relaxed);
        match self.contents.forget(keep) {
            Some(first) => self.shared.log.forget(first).await,
            None => Ok(()),
        }
    }

    async fn append_block(&mut self, runs: &[Run]) -> Result<(), StorageError> {
        let (position, block) = (self.position + 1, Block::of(runs).to_vec());
        let appended = self.shared.log.append(position, block);
        appended.await?;
        self.position = position;
        self.contents.note(position, runs.len());
        Ok(())
    }
}

#[derive(Default)]
struct ScanResult {
    contents: LogContents,
    erased: usize,
}

/// Number of records in the log, by stretch, oldest first.
#[derive(Default)]
struct LogContents {
    records: usize,
    stretches: VecDeque<Stretch>,
}

/// Consecutive blocks that are removed together.
struct Stretch {
    first: u64,
    records: usize,
}

impl LogContents {
    fn note(&mut self, position: u64, records: usize) {
        self.records += records;
        match self.stretches.back_mut() {
            Some(last) if last.records + records <= RECORDS_PER_BLOCK => last.records += records,
            _ => self.stretches.push_back(Stretch {
                first: position,
                records,
            }),
        }
    }

    /// Drops the oldest stretches while `keep` records remain, and returns the new first position.
    fn forget(&mut self, keep: usize) -> Option<u64> {
        let mut begin = None;
        while let [oldest, next, ..] = self.stretches.make_contiguous() {
            let rest = self.records - oldest.records;
            if rest < keep {
                break;
            }
            (self.records, begin) = (rest, Some(next.first));
            self.stretches.pop_front();
        }
        begin
    }
}

/// Collects messages for one batch, until the write delay has passed or the queue holds enough.
/// Sleeps meanwhile: waking for every record would cost the data plane more than the record itself.
async fn gather(first: Message, queue: &mut mpsc::Receiver<Message>, shared: &Shared) -> Batch {
    let mut batch = Batch::default();
    batch.take(first);
    if batch.waiting.is_empty() && batch.erasing.is_empty() && !batch.probing {
        let _ = timeout(MAX_WRITE_DELAY, shared.enough.notified()).await;
    }
    while let Ok(message) = queue.try_recv() {
        batch.take(message);
    }
    shared.queued.fetch_sub(batch.runs.len(), Ordering::Relaxed);
    batch
}

impl Batch {
    fn take(&mut self, message: Message) {
        match message {
            Message::Run(run) => self.runs.push(run),
            Message::Flush(waiting) => self.waiting.push(waiting),
            Message::Erase(erasing) => self.erasing.push(erasing),
            Message::Probe => self.probing = true,
        }
    }
}

/// How late a record may reach the disk, apart from the disk's own time.
const MAX_WRITE_DELAY: Duration = Duration::from_millis(90);
/// How soon requests are accepted again once records can be written: refused ones have a
/// `Retry-After` of a second.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Records that wait for the writer; beyond that `runs.when_full` applies.
pub(super) const MAX_QUEUED_RECORDS: usize = 1_000;
/// Limits the linear search through a block's uses.
const RECORDS_PER_BLOCK: usize = 256;
