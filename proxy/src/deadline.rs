//! Closes a client's connection that keeps us waiting: for a request's head, for the next request,
//! or for reading a response.
//!
//! Wraps the socket, under hyper. hyper's own header timeout also runs while a connection is idle,
//! and arms a timer for each request; this uses one timer a connection and re-arms it only when it
//! fires. The client's bytes pass the framing check here too, before hyper reads them.

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

/// A client's socket with its deadlines and its framing check.
pub(crate) struct DeadlineStream<S> {
    socket: S,
    activity: Arc<Activity>,
    read: ReadDeadline,
    /// How long the client may read nothing while bytes are waiting to be written.
    write_idle: Duration,
    /// Written bytes that the client has not acknowledged yet; `None` if unknown.
    unacknowledged: fn(&S) -> Option<usize>,
    stall: Option<Stall>,
    /// Makes the socket end in a reset when it is closed.
    reset: fn(&S),
    timer: Timer,
    /// Rejects framing that hyper would read too leniently.
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

    /// Treats a client that acknowledges bytes as reading, however slowly. `unacknowledged` counts
    /// the bytes that it has not acknowledged yet.
    pub(crate) fn with_unacknowledged(mut self, unacknowledged: fn(&S) -> Option<usize>) -> Self {
        self.unacknowledged = unacknowledged;
        self
    }

    /// Ends with `reset` where a clean close would look like the end of a response.
    pub(crate) fn with_reset(mut self, reset: fn(&S)) -> Self {
        self.reset = reset;
        self
    }

    /// Checks the bytes that were read, unless the connection is a tunnel. Bytes before the error
    /// stay readable; the next read fails.
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

    /// Ready with an error once a deadline has passed. Without a deadline the task is still woken
    /// now and then: hyper may not poll the socket again after a response, and the idle deadline
    /// would never be checked.
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

    /// Whether the client has read nothing for `write_idle`.
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

/// The end of the connection may be an HTTP/1.0 client's only sign that a response is complete. An
/// aborted response must not look complete.
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
