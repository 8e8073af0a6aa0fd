//! Open connections to one host, kept between requests.
//!
//! Each credential has its own pool, so that one workspace's stalled responses cannot block
//! another's on a shared connection. An HTTP/1.1 connection serves one request at a time: it leaves
//! the pool with a request and returns when the response was read to its end. HTTP/2 connections
//! are shared by as many streams as fit into their window. Taking a connection costs a lock and
//! reading the clock; a sweep closes those that have been idle for too long.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName};
use hyper::client::conn::{http1, http2};
use keyside_credentials::{CredentialId, Grant, WorkspaceId};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::interval};

use super::{
    contradiction::ContradictionFlag,
    socket::{ConnectionHandle, ReceivedFlag},
};
use crate::request_body::RequestBody;

/// The pools of one host, by credential.
#[derive(Default)]
pub(super) struct Pools {
    by_credential: Mutex<HashMap<CredentialId, Arc<Pool>>>,
    sweeping: AtomicBool,
}

/// The pools of several hosts, to find an idle connection whose slot is needed elsewhere.
#[derive(Default)]
pub(super) struct AllPools(Mutex<Vec<Weak<Pools>>>);

/// The connections of one credential to one host.
pub(super) struct Pool {
    /// The credential's workspace, whose share the connections count towards.
    workspace: WorkspaceId,
    open: Mutex<Open>,
    /// Locked while a connection is being opened, so that other requests can share it if it is
    /// HTTP/2.
    pub(super) opening: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Open {
    /// The most recently used connection is last and is taken first, so that the others expire.
    idle: Vec<IdleConnection>,
    shared: Vec<Http2Connection>,
}

/// An HTTP/1.1 connection, which serves one request at a time.
pub(super) struct Http1Connection {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) received: ReceivedFlag,
    pub(super) handle: ConnectionHandle,
}

/// An HTTP/1.1 connection that serves no request, or whose last response is just ending.
struct IdleConnection {
    connection: Http1Connection,
    /// Not used after this, because the peer may close it soon.
    until: Instant,
}

/// An HTTP/2 connection.
struct Http2Connection {
    sender: http2::SendRequest<RequestBody>,
    streams: Arc<StreamLimit>,
    handle: ConnectionHandle,
    used: Instant,
}

/// Counts the open streams of an HTTP/2 connection against its limit.
pub(super) struct StreamLimit {
    open: AtomicUsize,
    limit: AtomicUsize,
    /// Notified at the first response; the peer's settings have arrived before it.
    answered: Notify,
    answer_seen: AtomicBool,
    contradicted: ContradictionFlag,
}

/// A connection on which one request may be sent.
pub(super) enum Connection {
    Http1(Http1Connection),
    Http2(http2::SendRequest<RequestBody>, StreamSlot),
}

/// One of a connection's streams; released on drop.
pub(super) struct StreamSlot(Arc<StreamLimit>);

/// Holds the connection that a response arrives on, until the response has been read.
pub(crate) struct Lease(LeaseState);

enum LeaseState {
    /// Back in its pool, or not pooled at all.
    Released,
    Http1(Arc<Pool>, Http1Connection, Duration),
    #[expect(dead_code, reason = "held for its Drop")]
    Http2(StreamSlot),
}

impl AllPools {
    pub(super) fn add(&self, pools: &Arc<Pools>) {
        self.0.lock().push(Arc::downgrade(pools));
    }

    /// Without those that were dropped.
    fn existing(&self) -> Vec<Arc<Pools>> {
        let mut all = self.0.lock();
        all.retain(|pools| pools.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).collect()
    }

    /// Removes an idle connection, to be closed, from a pool whose workspace `may_lose` it. It is
    /// the one that expires first: a key that is in use needs its own again at once.
    pub(super) fn remove_idle(
        &self,
        may_lose: impl Fn(&WorkspaceId) -> bool,
    ) -> Option<ConnectionHandle> {
        let pools = self.existing();
        loop {
            let idle = pools
                .iter()
                .filter_map(|pools| pools.first_to_expire(&may_lose));
            let (_, pool) = idle.min_by_key(|(until, _)| *until)?;
            // Another request may have taken it meanwhile.
            if let Some(idle) = pool.remove_idle() {
                return Some(idle);
            }
        }
    }
}

