//! The history of one key, or of a provider without one: the latest results, and what was begun.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    KEPT,
    ledger::{Run, Trigger},
    outcome::{Class, SmokeResult, Verdict},
};
use crate::snapshot::SecretInUse;

/// The latest results of one key, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Series {
    /// The runs that began a check and have no result of it yet, oldest first. Written before
    /// anything is sent. Several at a time: a run may be requested while another one waits for the
    /// provider.
    in_progress: Vec<String>,
    /// The version of the secret that was checked last.
    version: Option<SecretInUse>,
    results: VecDeque<SmokeResult>,
    pub(super) consecutive_failures: u32,
    pub(super) last_success_at: Option<Timestamp>,
}

/// Whether a run may check a key now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// The attempt is noted: send it.
    Go,
    /// Another process, or an earlier run, has checked it.
    Done,
    /// It was begun before a restart. That is noted as its result, and nothing is sent again.
    Interrupted,
}

impl Series {
    /// Notes that `run` is about to check a version of the key. Nothing that was begun is begun
    /// again, so a run that is executed twice spends once.
    pub(super) fn begin(&mut self, run: &Run, version: &SecretInUse, now: Timestamp) -> Begin {
        if self.of_run(&run.id).is_some() {
            return Begin::Done;
        }
        if self.in_progress.contains(&run.id) {
            self.record(SmokeResult::interrupted(now).of_run(run));
            return Begin::Interrupted;
        }
        if run.trigger == Trigger::Change && !self.is_due(version) {
            return Begin::Done;
        }
        if self.in_progress.len() == MAX_IN_PROGRESS {
            // So that it is not begun again. Its own result, if it comes, replaces this one.
            let oldest = self.in_progress.remove(0);
            self.record(SmokeResult {
                run: Some(oldest),
                ..SmokeResult::interrupted(now)
            });
        }
        self.in_progress.push(run.id.clone());
        self.version = Some(version.clone());
        Begin::Go
    }

    /// Whether this version of the key was never checked.
    pub(super) fn is_due(&self, version: &SecretInUse) -> bool {
        self.version.as_ref() != Some(version)
    }

    /// Adds a result and keeps the latest [`KEPT`]. Returns false if the run has a result already.
    pub(super) fn record(&mut self, result: SmokeResult) -> bool {
        self.in_progress
            .retain(|run| result.run.as_ref() != Some(run));
        let same = |other: &SmokeResult| result.run.is_some() && other.run == result.run;
        if let Some(place) = self.results.iter().position(same) {
            // Its process was only slow: the result that it has now is better than none.
            if self.results[place].verdict != Verdict::Interrupted {
                return false;
            }
            self.results.remove(place);
        }
        match result.verdict.class() {
            Class::Passed => {
                self.consecutive_failures = 0;
                self.last_success_at = Some(result.at);
            }
            Class::Failed => {
                self.consecutive_failures = self.consecutive_failures.saturating_add(1)
            }
            Class::Skipped => {}
        }
        self.results.push_back(result);
        while self.results.len() > KEPT {
            self.results.pop_front();
        }
        true
    }

    pub(super) fn of_run(&self, run: &str) -> Option<&SmokeResult> {
        let mut results = self.results.iter();
        results.find(|result| result.run.as_deref() == Some(run))
    }

    pub(super) fn last(&self) -> Option<&SmokeResult> {
        self.results.back()
    }

    /// Newest first.
    pub(super) fn results(&self) -> Vec<SmokeResult> {
        self.results.iter().rev().cloned().collect()
    }

    /// Whether the latest result came from something else than a run.
    pub(super) fn is_posted(&self) -> bool {
        self.last().is_some_and(|last| last.run.is_none())
    }
}

/// With the results they have to fit into one note.
const MAX_IN_PROGRESS: usize = 8;
