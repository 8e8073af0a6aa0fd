//! That the clock is right, though chains tell later times: a document of the installation's chain.

use jiff::Timestamp;
use keyside_store::chain::{Head, Write};
use serde::{Deserialize, Serialize};

/// The clock as it was accepted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    /// Times up to this one that were told before are from a clock that was ahead.
    pub(crate) ahead_until: Timestamp,
    /// The commit of the installation's chain that says so.
    pub(crate) seq: u64,
}

impl Accepted {
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

/// What it is called.
pub(super) const ACCEPTED: &str = "clock";
