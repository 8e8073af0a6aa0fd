//! That the clock is right, though chains tell later times: a document of the installation's chain.

use std::sync::Arc;

use jiff::Timestamp;
use keyside_store::chain::{Head, State, Write};
use serde::{Deserialize, Serialize};

use super::{Chains, Tracked};
use crate::record::{Draft, Event};

/// The clock as it was accepted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AcceptedClock {
    /// Times up to this one that were told before are from a clock that was ahead.
    pub(crate) ahead_until: Timestamp,
    /// The commit of the installation's chain that says so.
    pub(crate) seq: u64,
}

impl AcceptedClock {
    /// Whether a head tells what the time was: it was written since, or it is later than anything that was told before.
    pub(crate) fn believes(&self, head: &Head) -> bool {
        let was_written_since = head.decided_on.is_some_and(|on| on.seq >= self.seq);
        was_written_since || head.at > self.ahead_until.as_microsecond()
    }

    /// The document as it is written.
    pub(crate) fn write(&self) -> Write {
        let body = serde_json::to_vec(self).expect("times and numbers serialize");
        Write::put(ACCEPTED, body)
    }
}

impl Chains {
    /// The time of a commit on top of `on`: now, or when `on` was committed, if another process did that by a clock that is ahead.
    /// Times never go back in a chain, since the log is read by time; except when the clock is accepted.
    pub(super) fn time_on(
        &self,
        tracked: &Tracked,
        on: Option<&Arc<State>>,
        drafts: &[Draft],
    ) -> Timestamp {
        let now = self.clock.now();
        let Some(on) = on else {
            return now;
        };
        let mut events = drafts.iter().map(|draft| draft.event);
        let accepts = events.any(|event| event == Event::ClockAccepted);
        let accepted = self.registrations.load().accepted;
        // The installation's own chain went on when the clock was accepted.
        let is_own = tracked.chain.name() == self.own.chain.name();
        let is_believed = is_own || accepted.is_none_or(|it| it.believes(&on.head));
        match is_believed && !accepts {
            true => now.max(Timestamp::from_microsecond(on.head.at).unwrap_or(now)),
            false => now,
        }
    }
}

/// What it is called.
pub(super) const ACCEPTED: &str = "clock";
