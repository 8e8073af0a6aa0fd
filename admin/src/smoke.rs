//! Smoke runs: starts them, and shows them in the form of the API, for `/api/smoke` and for the page
//! Checks.

use http::header;
use keyside_config::{Catalogue, EnvironmentPin, Smoke as SmokeSettings};
use keyside_credentials::{
    Scope, WorkspaceId,
    smoke::{Budget, Item, Overview, Run, RunReport, Selection, SmokeError, SmokeResult},
};

use crate::{
    access::Caller,
    problem::{Kind, Problem},
    state::AdminState,
    wire::{
        NewSmokeRun, SmokeItemView, SmokeReportView, SmokeResultView, SmokeRunView, SmokeSpendView,
        SmokeState, SmokeView,
    },
};

/// The keys that `selection` and `scope` include, with their latest results, and the latest run.
pub(crate) async fn overview(
    state: &AdminState,
    selection: &Selection,
    scope: &Scope,
) -> Result<SmokeView, Problem> {
    let found = state.smoke.overview(selection, scope).await;
    let found = found.map_err(Problem::unreadable)?;
    let settings = state.smoke.settings();
    Ok(SmokeView::of(found, settings, &state.catalogue))
}

/// A run of the latest ones, with its results that `selection` and `scope` include. It is empty if
/// there is no such run.
pub(crate) async fn report(
    state: &AdminState,
    id: &str,
    selection: &Selection,
    scope: &Scope,
) -> Result<SmokeReportView, Problem> {
    let found = state.smoke.report(id, scope).await;
    let found = found.map_err(Problem::unreadable)?;
    Ok(SmokeReportView::of(found, selection, &state.catalogue))
}

/// Starts a run. The report is empty if there is nothing to check.
pub(crate) async fn start(
    state: &AdminState,
    caller: &Caller,
    new: NewSmokeRun,
) -> Result<SmokeReportView, Problem> {
    let selection = selection(state, caller, new)?;
    let started = match selection {
        Some(selection) => {
            let started = state.smoke.start(selection, caller.scope()).await;
            started.map_err(not_started)?
        }
        None => None,
    };
    Ok(SmokeReportView::of(
        started,
        &Selection::default(),
        &state.catalogue,
    ))
}

/// Checks that the workspace in a body exists for the caller.
pub(crate) fn expect_workspace(
    state: &AdminState,
    caller: &Caller,
    id: &WorkspaceId,
) -> Result<(), Problem> {
    caller.enter_workspace(id, Problem::workspace_unknown())?;
    let found = state.registry.workspace(id);
    found.map(drop).ok_or_else(Problem::workspace_unknown)
}

/// Which keys a run checks; `None` if the caller can access no workspace.
fn selection(
    state: &AdminState,
    caller: &Caller,
    new: NewSmokeRun,
) -> Result<Option<Selection>, Problem> {
    let providers: Vec<_> = new.providers.into_iter().flatten().collect();
    let mut names = providers.iter();
    if names.any(|provider| state.catalogue.get(provider).is_none()) {
        return Err(Problem::field("providers", NOT_IN_CATALOGUE));
    }
    let workspaces = match (new.workspace_id, caller.scope()) {
        (Some(id), _) => {
            expect_workspace(state, caller, &id)?;
            vec![id]
        }
        (None, Scope::All) => Vec::new(),
        // An empty selection would be all workspaces.
        (None, Scope::Only(own)) if own.is_empty() => return Ok(None),
        (None, Scope::Only(own)) if own.len() <= WORKSPACES_MAX => own.iter().cloned().collect(),
        (None, Scope::Only(_)) => {
            let detail =
                format!("name one: the token is limited to more than {WORKSPACES_MAX} workspaces");
            return Err(Problem::field("workspaceId", detail));
        }
    };
    Ok(Some(Selection {
        workspaces,
        providers,
    }))
}

