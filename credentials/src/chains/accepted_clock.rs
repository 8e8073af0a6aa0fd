//! Records that the clock is right although chains have later times: a document of the
//! installation's chain.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use keyside_store::chain::{ChainName, Head, State, Write};
use serde::{Deserialize, Serialize};

use super::{Chains, Tracked};
use crate::record::{Draft, Event};

/// The last time that the clock was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AcceptedClock {
    /// Earlier commits up to this time are from a clock that was ahead.
    pub(crate) ahead_until: Timestamp,
    /// The sequence number of the accepting commit in the installation's chain.
    pub(crate) seq: u64,
    /// Where the times of each chain go back, oldest first. Includes all earlier times that the
    /// clock was accepted.
    #[serde(default)]
    returns: BTreeMap<String, Vec<ClockReturn>>,
}

/// A place in a chain after which times are earlier, because the clock was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClockReturn {
    /// Number of records before it.
    records: u64,
    /// When the clock was accepted, in microseconds since the Unix epoch. No later record is from
    /// before.
    at: i64,
}

impl AcceptedClock {
    /// Whether a head's time can be trusted: it was committed after the clock was accepted, or is
    /// later than all times before.
    pub(crate) fn believes(&self, head: &Head) -> bool {
        let was_written_since = head.decided_on.is_some_and(|on| on.seq >= self.seq);
        was_written_since || head.at > self.ahead_until.as_microsecond()
    }

    /// The time of a record in the order of all records: its own, but not later than when the clock
    /// was accepted after it. Never decreases within a chain.
    fn order_time(&self, chain: &ChainName, position: u64, at: i64) -> i64 {
        let returns = self.returns.get(chain.as_str()).into_iter().flatten();
        let later = returns.filter(|it| position <= it.records);
        later.fold(at, |at, it| at.min(it.at))
    }

    pub(crate) fn write(&self) -> Write {
        let body = serde_json::to_vec(self).expect("times and numbers serialize");
        Write::put(ACCEPTED, body)
    }
}

impl Chains {
    /// Accepts the clock on top of the installation's state `on`, where `log` is the latest time in
    /// any chain.
    pub(super) fn accepted_now(&self, on: Option<&Arc<State>>, log: Timestamp) -> AcceptedClock {
        let now = self.clock.now().as_microsecond();
        let before = self.registrations.load().accepted.clone();
        // A chain without a commit since then is still at that time.
        let ahead_until = before.as_ref().map_or(log, |it| it.ahead_until.max(log));
        let mut returns = before.map(|it| it.returns.clone()).unwrap_or_default();
        let registrations = self.registrations();
        let workspaces = registrations.keys().map(|id| self.of(id));
        let states = workspaces.map(|it| (it.chain.name().clone(), it.state()));
        let own = (self.installation.chain.name().clone(), on.cloned());
        for (chain, state) in states.chain([own]) {
            let Some(state) = state.filter(|state| state.head.at > now) else {
                continue;
            };
            let of_chain = returns.entry(chain.as_str().to_owned()).or_default();
            of_chain.push(ClockReturn {
                records: state.head.records,
                at: now,
            });
        }
        AcceptedClock {
            ahead_until,
            seq: on.map_or(0, |on| on.head.seq) + 1,
            returns,
        }
    }

    /// The time of a record in the order of all records, in microseconds since the Unix epoch. Not
    /// its own time if that is from a clock that was ahead.
    pub(crate) fn order_time(&self, chain: &ChainName, position: u64, at: i64) -> i64 {
        let registrations = self.registrations.load();
        let accepted = registrations.accepted.as_ref();
        accepted.map_or(at, |accepted| accepted.order_time(chain, position, at))
    }

    /// The time of a commit on top of `on`: now, or the time of `on` if another process's clock is
    /// ahead. Times in a chain never decrease, because the log is searched by time, except when the
    /// clock is accepted ([`Self::order_time`]).
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
        let accepted = self.registrations.load().accepted.clone();
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
