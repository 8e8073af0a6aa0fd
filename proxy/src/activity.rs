//! What the service and the socket of one connection tell each other.

mod last_request;

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use http::{Request, Version};
use hyper::body::Incoming;
pub(crate) use last_request::ClientBody;
use last_request::{LastRequest, is_last};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use crate::{
    drain::{Drain, Phase},
    wakers::Timer,
};

/// What the service and the socket of one connection tell each other.
pub(crate) struct Activity {
    drain: Drain,
    /// Requests being answered.
    requests: AtomicUsize,
    /// Requests whose answer is complete, but may not have left our buffers: they
    /// count as in flight until the socket has taken everything.
    unflushed: AtomicUsize,
    /// How often all that was given to the socket had been written.
    flushes: AtomicUsize,
    /// A write waits for the client to take something.
    stalled: AtomicBool,
    opened: Instant,
    /// When the last request ended, in nanoseconds since `opened`; 0 once the
    /// socket has taken note.
    last_ended_at: AtomicU64,
    /// HTTP/2 frames come without a request, so a first byte begins no head.
    multiplexed: AtomicBool,
    /// What the client sends is no HTTP any more.
    tunnel: AtomicBool,
    /// The client speaks HTTP/1.0, whose answers can end with the connection.
    http10: AtomicBool,
    last: Arc<LastRequest>,
    /// Waits for nothing while no request has it.
    spare_timer: Mutex<Timer>,
    /// One of the connections there may be. A tunnel keeps it for as long as it is open.
    _permit: OwnedSemaphorePermit,
}

/// One request on the connection, from its head to the end of its answer.
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

    /// Takes note of a request whose head has come.
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

    /// The client has ended its half of the connection; whether hyper is not to know, since it answers the last request.
    pub(crate) fn hides_eof(&self, context: &Context<'_>) -> bool {
        self.is_unfinished() && self.last.hides_eof(context)
    }

    /// Whether the connection, if it ends now, ends in the middle of an answer that nothing else marks the end of.
    pub(crate) fn breaks_off_http10(&self) -> bool {
        self.http10.load(Ordering::Acquire) && self.is_unfinished()
    }

    /// Whether an answer has not left our buffers to its end.
    fn is_unfinished(&self) -> bool {
        self.is_answering() || self.unflushed.load(Ordering::Acquire) > 0
    }

    /// When a request ended, once for each end that was not asked for yet.
    pub(crate) fn take_request_end(&self) -> Option<Instant> {
        match self.last_ended_at.swap(0, Ordering::AcqRel) {
            0 => None,
            nanos => Some(self.opened + Duration::from_nanos(nanos)),
        }
    }

    fn spare_timer(&self) -> MutexGuard<'_, Timer> {
        self.spare_timer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
    /// The request's body, as it is to be read.
    pub(crate) fn body(&self, incoming: Incoming) -> ClientBody {
        let last = self.0.last.is_received();
        ClientBody::new(incoming, last.then(|| Arc::downgrade(&self.0.last)))
    }

    /// A timer for one wait of this request. As a rule it is one that another request has armed, which need not be done
    /// again for a later deadline.
    pub(crate) fn take_timer(&self) -> Timer {
        mem::take(&mut self.0.spare_timer())
    }

    /// Leaves it to the next request.
    pub(crate) fn return_timer(&self, timer: Timer) {
        *self.0.spare_timer() = timer;
    }

    /// The connection becomes a tunnel: before the client can know.
    pub(crate) fn becomes_tunnel(&self) {
        self.0.tunnel.store(true, Ordering::Release);
    }

    /// How often all that was given to the client's socket had been written.
    pub(crate) fn flushes(&self) -> usize {
        self.0.flushes.load(Ordering::Acquire)
    }

    /// Whether the client's socket takes no more for now.
    pub(crate) fn is_stalled(&self) -> bool {
        self.0.stalled.load(Ordering::Acquire)
    }

    /// Whether the process cuts what is in flight.
    pub(crate) fn is_cut_by_drain(&self) -> bool {
        self.0.drain.phase() == Phase::Closing
    }

    /// Whether other requests share the connection.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.0.is_multiplexed()
    }
}

/// Another hold on the connection, counted like a request of its own.
impl Clone for InFlightGuard {
    fn clone(&self) -> Self {
        self.0.begin(false)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.unflushed.fetch_add(1, Ordering::AcqRel);
        let nanos = self.0.opened.elapsed().as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).max(1);
        self.0.last_ended_at.store(nanos, Ordering::Release);
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The connection is gone, and with it what it had not sent.
impl Drop for Activity {
    fn drop(&mut self) {
        self.flushed();
    }
}
