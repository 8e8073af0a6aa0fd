//! Delivers the bytes before an aborted response's error to the client.
//!
//! An error of a body makes hyper 1.12 drop what it has not written yet: on HTTP/1.1 with the whole
//! connection (`Dispatcher::poll_write` returns before it flushes), on HTTP/2 with the stream,
//! whose queue h2 0.4 clears for the RST_STREAM (`Send::send_reset`). If an upstream sends a head
//! and aborts at once, the client would get nothing. So the error is delayed until the earlier
//! bytes have been written to the client's socket.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::RelayError;
use crate::{activity::InFlightGuard, wakers::Timer};

/// An error that is reported after the bytes before it.
pub(super) struct DelayedError {
    error: RelayError,
    /// The connection's flush count at the last check.
    flushes: usize,
    next_check: Instant,
    last_check: Instant,
    timer: Timer,
}

impl DelayedError {
    /// After this call hyper may get only the frame that the same poll returns.
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

    /// Ready once the client's socket has everything that came before the error.
    ///
    /// HTTP/1.1: hyper flushes everything or nothing, and does so before it polls again and yields.
    /// This waits as long as the client keeps reading.
    ///
    /// HTTP/2: a stream's queue is not visible from here. A flush may have begun before the last
    /// chunk was queued, and leaves what exceeds the client's window. So the stream gets time until
    /// the connection has written nothing for [`QUIET_PERIOD`].
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

/// How long an HTTP/2 connection must write nothing to count as finished. A client that reads
/// returns window sooner, and an aborted response loses nothing by ending a little later.
const QUIET_PERIOD: Duration = Duration::from_millis(500);
/// The limit, because other streams can keep the connection busy without end.
const MAX_WAIT: Duration = Duration::from_secs(60);
