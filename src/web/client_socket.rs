//! A client's socket. Reports activity to the connection's slot, and closes when the client stops
//! reading its response.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::connection_limit::ConnectionSlot;

pub(super) struct ClientSocket<S> {
    stream: S,
    slot: Arc<ConnectionSlot>,
    /// How many written bytes the client has not acknowledged yet, where the kernel reports it.
    unacknowledged: fn(&S) -> Option<usize>,
    stall: Option<Stall>,
}

/// A pending write. For a slow reader the kernel accepts more only in large steps, so bytes that
/// the client acknowledges count as progress too.
struct Stall {
    since: Instant,
    deadline: Pin<Box<Sleep>>,
    unacknowledged: Option<usize>,
}

impl<S> ClientSocket<S> {
    pub(super) fn new(
        stream: S,
        slot: Arc<ConnectionSlot>,
        unacknowledged: fn(&S) -> Option<usize>,
    ) -> Self {
        let stall = None;
        Self {
            stream,
            slot,
            unacknowledged,
            stall,
        }
    }

    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stall = None;
            self.slot.touch();
            return polled;
        }
        let unacknowledged = || (self.unacknowledged)(&self.stream);
        let stall = self.stall.get_or_insert_with(|| Stall {
            since: Instant::now(),
            deadline: Box::pin(sleep(WRITE_DEADLINE)),
            unacknowledged: unacknowledged(),
        });
        loop {
            ready!(stall.deadline.as_mut().poll(context));
            let counts = unacknowledged().zip(stall.unacknowledged);
            let counts = counts.filter(|_| stall.since.elapsed() < STALL_LIMIT);
            let Some((now, _)) = counts.filter(|(now, before)| now < before) else {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            };
            self.slot.touch();
            stall.unacknowledged = Some(now);
            let deadline = Instant::now() + WRITE_DEADLINE;
            stall.deadline.as_mut().reset(deadline);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.slot.touch();
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper 1.12 and tokio-rustls 0.26 flush after they have written all that they hold. A TCP
    /// stream has no buffer of its own, so this never waits and says nothing about the client.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.slot.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How long a client has to read the next part of a response.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// How long one write may be pending, however steadily the client acknowledges earlier bytes.
const STALL_LIMIT: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::{super::connection_limit::ConnectionLimit, *};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_disconnected_and_a_slow_one_is_not() {
        let (mut client, server) = duplex(16);
        let mut socket = ClientSocket::new(server, ConnectionLimit::new(1).admit(), |_| None);
        let slow = tokio::spawn(async move {
            for _ in 0..4 {
                sleep(WRITE_DEADLINE * 2 / 3).await;
                let _ = client.read(&mut [0; 8]).await;
            }
            client
        });
        let began = Instant::now();
        let error = socket.write_all(&[0; 1024]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let lasted = began.elapsed();
        assert!(lasted >= 3 * WRITE_DEADLINE, "{lasted:?}");
        drop(slow.await);
    }

    thread_local! {
        /// What the kernel would report. Each test has a thread of its own.
        static UNACKNOWLEDGED: Cell<usize> = const { Cell::new(10) };
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_acknowledges_bytes_keeps_its_connection_though_a_write_is_pending() {
        let (_client, server) = duplex(16);
        let mut socket = ClientSocket::new(server, ConnectionLimit::new(1).admit(), |_| {
            Some(UNACKNOWLEDGED.get())
        });
        let slow = tokio::spawn(async {
            for left in (0..10).rev() {
                sleep(WRITE_DEADLINE * 2 / 3).await;
                UNACKNOWLEDGED.set(left);
            }
        });
        let began = Instant::now();
        let error = socket.write_all(&[0; 1024]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(slow.is_finished(), "cut after {:?}", began.elapsed());
        assert!(
            began.elapsed() <= 9 * WRITE_DEADLINE,
            "{:?}",
            began.elapsed()
        );
    }

    fn falling<S>(_: &S) -> Option<usize> {
        UNACKNOWLEDGED.set(UNACKNOWLEDGED.get() - 1);
        Some(UNACKNOWLEDGED.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_acknowledges_next_to_nothing_is_disconnected_in_the_end() {
        let (_client, server) = duplex(16);
        UNACKNOWLEDGED.set(1_000_000);
        let mut socket = ClientSocket::new(server, ConnectionLimit::new(1).admit(), falling);
        let began = Instant::now();
        let error = socket.write_all(&[0; 1024]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(
            began.elapsed() < STALL_LIMIT + WRITE_DEADLINE,
            "{:?}",
            began.elapsed()
        );
    }
}
