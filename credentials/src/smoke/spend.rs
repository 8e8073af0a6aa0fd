//! What smoke runs have spent in a workspace today, and the caps on it.

use jiff::Timestamp;
use keyside_config::Smoke;

use crate::spend::{Day, DayTotals};

/// The cap that a request would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cap {
    #[error("today's requests of this workspace are used up (smoke.requests_per_day)")]
    Requests,
    #[error("today's tokens of this workspace are used up (smoke.tokens_per_day)")]
    Tokens,
}

/// Its tokens are those that providers reported, and those set aside for requests without a report.
impl DayTotals {
    /// Counts a request that may use `tokens`, before it is sent.
    pub(super) fn reserve(&mut self, now: Timestamp, tokens: u64, caps: &Smoke) -> Result<(), Cap> {
        let today = Day::of(now);
        // The count of a clock that was ahead is at most that of tomorrow, as in `Meter::restore`.
        self.day = self.day.min(today.next());
        let (requests, spent) = self.on(now);
        if requests >= caps.requests_per_day {
            return Err(Cap::Requests);
        }
        if tokens > 0 && spent.saturating_add(tokens) > caps.tokens_per_day {
            return Err(Cap::Tokens);
        }
        *self = Self {
            day: today.max(self.day),
            requests: requests + 1,
            tokens: spent.saturating_add(tokens),
        };
        Ok(())
    }

    /// Replaces the `reserved` tokens of a request by those that it used. One whose usage is unknown
    /// keeps its reservation.
    pub(super) fn settle(&mut self, sent: Timestamp, reserved: u64, used: Option<u64>) {
        if let Some(used) = used.filter(|_| self.day == Day::of(sent)) {
            self.tokens = self.tokens.saturating_sub(reserved).saturating_add(used);
        }
    }

    /// Requests and tokens of the day at `now`. A clock that is behind gets no new day.
    pub(super) fn on(&self, now: Timestamp) -> (u64, u64) {
        match Day::of(now) > self.day {
            true => (0, 0),
            false => (self.requests, self.tokens),
        }
    }
}
