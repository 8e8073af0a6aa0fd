//! Open connections to one host, kept between requests.
//!
//! An HTTP/1.1 connection carries one exchange at a time: it leaves the pool with a
//! request and comes back when the answer was read to its end. HTTP/2 connections
//! are shared, up to as many streams as their peer allows. Taking one costs a lock
//! and no clock; a sweep closes those that nobody used for a while.

use crate::inbound::Inbound;
use hyper::client::conn::{http1, http2};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// The connections to one host.
#[derive(Default)]
pub(super) struct Pool(Mutex<Open>);

#[derive(Default)]
struct Open {
    /// The one used last is at the end, and is used next: the others may grow old.
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    /// Counts the sweeps.
    round: usize,
}

/// An HTTP/1.1 connection that carries nothing, or whose last answer is just ending.
struct Idle {
    sender: http1::SendRequest<Inbound>,
    since: usize,
}

/// An HTTP/2 connection.
struct Shared {
    sender: http2::SendRequest<Inbound>,
    streams: Arc<Streams>,
    used: usize,
}

/// How many streams an HTTP/2 connection carries, of how many.
pub(super) struct Streams {
    open: AtomicUsize,
    limit: AtomicUsize,
    /// The first answer has come, and before it what the peer allows.
    answered: Notify,
    told: AtomicBool,
}

/// A connection that one request may be sent on.
pub(super) enum Connection {
    Http1(http1::SendRequest<Inbound>),
    Http2(http2::SendRequest<Inbound>, Stream),
}

/// A place among a connection's streams, until it is dropped.
pub(super) struct Stream(Arc<Streams>);

/// The connection that an answer comes over, held as long as it does.
pub(crate) struct Lease(Held);

enum Held {
    /// Back in its pool, or never to go there.
    Nothing,
    Whole(Arc<Pool>, http1::SendRequest<Inbound>),
    #[expect(dead_code, reason = "held for its Drop")]
    Part(Stream),
}

impl Pool {
    /// A connection that is open and has room.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut open = self.lock();
        let round = open.round;
        for shared in &mut open.shared {
            if !shared.sender.is_closed()
                && let Some(stream) = Stream::begin(&shared.streams)
            {
                shared.used = round;
                return Some(Connection::Http2(shared.sender.clone(), stream));
            }
        }
        let ready = open.idle.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(Connection::Http1(open.idle.remove(ready).sender))
    }

    /// Shares a new HTTP/2 connection.
    pub(super) fn share(&self, sender: http2::SendRequest<Inbound>, streams: Arc<Streams>) {
        let mut open = self.lock();
        let used = open.round;
        open.shared.push(Shared {
            sender,
            streams,
            used,
        });
    }

    /// How many streams a new connection is likely to be allowed: as many as the others.
    pub(super) fn usual_limit(&self) -> usize {
        let open = self.lock();
        let latest = open.shared.last();
        latest.map_or(UNTIL_TOLD, |shared| {
            shared.streams.limit.load(Ordering::Relaxed)
        })
    }

    fn put(&self, sender: http1::SendRequest<Inbound>) {
        if sender.is_closed() {
            return;
        }
        let mut open = self.lock();
        let since = open.round;
        // An upstream that closes each connection must not make the list grow until the next sweep.
        if open.idle.len() == open.idle.capacity() {
            open.idle.retain(|idle| !idle.sender.is_closed());
        }
        open.idle.push(Idle { sender, since });
    }

    /// Lets go of what is closed, and of what was not used since the sweep before the last.
    fn sweep(&self) {
        let mut open = self.lock();
        open.round += 1;
        let oldest = open.round.saturating_sub(1);
        open.idle
            .retain(|idle| idle.since >= oldest && !idle.sender.is_closed());
        open.shared.retain(|shared| {
            (shared.used >= oldest || shared.streams.any()) && !shared.sender.is_closed()
        });
    }

    /// Sweeps as long as the pool is there. Runs on the runtime that the connections live on.
    pub(super) async fn sweep_forever(pool: Weak<Self>) {
        let mut round = tokio::time::interval(ROUND);
        loop {
            round.tick().await;
            match pool.upgrade() {
                Some(pool) => pool.sweep(),
                None => return,
            }
        }
    }

    /// What a panic leaves is a list of connections all the same.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    /// For a connection whose peer has not said yet how many it allows, and is taken to allow `limit`.
    pub(super) fn presuming(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            answered: Notify::new(),
            told: AtomicBool::new(false),
        })
    }

    pub(super) fn allow(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Returns when the first answer has come: hyper knows then what the peer allows, and does not say so by itself.
    pub(super) async fn answered(&self) {
        self.answered.notified().await;
    }

    fn any(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }
}

impl Stream {
    /// One place more, whatever the peer allows: for the request that the connection was opened for.
    pub(super) fn one_more(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        Self(streams.clone())
    }

    /// A place, if there is one left. Two requests may take the last one at once; the connection makes one wait then.
    fn begin(streams: &Arc<Streams>) -> Option<Self> {
        let open = streams.open.load(Ordering::Relaxed);
        (open < streams.limit.load(Ordering::Relaxed)).then(|| Self::one_more(streams))
    }

    pub(super) fn answered(&self) {
        if !self.0.told.swap(true, Ordering::Relaxed) {
            self.0.answered.notify_one();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lease {
    /// The connection ends with the answer.
    pub(super) fn none() -> Self {
        Self(Held::Nothing)
    }

    pub(super) fn whole(pool: Arc<Pool>, sender: http1::SendRequest<Inbound>) -> Self {
        Self(Held::Whole(pool, sender))
    }

    pub(super) fn part(stream: Stream) -> Self {
        Self(Held::Part(stream))
    }

    /// The answer was read to its end. Dropped without this, an HTTP/1.1 connection is closed: what is left of the
    /// answer would be read as the next one's.
    pub(crate) fn end(&mut self) {
        if let Held::Whole(pool, sender) = std::mem::replace(&mut self.0, Held::Nothing) {
            pool.put(sender);
        }
    }
}

/// A connection is closed after one to two of these without use. Shorter than providers keep theirs, so that a request
/// rarely meets one that is just being closed: a POST would be lost with it.
const ROUND: Duration = Duration::from_secs(15);

/// The least that RFC 9113 (section 6.5.2) recommends to allow.
const UNTIL_TOLD: usize = 100;
