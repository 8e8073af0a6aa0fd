//! The latest runs, and the lease under which one process executes each.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{MAX_NOTE, plan::Selection};
use crate::model::{Scope, random_id};

/// Why a run was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The cron expression of the settings.
    Schedule,
    /// Keys were tagged, or their secrets replaced. Checks only those.
    Change,
    /// The admin API.
    Request,
}

/// A smoke run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// `smoke_` and 128 random bits.
    pub id: String,
    /// Why it was started.
    pub trigger: Trigger,
    /// Which keys it checks.
    pub selection: Selection,
    /// When it was started.
    pub started_at: Timestamp,
    /// When all of its checks had a result.
    pub finished_at: Option<Timestamp>,
    lease: Option<Lease>,
}

/// The right to execute a run, until it ends or is renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    /// One execution in one process.
    holder: String,
    until: Timestamp,
}

impl Run {
    pub(super) fn new(trigger: Trigger, selection: Selection, now: Timestamp) -> Self {
        Self {
            id: random_id("smoke_"),
            trigger,
            selection,
            started_at: now,
            finished_at: None,
            lease: None,
        }
    }

    /// The bytes that it takes in a note, or a few more.
    fn size(&self) -> usize {
        let (workspaces, providers) = (&self.selection.workspaces, &self.selection.providers);
        let workspaces = workspaces.iter().map(|id| id.as_str().len() + QUOTES);
        let providers = providers.iter().map(|id| id.as_str().len() + QUOTES);
        RUN_SIZE + workspaces.chain(providers).sum::<usize>()
    }

    fn is_unfinished(&self) -> bool {
        self.finished_at.is_none()
    }

    /// Whether the execution that it was `taken` for still has its lease.
    fn is_held(&self, taken: &Self) -> bool {
        let leases = self.lease.as_ref().zip(taken.lease.as_ref());
        let has_lease = leases.is_some_and(|(one, other)| one.holder == other.holder);
        self.id == taken.id && self.is_unfinished() && has_lease
    }
}

/// What came of a claim of a time of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Added,
    /// The time needs no run, or has one already.
    NotDue,
    /// The note is full of unfinished runs. The time gets no run.
    Full,
}

/// The latest runs, and which time of the schedule had a run last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ledger {
    /// A time of the schedule. Every process sees it, so each time starts one run.
    claimed: Option<Timestamp>,
    /// The finished ones in the order in which they finished, the others in the order in which they
    /// were added.
    runs: VecDeque<Run>,
}

impl Ledger {
    /// Adds a run in the place of the oldest finished ones. Returns false if the note is full of
    /// unfinished ones.
    pub(super) fn add(&mut self, run: Run) -> bool {
        // Decided first, so that a refused run costs no finished one.
        let unfinished = self.runs.iter().filter(|run| run.is_unfinished());
        let needed: usize = unfinished.map(Run::size).sum();
        if needed > 0 && needed + run.size() > MAX_NOTE {
            return false;
        }
        while self.runs.iter().map(Run::size).sum::<usize>() + run.size() > MAX_NOTE
            && let Some(place) = self.runs.iter().position(|run| !run.is_unfinished())
        {
            self.runs.remove(place);
        }
        self.runs.push_back(run);
        true
    }

    /// Adds a run for changed keys, unless one is waiting or being executed. It may have passed
    /// those that changed just now, so the caller looks again when it has finished.
    pub(super) fn add_change(&mut self, run: Run) -> bool {
        let is_waiting = |run: &Run| run.trigger == Trigger::Change && run.is_unfinished();
        !self.runs.iter().any(is_waiting) && self.add(run)
    }

    /// Claims a time of the schedule, and adds its run. A new installation claims the last time
    /// without a run, unless the process `was_watching` when it came; after a downtime, the latest
    /// time that was missed gets one.
    pub(super) fn claim(&mut self, time: Timestamp, run: Run, was_watching: bool) -> Claim {
        let claimed = self.claimed_at(run.started_at);
        if claimed.is_some_and(|claimed| claimed >= time) {
            return Claim::NotDue;
        }
        let is_missed = claimed.is_some() || was_watching;
        if !is_missed {
            // One that is ahead stays: perhaps it is the clock of this process that is wrong, and once
            // it is set, the time must not get a second run.
            self.claimed.get_or_insert(time);
            return Claim::NotDue;
        }
        self.claimed = Some(time);
        match self.add(run) {
            true => Claim::Added,
            false => Claim::Full,
        }
    }

    /// The time of the schedule that was claimed last. `None` if the clock was wrong then.
    pub(super) fn claimed_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.claimed.filter(|claimed| !is_ahead(*claimed, now))
    }

    /// Takes a run that nobody executes: a new one, or one whose lease has ended. The lease is for
    /// one execution, so that a process that takes a run again ends its first execution.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<Run> {
        let is_free = |run: &&mut Run| {
            let lease = run.lease.as_ref();
            let has_ended = |lease: &Lease| lease.until <= now || is_ahead(lease.until, now);
            run.is_unfinished() && lease.is_none_or(has_ended)
        };
        let run = self.runs.iter_mut().find(is_free)?;
        run.lease = Some(Lease {
            holder: random_id("execution_"),
            until: Lease::end(now),
        });
        Some(run.clone())
    }

    /// Prolongs the lease of a run that was taken. Returns false if another execution has it.
    pub(super) fn renew(&mut self, taken: &Run, now: Timestamp) -> bool {
        let Some(lease) = self.held(taken).and_then(|run| run.lease.as_mut()) else {
            return false;
        };
        lease.until = Lease::end(now);
        true
    }

    /// Marks a run that was taken as finished, unless another execution has its lease.
    pub(super) fn finish(&mut self, taken: &Run, now: Timestamp) {
        let held = self.runs.iter().position(|run| run.is_held(taken));
        if let Some(mut run) = held.and_then(|place| self.runs.remove(place)) {
            run.finished_at = Some(now);
            run.lease = None;
            self.runs.push_back(run);
        }
    }

    fn held(&mut self, taken: &Run) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.is_held(taken))
    }

    /// The run to show of those that may check a key of `selection` in `within`: the newest that has not
    /// finished, or else the one that finished last. A run that was added later may have finished
    /// earlier, because nothing was left to check. The order does not come from times, since a clock may
    /// have been ahead.
    pub(super) fn latest(&self, selection: &Selection, within: &Scope) -> Option<&Run> {
        let found = self.runs.iter().filter(|run| {
            let checks = &run.selection;
            checks.touches(within) && checks.overlaps(selection)
        });
        // The last one of several.
        found.max_by_key(|run| run.is_unfinished())
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }
}

impl Lease {
    fn end(now: Timestamp) -> Timestamp {
        now.checked_add(LEASE).unwrap_or(Timestamp::MAX)
    }
}

/// Whether a time that some process noted is from a clock that was wrong: it would keep schedule and
/// leases waiting until then.
fn is_ahead(at: Timestamp, now: Timestamp) -> bool {
    at.duration_since(now) > MAX_AHEAD
}

/// More than the clocks of processes that share a store differ.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// How long after the end of its process a run is continued by another one.
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// Bytes of a run with its lease, without its selection.
const RUN_SIZE: usize = 400;

/// Bytes around an id in a list.
const QUOTES: usize = 3;