fn not_started(error: SmokeError) -> Problem {
    let detail = match error {
        SmokeError::TooManyRuns => "As many smoke runs as Keyside keeps have not finished.",
        SmokeError::TooManyOwnRuns => {
            "As many smoke runs of the token's workspaces as may wait have not finished."
        }
        SmokeError::Storage(error) => return error.into(),
    };
    let remedy = "Wait until one has finished, then send the request again.";
    Problem::new(Kind::TooManyInProgress, detail, remedy).with_header(header::RETRY_AFTER, "5")
}

impl SmokeView {
    fn of(overview: Overview, settings: &SmokeSettings, catalogue: &Catalogue) -> Self {
        let environment = match settings.environment {
            EnvironmentPin::Any => "any",
            EnvironmentPin::Sandbox => "sandbox",
            EnvironmentPin::Live => "live",
        };
        let items = overview.items.into_iter();
        let items = items.map(|item| SmokeItemView::of(item, catalogue));
        let spent = overview.budgets.into_iter().map(SmokeSpendView::of);
        Self {
            schedule: settings.schedule.as_ref().map(ToString::to_string),
            next_run_at: overview.next_at,
            usage_tag: settings.usage_tag.clone(),
            environment: environment.to_owned(),
            requests_per_day: settings.requests_per_day,
            tokens_per_day: settings.tokens_per_day,
            run: overview.run.map(SmokeRunView::of),
            items: items.collect(),
            spent_today: spent.collect(),
        }
    }
}

impl SmokeReportView {
    /// The items of a report that `shown` selects.
    fn of(report: Option<RunReport>, shown: &Selection, catalogue: &Catalogue) -> Self {
        let Some(RunReport { run, items }) = report else {
            return Self {
                run: None,
                items: Vec::new(),
            };
        };
        let items = items.into_iter();
        let items = items.filter(|item| shown.has(&item.workspace, &item.provider));
        Self {
            run: Some(SmokeRunView::of(run)),
            items: items
                .map(|item| SmokeItemView::of(item, catalogue))
                .collect(),
        }
    }
}

impl SmokeRunView {
    fn of(run: Run) -> Self {
        Self {
            state: match run.finished_at {
                Some(_) => SmokeState::Finished,
                None => SmokeState::Running,
            },
            id: run.id,
            trigger: run.trigger,
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

impl SmokeItemView {
    pub(crate) fn of(item: Item, catalogue: &Catalogue) -> Self {
        let result = item.result.as_ref();
        Self {
            outcome: result.map(|result| result.verdict.class()),
            verdict: result.map(|result| result.verdict),
            cause: result.and_then(|result| result.cause),
            status: result.and_then(|result| result.status),
            latency_ms: result.and_then(|result| result.latency_ms),
            tokens: result.and_then(|result| result.tokens),
            detail: result.map(|result| result.detail.clone()),
            remediation: result.and_then(|result| {
                let provider = catalogue.get(&item.provider);
                match (result.cause, provider) {
                    (Some(cause), Some(provider)) => Some(provider.next_step(cause)),
                    _ => result.verdict.remediation().map(str::to_owned),
                }
            }),
            checked_at: result.map(|result| result.at),
            workspace_id: item.workspace,
            provider: item.provider,
            credential_id: item.credential,
            label: item.label,
            environment: item.environment,
            consecutive_failures: item.consecutive_failures,
            last_success_at: item.last_success_at,
            history: item.history.into_iter().map(SmokeResultView::of).collect(),
        }
    }
}

impl SmokeResultView {
    fn of(result: SmokeResult) -> Self {
        Self {
            run_id: result.run,
            at: result.at,
            outcome: result.verdict.class(),
            verdict: result.verdict,
            status: result.status,
            latency_ms: result.latency_ms,
            tokens: result.tokens,
            detail: result.detail,
            attempts: result.attempts,
        }
    }
}

impl SmokeSpendView {
    fn of(budget: Budget) -> Self {
        Self {
            workspace_id: budget.workspace,
            requests: budget.requests,
            tokens: budget.tokens,
        }
    }
}

pub(crate) const NOT_IN_CATALOGUE: &str =
    "is not in the catalogue; GET /api/integrations/providers lists it";

/// A run names its workspaces in the note that keeps it, which has to stay small.
const WORKSPACES_MAX: usize = 16;
