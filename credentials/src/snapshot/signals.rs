//! What all entries of a credential share, without a lock: the signal that cuts off responses in
//! progress, notices of refused uses, rejections by the provider, and the count of what was spent.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use tokio::sync::{Notify, broadcast, mpsc};

use super::{CredentialEntry, traffic::TrafficHealth};
use crate::{
    clock::Ratchet,
    model::{CredentialEvent, Refusal},
    spend::Meter,
};

pub(crate) struct Signals {
    cut: AtomicBool,
    waiting: Notify,
    /// Time of the last notice of each kind, in seconds since the epoch.
    noted: [AtomicI64; Attempt::KINDS],
    pub(super) traffic: TrafficHealth,
    pub(super) notices: Arc<Notices>,
    /// What requests have spent.
    pub(crate) spend: Arc<Meter>,
}

/// A bounded queue of notices to the task that records them, and events for subscribers.
pub(crate) struct Notices {
    queue: mpsc::Sender<Notice>,
    /// Set once somebody subscribes.
    events: OnceLock<broadcast::Sender<CredentialEvent>>,
    pub(super) clock: Arc<Ratchet>,
    /// Wakes the task that stores counts of spend. Unset where there is no store.
    spend_writer: OnceLock<Arc<Notify>>,
}

/// A refused use of a credential.
pub(crate) struct Notice {
    pub(crate) entry: Arc<CredentialEntry>,
    pub(crate) attempt: Attempt,
}

/// Why the use was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Expired,
    Revoked,
    Undecryptable,
}

impl Attempt {
    const KINDS: usize = 3;

    fn of(refusal: Refusal) -> Option<Self> {
        match refusal {
            Refusal::CredentialExpired => Some(Self::Expired),
            Refusal::CredentialRevoked => Some(Self::Revoked),
            Refusal::CredentialUndecryptable => Some(Self::Undecryptable),
            _ => None,
        }
    }
}

/// Queues a notice of a refused use, at most once an hour for each credential and kind. Called only
/// for refusals; two atomic operations, and an entry in the queue for the first. Never waits: if
/// the queue is full, the next refusal tries again.
pub(crate) fn attempt(entry: &Arc<CredentialEntry>, refusal: Refusal) {
    let Some(attempt) = Attempt::of(refusal) else {
        return;
    };
    let signals = &entry.signals;
    let noted = &signals.noted[attempt as usize];
    let now = signals.notices.clock.now().as_second();
    let before = noted.load(Ordering::Relaxed);
    let mine = now - before >= NOTICE_INTERVAL_SECS
        && noted
            .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
    if !mine {
        return;
    }
    let notice = Notice {
        entry: entry.clone(),
        attempt,
    };
    if signals.notices.queue.try_send(notice).is_err() {
        signals.forget(attempt);
    }
}

impl Signals {
    pub(crate) fn new(notices: Arc<Notices>) -> Self {
        Self {
            cut: AtomicBool::new(false),
            waiting: Notify::new(),
            noted: [const { AtomicI64::new(NEVER) }; Attempt::KINDS],
            traffic: TrafficHealth::default(),
            notices,
            spend: Arc::default(),
        }
    }

    /// Asks for the counts of spend to be stored, if there is a store.
    pub(crate) fn store_spend(&self) {
        if let Some(writer) = self.notices.spend_writer.get() {
            writer.notify_one();
        }
    }

    /// Cuts off responses in progress, for good.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.waiting.notify_waiters();
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    pub(crate) async fn wait_for_cut(&self) {
        let notified = self.waiting.notified();
        tokio::pin!(notified);
        // Registered before the flag is read, so that a signal in between is not missed.
        notified.as_mut().enable();
        if !self.is_cut() {
            notified.await;
        }
    }

    /// The next refusal is noted whenever it comes.
    pub(crate) fn forget(&self, attempt: Attempt) {
        self.noted[attempt as usize].store(NEVER, Ordering::Relaxed);
    }
}

impl Notices {
    pub(crate) fn new(clock: Arc<Ratchet>) -> (Arc<Self>, mpsc::Receiver<Notice>) {
        let (queue, notices) = mpsc::channel(QUEUE_CAPACITY);
        let created = Self {
            queue,
            events: OnceLock::new(),
            clock,
            spend_writer: OnceLock::new(),
        };
        (Arc::new(created), notices)
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<CredentialEvent> {
        self.events().subscribe()
    }

    /// Passes an event to the subscribers. Never waits: a slow one misses the oldest events.
    pub(crate) fn publish(&self, event: CredentialEvent) {
        if let Some(events) = self.events.get() {
            // An error means that nobody is subscribed at the moment.
            let _ = events.send(event);
        }
    }

    /// Whether anybody would get an event.
    pub(crate) fn has_subscribers(&self) -> bool {
        let events = self.events.get();
        events.is_some_and(|events| events.receiver_count() > 0)
    }

    /// Passes the events of `other` to the subscribers of this. Call it before `other` has any of
    /// its own.
    pub(crate) fn adopt(&self, other: &Self) {
        let _ = other.events.set(self.events().clone());
    }

    /// Wakes `writer` when counts of spend must be stored. Only the first call has an effect.
    pub(crate) fn store_spend_with(&self, writer: &Arc<Notify>) {
        let _ = self.spend_writer.set(writer.clone());
    }

    fn events(&self) -> &broadcast::Sender<CredentialEvent> {
        let new = || broadcast::Sender::new(QUEUE_CAPACITY);
        self.events.get_or_init(new)
    }
}

/// At most one notice per credential and kind in this time, so that a client that retries cannot
/// fill the audit log.
const NOTICE_INTERVAL_SECS: i64 = 3_600;
/// Before any time, and not so far that a difference overflows.
const NEVER: i64 = i64::MIN / 2;
/// Notices that wait to be recorded; further ones are dropped, and the next refusal tries again.
const QUEUE_CAPACITY: usize = 256;
