//! The socket under an upstream connection. It adds three guarantees that hyper 1.12 does not give.
//!
//! - A response that has arrived wins over a failed write. A server that responds early and closes
//!   resets what we still send, and hyper's HTTP/1.1 client then fails with the write error
//!   although the response is in the receive buffer. So a failed write is reported only after the
//!   read side has ended (Linux delivers what was received before a reset, then the end). hyper
//!   does not always keep reading, though (`Conn::mid_message_detect_eof` does not while bytes lie
//!   behind a response), so the error is reported after [`WRITE_ERROR_GRACE`] at the latest.
//! - It is known whether a byte of a response has arrived, so that a request can be resent if none
//!   has; over HTTP/2, whether the peer contradicts itself about that
//!   ([`contradiction`](super::contradiction)).
//! - A slow client bounds what is buffered for it. hyper's read buffer grows up to the limit for a
//!   head; here one read returns at most [`MAX_READ`] bytes, so that it grows to twice as many.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    task::AbortHandle,
    time::{Instant, Sleep, sleep, timeout},
};

use super::{
    ConnectionSlot,
    contradiction::{ContradictionDetector, ContradictionFlag},
};

/// A connected socket, or TLS over one.
pub(super) struct UpstreamSocket<S> {
    stream: S,
    received: ReceivedFlag,
    /// `Some` for an HTTP/2 connection.
    detector: Option<ContradictionDetector>,
    /// Set once a write has failed: the error is hidden until this fires.
    write_failed: Option<Pin<Box<Sleep>>>,
    read_ended: bool,
    /// Held as long as the socket is open, tunnels included.
    _slot: ConnectionSlot,
    /// Dropped after the slot, which tells a [`ConnectionHandle`] that the slot is free.
    _closed: Option<oneshot::Sender<Infallible>>,
}

/// Closes a connection from outside of its task.
pub(super) struct ConnectionHandle {
    task: AbortHandle,
    closed: oneshot::Receiver<Infallible>,
}

impl ConnectionHandle {
    /// For a connection whose `task` owns the socket of `closed`.
    pub(super) fn new(task: AbortHandle, closed: oneshot::Receiver<Infallible>) -> Self {
        Self { task, closed }
    }

    /// Returns once the slot is free. The connection must be idle, and its sender dropped.
    ///
    /// It then ends by itself, over HTTP/2 with a GOAWAY, unless it is still sending the body of a
    /// request that was answered early. It is aborted in that case: nobody needs that body.
    pub(super) async fn close(mut self) {
        // An error once it is closed, because nothing is ever sent: the sender was dropped.
        if timeout(CLOSE_GRACE, &mut self.closed).await.is_err() {
            self.task.abort();
            let _ = self.closed.await;
        }
    }
}

/// Whether the peer has sent anything since the last request.
#[derive(Clone, Default)]
pub(super) struct ReceivedFlag(Arc<AtomicBool>);

impl ReceivedFlag {
    /// Called before a request is sent.
    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> UpstreamSocket<S> {
    pub(super) fn new(stream: S, slot: ConnectionSlot) -> Self {
        Self {
            stream,
            received: ReceivedFlag::default(),
            detector: None,
            write_failed: None,
            read_ended: false,
            _slot: slot,
            _closed: None,
        }
    }

    pub(super) fn received(&self) -> ReceivedFlag {
        self.received.clone()
    }

    /// Ends once the socket is closed and its slot is free. Called once.
    pub(super) fn closed(&mut self) -> oneshot::Receiver<Infallible> {
        let (sender, closed) = oneshot::channel();
        self._closed = Some(sender);
        closed
    }

    /// Called once for a connection that speaks HTTP/2.
    pub(super) fn detect_contradictions(&mut self) -> ContradictionFlag {
        let contradicted = ContradictionFlag::default();
        self.detector = Some(ContradictionDetector::new(contradicted.clone()));
        contradicted
    }
}

impl<S: Unpin> UpstreamSocket<S> {
    /// Hides a failed write until the read side has ended or the grace time is over.
    fn write<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.write_failed.is_none() {
            match write(Pin::new(&mut self.stream), context) {
                Poll::Ready(Err(_)) if !self.read_ended => {
                    self.write_failed = Some(Box::pin(sleep(WRITE_ERROR_GRACE)));
                }
                wrote => return wrote,
            }
        }
        if let (Some(grace), false) = (&mut self.write_failed, self.read_ended) {
            ready!(grace.as_mut().poll(context));
        }
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Called with bytes that were read: the rest of a response may follow, so the grace time
    /// starts over.
    fn note_received(&mut self, bytes: &[u8]) {
        self.received.0.store(true, Ordering::Relaxed);
        if let Some(detector) = &mut self.detector {
            detector.read(bytes);
        }
        if let Some(grace) = &mut self.write_failed {
            grace.as_mut().reset(Instant::now() + WRITE_ERROR_GRACE);
        }
    }
}

impl<S: AsyncRead + Unpin> UpstreamSocket<S> {
    fn read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        if buffer.remaining() <= MAX_READ {
            let before = buffer.filled().len();
            ready!(stream.poll_read(context, buffer))?;
            return Poll::Ready(Ok(buffer.filled().len() - before));
        }
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(MAX_READ));
        ready!(stream.poll_read(context, &mut piece))?;
        let read = piece.filled().len();
        buffer.advance(read);
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for UpstreamSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(self.read(context, buffer));
        match read {
            Ok(0) | Err(_) => self.read_ended = true,
            Ok(read) => {
                let filled = buffer.filled();
                self.note_received(&filled[filled.len() - read..]);
            }
        }
        Poll::Ready(read.map(drop))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for UpstreamSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| {
            stream.poll_write_vectored(context, slices)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(context, |stream, context| stream.poll_flush(context))
    }

    /// Not delayed: after a shutdown nothing more is expected from the peer.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How long a failed write is hidden after the last byte that was read. Usually longer than a
/// client takes to read the next part of a response from the receive buffer.
const WRITE_ERROR_GRACE: Duration = Duration::from_secs(10);

/// How long an idle connection may take to end by itself. Most need less than a millisecond.
const CLOSE_GRACE: Duration = Duration::from_millis(100);

/// Bytes returned by one read at most: the initial size of hyper's buffer.
const MAX_READ: usize = 8 * 1024;
