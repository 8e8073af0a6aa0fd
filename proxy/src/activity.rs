//! State of one client connection that hyper's service and the socket under hyper share.
//!
//! The service counts requests; the socket reports flushes, stalls and the end of the client's
//! half. The deadlines and the drain depend on both.

mod last_request;

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use http::{Request, Version};
use hyper::body::Incoming;
pub(crate) use last_request::ClientBody;
use last_request::{LastRequest, is_last};
use parking_lot::Mutex;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use crate::{
    drain::{Drain, Phase},
    wakers::Timer,
};

/// The state of one client connection.
pub(crate) struct Activity {
    drain: Drain,
    /// Requests that are being answered.
    requests: AtomicUsize,
    /// Requests whose response is complete but may still be in our buffers. They count as in flight
    /// until the socket has written everything.
    unflushed: AtomicUsize,
    /// How many times the socket has written everything it was given.
    flushes: AtomicUsize,
    /// A write is waiting for the client to read.
    stalled: AtomicBool,
    opened: Instant,
    /// When the last request ended, in nanoseconds since `opened`; 0 once the socket has read it.
    last_ended_at: AtomicU64,
    /// The connection speaks HTTP/2, where frames arrive between requests: a first byte does not
    /// begin a head.
    multiplexed: AtomicBool,
    /// The connection is a tunnel: the client's bytes are not HTTP any more.
    tunnel: AtomicBool,
    /// The client speaks HTTP/1.0, where the end of the connection can mark the end of a response.
    http10: AtomicBool,
    last: Arc<LastRequest>,
    /// A timer that no request is using.
    spare_timer: Mutex<Timer>,
    /// Its share of `proxy.limits.connections`. A tunnel keeps it for as long as it is open.
    _permit: OwnedSemaphorePermit,
}

/// Counts one request as in flight, from its head to the end of its response.
pub(crate) struct InFlightGuard(Arc<Activity>);

impl Activity {
    pub(crate) fn new(drain: Drain, permit: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self {
            drain,
            requests: AtomicUsize::new(0),
            unflushed: AtomicUsize::new(0),
            flushes: AtomicUsize::new(0),
            stalled: AtomicBool::new(false),
            opened: Instant::now(),
            last_ended_at: AtomicU64::new(0),
            multiplexed: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            http10: AtomicBool::new(false),
            last: Arc::default(),
            spare_timer: Mutex::default(),
            _permit: permit,
        })
    }

    /// Counts a request whose head has arrived.
    pub(crate) fn receive<B>(self: &Arc<Self>, request: &Request<B>) -> InFlightGuard {
        if is_last(request) {
            self.last.received();
        }
        if request.version() == Version::HTTP_10 {
            self.http10.store(true, Ordering::Release);
        }
        self.begin(request.version() == Version::HTTP_2)
    }

    pub(crate) fn begin(self: &Arc<Self>, multiplexed: bool) -> InFlightGuard {
        self.drain.enter();
        self.requests.fetch_add(1, Ordering::AcqRel);
        if multiplexed {
            self.multiplexed.store(true, Ordering::Release);
        }
        InFlightGuard(self.clone())
    }

    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Acquire)
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Acquire)
    }

    pub(crate) fn is_answering(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }

    /// Called when the client has closed its half of the connection. Returns whether to hide that
    /// from hyper, because the connection's last request is still being answered.
    pub(crate) fn hides_eof(&self, context: &Context<'_>) -> bool {
        self.is_unfinished() && self.last.hides_eof(context)
    }

    /// Whether closing the connection now would look to an HTTP/1.0 client like the end of a
    /// response that is incomplete.
    pub(crate) fn breaks_off_http10(&self) -> bool {
        self.http10.load(Ordering::Acquire) && self.is_unfinished()
    }

    /// Whether a response is not yet written in full.
    fn is_unfinished(&self) -> bool {
        self.is_answering() || self.unflushed.load(Ordering::Acquire) > 0
    }

    /// When the last request ended, if that was not read yet.
    pub(crate) fn take_request_end(&self) -> Option<Instant> {
        // Nearly every read finds none, and a swap would take the cache line for itself.
        if self.last_ended_at.load(Ordering::Acquire) == 0 {
            return None;
        }
        let nanos = self.last_ended_at.swap(0, Ordering::AcqRel);
        Some(self.opened + Duration::from_nanos(nanos))
    }

    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    pub(crate) fn flushed(&self) {
        self.flushes.fetch_add(1, Ordering::AcqRel);
        if self.unflushed.load(Ordering::Acquire) > 0 {
            self.drain.leave(self.unflushed.swap(0, Ordering::AcqRel));
        }
    }
}

impl InFlightGuard {
    /// Wraps the request's body, so that its reader notices when the client closes its half early.
    pub(crate) fn body(&self, incoming: Incoming) -> ClientBody {
        let last = self.0.last.is_received();
        ClientBody::new(incoming, last.then(|| Arc::downgrade(&self.0.last)))
    }

    /// Takes a timer for one wait of this request. It is usually already armed by an earlier
    /// request, and need not be armed again for a later deadline.
    pub(crate) fn take_timer(&self) -> Timer {
        mem::take(&mut *self.0.spare_timer.lock())
    }

    /// Gives the timer back, for the next request.
    pub(crate) fn return_timer(&self, timer: Timer) {
        *self.0.spare_timer.lock() = timer;
    }

    /// Marks the connection as a tunnel. Called before the client can learn of the upgrade: from
    /// then on it may send bytes that are not HTTP.
    pub(crate) fn becomes_tunnel(&self) {
        self.0.tunnel.store(true, Ordering::Release);
    }

    /// How many times the client's socket has written everything it was given.
    pub(crate) fn flushes(&self) -> usize {
        self.0.flushes.load(Ordering::Acquire)
    }

    /// Whether the client's socket accepts no more bytes at the moment.
    pub(crate) fn is_stalled(&self) -> bool {
        self.0.stalled.load(Ordering::Acquire)
    }

    /// Whether the drain is cutting off requests in flight.
    pub(crate) fn is_cut_by_drain(&self) -> bool {
        self.0.drain.phase() == Phase::Closing
    }

    /// Whether other requests share the connection.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.0.is_multiplexed()
    }
}

/// A clone is counted like a request of its own.
impl Clone for InFlightGuard {
    fn clone(&self) -> Self {
        self.0.begin(false)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        // The order of these writes matters: `is_unfinished` must see the request in one of the two
        // counts all the time, and the socket must find the end once `is_answering` turns false.
        self.0.unflushed.fetch_add(1, Ordering::AcqRel);
        let nanos = self.0.opened.elapsed().as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).max(1);
        self.0.last_ended_at.store(nanos, Ordering::Release);
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The connection is gone, and unsent bytes with it: its requests are no longer in flight.
impl Drop for Activity {
    fn drop(&mut self) {
        self.flushed();
    }
}
