//! Limits the connections of one listener.
//!
//! A new client never waits: at the limit, the connection that has been silent for longest is
//! evicted. So clients that connect and send nothing cannot lock others out, however many they are.
//! A client that sends its request slowly counts as silent, but a new one gets a moment to send.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// The open connections, at most `limit`.
pub(super) struct ConnectionLimit {
    limit: usize,
    slots: Mutex<Vec<Weak<ConnectionSlot>>>,
}

/// The slot of one connection, freed when it is dropped.
pub(super) struct ConnectionSlot {
    since: Instant,
    activity: Mutex<Activity>,
    /// How many times everything that was to be sent has been written to the socket.
    flushes: AtomicUsize,
    evicted: Notify,
}

/// Ordered by who is evicted first: connections that wait for a response stay while others exist.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Activity {
    awaits_response: bool,
    last_byte: Instant,
}

impl ConnectionLimit {
    pub(super) fn new(limit: usize) -> Self {
        let slots = Mutex::default();
        Self { limit, slots }
    }

    /// A slot for a new connection, which evicts another one at the limit.
    pub(super) fn admit(&self) -> Arc<ConnectionSlot> {
        let slot = Arc::new(ConnectionSlot::new());
        let mut slots = self.slots.lock();
        slots.retain(|slot| slot.strong_count() > 0);
        if slots.len() >= self.limit {
            evict_one(&mut slots);
        }
        slots.push(Arc::downgrade(&slot));
        slot
    }
}

fn evict_one(slots: &mut Vec<Weak<ConnectionSlot>>) {
    let open = slots.iter().filter_map(Weak::upgrade);
    // If most are new, they are a flood, and older connections must not be evicted for them.
    let spares_new = open.filter(|slot| slot.is_new()).count() <= slots.len() / 2;
    let ranks = slots.iter().map(|slot| {
        let slot = slot.upgrade()?;
        let activity = *slot.activity.lock();
        Some((spares_new && slot.is_new(), activity))
    });
    let first = ranks.enumerate().min_by_key(|(_, rank)| *rank);
    if let Some((index, _)) = first
        && let Some(slot) = slots.swap_remove(index).upgrade()
    {
        slot.evicted.notify_one();
    }
}

impl ConnectionSlot {
    fn new() -> Self {
        let activity = Activity {
            awaits_response: false,
            last_byte: Instant::now(),
        };
        Self {
            since: activity.last_byte,
            activity: Mutex::new(activity),
            flushes: AtomicUsize::new(0),
            evicted: Notify::new(),
        }
    }

    /// Called when a byte was received or sent.
    pub(super) fn touch(&self) {
        self.activity.lock().last_byte = Instant::now();
    }

    /// Called when everything that was written so far is flushed.
    pub(super) fn flushed(&self) {
        self.flushes.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn flushes(&self) -> usize {
        self.flushes.load(Ordering::Acquire)
    }

    fn is_new(&self) -> bool {
        self.since.elapsed() < NEW
    }

    /// Called with true when a whole request has arrived, and with false after its response.
    pub(super) fn set_awaits_response(&self, awaits_response: bool) {
        self.activity.lock().awaits_response = awaits_response;
    }

    #[cfg(test)]
    pub(super) fn awaits_response(&self) -> bool {
        self.activity.lock().awaits_response
    }

    /// Returns when the slot was given to another connection.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

/// How long a client has to send its first request.
const NEW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    async fn after_a_second<T>(act: impl FnOnce() -> T) -> T {
        advance(Duration::from_secs(1)).await;
        act()
    }

    async fn is_evicted(slot: &ConnectionSlot) -> bool {
        timeout(Duration::ZERO, slot.evicted()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_was_silent_for_longest_is_evicted() {
        let limit = ConnectionLimit::new(3);
        let first = limit.admit();
        let second = after_a_second(|| limit.admit()).await;
        let third = after_a_second(|| limit.admit()).await;
        after_a_second(|| first.touch()).await;
        let fourth = after_a_second(|| limit.admit()).await;
        assert!(is_evicted(&second).await);
        for kept in [&first, &third, &fourth] {
            assert!(!is_evicted(kept).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_awaits_a_response_stays_while_there_are_others() {
        let limit = ConnectionLimit::new(2);
        let answered = limit.admit();
        answered.set_awaits_response(true);
        let idle = after_a_second(|| limit.admit()).await;
        let last = after_a_second(|| limit.admit()).await;
        assert!(is_evicted(&idle).await && !is_evicted(&answered).await);
        last.set_awaits_response(true);
        let _newcomer = after_a_second(|| limit.admit()).await;
        assert!(is_evicted(&answered).await && !is_evicted(&last).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_stays_though_others_were_active_since() {
        let limit = ConnectionLimit::new(4);
        let old = [limit.admit(), limit.admit(), limit.admit()];
        let new = after_a_second(|| limit.admit()).await;
        advance(Duration::from_millis(1)).await;
        old.iter().for_each(|slot| slot.touch());
        let _next = limit.admit();
        assert!(!is_evicted(&new).await);
        assert!(is_evicted(&old[0]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_new_connections_evicts_none_that_awaits_a_response() {
        let limit = ConnectionLimit::new(4);
        let answered = limit.admit();
        answered.set_awaits_response(true);
        advance(Duration::from_secs(1)).await;
        let mut flood = Vec::new();
        for _ in 0..20 {
            flood.push(limit.admit());
        }
        assert!(!is_evicted(&answered).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_slot_is_free() {
        let limit = ConnectionLimit::new(2);
        let stays = limit.admit();
        for _ in 0..5 {
            drop(after_a_second(|| limit.admit()).await);
        }
        assert!(!is_evicted(&stays).await);
    }
}
