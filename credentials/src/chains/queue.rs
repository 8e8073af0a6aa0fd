//! The lock of a chain: one change at a time in this process. First come, first served, except that
//! changes that end the use of a key go before all others. Does not know what is changed.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The order among waiting changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// The change ends the use of a key.
    High,
    /// All other changes.
    Normal,
}

/// A lock that is fair within each priority. High-priority changes can delay the others, but not
/// for ever: each use of a key ends once.
#[derive(Default)]
pub(crate) struct Queue(Mutex<Waiting>);

/// Entries of callers that stopped waiting stay until they are skipped.
#[derive(Default)]
struct Waiting {
    is_locked: bool,
    high: VecDeque<oneshot::Sender<Turn>>,
    normal: VecDeque<oneshot::Sender<Turn>>,
}

/// The held lock. Dropping it passes it to the next waiting change, also if it is dropped inside a
/// channel whose receiver is gone: a caller may stop waiting at any time.
pub(crate) struct Turn {
    /// `None` once the lock was passed on.
    queue: Option<Arc<Queue>>,
}

impl Queue {
    pub(crate) async fn lock(self: &Arc<Self>, priority: Priority) -> Turn {
        match self.line_up(priority) {
            Some(turn) => turn.await.expect("a sender is kept until it sends"),
            None => Turn {
                queue: Some(self.clone()),
            },
        }
    }

    /// The channel that will deliver the lock; `None` if it was free and is now taken.
    fn line_up(&self, priority: Priority) -> Option<oneshot::Receiver<Turn>> {
        let mut waiting = self.0.lock();
        if !waiting.is_locked {
            waiting.is_locked = true;
            return None;
        }
        let (sender, turn) = oneshot::channel();
        match priority {
            Priority::High => waiting.high.push_back(sender),
            Priority::Normal => waiting.normal.push_back(sender),
        }
        Some(turn)
    }

    /// The next waiting change. If there is none, the lock becomes free.
    fn pop(&self) -> Option<oneshot::Sender<Turn>> {
        let mut waiting = self.0.lock();
        let high = waiting.high.pop_front();
        let next = high.or_else(|| waiting.normal.pop_front());
        waiting.is_locked = next.is_some();
        next
    }
}

impl Turn {
    /// Whether anyone waits for the lock.
    pub(crate) fn is_wanted(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| {
            let waiting = queue.0.lock();
            let mut all = waiting.high.iter().chain(&waiting.normal);
            all.any(|caller| !caller.is_closed())
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        while let Some(queue) = self.queue.take() {
            let Some(next) = queue.pop() else {
                return;
            };
            let turn = Self { queue: Some(queue) };
            // A caller that stopped waiting returns it. Taking the queue out turns recursive drops
            // into this loop: many may have stopped.
            if let Err(mut turn) = next.send(turn) {
                self.queue = turn.queue.take();
            }
        }
    }
}

#[cfg(test)]
mod tests;
