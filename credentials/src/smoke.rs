//! Smoke runs: live checks of all keys with a certain usage tag, on a schedule, after a change of a
//! key, and on request.
//!
//! Runs, results and what was spent are notes in the store, changed by compare-and-swap, so however
//! many processes share a store, one of them executes each run, and a restart continues it. An
//! attempt is noted on disk before it is sent: a crash neither forgets nor repeats it. No text of a
//! provider is kept, so a key that a provider echoes is in no result.

mod execute;
mod figures;
mod ledger;
mod outcome;
mod plan;
mod report;
mod schedule;
mod series;
mod spend;
#[cfg(test)]
mod tests;

use std::{fmt::Display, sync::Arc};

use keyside_config::{ProviderId, Smoke as SmokeSettings};
use keyside_store::StorageError;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use self::{figures::Board, ledger::Ledger, plan::Subject, series::Series};
pub use self::{
    figures::Figures,
    ledger::{Run, Trigger},
    outcome::{Class, SmokeResult, Verdict},
    plan::Selection,
    report::{Budget, Item, Overview, RunReport},
};
use crate::{
    live_check::LiveCheck,
    model::{Scope, WorkspaceId},
    notes::{Kind, NoteStore},
    registry::Registry,
};

/// Starts, executes and shows smoke runs.
pub struct Smoke {
    registry: Arc<Registry>,
    live_check: Arc<dyn LiveCheck>,
    settings: SmokeSettings,
    notes: Arc<NoteStore>,
    /// One permit for each check at a time.
    permits: Arc<Semaphore>,
    /// Wakes the background task: a run was requested.
    wake: Arc<Notify>,
    board: Mutex<Board>,
}

/// A result of a check that something else made, such as a CI job.
#[derive(Clone, Debug)]
pub struct ExternalResult {
    /// The workspace that it counts for.
    pub workspace: WorkspaceId,
    /// The provider that was checked.
    pub provider: ProviderId,
    /// What came of it.
    pub verdict: Verdict,
    /// The provider's HTTP status.
    pub status: Option<u16>,
    /// How long the provider took, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Input and output tokens that the check used.
    pub tokens: Option<u64>,
}

