//! The task behind the queue.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Message, Run, Shared, block};
use crate::storage::{Log, StorageError};

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// The block before the next, once the log has been looked at.
    position: u64,
    /// Blocks in storage, oldest first: position and number of records.
    blocks: VecDeque<(u64, usize)>,
    kept: usize,
    looked: bool,
}

/// What was taken out of the queue at once.
#[derive(Default)]
struct Batch {
    runs: Vec<Run>,
    waiting: Vec<oneshot::Sender<()>>,
    erasing: Vec<oneshot::Sender<Option<usize>>>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            position: 0,
            blocks: VecDeque::new(),
            kept: 0,
            looked: false,
        }
    }

    /// Until the registry is gone and the queue is empty.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        self.look().await;
        while let Some(first) = queue.recv().await {
            let Batch {
                mut runs,
                waiting,
                erasing,
            } = gather(first, &mut queue, &self.shared).await;
            // A request that was under way while its workspace was erased.
            runs.retain(|run| !self.shared.erased.covers(run.workspace.as_str(), run.at));
            self.write(&runs).await;
            // Whoever waited may have given up.
            for waiting in waiting {
                let _ = waiting.send(());
            }
            for erasing in erasing {
                let _ = erasing.send(self.look().await);
            }
        }
    }

    /// Learns what there is: how many records, and who was used when. What is to be forgotten is, and counted; nothing is
    /// said of that if storage fails, and the next look goes on.
    async fn look(&mut self) -> Option<usize> {
        let read = self.read_log().await;
        self.looked = read.is_ok();
        read.inspect_err(|error| tracing::warn!(%error, "the run records cannot be read"))
            .ok()
    }

    async fn read_log(&mut self) -> Result<usize, StorageError> {
        (self.position, self.kept) = (0, 0);
        self.blocks.clear();
        let mut erased = 0;
        loop {
            let entries = self
                .shared
                .storage
                .entries(Log::Runs, self.position + 1, READ_AT_ONCE)
                .await?;
            for (position, entry) in &entries {
                let mut runs = block::read(entry);
                erased += self.shared.erase(*position, &mut runs).await?;
                self.shared.used(runs.iter().filter_map(|run| run.usage()));
                self.note(*position, runs.len());
            }
            if entries.len() < READ_AT_ONCE {
                break;
            }
        }
        if erased > 0 {
            self.shared.storage.sync().await?;
        }
        Ok(erased)
    }

    async fn write(&mut self, runs: &[Run]) {
        if runs.is_empty() {
            return;
        }
        self.shared
            .used(runs.iter().map(|run| (run.credential.clone(), run.at)));
        if !self.looked {
            self.look().await;
        }
        if let Err(error) = self.append(runs).await {
            // Not retried: requests go on, and a full disk must not become a full memory.
            self.shared
                .dropped
                .fetch_add(runs.len() as u64, Ordering::Relaxed);
            tracing::warn!(%error, records = runs.len(), "run records were lost");
            // Perhaps the block is there all the same; the log says where it ends.
            self.looked = false;
        }
    }

    async fn append(&mut self, runs: &[Run]) -> Result<(), StorageError> {
        for runs in runs.chunks(RECORDS_PER_BLOCK) {
            let position = self.position + 1;
            self.shared
                .storage
                .append(Log::Runs, position, block::write(runs))
                .await?;
            self.note(position, runs.len());
        }
        self.forget().await?;
        self.shared.storage.sync().await
    }

    fn note(&mut self, position: u64, records: usize) {
        self.position = position;
        self.kept += records;
        self.blocks.push_back((position, records));
    }

    /// Drops the oldest blocks as long as enough remains without them.
    async fn forget(&mut self) -> Result<(), StorageError> {
        let keep = self.shared.keep.load(Ordering::Relaxed);
        let mut gone = false;
        while let [(_, oldest), _, ..] = self.blocks.make_contiguous() {
            let Some(rest) = self.kept.checked_sub(*oldest).filter(|rest| *rest >= keep) else {
                break;
            };
            self.kept = rest;
            self.blocks.pop_front();
            gone = true;
        }
        match self.blocks.front().filter(|_| gone) {
            Some((first, _)) => self.shared.storage.forget(Log::Runs, *first).await,
            None => Ok(()),
        }
    }
}

/// Takes out of the queue what comes within the time that may be at risk, or as many as may be. Sleeps meanwhile: woken for
/// every record, it would cost the data plane more than the record does.
async fn gather(first: Message, queue: &mut mpsc::Receiver<Message>, shared: &Shared) -> Batch {
    let mut batch = Batch::default();
    batch.take(first);
    if batch.waiting.is_empty() && batch.erasing.is_empty() {
        let _ = timeout(AT_RISK, shared.enough.notified()).await;
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
        }
    }
}

/// How late a record may reach the disk, apart from the disk's own time.
const AT_RISK: Duration = Duration::from_millis(90);
pub(super) const RECORDS_AT_RISK: usize = 1_000;
/// About 2 KiB: what is larger, sled's cache does not let go of.
const RECORDS_PER_BLOCK: usize = 32;
const READ_AT_ONCE: usize = 256;
