//! Closes a client's connection that lets us wait: for a request's head, for the
//! next request, or for room to write an answer.
//!
//! Sits under hyper, around the socket. hyper's own header timeout also runs
//! while a connection is idle and costs a timer a request; here one timer a
//! connection is moved only when it fires.

mod activity;

pub(crate) use activity::{Activity, Busy};

use crate::seldom::Timer;
use keyside_config::Deadlines;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

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
