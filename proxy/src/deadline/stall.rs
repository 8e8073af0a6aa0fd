//! How long a client has taken nothing of what waits for it.
//!
//! A write that cannot go on does not say that. Linux calls a full socket writable again once a third of its send buffer
//! is free (`sk_stream_is_writeable`), which is a megabyte of a buffer that has grown: a slow reader needs minutes for it. So
//! what counts is what the client's side has acknowledged. A kernel whose receive buffer is full acknowledges in steps, of a
//! sixteenth of that buffer at least (`__tcp_select_window`).

use std::time::Duration;

use tokio::time::Instant;

/// A write that cannot go on. Nothing is written meanwhile, so what is unacknowledged only grows less.
pub(super) struct Stall {
    /// When the client was last found to take something.
    since: Instant,
    checked_at: Instant,
    unacknowledged: Option<usize>,
}

impl Stall {
    /// Begins now, with so many bytes unacknowledged; `None` where nobody can tell, and only a write that goes on shows
    /// that the client takes something.
    pub(super) fn begin(unacknowledged: Option<usize>) -> Self {
        let now = Instant::now();
        Self {
            since: now,
            checked_at: now,
            unacknowledged,
        }
    }

    /// When [`Stall::is_over`] is to be asked, for a client that may take nothing for `limit`.
    pub(super) fn next_check(&self, limit: Duration) -> Instant {
        (self.checked_at + limit / CHECKS_PER_LIMIT).min(self.since + limit)
    }

    /// Whether the client has taken nothing for `limit`, now that so many bytes are unacknowledged.
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

/// How often to look within the time that a client may take nothing: it is found out at most a quarter too late.
const CHECKS_PER_LIMIT: u32 = 4;
