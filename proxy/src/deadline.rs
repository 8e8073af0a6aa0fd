//! Closes a client's connection that lets us wait: for a request's head, for the
//! next request, or for room to write an answer.
//!
//! Sits under hyper, around the socket. hyper's own header timeout also runs
//! while a connection is idle and costs a timer a request; here one timer a
//! connection is moved only when it fires.

use crate::drain::Drain;
use crate::seldom::Timer;
use keyside_config::Deadlines;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, mem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// What the service and the socket of one connection tell each other.
pub(crate) struct Activity {
    drain: Drain,
    /// Requests being answered.
    requests: AtomicUsize,
    /// Requests whose answer is complete, but may not have left our buffers: they
    /// count as in flight until the socket has taken everything.
    unflushed: AtomicUsize,
    opened: Instant,
    /// When the last request ended, in nanoseconds since `opened`; 0 once the
    /// socket has taken note.
    ended: AtomicU64,
    /// HTTP/2 frames come without a request, so a first byte begins no head.
    multiplexed: AtomicBool,
    /// Waits for nothing while no request has it.
    spare: Mutex<Timer>,
    /// One of the connections there may be. A tunnel keeps it for as long as it is open.
    _place: OwnedSemaphorePermit,
}

/// One request on the connection, from its head to the end of its answer.
pub(crate) struct Busy(Arc<Activity>);

impl Activity {
    pub(crate) fn new(drain: Drain, place: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self {
            drain,
            requests: AtomicUsize::new(0),
            unflushed: AtomicUsize::new(0),
            opened: Instant::now(),
            ended: AtomicU64::new(0),
            multiplexed: AtomicBool::new(false),
            spare: Mutex::default(),
            _place: place,
        })
    }

    pub(crate) fn begin(self: &Arc<Self>, multiplexed: bool) -> Busy {
        self.drain.enter();
        self.requests.fetch_add(1, Ordering::AcqRel);
        if multiplexed {
            self.multiplexed.store(true, Ordering::Release);
        }
        Busy(self.clone())
    }

    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Acquire)
    }

    fn is_answering(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }

    /// When a request ended, once for each end that was not asked for yet.
    fn take_end(&self) -> Option<Instant> {
        match self.ended.swap(0, Ordering::AcqRel) {
            0 => None,
            nanos => Some(self.opened + Duration::from_nanos(nanos)),
        }
    }

    fn spare(&self) -> MutexGuard<'_, Timer> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flushed(&self) {
        if self.unflushed.load(Ordering::Acquire) > 0 {
            self.drain.leave(self.unflushed.swap(0, Ordering::AcqRel));
        }
    }
}

impl Busy {
    /// A timer for one wait of this request. As a rule it is one that another request has armed, which need not be done
    /// again for a later deadline.
    pub(crate) fn take_timer(&self) -> Timer {
        mem::take(&mut self.0.spare())
    }

    /// Leaves it to the next request.
    pub(crate) fn leave_timer(&self, timer: Timer) {
        *self.0.spare() = timer;
    }
}

/// Another hold on the connection, counted like a request of its own.
impl Clone for Busy {
    fn clone(&self) -> Self {
        self.0.begin(false)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.unflushed.fetch_add(1, Ordering::AcqRel);
        let nanos = self.0.opened.elapsed().as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).max(1);
        self.0.ended.store(nanos, Ordering::Release);
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The connection is gone, and with it what it had not sent.
impl Drop for Activity {
    fn drop(&mut self) {
        self.flushed();
    }
}

/// A client's socket with its deadlines.
pub(crate) struct Deadlined<S> {
    socket: S,
    activity: Arc<Activity>,
    limits: Limits,
    waiting: Waiting,
    write_stalled: Option<Instant>,
    timer: Timer,
}

#[derive(Clone, Copy)]
struct Limits {
    header: Duration,
    idle: Duration,
    write: Duration,
}

/// Since when, and for what, the connection waits while it answers nothing.
#[derive(Clone, Copy)]
enum Waiting {
    /// For the rest of a head whose first byte has come. A new connection is in
    /// this state too: who connects is expected to speak.
    Head(Instant),
    /// For the next request.
    Idle(Instant),
}

impl<S> Deadlined<S> {
    pub(crate) fn new(socket: S, activity: Arc<Activity>, deadlines: &Deadlines) -> Self {
        let limits = Limits {
            header: deadlines.header,
            idle: deadlines.idle,
            write: deadlines.write_idle,
        };
        let waiting = Waiting::Head(Instant::now());
        Self {
            socket,
            activity,
            limits,
            waiting,
            write_stalled: None,
            timer: Timer::default(),
        }
    }

    /// Called with each read: notes a request's end, then a next head's first byte.
    fn note(&mut self, bytes_came: bool) {
        if let Some(end) = self.activity.take_end() {
            self.waiting = Waiting::Idle(end);
        }
        let begins_head = bytes_came
            && matches!(self.waiting, Waiting::Idle(_))
            && !self.activity.is_answering()
            && !self.activity.is_multiplexed();
        if begins_head {
            self.waiting = Waiting::Head(Instant::now());
        }
    }

    /// When the client has kept us waiting too long; `None` while an answer is on
    /// its way and the client takes it.
    fn deadline(&self) -> Option<Instant> {
        let read = match self.waiting {
            _ if self.activity.is_answering() => None,
            Waiting::Head(since) => Some(since + self.limits.header),
            Waiting::Idle(since) => Some(since + self.limits.idle),
        };
        let write = self.write_stalled.map(|since| since + self.limits.write);
        read.into_iter().chain(write).min()
    }

    /// Ready with an error once the deadline has passed. Without one, the task is
    /// still woken now and then: hyper may not ask the socket again when it has
    /// answered, and the idle time would never be looked at.
    fn waited_too_long<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Some(deadline) = self.deadline() else {
            self.timer.keep(self.limits.idle, context);
            return Poll::Pending;
        };
        let waited = self.timer.poll(deadline, context);
        waited.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(result) => {
                self.write_stalled = None;
                Poll::Ready(result)
            }
            Poll::Pending => {
                self.write_stalled.get_or_insert_with(Instant::now);
                self.waited_too_long(context)
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deadlined<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        match Pin::new(&mut this.socket).poll_read(context, buffer) {
            Poll::Ready(result) => {
                this.note(buffer.filled().len() > before);
                Poll::Ready(result)
            }
            Poll::Pending => {
                this.note(false);
                this.waited_too_long(context)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deadlined<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.written(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.written(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(context);
        if polled.is_ready() {
            self.activity.flushed();
        }
        self.written(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_shutdown(context);
        self.written(context, polled)
    }
}

#[cfg(test)]
mod tests;
