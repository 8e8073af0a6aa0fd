//! Counts what a credential or a workspace spends in a UTC day, and says when a limit is reached.
//!
//! The counts that decide are in memory: a request costs one relaxed load for each limit when it is
//! resolved, one addition when it is sent and one when it ends, and nothing where there is no limit.
//! Each process counts for itself. A request is counted when it is sent and its tokens when it ends,
//! so spend exceeds a limit at most by what is in flight.
//!
//! **Days never go back.** Day and count are one word, so both change at once, and a clock that is
//! set back goes on counting for the latest day that was seen.
//!
//! **Across restarts** `registry/spend.rs` stores counts, ahead of what is spent: it reserves
//! another 2 % of the limit (at least 1) as soon as half of the last reservation is used. A clean
//! stop stores the exact counts. After a crash the whole reservation counts as spent, so a crash
//! costs the user at most 2 % of a limit. What it may forget: spend beyond the reservation within
//! the time of one write (about a tenth of a second), and the tokens of requests in flight, which
//! nobody knows. A start from a backup begins at 0.

use std::{
    cmp::Ordering,
    num::NonZeroU64,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Limits, Usage, UsageState, warning_at};

/// The counts of one credential or workspace. Units without a limit are not counted.
#[derive(Default)]
pub(crate) struct Meter {
    requests: Counter,
    tokens: Counter,
    /// Whether the counts of earlier processes were added.
    restored: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Requests,
    Tokens,
}

/// A day since the epoch, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Day(u64);

/// The counts of one day, as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DayTotals {
    pub(crate) day: Day,
    pub(crate) requests: u64,
    pub(crate) tokens: u64,
}

/// What a stored count includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A reservation, because the process goes on.
    Ahead,
    /// Only what was spent, because the process stops.
    Exact,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The new count, if this is the first one at 80 % of the limit or above.
    pub(crate) warning: Option<u64>,
    pub(crate) is_store_due: bool,
}

#[derive(Default)]
struct Counter {
    /// The day in the upper 16 bits, the count in the lower 48.
    counted: AtomicU64,
    /// In the same form: from here on, another reservation is due.
    store_at: AtomicU64,
}

impl Day {
    pub(crate) fn of(at: Timestamp) -> Self {
        let day = at.as_second().div_euclid(SECONDS_PER_DAY);
        Self(u64::try_from(day).unwrap_or(0).min(LAST_DAY))
    }

    pub(crate) fn next(self) -> Self {
        Self((self.0 + 1).min(LAST_DAY))
    }
}

impl Meter {
    /// The unit whose limit is reached, if any. One relaxed load for each limit.
    pub(crate) fn exhausted(&self, limits: Limits, today: Day) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| {
            let limit = unit.limit(limits);
            limit.is_some_and(|limit| self.counter(*unit).on(today) >= limit.get())
        })
    }

    /// Adds to the count of a unit, if it has a limit.
    pub(crate) fn count(&self, unit: Unit, amount: u64, limits: Limits, today: Day) -> Counted {
        match unit.limit(limits) {
            Some(limit) => self.counter(unit).add(amount, limit, today),
            None => Counted::default(),
        }
    }

    /// The counts as they may be shown; `None` without a limit.
    pub(crate) fn usage(&self, limits: Limits, today: Day) -> Option<Usage> {
        let of = |unit: Unit| {
            let limit = unit.limit(limits)?;
            let count = self.counter(unit).on(today);
            Some((count, UsageState::of(count, Some(limit))))
        };
        let (requests, tokens) = (of(Unit::Requests), of(Unit::Tokens));
        let state = |counted: Option<(u64, UsageState)>| counted.map(|(_, state)| state);
        Some(Usage {
            requests_today: requests.map(|(count, _)| count),
            tokens_today: tokens.map(|(count, _)| count),
            state: state(requests).max(state(tokens))?,
        })
    }

    /// Whether the counts of earlier processes are still to be added. True once.
    pub(crate) fn begin_restore(&self) -> bool {
        !self.restored.swap(true, Relaxed)
    }

    /// Restoring failed: the next attempt adds the counts.
    pub(crate) fn restore_failed(&self) {
        self.restored.store(false, Relaxed);
    }

    /// Adds what earlier processes counted. If their clock was ahead, their count is at most that
    /// of tomorrow: the budget of a day can be used early, but never twice.
    pub(crate) fn restore(&self, totals: DayTotals, today: Day) {
        let day = totals.day.min(today.next());
        self.requests.restore(totals.requests, day);
        self.tokens.restore(totals.tokens, day);
    }

    /// Whether something was counted that the last reservation does not cover well.
    pub(crate) fn is_store_due(&self) -> bool {
        self.requests.is_store_due() || self.tokens.is_store_due()
    }

    pub(crate) fn totals(&self, limits: Limits, stored: Stored) -> DayTotals {
        let day = self.requests.day().max(self.tokens.day());
        let of = |unit: Unit| {
            let ahead = match stored {
                Stored::Ahead => unit.limit(limits).map_or(0, reservation),
                Stored::Exact => 0,
            };
            let count = self.counter(unit).on(day);
            (count + ahead).min(LARGEST_COUNT)
        };
        DayTotals {
            day,
            requests: of(Unit::Requests),
            tokens: of(Unit::Tokens),
        }
    }

    /// These totals are on disk.
    pub(crate) fn stored(&self, totals: DayTotals, limits: Limits, stored: Stored) {
        let store_at = |unit: Unit, total: u64| {
            let count = match (stored, unit.limit(limits)) {
                (Stored::Ahead, Some(limit)) => total - reservation(limit).min(total) / 2,
                // Again only after further requests.
                _ => total + 1,
            };
            let at = pack(totals.day, count);
            self.counter(unit).store_at.store(at, Relaxed);
        };
        store_at(Unit::Requests, totals.requests);
        store_at(Unit::Tokens, totals.tokens);
    }

    fn counter(&self, unit: Unit) -> &Counter {
        match unit {
            Unit::Requests => &self.requests,
            Unit::Tokens => &self.tokens,
        }
    }
}

