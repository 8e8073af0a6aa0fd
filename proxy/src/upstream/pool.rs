//! Open connections to one host, kept between requests.
//!
//! Each credential has a pool of its own, so that one workspace's stalled answers
//! hold up nobody else's on a connection that both would share. An HTTP/1.1
//! connection carries one exchange at a time: it leaves the pool with a request
//! and comes back when the answer was read to its end. HTTP/2 connections are
//! shared, up to as many streams as fit into their window. Taking one costs a lock
//! and a look at the clock; a sweep closes those that nobody used for a while.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderMap;
use hyper::client::conn::{http1, http2};
use keyside_credentials::CredentialId;
use tokio::sync::Notify;

use super::{contradiction::ContradictionFlag, socket::ReceivedFlag};
use crate::request_body::RequestBody;

/// The pools of one host, by credential.
#[derive(Default)]
pub(super) struct Pools {
    by_credential: Mutex<HashMap<CredentialId, Arc<Pool>>>,
    sweeping: AtomicBool,
}

/// The pools of all hosts, by which a connection that lies idle makes room for one that is needed.
#[derive(Default)]
pub(crate) struct AllPools(Mutex<Vec<Weak<Pools>>>);

/// The connections of one credential to one host.
#[derive(Default)]
pub(super) struct Pool {
    open: Mutex<Open>,
    /// Held while a connection is opened, so that others can share it if it is HTTP/2.
    pub(super) opening: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Open {
    /// The one used last is at the end, and is used next: the others may grow old.
    idle: Vec<IdleConnection>,
    shared: Vec<Http2Connection>,
}

/// An HTTP/1.1 connection that carries one exchange at a time.
pub(super) struct Http1Connection {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) received: ReceivedFlag,
}

/// One that carries nothing, or whose last answer is just ending.
struct IdleConnection {
    connection: Http1Connection,
    /// The peer may close it soon after.
    until: Instant,
}

/// An HTTP/2 connection.
struct Http2Connection {
    sender: http2::SendRequest<RequestBody>,
    streams: Arc<StreamLimit>,
    used: Instant,
}

/// How many streams an HTTP/2 connection carries, of how many.
pub(super) struct StreamLimit {
    open: AtomicUsize,
    limit: AtomicUsize,
    /// The first answer has come, and before it what the peer allows.
    answered: Notify,
    answer_seen: AtomicBool,
    contradicted: ContradictionFlag,
}

/// A connection that one request may be sent on.
pub(super) enum Connection {
    Http1(Http1Connection),
    Http2(http2::SendRequest<RequestBody>, StreamSlot),
}

/// A place among a connection's streams, until it is dropped.
pub(super) struct StreamSlot(Arc<StreamLimit>);

/// The connection that an answer comes over, held as long as it does.
pub(crate) struct Lease(LeaseState);

enum LeaseState {
    /// Back in its pool, or never to go there.
    Released,
    Http1(Arc<Pool>, Http1Connection, Duration),
    #[expect(dead_code, reason = "held for its Drop")]
    Http2(StreamSlot),
}

impl AllPools {
    pub(super) fn add(&self, pools: &Arc<Pools>) {
        self.lock().push(Arc::downgrade(pools));
    }

    /// Closes a connection that carries nothing. Returns whether there was one.
    pub(super) fn close_idle(&self) -> bool {
        let mut all = self.lock();
        all.retain(|pools| pools.strong_count() > 0);
        let pools: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
        drop(all);
        pools.iter().any(|pools| pools.close_idle())
    }

    /// What a panic leaves is a list of pools all the same.
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Pools>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pools {
    pub(super) fn close_idle(&self) -> bool {
        self.lock().values().any(|pool| pool.close_idle())
    }

    /// The pool of this credential. Has to be called on the runtime that the connections live on.
    pub(super) fn of(self: &Arc<Self>, credential: &CredentialId) -> Arc<Pool> {
        if !self.sweeping.load(Ordering::Relaxed) && !self.sweeping.swap(true, Ordering::Relaxed) {
            tokio::spawn(Self::sweep_forever(Arc::downgrade(self)));
        }
        let mut pools = self.lock();
        match pools.get(credential) {
            Some(pool) => pool.clone(),
            None => pools.entry(credential.clone()).or_default().clone(),
        }
    }

    /// Sweeps as long as the pools are there.
    async fn sweep_forever(pools: Weak<Self>) {
        let mut round = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            round.tick().await;
            match pools.upgrade() {
                Some(pools) => pools.sweep(Instant::now()),
                None => return,
            }
        }
    }

