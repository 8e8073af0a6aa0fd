//! A client's socket: says when something moves, and ends when the client takes nothing of its answer.

use super::room::Place;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The socket of the client at a place.
pub(super) struct Socket<S> {
    stream: S,
    place: Arc<Place>,
    /// How many bytes that were written the client has not acknowledged yet, where the kernel tells.
    unacknowledged: fn(&S) -> Option<usize>,
    stall: Option<Stall>,
}

/// A write that cannot go on. The kernel lets a slow reader's go on late, so that what the client acknowledges counts too.
struct Stall {
    since: Instant,
    deadline: Pin<Box<Sleep>>,
    unacknowledged: Option<usize>,
}

impl<S> Socket<S> {
    pub(super) fn new(
        stream: S,
        place: Arc<Place>,
        unacknowledged: fn(&S) -> Option<usize>,
    ) -> Self {
        let stall = None;
        Self {
            stream,
            place,
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
            self.place.moved();
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
            self.place.moved();
            stall.unacknowledged = Some(now);
            let deadline = Instant::now() + WRITE_DEADLINE;
            stall.deadline.as_mut().reset(deadline);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.place.moved();
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
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

    /// A TCP stream has no buffer of its own: this never waits, and is no sign of the client.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// For a client to take the next piece of an answer.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// For one write to go on, however steadily the client acknowledges what went before.
const STALL_LIMIT: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use super::super::room::Room;
    use super::*;
    use std::cell::Cell;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_let_go_and_one_that_is_slow_is_not() {
        let (mut client, server) = duplex(16);
        let mut socket = Socket::new(server, Room::of(1).admit(), |_| None);
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
        /// What the kernel would say; the test has a thread of its own.
        static UNACKNOWLEDGED: Cell<usize> = const { Cell::new(10) };
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_acknowledges_without_letting_a_write_go_on_is_not_let_go() {
        let (_client, server) = duplex(16);
        let mut socket = Socket::new(server, Room::of(1).admit(), |_| Some(UNACKNOWLEDGED.get()));
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
    async fn a_client_that_acknowledges_next_to_nothing_is_let_go_in_the_end() {
        let (_client, server) = duplex(16);
        UNACKNOWLEDGED.set(1_000_000);
        let mut socket = Socket::new(server, Room::of(1).admit(), falling);
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
