//! Records that the clock is right although chains have later times: a document of the
//! installation's chain.

use std::sync::Arc;

use jiff::Timestamp;
use keyside_store::chain::{Head, State, Write};
use serde::{Deserialize, Serialize};

use super::{Chains, Tracked};
use crate::record::{Draft, Event};

/// The last time that the clock was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AcceptedClock {
    /// Earlier commits up to this time are from a clock that was ahead.
    pub(crate) ahead_until: Timestamp,
    /// The sequence number of the accepting commit in the installation's chain.
    pub(crate) seq: u64,
}

impl AcceptedClock {
    /// Whether a head's time can be trusted: it was committed after the clock was accepted, or is
    /// later than all times before.
    pub(crate) fn believes(&self, head: &Head) -> bool {
        let was_written_since = head.decided_on.is_some_and(|on| on.seq >= self.seq);
        was_written_since || head.at > self.ahead_until.as_microsecond()
    }

    pub(crate) fn write(&self) -> Write {
        let body = serde_json::to_vec(self).expect("times and numbers serialize");
        Write::put(ACCEPTED, body)
    }
}

impl Chains {
    /// The time of a commit on top of `on`: now, or the time of `on` if another process's clock is
    /// ahead. Times in a chain never decrease, because the log is searched by time, except when the
    /// clock is accepted.
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
        // The installation's chain continued when the clock was accepted.
        let is_believed = self.is_own(tracked) || accepted.is_none_or(|it| it.believes(&on.head));
        match is_believed && !accepts {
            true => now.max(Timestamp::from_microsecond(on.head.at).unwrap_or(now)),
            false => now,
        }
    }
}

/// The document's name.
pub(super) const ACCEPTED: &str = "clock";