    fn sweep(&self, now: Instant) {
        self.lock().retain(|_, pool| {
            let empty = pool.sweep(now);
            // A request that is about to open a connection has a handle on its pool, got under this lock.
            !empty || Arc::strong_count(pool) > 1
        });
    }

    /// What a panic leaves is a list of pools all the same.
    fn lock(&self) -> MutexGuard<'_, HashMap<CredentialId, Arc<Pool>>> {
        let pools = self.by_credential.lock();
        pools.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// A connection that is open and has room.
    pub(super) fn take(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut open = self.lock();
        for shared in &mut open.shared {
            if !shared.sender.is_closed()
                && let Some(stream) = StreamSlot::try_acquire(&shared.streams)
            {
                shared.used = now;
                return Some(Connection::Http2(shared.sender.clone(), stream));
            }
        }
        let usable = |idle: &IdleConnection| idle.until > now && idle.connection.sender.is_ready();
        let usable = open.idle.iter().rposition(usable)?;
        Some(Connection::Http1(open.idle.remove(usable).connection))
    }

    /// Closes the connection that was idle for longest.
    fn close_idle(&self) -> bool {
        let mut open = self.lock();
        if !open.idle.is_empty() {
            open.idle.remove(0);
            return true;
        }
        let unused = open
            .shared
            .iter()
            .position(|shared| !shared.streams.has_open());
        unused.map(|unused| open.shared.remove(unused)).is_some()
    }

    /// Whether the peer speaks HTTP/2: one connection then has room for many requests.
    pub(super) fn is_http2(&self) -> bool {
        !self.lock().shared.is_empty()
    }

    /// Shares a new HTTP/2 connection.
    pub(super) fn share(&self, sender: http2::SendRequest<RequestBody>, streams: Arc<StreamLimit>) {
        self.lock().shared.push(Http2Connection {
            sender,
            streams,
            used: Instant::now(),
        });
    }

    /// How many streams a new connection is likely to be allowed: as many as the others.
    pub(super) fn expected_limit(&self) -> usize {
        let open = self.lock();
        let latest = open.shared.last();
        latest.map_or(DEFAULT_STREAM_LIMIT, |shared| {
            shared.streams.limit.load(Ordering::Relaxed)
        })
    }

    fn put(&self, connection: Http1Connection, lifetime: Duration) {
        if connection.sender.is_closed() || lifetime.is_zero() {
            return;
        }
        let until = Instant::now() + lifetime;
        let mut open = self.lock();
        // An upstream that closes each connection must not make the list grow until the next sweep.
        if open.idle.len() == open.idle.capacity() {
            open.idle.retain(|idle| !idle.connection.sender.is_closed());
        }
        open.idle.push(IdleConnection { connection, until });
    }

    /// Lets go of what is closed, and of what was not used for too long. Returns whether nothing is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut open = self.lock();
        open.idle
            .retain(|idle| idle.until > now && !idle.connection.sender.is_closed());
        open.shared.retain(|shared| {
            let fresh = now.saturating_duration_since(shared.used) < HTTP2_IDLE;
            (fresh || shared.streams.has_open()) && !shared.sender.is_closed()
        });
        open.idle.is_empty() && open.shared.is_empty()
    }

    /// What a panic leaves is a list of connections all the same.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamLimit {
    /// For a connection whose peer has not said yet how many it allows, and is taken to allow `limit`.
    pub(super) fn with_limit(limit: usize, contradicted: ContradictionFlag) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            answered: Notify::new(),
            answer_seen: AtomicBool::new(false),
            contradicted,
        })
    }

    pub(super) fn allow(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Returns when the first answer has come: hyper knows then what the peer allows, and does not say so by itself.
    pub(super) async fn answered(&self) {
        self.answered.notified().await;
    }

    fn has_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }
}