/// Why a run was not started.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SmokeError {
    /// As many runs as are kept have not finished.
    #[error("too many smoke runs are waiting: wait until one has finished")]
    TooManyRuns,
    /// As many runs as a limited token may start have not finished.
    #[error("too many smoke runs of these workspaces are waiting: wait until one has finished")]
    TooManyOwnRuns,
    /// Notes could not be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Smoke {
    /// Does nothing by itself: [`Self::background`] executes runs. `live_check` sends the checks:
    /// with a prompt if `settings.prompt` says so.
    pub fn new(
        registry: Arc<Registry>,
        live_check: Arc<dyn LiveCheck>,
        settings: SmokeSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            notes: registry.notes.clone(),
            permits: Arc::new(Semaphore::new(settings.parallel)),
            wake: Arc::default(),
            board: Mutex::default(),
            registry,
            live_check,
            settings,
        })
    }

    /// Which keys are checked, when, and what the checks may cost.
    pub fn settings(&self) -> &SmokeSettings {
        &self.settings
    }

    /// Starts a run of the selected keys, and returns it before it is executed. `None` if nothing
    /// is configured for it: no key has the tag, and none is expected. A caller that is limited to
    /// the workspaces `within` has few runs at a time, so that it leaves room for others.
    ///
    /// # Errors
    /// See [`SmokeError`]. Nothing is started then.
    pub async fn start(
        &self,
        selection: Selection,
        within: &Scope,
    ) -> Result<Option<RunReport>, SmokeError> {
        if self.plan(&selection).is_empty() {
            return Ok(None);
        }
        let now = self.registry.clock.now();
        let run = Run::new(Trigger::Request, selection, now);
        let add = |ledger: &mut Ledger| {
            let own = ledger.runs().filter(|run| is_waiting_within(run, within));
            if own.count() >= MAX_OWN_RUNS {
                return Err(SmokeError::TooManyOwnRuns);
            }
            match ledger.add(run.clone()) {
                true => Ok(()),
                false => Err(SmokeError::TooManyRuns),
            }
        };
        self.notes.update(LEDGER, add).await??;
        self.notes.sync().await?;
        self.wake.notify_one();
        Ok(Some(self.report_on(run).await?))
    }

    /// Notes a result of a check that something else made, so that it shows in the history and in
    /// the metrics. It counts against no cap.
    ///
    /// # Errors
    /// Notes could not be written.
    pub async fn post(&self, external: ExternalResult) -> Result<Item, StorageError> {
        let now = self.registry.clock.now();
        let result = SmokeResult {
            latency_ms: external.latency_ms,
            tokens: external.tokens,
            ..SmokeResult::posted(external.verdict, external.status, now)
        };
        let subject = Subject {
            workspace: external.workspace,
            provider: external.provider,
            credential: None,
        };
        let (_, series) = self.record(&subject, &result).await?;
        Ok(report::item(subject, series.last().cloned(), &series))
    }

    /// Adds a result to its series, and counts a new one. Returns whether it is new, and the series.
    async fn record(
        &self,
        subject: &Subject,
        result: &SmokeResult,
    ) -> Result<(bool, Series), StorageError> {
        let record = |series: &mut Series| {
            let is_new = series.record(result.clone());
            (is_new, series.clone())
        };
        let note = self.series_note(subject);
        let (is_new, series) = self.notes.update(&note, record).await?;
        if is_new {
            self.count(subject, result, &series);
        }
        Ok((is_new, series))
    }

    /// Counts a new result, and publishes a failure.
    fn count(&self, subject: &Subject, result: &SmokeResult, series: &Series) {
        let class = result.verdict.class();
        self.board.lock().count(subject, class, series);
        if class == Class::Failed {
            let credential = subject.credential.as_ref().map(|key| &key.id);
            self.registry.publish_smoke_failure(
                &subject.workspace,
                &subject.provider,
                credential,
                result.verdict.as_str(),
                series.consecutive_failures,
            );
        }
    }

    async fn series(&self, subject: &Subject) -> Result<Series, StorageError> {
        self.notes.read(&self.series_note(subject)).await
    }

    fn series_note(&self, subject: &Subject) -> String {
        match &subject.credential {
            Some(key) => Kind::SmokeSeries.name(&key.workspace, &key.id),
            None => self.slot_note(&subject.workspace, &subject.provider),
        }
    }

    /// The note of a provider without a credential in a workspace: a missing one, or one with posted
    /// results. An erased workspace and its successor of the same id differ.
    fn slot_note(&self, workspace: &WorkspaceId, provider: impl Display) -> String {
        let found = self.registry.workspace(workspace);
        let incarnation = found.map_or(0, |found| found.incarnation);
        Kind::SmokeSlots.name(workspace, format_args!("{incarnation}/{provider}"))
    }

    async fn slots(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<(ProviderId, Series)>, StorageError> {
        let prefix = self.slot_note(workspace, "");
        let stored = self.notes.under::<Series>(&prefix).await?.into_iter();
        let slots = stored.filter_map(|(name, series)| {
            let provider = name.strip_prefix(&prefix)?.parse().ok()?;
            Some((provider, series))
        });
        Ok(slots.collect())
    }
}

/// Whether a requested run has not finished and checks no other workspaces than these. Never for a
/// caller that is not limited.
fn is_waiting_within(run: &Run, within: &Scope) -> bool {
    let workspaces = &run.selection.workspaces;
    run.trigger == Trigger::Request
        && run.finished_at.is_none()
        && matches!(within, Scope::Only(_))
        && !workspaces.is_empty()
        && workspaces.iter().all(|id| within.holds(id))
}

/// The note with the latest runs, their leases, and which time of the schedule had a run last.
const LEDGER: &str = "smoke/runs";

/// Requested runs of a limited caller's workspaces that have not finished.
const MAX_OWN_RUNS: usize = 2;

/// Results that are kept of a key or a provider: they have to fit into one note.
const KEPT: usize = 14;

/// Bytes of a note, less what sealing adds.
const MAX_NOTE: usize = keyside_store::MAX_NOTE - 256;
