//! Ends an HTTP/2 stream whose client takes nothing of its response.
//!
//! The socket does not show such a client: it reads everything else of its connection, and only the
//! stream's window stays closed (RFC 9113 section 5.2). hyper 1.12 then does not poll the response's
//! body, so no deadline of the response can expire. So the task of each stream, which hyper hands to
//! an executor, has a deadline here. Dropping the task resets its stream.

use std::{cell::Cell, future::poll_fn, pin::pin, task::Poll, time::Duration};

use hyper::rt::Executor;
use tokio::{task_local, time::Instant};

use crate::wakers::Timer;

task_local! {
    /// In the task of a stream: since when a piece of the response has been waiting for the client.
    static WAITING_SINCE: Cell<Option<Instant>>;
}

/// Called after each poll of a response's body. A piece that was ready waits for the client until
/// hyper polls again. Does nothing over HTTP/1.1, where the socket has a deadline.
pub(crate) fn note_poll<T>(polled: &Poll<T>) {
    // Fails outside of the task of a stream.
    let _ = WAITING_SINCE.try_with(|since| since.set(polled.is_ready().then(Instant::now)));
}

/// Spawns the tasks of HTTP/2 streams.
#[derive(Clone)]
pub(crate) struct StreamExecutor {
    /// How long a piece of a response may wait for the client.
    limit: Duration,
}

impl StreamExecutor {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let stream = until_stalled(stream, self.limit);
        tokio::spawn(WAITING_SINCE.scope(Cell::new(None), stream));
    }
}

/// Runs the task of a stream until it ends, or until a piece of its response has waited for the
/// client for `limit`.
async fn until_stalled(stream: impl Future<Output = ()>, limit: Duration) {
    let mut stream = pin!(stream);
    let mut timer = Timer::default();
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        match WAITING_SINCE.with(Cell::get) {
            Some(since) => timer.poll(since + limit, context),
            None => Poll::Pending,
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Seconds after which a stream ends whose body is polled with these results, each after so many
    /// seconds, and then not again.
    async fn ends_after(polls: &[(u64, Poll<()>)]) -> Option<u64> {
        let start = Instant::now();
        let stream = async {
            for (seconds, polled) in polls {
                sleep(Duration::from_secs(*seconds)).await;
                note_poll(polled);
            }
            pending().await
        };
        let ended = WAITING_SINCE.scope(Cell::new(None), until_stalled(stream, LIMIT));
        let ended = tokio::time::timeout(Duration::from_secs(3600), ended).await;
        ended.is_ok().then(|| start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_a_piece_has_waited_for_its_client_for_the_limit() {
        let (ready, pending) = (Poll::Ready(()), Poll::Pending);
        for (polls, expected) in [
            (&[][..], None),
            (&[(0, pending)], None),
            (&[(100, ready)], Some(160)),
            (&[(0, ready), (50, ready)], Some(110)),
            (&[(0, ready), (50, pending)], None),
            (&[(0, ready), (50, pending), (100, ready)], Some(210)),
        ] {
            assert_eq!(ends_after(polls).await, expected, "{polls:?}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_by_itself_is_over() {
        until_stalled(async { note_poll(&Poll::Ready(())) }, LIMIT).await;
    }
}