impl Unit {
    const ALL: [Self; 2] = [Self::Requests, Self::Tokens];

    pub(crate) fn limit(self, limits: Limits) -> Option<NonZeroU64> {
        match self {
            Self::Requests => limits.requests_per_day,
            Self::Tokens => limits.tokens_per_day,
        }
    }
}

impl Counter {
    /// The count on a day, or on a later one that was seen.
    fn on(&self, day: Day) -> u64 {
        let (counted, count) = unpack(self.counted.load(Relaxed));
        if counted >= day { count } else { 0 }
    }

    fn day(&self) -> Day {
        unpack(self.counted.load(Relaxed)).0
    }

    fn add(&self, amount: u64, limit: NonZeroU64, today: Day) -> Counted {
        let (before, now) = self.update(|day, count| {
            let (day, count) = if day >= today {
                (day, count)
            } else {
                (today, 0)
            };
            (day, count.saturating_add(amount))
        });
        let (day, after) = unpack(now);
        // An earlier day's count is not before this one.
        let (day_before, before) = unpack(before);
        let before = if day_before == day { before } else { 0 };
        let warn_at = warning_at(limit);
        Counted {
            warning: (before < warn_at && after >= warn_at).then_some(after),
            is_store_due: now >= self.store_at.load(Relaxed),
        }
    }

    fn restore(&self, amount: u64, of: Day) {
        self.update(|day, count| match day.cmp(&of) {
            Ordering::Less => (of, amount),
            Ordering::Equal => (day, count.saturating_add(amount)),
            Ordering::Greater => (day, count),
        });
    }

    /// Whether the count has changed since it was stored, and reaches where it is stored again.
    fn is_store_due(&self) -> bool {
        let counted = self.counted.load(Relaxed);
        let (_, count) = unpack(counted);
        count > 0 && counted >= self.store_at.load(Relaxed)
    }

    /// Replaces day and count, and returns both words: before and after.
    fn update(&self, change: impl Fn(Day, u64) -> (Day, u64)) -> (u64, u64) {
        let mut before = self.counted.load(Relaxed);
        loop {
            let (day, count) = unpack(before);
            let (day, count) = change(day, count);
            let after = pack(day, count);
            let swapped = self
                .counted
                .compare_exchange_weak(before, after, Relaxed, Relaxed);
            match swapped {
                Ok(_) => return (before, after),
                Err(now) => before = now,
            }
        }
    }
}

fn pack(Day(day): Day, count: u64) -> u64 {
    (day.min(LAST_DAY) << COUNT_BITS) | count.min(LARGEST_COUNT)
}

fn unpack(word: u64) -> (Day, u64) {
    (Day(word >> COUNT_BITS), word & LARGEST_COUNT)
}

/// How far a stored count is ahead: 2 % of the limit.
fn reservation(limit: NonZeroU64) -> u64 {
    (limit.get() / 50).max(1)
}

const SECONDS_PER_DAY: i64 = 86_400;
const COUNT_BITS: u32 = 48;
const LARGEST_COUNT: u64 = (1 << COUNT_BITS) - 1;
/// In the year 2149.
const LAST_DAY: u64 = (1 << (u64::BITS - COUNT_BITS)) - 1;

#[cfg(test)]
mod tests;
