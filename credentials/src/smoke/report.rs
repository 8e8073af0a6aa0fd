//! What is shown of runs, results and spend.

use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_store::StorageError;

use super::{
    LEDGER, Smoke,
    execute::spend_note,
    ledger::{Ledger, Run, Trigger},
    outcome::SmokeResult,
    plan::{Selection, Subject},
    series::Series,
};
use crate::{
    model::{CredentialId, Environment, Label, Scope, WorkspaceId},
    spend::DayTotals,
};

/// A run with its results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// The run.
    pub run: Run,
    /// One item for each key, in list order, then the missing ones.
    pub items: Vec<Item>,
}

/// A key that is checked, or a provider without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The provider.
    pub provider: ProviderId,
    /// The key; `None` if it is missing, or the result was posted.
    pub credential: Option<CredentialId>,
    /// The key's label now.
    pub label: Option<Label>,
    /// The key's environment.
    pub environment: Option<Environment>,
    /// The result of the run that is shown, or else the latest one; `None` before it.
    pub result: Option<SmokeResult>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// When a check passed last.
    pub last_success_at: Option<Timestamp>,
    /// The latest results, newest first.
    pub history: Vec<SmokeResult>,
}

/// What smoke runs have spent in one workspace today, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Requests that were sent.
    pub requests: u64,
    /// Tokens that they used, or that are set aside for those whose usage is unknown.
    pub tokens: u64,
}

/// All keys that are checked, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// When the schedule starts the next run; `None` without one.
    pub next_at: Option<Timestamp>,
    /// The newest run that has not finished, or else the one that finished last. Only runs that may
    /// check one of the selected keys count.
    pub run: Option<Run>,
    /// One item for each key, then the missing ones, then posted results.
    pub items: Vec<Item>,
    /// Today's spend of each workspace that has items.
    pub budgets: Vec<Budget>,
}

impl Smoke {
    /// A run of the latest ones by its id, with its results in `within`. `None` if it is not known
    /// any more, or has nothing to do with `within`.
    ///
    /// # Errors
    /// Notes could not be read.
    pub async fn report(
        &self,
        id: &str,
        within: &Scope,
    ) -> Result<Option<RunReport>, StorageError> {
        let ledger: Ledger = self.notes.read(LEDGER).await?;
        let mut runs = ledger.runs();
        let found = runs.find(|run| run.id == id && run.selection.touches(within));
        let Some(run) = found.cloned() else {
            return Ok(None);
        };
        let mut report = self.report_on(run).await?;
        report.items.retain(|item| within.holds(&item.workspace));
        Ok(Some(report))
    }

    /// All keys that are checked, narrowed to `selection` and `within`.
    ///
    /// # Errors
    /// Notes could not be read.
    pub async fn overview(
        &self,
        selection: &Selection,
        within: &Scope,
    ) -> Result<Overview, StorageError> {
        let now = self.registry.clock.now();
        let ledger: Ledger = self.notes.read(LEDGER).await?;
        let run = ledger.latest(selection, within).cloned();
        let mut items = Vec::new();
        let plan = self.plan(selection).into_iter();
        for subject in plan.filter(|subject| within.holds(&subject.workspace)) {
            let series = self.series(&subject).await?;
            items.push(item(subject, series.last().cloned(), &series));
        }
        let mut posted = self.posted(selection, within).await?;
        // A missing key is shown with the results that were posted for its provider.
        posted.retain(|one| {
            let is_same =
                |item: &&Item| item.workspace == one.workspace && item.provider == one.provider;
            let mut same = items.iter().filter(is_same);
            same.all(|item: &Item| item.credential.is_some())
        });
        items.extend(posted);
        let schedule = self.settings.schedule.as_ref();
        // A process whose clock is a little ahead may have claimed a time that is still to come.
        let after = ledger
            .claimed_at(now)
            .map_or(now, |claimed| claimed.max(now));
        let next_at = schedule.and_then(|schedule| schedule.next_after(after.as_second()));
        Ok(Overview {
            next_at: next_at.and_then(|second| Timestamp::from_second(second).ok()),
            run,
            budgets: self.budgets(&items, now).await?,
            items,
        })
    }

    pub(super) async fn report_on(&self, run: Run) -> Result<RunReport, StorageError> {
        let mut items = Vec::new();
        for subject in self.plan(&run.selection) {
            let series = self.series(&subject).await?;
            let result = series.of_run(&run.id).cloned();
            let key = subject.credential.as_ref();
            // The run may have passed a key that was added later.
            let is_later = key.is_some_and(|key| key.created_at > run.started_at);
            // A run of changed keys checks only those.
            if result.is_some() || !is_later && run.trigger != Trigger::Change {
                items.push(item(subject, result, &series));
            }
        }
        Ok(RunReport { run, items })
    }

    /// Results that were posted, and that no run has replaced.
    async fn posted(
        &self,
        selection: &Selection,
        within: &Scope,
    ) -> Result<Vec<Item>, StorageError> {
        let mut items = Vec::new();
        for workspace in self.slot_workspaces() {
            if !within.holds(&workspace) || !selection.has_workspace(&workspace) {
                continue;
            }
            for (provider, series) in self.slots(&workspace).await? {
                if series.is_posted() && selection.has(&workspace, &provider) {
                    let subject = Subject {
                        workspace: workspace.clone(),
                        provider,
                        credential: None,
                    };
                    items.push(item(subject, series.last().cloned(), &series));
                }
            }
        }
        Ok(items)
    }

    async fn budgets(&self, items: &[Item], now: Timestamp) -> Result<Vec<Budget>, StorageError> {
        let mut workspaces: Vec<_> = items.iter().map(|item| &item.workspace).collect();
        workspaces.sort_unstable();
        workspaces.dedup();
        let mut budgets = Vec::with_capacity(workspaces.len());
        for workspace in workspaces {
            let spend: DayTotals = self.notes.read(&spend_note(workspace)).await?;
            let (requests, tokens) = spend.on(now);
            budgets.push(Budget {
                workspace: workspace.clone(),
                requests,
                tokens,
            });
        }
        Ok(budgets)
    }
}

pub(super) fn item(subject: Subject, result: Option<SmokeResult>, series: &Series) -> Item {
    let key = subject.credential.as_deref();
    Item {
        workspace: subject.workspace,
        provider: subject.provider,
        label: key.map(|key| key.label.clone()),
        environment: key.map(|key| key.environment),
        credential: key.map(|key| key.id.clone()),
        result,
        consecutive_failures: series.consecutive_failures,
        last_success_at: series.last_success_at,
        history: series.results(),
    }
}
