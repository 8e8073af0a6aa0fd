//! Returns memory to the operating system after clients have disconnected.
//!
//! mimalloc 3 leaves a page to the thread that allocated it, even after another thread has freed
//! everything on it; the owner notices at its next allocation. A process that becomes idle after a
//! flood would keep all that memory. So each worker collects once, a moment after the last clients
//! have disconnected.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

/// Schedules collections on the workers of one listener.
pub(crate) struct MemoryReclaimer {
    /// Collects the calling thread's pages.
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

    /// Called when a client has disconnected. Costs one atomic load while a collection is already
    /// scheduled.
    pub(crate) fn schedule(self: &Arc<Self>) {
        if self.scheduled.load(Ordering::Relaxed) || self.scheduled.swap(true, Ordering::Relaxed) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            sleep(DELAY).await;
            this.scheduled.store(false, Ordering::Relaxed);
            // The runtime chooses the worker for each task. More tasks than workers are queued, so
            // that the others take some while one worker collects.
            for _ in 0..TASKS_PER_WORKER * this.workers {
                let collect = this.collect;
                tokio::spawn(async move { collect() });
            }
        });
    }
}

/// Clients of a flood disconnect one after another: one collection a second later serves them all.
const DELAY: Duration = Duration::from_secs(1);
/// Tasks queued for each worker, so that every worker probably runs at least one.
const TASKS_PER_WORKER: usize = 4;
