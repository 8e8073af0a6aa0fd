//! Closes a client's connection that lets us wait: for a request's head, for the
//! next request, or for room to write an answer.
//!
//! Sits under hyper, around the socket. hyper's own header timeout also runs
//! while a connection is idle and costs a timer a request; here one timer a
//! connection is moved only when it fires.

mod activity;
mod last_request;
mod stall;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

pub(crate) use activity::{Activity, Busy};
use keyside_config::Deadlines;
pub(crate) use last_request::ClientBody;
use stall::Stall;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{
    framing::{Framing, FramingError},
    seldom::Timer,
};

/// A client's socket with its deadlines.
pub(crate) struct Deadlined<S> {
    socket: S,
    activity: Arc<Activity>,
    limits: Limits,
    waiting: Waiting,
    /// How many bytes that were written the client has not acknowledged yet.
    unacknowledged: fn(&S) -> Option<usize>,
    stall: Option<Stall>,
    /// Lets the socket end in a reset.
    reset: fn(&S),
    timer: Timer,
    /// Refuses what hyper would read too leniently.
    framing: Framing,
    fault: Option<FramingError>,
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
    pub(crate) fn new(
        socket: S,
        activity: Arc<Activity>,
        deadlines: &Deadlines,
        framing: Framing,
    ) -> Self {
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
            unacknowledged: |_| None,
            stall: None,
            reset: |_| {},
            timer: Timer::default(),
            framing,
            fault: None,
        }
    }

    /// Takes a client that acknowledges bytes for one that reads, however slowly. `unacknowledged` says how many it has not
    /// acknowledged yet.
    pub(crate) fn watching(mut self, unacknowledged: fn(&S) -> Option<usize>) -> Self {
        self.unacknowledged = unacknowledged;
        self
    }

    /// Ends in a reset where a clean end would pass for an answer's.
    pub(crate) fn resetting(mut self, reset: fn(&S)) -> Self {
        self.reset = reset;
        self
    }

    /// Looks at the bytes that came, unless they are a tunnel's, and takes back those at fault: the next read fails.
    fn check(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        if self.activity.is_tunnel() {
            self.framing.end();
        }
        match self.framing.check(&buffer.filled()[before..]) {
            Ok(()) => Ok(()),
            Err((error, 0)) => Err(error.into()),
            Err((error, good)) => {
                buffer.set_filled(before + good);
                self.fault = Some(error);
                Ok(())
            }
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

    /// When the client has let us wait too long for its bytes; `None` while an answer is on its way.
    fn read_deadline(&self) -> Option<Instant> {
        match self.waiting {
            _ if self.activity.is_answering() => None,
            Waiting::Head(since) => Some(since + self.limits.header),
            Waiting::Idle(since) => Some(since + self.limits.idle),
        }
    }

    /// Ready with an error once the client has let us wait too long. Without a
    /// deadline, the task is still woken now and then: hyper may not ask the socket
    /// again when it has answered, and the idle time would never be looked at.
    fn waited_too_long<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            let read = self.read_deadline();
            let limit = self.limits.write;
            let look = self.stall.as_ref().map(|stall| stall.next_look(limit));
            let Some(next) = read.into_iter().chain(look).min() else {
                self.timer.keep(self.limits.idle, context);
                return Poll::Pending;
            };
            ready!(self.timer.poll(next, context));
            let silent = read.is_some_and(|deadline| deadline <= Instant::now());
            if silent || self.takes_nothing() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
    }

    /// Whether the client has taken nothing for too long of what waits for it.
    fn takes_nothing(&mut self) -> bool {
        let unacknowledged = (self.unacknowledged)(&self.socket);
        let limit = self.limits.write;
        let stall = self.stall.as_mut();
        stall.is_some_and(|stall| stall.is_over(limit, unacknowledged))
    }

    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(result) => {
                if self.stall.take().is_some() {
                    self.activity.stalled(false);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                if self.stall.is_none() {
                    let unacknowledged = (self.unacknowledged)(&self.socket);
                    self.stall = Some(Stall::begin(unacknowledged));
                    self.activity.stalled(true);
                }
                self.waited_too_long(context)
            }
        }
    }
}

/// An HTTP/1.0 client may know the end of its answer by the connection's end only. One that breaks off must not look like it.
impl<S> Drop for Deadlined<S> {
    fn drop(&mut self) {
        if self.activity.breaks_off_unmarked() {
            (self.reset)(&self.socket);
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
        if let Some(fault) = this.fault {
            return Poll::Ready(Err(fault.into()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.socket).poll_read(context, buffer);
        let bytes_came = buffer.filled().len() > before;
        this.note(bytes_came);
        if bytes_came {
            return Poll::Ready(this.check(buffer, before));
        }
        let ended = matches!(polled, Poll::Ready(Ok(()))) && buffer.remaining() > 0;
        if polled.is_ready() && !(ended && this.activity.keeps_end_back(context)) {
            return polled;
        }
        this.waited_too_long(context)
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
        if matches!(polled, Poll::Ready(Ok(()))) {
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
