//! The socket under an upstream connection, with three promises that hyper 1.12 does not make.
//!
//! - An answer that arrived wins over a failed write: a server that answers early and closes resets what we still send,
//!   and hyper's HTTP/1.1 client ends with the write error although the answer lies in the receive buffer. So a failed
//!   write is not reported before the read side has ended, which tells how the connection did (Linux hands out what was
//!   received before a reset, then the end of the stream). hyper does not always read on, though
//!   (`Conn::mid_message_detect_eof` does not while bytes lie behind an answer): it is reported after [`WRITE_ERROR_GRACE`] at last.
//! - Whether a byte of an answer came is known, so that a request can be sent again where none did; over HTTP/2, whether
//!   the peer contradicts itself about that ([`contradiction`](super::contradiction)).
//! - A slow client bounds what is buffered for it: hyper's read buffer grows as far as a head may be long, and here one
//!   read returns [`MAX_READ`] bytes at most, so that it grows to twice as many.

use std::{
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
    time::{Instant, Sleep, sleep},
};

use super::{
    ConnectionSlot,
    contradiction::{ContradictionDetector, ContradictionFlag},
};

/// A connected socket, or TLS over one.
pub(super) struct UpstreamSocket<S> {
    stream: S,
    received: ReceivedFlag,
    /// Of an HTTP/2 connection.
    detector: Option<ContradictionDetector>,
    /// A write has failed: until when that is not reported.
    write_failed: Option<Pin<Box<Sleep>>>,
    read_ended: bool,
    /// As long as the socket is open, tunnels included.
    _slot: ConnectionSlot,
}

/// Whether the peer has sent anything since the last request.
#[derive(Clone, Default)]
pub(super) struct ReceivedFlag(Arc<AtomicBool>);

impl ReceivedFlag {
    /// A request is about to be sent.
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
        }
    }

    pub(super) fn received(&self) -> ReceivedFlag {
        self.received.clone()
    }

    /// For a connection that speaks HTTP/2.
    pub(super) fn detect_contradictions(&mut self) -> ContradictionFlag {
        let contradicted = ContradictionFlag::default();
        self.detector = Some(ContradictionDetector::new(contradicted.clone()));
        contradicted
    }
}

impl<S: Unpin> UpstreamSocket<S> {
    /// Hides a failed write until the read side has ended, or the grace is over.
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

    /// Something came: the rest of an answer may follow.
    fn note_received(&mut self, came: &[u8]) {
        self.received.0.store(true, Ordering::Relaxed);
        if let Some(detector) = &mut self.detector {
            detector.read(came);
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

    /// A side that shuts down waits for nothing more from the other.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How long a failed write is hidden after the last byte that came. Longer than a client takes as a rule for the next
/// part of an answer that lies in the receive buffer.
const WRITE_ERROR_GRACE: Duration = Duration::from_secs(10);

/// What one read returns at most, in bytes: as many as hyper's buffer has room for at first.
const MAX_READ: usize = 8 * 1024;
