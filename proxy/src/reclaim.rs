//! Returns memory to the system after clients have left.
//!
//! mimalloc 3 leaves a page to the thread that allocated it, also when another one freed what was on it; that thread
//! finds out when it next allocates. A process that has gone quiet after a flood would keep all of it, so each worker
//! is asked to collect, once, a moment after the last clients left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

/// Asks the workers of one listener.
pub(crate) struct MemoryReclaimer {
    /// Collects on the calling thread.
    collect: fn(),
    workers: usize,
    scheduled: AtomicBool,
}

impl MemoryReclaimer {
    pub(crate) fn new(collect: fn(), workers: usize) -> Arc<Self> {
        Arc::new(Self {
            collect,
            workers,
            scheduled: AtomicBool::new(false),
        })
    }

    /// A client has left. Costs an atomic load while a collection is scheduled.
    pub(crate) fn schedule(self: &Arc<Self>) {
        if self.scheduled.load(Ordering::Relaxed) || self.scheduled.swap(true, Ordering::Relaxed) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            sleep(DELAY).await;
            this.scheduled.store(false, Ordering::Relaxed);
            // Which worker runs a task is the runtime's choice: while one collects, the others take what is queued.
            for _ in 0..TASKS_PER_WORKER * this.workers {
                let collect = this.collect;
                tokio::spawn(async move { collect() });
            }
        });
    }
}

const DELAY: Duration = Duration::from_secs(1);
const TASKS_PER_WORKER: usize = 4;