impl StreamSlot {
    /// One place more, whatever the peer allows: for the request that the connection was opened for.
    pub(super) fn acquire_unchecked(streams: &Arc<StreamLimit>) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        Self(streams.clone())
    }

    /// A place, if there is one left. Two requests may take the last one at once; the connection makes one wait then.
    fn try_acquire(streams: &Arc<StreamLimit>) -> Option<Self> {
        let open = streams.open.load(Ordering::Relaxed);
        let limit = streams.limit.load(Ordering::Relaxed);
        (open < limit.min(MAX_STREAMS)).then(|| Self::acquire_unchecked(streams))
    }

    /// What this connection's peer says about its requests.
    pub(super) fn contradicted(&self) -> ContradictionFlag {
        self.0.contradicted.clone()
    }

    pub(super) fn answered(&self) {
        if !self.0.answer_seen.swap(true, Ordering::Relaxed) {
            self.0.answered.notify_one();
        }
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lease {
    /// The connection ends with the answer.
    pub(super) fn released() -> Self {
        Self(LeaseState::Released)
    }

    /// An HTTP/1.1 connection, which may lie idle for `lifetime` once the answer was read.
    pub(super) fn http1(pool: Arc<Pool>, connection: Http1Connection, lifetime: Duration) -> Self {
        Self(LeaseState::Http1(pool, connection, lifetime))
    }

    pub(super) fn http2(stream: StreamSlot) -> Self {
        Self(LeaseState::Http2(stream))
    }

    /// The answer was read to its end. Dropped without this, an HTTP/1.1 connection is closed: what is left of the
    /// answer would be read as the next one's.
    pub(crate) fn end(&mut self) {
        let held = std::mem::replace(&mut self.0, LeaseState::Released);
        if let LeaseState::Http1(pool, connection, lifetime) = held {
            pool.put(connection, lifetime);
        }
    }
}

/// How long an HTTP/1.1 connection may lie idle after an answer with these headers: shorter than the peer keeps it, so
/// that a request rarely meets one that is just being closed; a POST would be lost with it.
pub(super) fn idle_lifetime(answer: &HeaderMap) -> Duration {
    match keep_alive_parameter(answer, "timeout") {
        _ if keep_alive_parameter(answer, "max") == Some(0) => Duration::ZERO,
        Some(seconds) => {
            let kept = Duration::from_secs(seconds);
            (kept - (kept / 2).min(Duration::from_secs(1))).min(MAX_IDLE)
        }
        None => DEFAULT_IDLE,
    }
}

/// A parameter of `Keep-Alive: timeout=5, max=100` (RFC 2068 section 19.7.1.1).
fn keep_alive_parameter(answer: &HeaderMap, parameter: &str) -> Option<u64> {
    let text = answer.get("keep-alive")?.to_str().ok()?;
    let mut parameters = text.split(',').filter_map(|pair| pair.split_once('='));
    let value = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case(parameter));
    value?.1.trim().parse().ok()
}

/// Node's servers, and with them many gateways, close a connection that was idle for 5 s.
const DEFAULT_IDLE: Duration = Duration::from_secs(4);
/// Whatever the peer says: an idle connection takes a descriptor.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// An HTTP/2 peer announces with GOAWAY that it closes a connection, so that no request is lost with it.
const HTTP2_IDLE: Duration = Duration::from_secs(30);
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The least that RFC 9113 (section 6.5.2) recommends to allow.
const DEFAULT_STREAM_LIMIT: usize = 100;

/// Requests on one HTTP/2 connection at a time: as many as the connection's window holds whole stream windows, so that
/// answers which nobody reads leave the others their part.
pub(super) const MAX_STREAMS: usize = 64;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_connection_lies_idle_for_less_than_its_peer_keeps_it() {
        for (keep_alive, milliseconds) in [
            ("timeout=5", 4_000),
            ("timeout=75, max=100", 60_000),
            ("max=100, Timeout = 20", 19_000),
            ("timeout=1", 500),
            ("timeout=0", 0),
            ("timeout=5, max=0", 0),
            ("timeout=never", 4_000),
        ] {
            let mut answer = HeaderMap::new();
            answer.insert("keep-alive", HeaderValue::from_static(keep_alive));
            let lifetime = idle_lifetime(&answer);
            assert_eq!(lifetime.as_millis(), milliseconds, "{keep_alive}");
        }
        assert_eq!(idle_lifetime(&HeaderMap::new()), DEFAULT_IDLE);
    }
}