impl Pools {
    /// The pool whose idle connection expires before those of the others.
    fn first_to_expire(
        &self,
        may_lose: impl Fn(&WorkspaceId) -> bool,
    ) -> Option<(Instant, Arc<Pool>)> {
        let pools = self.by_credential.lock();
        let losing = pools.values().filter(|pool| may_lose(&pool.workspace));
        let idle = losing.filter_map(|pool| {
            let until = pool.open.lock().next_expiry()?;
            Some((until, pool.clone()))
        });
        idle.min_by_key(|(until, _)| *until)
    }

    /// The pool of this grant's credential. Must be called on the runtime that the connections live
    /// on.
    pub(super) fn of(self: &Arc<Self>, grant: &Grant) -> Arc<Pool> {
        if !self.sweeping.load(Ordering::Relaxed) && !self.sweeping.swap(true, Ordering::Relaxed) {
            tokio::spawn(Self::sweep_forever(Arc::downgrade(self)));
        }
        let mut pools = self.by_credential.lock();
        if let Some(pool) = pools.get(grant.credential_id()) {
            return pool.clone();
        }
        let pool = Arc::new(Pool::new(grant.workspace().clone()));
        pools.insert(grant.credential_id().clone(), pool.clone());
        pool
    }

    /// Sweeps until the pools are dropped.
    async fn sweep_forever(pools: Weak<Self>) {
        let mut round = interval(SWEEP_INTERVAL);
        loop {
            round.tick().await;
            match pools.upgrade() {
                Some(pools) => pools.sweep(Instant::now()),
                None => return,
            }
        }
    }

    fn sweep(&self, now: Instant) {
        self.by_credential.lock().retain(|_, pool| {
            let empty = pool.sweep(now);
            // A request that is about to open a connection holds a handle on its pool, which it got
            // under this lock.
            !empty || Arc::strong_count(pool) > 1
        });
    }
}

impl Pool {
    fn new(workspace: WorkspaceId) -> Self {
        Self {
            workspace,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// An open connection with capacity for one more request.
    pub(super) fn take(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut open = self.open.lock();
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

    /// Removes the connection that has been idle for longest.
    fn remove_idle(&self) -> Option<ConnectionHandle> {
        let mut open = self.open.lock();
        open.forget_closed();
        if !open.idle.is_empty() {
            return Some(open.idle.remove(0).connection.handle);
        }
        let unused = open
            .shared
            .iter()
            .position(|shared| !shared.streams.has_open());
        unused.map(|unused| open.shared.remove(unused).handle)
    }

    /// Whether the peer speaks HTTP/2, so that one connection serves many requests.
    pub(super) fn is_http2(&self) -> bool {
        !self.open.lock().shared.is_empty()
    }

    /// Adds a new HTTP/2 connection, which requests share.
    pub(super) fn share(
        &self,
        sender: http2::SendRequest<RequestBody>,
        streams: Arc<StreamLimit>,
        handle: ConnectionHandle,
    ) {
        self.open.lock().shared.push(Http2Connection {
            sender,
            streams,
            handle,
            used: Instant::now(),
        });
    }

    /// How many streams the peer will probably allow on a new connection: as many as on the last
    /// one.
    pub(super) fn expected_limit(&self) -> usize {
        let open = self.open.lock();
        let latest = open.shared.last();
        latest.map_or(DEFAULT_STREAM_LIMIT, |shared| {
            shared.streams.limit.load(Ordering::Relaxed)
        })
    }

    fn put(&self, connection: Http1Connection, lifetime: Duration) {
        if connection.sender.is_closed() {
            return;
        }
        // If its lifetime is zero it is not used again, but a request that needs its slot finds it.
        let until = Instant::now() + lifetime;
        let mut open = self.open.lock();
        // Otherwise the list would grow until the next sweep if an upstream closes every
        // connection.
        if open.idle.len() == open.idle.capacity() {
            open.idle.retain(|idle| !idle.connection.sender.is_closed());
        }
        open.idle.push(IdleConnection { connection, until });
    }

    /// Closes connections that were idle for too long. Returns whether none is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut open = self.open.lock();
        open.forget_closed();
        for expired in open.remove_expired(now) {
            tokio::spawn(expired.close());
        }
        open.idle.is_empty() && open.shared.is_empty()
    }
}

impl Open {
    /// Drops connections that the peer has closed: their slots are free already.
    fn forget_closed(&mut self) {
        self.idle.retain(|idle| !idle.connection.sender.is_closed());
        self.shared.retain(|shared| !shared.sender.is_closed());
    }

    fn remove_expired(&mut self, now: Instant) -> Vec<ConnectionHandle> {
        let idle = self.idle.extract_if(.., |idle| idle.until <= now);
        let shared = self.shared.extract_if(.., |shared| {
            !shared.streams.has_open() && shared.used + HTTP2_IDLE <= now
        });
        idle.map(|idle| idle.connection.handle)
            .chain(shared.map(|shared| shared.handle))
            .collect()
    }

    /// When the first idle connection expires; `None` if there is none.
    fn next_expiry(&mut self) -> Option<Instant> {
        self.forget_closed();
        let unused = self.shared.iter().filter(|it| !it.streams.has_open());
        let shared = unused.map(|it| it.used + HTTP2_IDLE);
        self.idle.iter().map(|it| it.until).chain(shared).min()
    }
}

impl StreamLimit {
    /// For a connection whose peer has not sent its settings yet and is assumed to allow `limit`
    /// streams.
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

    /// Returns at the first response. By then hyper knows how many streams the peer allows, but
    /// does not announce it.
    pub(super) async fn answered(&self) {
        self.answered.notified().await;
    }

    fn has_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }
}

impl StreamSlot {
    /// One more stream regardless of the limit: for the request that the connection was opened for.
    pub(super) fn acquire_unchecked(streams: &Arc<StreamLimit>) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        Self(streams.clone())
    }

