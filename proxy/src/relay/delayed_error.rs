//! Lets a client have what came before its answer breaks off.
//!
//! An error of a body makes hyper 1.12 drop what it has not written yet, on HTTP/1.1 with the whole connection
//! (`Dispatcher::poll_write` returns before it comes to flush), on HTTP/2 with the stream, whose queue h2 0.4 empties for
//! the RST_STREAM (`Send::send_reset`). An upstream that sends a head and breaks off at once would leave the client with
//! nothing. So the error is kept back until what came before it is with the client's socket.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::RelayError;
use crate::{activity::InFlightGuard, wakers::Timer};

/// An error that waits for what came before it.
pub(super) struct DelayedError {
    error: RelayError,
    /// How often the connection had flushed when last looked at.
    flushes: usize,
    next_check: Instant,
    last_check: Instant,
    timer: Timer,
}

impl DelayedError {
    /// Nothing is given to hyper after this but what the same call returns.
    pub(super) fn with(error: RelayError, in_flight: &InFlightGuard) -> Self {
        let now = Instant::now();
        Self {
            error,
            flushes: in_flight.flushes(),
            next_check: now + QUIET_PERIOD,
            last_check: now + MAX_WAIT,
            timer: Timer::default(),
        }
    }

    /// Ready once the client's socket has all that came before.
    ///
    /// HTTP/1.1 flushes everything or nothing, and hyper does so, and asks again, before it yields. It waits for as long as the
    /// client goes on reading.
    ///
    /// Of an HTTP/2 stream's queue nothing shows from here: a flush can have begun before the last piece was queued, and
    /// leaves what the client's window does not take yet. So the stream is given time until the connection has written
    /// nothing for a while.
    pub(super) fn poll(
        &mut self,
        in_flight: &InFlightGuard,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let flushes = in_flight.flushes();
            let flushed = flushes != self.flushes;
            if flushed && !in_flight.is_multiplexed() {
                return Poll::Ready(());
            }
            ready!(self.timer.poll(self.next_check, context));
            let goes_on = flushed || in_flight.is_stalled();
            if in_flight.is_multiplexed() && (!goes_on || self.last_check <= self.next_check) {
                return Poll::Ready(());
            }
            self.flushes = flushes;
            self.next_check = Instant::now() + QUIET_PERIOD;
        }
    }

    pub(super) fn into_error(self) -> RelayError {
        self.error
    }
}

/// How long an HTTP/2 connection writes nothing before that is taken for its end of work. A client that reads gives its
/// window back sooner, and a broken answer loses nothing by being known a little later.
const QUIET_PERIOD: Duration = Duration::from_millis(500);
/// Other streams can keep a connection busy without end.
const MAX_WAIT: Duration = Duration::from_secs(60);
