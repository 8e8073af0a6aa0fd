//! Measures how long a client has read none of the bytes that wait for it.
//!
//! A blocked write alone does not show that. Linux reports a full socket as writable again once a
//! third of its send buffer is free (`sk_stream_is_writeable`), which is a megabyte of a buffer
//! that has grown: a slow reader needs minutes for that. So this counts the bytes that the client's
//! kernel has acknowledged. A kernel whose receive buffer was full acknowledges in steps of at
//! least a sixteenth of that buffer (`__tcp_select_window`).

use std::time::Duration;

use tokio::time::Instant;

/// A blocked write. Nothing else is written meanwhile, so the unacknowledged count can only fall.
pub(super) struct Stall {
    /// When the client was last seen to read.
    since: Instant,
    checked_at: Instant,
    unacknowledged: Option<usize>,
}

impl Stall {
    /// Begins now. `unacknowledged` is `None` where the platform cannot tell; then only a
    /// successful write shows that the client reads.
    pub(super) fn begin(unacknowledged: Option<usize>) -> Self {
        let now = Instant::now();
        Self {
            since: now,
            checked_at: now,
            unacknowledged,
        }
    }

    /// When to call [`Stall::is_over`] next, for a client that may read nothing for `limit`.
    pub(super) fn next_check(&self, limit: Duration) -> Instant {
        (self.checked_at + limit / CHECKS_PER_LIMIT).min(self.since + limit)
    }

    /// Whether the client has read nothing for `limit`, given the current unacknowledged count.
    pub(super) fn is_over(&mut self, limit: Duration, unacknowledged: Option<usize>) -> bool {
        let now = Instant::now();
        let counts = unacknowledged.zip(self.unacknowledged);
        if counts.is_some_and(|(now, before)| now < before) {
            self.since = now;
        }
        (self.checked_at, self.unacknowledged) = (now, unacknowledged);
        self.since + limit <= now
    }
}

/// Checks within one limit: a stalled client is closed at most a quarter too late.
const CHECKS_PER_LIMIT: u32 = 4;
