//! Closes a client's connection that lets us wait: for a request's head, for the
//! next request, or for room to write an answer.
//!
//! Sits under hyper, around the socket. hyper's own header timeout also runs
//! while a connection is idle and costs a timer a request; here one timer a
//! connection is moved only when it fires.

mod read_deadline;
mod stall;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use keyside_config::Deadlines;
use read_deadline::ReadDeadline;
use stall::Stall;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{
    activity::Activity,
    framing::{Framing, FramingError},
    wakers::Timer,
};

/// A client's socket with its deadlines.
pub(crate) struct DeadlineStream<S> {
    socket: S,
    activity: Arc<Activity>,
    read: ReadDeadline,
    /// How long the client may take nothing of what is written to it.
    write_idle: Duration,
    /// How many bytes that were written the client has not acknowledged yet.
    unacknowledged: fn(&S) -> Option<usize>,
    stall: Option<Stall>,
    /// Lets the socket end in a reset.
    reset: fn(&S),
    timer: Timer,
    /// Refuses what hyper would read too leniently.
    framing: Framing,
    framing_error: Option<FramingError>,
}

impl<S> DeadlineStream<S> {
    pub(crate) fn new(
        socket: S,
        activity: Arc<Activity>,
        deadlines: &Deadlines,
        framing: Framing,
    ) -> Self {
        Self {
            socket,
            activity,
            read: ReadDeadline::new(deadlines),
            write_idle: deadlines.write_idle,
            unacknowledged: |_| None,
            stall: None,
            reset: |_| {},
            timer: Timer::default(),
            framing,
            framing_error: None,
        }
    }

    /// Takes a client that acknowledges bytes for one that reads, however slowly. `unacknowledged` says how many it has not
    /// acknowledged yet.
    pub(crate) fn with_unacknowledged(mut self, unacknowledged: fn(&S) -> Option<usize>) -> Self {
        self.unacknowledged = unacknowledged;
        self
    }

    /// Ends in a reset where a clean end would pass for an answer's.
    pub(crate) fn with_reset(mut self, reset: fn(&S)) -> Self {
        self.reset = reset;
        self
    }

    /// Looks at the bytes that came, unless they are a tunnel's, and takes back those at fault: the next read fails.
    fn check_framing(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        if self.activity.is_tunnel() {
            self.framing.stop();
        }
        match self.framing.check(&buffer.filled()[before..]) {
            Ok(()) => Ok(()),
            Err((error, 0)) => Err(error.into()),
            Err((error, good)) => {
                buffer.set_filled(before + good);
                self.framing_error = Some(error);
                Ok(())
            }
        }
    }

    /// Ready with an error once the client has let us wait too long. Without a
    /// deadline, the task is still woken now and then: hyper may not ask the socket
    /// again when it has answered, and the idle time would never be looked at.
    fn poll_deadlines<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            let read = self.read.at(&self.activity);
            let limit = self.write_idle;
            let check = self.stall.as_ref().map(|stall| stall.next_check(limit));
            let Some(next) = read.into_iter().chain(check).min() else {
                self.timer.wake_within(self.read.idle, context);
                return Poll::Pending;
            };
            ready!(self.timer.poll(next, context));
            let read_expired = read.is_some_and(|deadline| deadline <= Instant::now());
            if read_expired || self.is_stalled() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
    }

    /// Whether the client has taken nothing for too long of what waits for it.
    fn is_stalled(&mut self) -> bool {
        let unacknowledged = (self.unacknowledged)(&self.socket);
        let limit = self.write_idle;
        let stall = self.stall.as_mut();
        stall.is_some_and(|stall| stall.is_over(limit, unacknowledged))
    }

    fn after_write<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(result) => {
                if self.stall.take().is_some() {
                    self.activity.set_stalled(false);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                if self.stall.is_none() {
                    let unacknowledged = (self.unacknowledged)(&self.socket);
                    self.stall = Some(Stall::begin(unacknowledged));
                    self.activity.set_stalled(true);
                }
                self.poll_deadlines(context)
            }
        }
    }
}

/// An HTTP/1.0 client may know the end of its answer by the connection's end only. One that breaks off must not look like it.
impl<S> Drop for DeadlineStream<S> {
    fn drop(&mut self) {
        if self.activity.breaks_off_http10() {
            (self.reset)(&self.socket);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for DeadlineStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(framing_error) = this.framing_error {
            return Poll::Ready(Err(framing_error.into()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.socket).poll_read(context, buffer);
        let bytes_came = buffer.filled().len() > before;
        this.read.note_read(&this.activity, bytes_came);
        if bytes_came {
            return Poll::Ready(this.check_framing(buffer, before));
        }
        let ended = matches!(polled, Poll::Ready(Ok(()))) && buffer.remaining() > 0;
        if polled.is_ready() && !(ended && this.activity.hides_eof(context)) {
            return polled;
        }
        this.poll_deadlines(context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for DeadlineStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.after_write(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.after_write(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(context);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.activity.flushed();
        }
        self.after_write(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_shutdown(context);
        self.after_write(context, polled)
    }
}

#[cfg(test)]
mod tests;
