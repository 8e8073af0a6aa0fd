//! The lock of a chain: one change at a time in this process. Those that wait get it in the order in which they came, but for
//! what ends the use of a key, which goes before everything else. Knows nothing of what is changed.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Which of those that wait goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// It ends the use of a key.
    High,
    /// Everything else.
    Normal,
}

/// A lock that is fair within each priority. Changes of high priority can hold up the others for as long as they keep coming,
/// which has an end: each use of a key ends once.
#[derive(Default)]
pub(crate) struct Queue(Mutex<Waiting>);

/// Those whose caller has given up stay until they are passed over.
#[derive(Default)]
struct Waiting {
    is_locked: bool,
    high: VecDeque<oneshot::Sender<Turn>>,
    normal: VecDeque<oneshot::Sender<Turn>>,
}

/// Held while a chain is changed; dropped, it goes to the next one that waits. Also where that is in a channel whose receiver
/// is dropped: a caller may give up at any time.
pub(crate) struct Turn {
    /// None once it has gone to another one.
    queue: Option<Arc<Queue>>,
}

impl Queue {
    /// Waits for the lock.
    pub(crate) async fn lock(self: &Arc<Self>, priority: Priority) -> Turn {
        match self.line_up(priority) {
            Some(turn) => turn.await.expect("a sender is kept until it sends"),
            None => Turn {
                queue: Some(self.clone()),
            },
        }
    }

    /// Where the lock will arrive; nothing where it was free, and is taken now.
    fn line_up(&self, priority: Priority) -> Option<oneshot::Receiver<Turn>> {
        let mut waiting = self.waiting();
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

    /// The next one that waits. Where there is none, the lock is free from here on.
    fn pop(&self) -> Option<oneshot::Sender<Turn>> {
        let mut waiting = self.waiting();
        let high = waiting.high.pop_front();
        let next = high.or_else(|| waiting.normal.pop_front());
        waiting.is_locked = next.is_some();
        next
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        while let Some(queue) = self.queue.take() {
            let Some(next) = queue.pop() else {
                return;
            };
            let turn = Self { queue: Some(queue) };
            // Comes back from a caller that has given up. Taken out of it, so that it does not hand over itself: many may have.
            if let Err(mut turn) = next.send(turn) {
                self.queue = turn.queue.take();
            }
        }
    }
}

#[cfg(test)]
mod tests;