    /// A stream, if the limit allows one. Two requests may race for the last one; hyper then makes
    /// one of them wait.
    fn try_acquire(streams: &Arc<StreamLimit>) -> Option<Self> {
        let open = streams.open.load(Ordering::Relaxed);
        let limit = streams.limit.load(Ordering::Relaxed);
        (open < limit.min(MAX_STREAMS)).then(|| Self::acquire_unchecked(streams))
    }

    /// Set once this connection's peer has contradicted itself.
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
    /// The connection is not returned to a pool.
    pub(super) fn released() -> Self {
        Self(LeaseState::Released)
    }

    /// An HTTP/1.1 connection, which may stay idle for `lifetime` once the response has been read.
    pub(super) fn http1(pool: Arc<Pool>, connection: Http1Connection, lifetime: Duration) -> Self {
        Self(LeaseState::Http1(pool, connection, lifetime))
    }

    pub(super) fn http2(stream: StreamSlot) -> Self {
        Self(LeaseState::Http2(stream))
    }

    /// Called when the response has been read to its end. If the lease is dropped without this, an
    /// HTTP/1.1 connection is closed: the rest of the response would be read as the next one.
    pub(crate) fn end(&mut self) {
        let held = std::mem::replace(&mut self.0, LeaseState::Released);
        if let LeaseState::Http1(pool, connection, lifetime) = held {
            pool.put(connection, lifetime);
        }
    }
}

/// How long an HTTP/1.1 connection may stay idle after a response with these headers. Shorter than
/// the peer keeps it open, so that a request rarely meets a connection that is just being closed; a
/// POST would be lost then.
pub(super) fn idle_lifetime(answer: &HeaderMap) -> Duration {
    let announced = answer.get(KEEP_ALIVE).and_then(|value| value.to_str().ok());
    let announced = announced.unwrap_or_default();
    match keep_alive_parameter(announced, "timeout") {
        _ if keep_alive_parameter(announced, "max") == Some(0) => Duration::ZERO,
        Some(seconds) => {
            let kept = Duration::from_secs(seconds);
            (kept - (kept / 2).min(Duration::from_secs(1))).min(MAX_IDLE)
        }
        None => DEFAULT_IDLE,
    }
}

/// A parameter of `timeout=5, max=100` (RFC 2068 section 19.7.1.1).
fn keep_alive_parameter(announced: &str, parameter: &str) -> Option<u64> {
    let mut parameters = announced.split(',').filter_map(|pair| pair.split_once('='));
    let value = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case(parameter));
    value?.1.trim().parse().ok()
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// Node's servers, and so many gateways, close a connection after 5 s of idleness.
const DEFAULT_IDLE: Duration = Duration::from_secs(4);
/// The maximum whatever the peer announces, because an idle connection holds a file descriptor.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// An HTTP/2 peer announces with GOAWAY that it will close a connection, so no request is lost.
const HTTP2_IDLE: Duration = Duration::from_secs(30);
/// A sweep locks every pool of a host, so it runs once a second and not with each request.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The minimum that RFC 9113 (section 6.5.2) recommends; assumed until the peer's settings arrive.
const DEFAULT_STREAM_LIMIT: usize = 100;

/// Concurrent requests on one HTTP/2 connection. The connection's window is this many stream
/// windows, so that responses that no client reads leave the others their part.
pub(super) const MAX_STREAMS: usize = 64;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_connection_is_kept_idle_for_less_than_its_peer_keeps_it() {
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
