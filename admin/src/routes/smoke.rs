//! `/api/smoke`: live checks of tagged keys.

use axum::{Json, extract::State};
use http::{StatusCode, header};
use keyside_config::{Catalogue, EnvironmentPin, ProviderId};
use keyside_credentials::{
    Scope, WorkspaceId,
    smoke::{
        Budget, ExternalResult, Item, Overview, Run, RunReport, Selection, SmokeError, SmokeResult,
    },
};

use crate::{
    access::Caller,
    body::{JsonBody, OptionalBody},
    concurrency::WorkKind,
    form,
    problem::{Kind, Problem},
    query::Parameters,
    schemas::queries,
    state::AdminState,
    wire::{
        self, NewSmokeResult, NewSmokeRun, SmokeItemView, SmokeReportView, SmokeResultView,
        SmokeRunView, SmokeSpendView, SmokeState, SmokeView,
    },
};

/// The keys that smoke runs check, with their latest results, or one run with its results.
#[utoipa::path(
    get, path = "/api/smoke", tag = "smoke", operation_id = "showSmoke",
    params(queries::SmokeFilter),
    responses((status = 200, body = SmokeView, description = "The keys and their results"), (status = 404))
)]
pub(super) async fn show(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<SmokeView>, Problem> {
    let workspace: Option<WorkspaceId> = query.optional("workspaceId", wire::parsed);
    let provider: Option<ProviderId> = query.optional("provider", wire::parsed);
    let run_id = query.optional("runId", |text| Ok(text.to_owned()));
    query.finish()?;
    caller.check_filter(workspace.as_ref())?;
    let _permit = state.acquire(WorkKind::List, &caller).await?;
    let selection = Selection {
        workspaces: workspace.into_iter().collect(),
        providers: provider.into_iter().collect(),
    };
    let (smoke, scope) = (&state.smoke, caller.scope());
    let shown = smoke.overview(&selection, scope).await;
    let catalogue = &state.catalogue;
    let mut view = SmokeView::of(shown.map_err(Problem::unreadable)?, catalogue);
    if let Some(id) = run_id {
        let found = smoke.report(&id, scope).await;
        let found = found.map_err(Problem::unreadable)?;
        let found = SmokeReportView::of(found, &selection, catalogue);
        (view.run, view.items) = (found.run, found.items);
    }
    Ok(Json(view))
}

/// Starts a run: checks tagged keys with their providers, within the caps of the settings. Poll
/// `GET /api/smoke?runId=` until its `state` is `finished`. Where nothing is configured, `run` is
/// null and `items` is empty.
#[utoipa::path(
    post, path = "/api/smoke/runs", tag = "smoke", operation_id = "startSmokeRun",
    request_body = Option<NewSmokeRun>,
    responses((status = 202, body = SmokeReportView, description = "Started, or nothing to check"), (status = 404), (status = 429))
)]
pub(super) async fn start(
    State(state): State<AdminState>,
    caller: Caller,
    body: OptionalBody,
) -> Result<(StatusCode, Json<SmokeReportView>), Problem> {
    let new: NewSmokeRun = match body.bytes() {
        Some(bytes) => form::read(bytes)?,
        None => NewSmokeRun::default(),
    };
    let selection = selection(&state, &caller, new)?;
    let started = match selection {
        Some(selection) => state.smoke.start(selection).await.map_err(not_started)?,
        None => None,
    };
    let view = SmokeReportView::of(started, &Selection::default(), &state.catalogue);
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Records a result of a check that something else made, so that it is in the history and in the
/// metrics.
#[utoipa::path(
    post, path = "/api/smoke/results", tag = "smoke", operation_id = "postSmokeResult",
    request_body = NewSmokeResult,
    responses((status = 201, body = SmokeItemView, description = "Recorded"), (status = 404))
)]
pub(super) async fn post(
    State(state): State<AdminState>,
    caller: Caller,
    body: JsonBody,
) -> Result<(StatusCode, Json<SmokeItemView>), Problem> {
    let new: NewSmokeResult = form::read(body.bytes())?;
    expect_workspace(&state, &caller, &new.workspace_id)?;
    if state.catalogue.get(&new.provider).is_none() {
        return Err(Problem::field("provider", NOT_IN_CATALOGUE));
    }
    let posted = state.smoke.post(ExternalResult {
        workspace: new.workspace_id,
        provider: new.provider,
        verdict: new.verdict,
        status: new.status,
        latency_ms: new.latency_ms,
        tokens: new.tokens,
    });
    Ok((
        StatusCode::CREATED,
        Json(SmokeItemView::of(posted.await?, &state.catalogue)),
    ))
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

fn expect_workspace(state: &AdminState, caller: &Caller, id: &WorkspaceId) -> Result<(), Problem> {
    caller.enter_workspace(id, Problem::workspace_unknown())?;
    let found = state.registry.workspace(id);
    found.map(drop).ok_or_else(Problem::workspace_unknown)
}

fn not_started(error: SmokeError) -> Problem {
    match error {
        SmokeError::TooManyRuns => {
            let detail = "As many smoke runs as Keyside keeps have not finished.";
            let remedy = "Wait until one has finished, then send the request again.";
            Problem::new(Kind::TooManyInProgress, detail, remedy)
                .with_header(header::RETRY_AFTER, "5")
        }
        SmokeError::Storage(error) => error.into(),
    }
}

impl SmokeView {
    fn of(overview: Overview, catalogue: &Catalogue) -> Self {
        let environment = match overview.environment {
            EnvironmentPin::Any => "any",
            EnvironmentPin::Sandbox => "sandbox",
            EnvironmentPin::Live => "live",
        };
        let items = overview.items.into_iter();
        let items = items.map(|item| SmokeItemView::of(item, catalogue));
        let spent = overview.budgets.into_iter().map(SmokeSpendView::of);
        Self {
            schedule: overview.schedule,
            next_run_at: overview.next_at,
            usage_tag: overview.usage_tag,
            environment: environment.to_owned(),
            requests_per_day: overview.requests_per_day,
            tokens_per_day: overview.tokens_per_day,
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
    fn of(item: Item, catalogue: &Catalogue) -> Self {
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

const NOT_IN_CATALOGUE: &str = "is not in the catalogue; GET /api/integrations/providers lists it";

/// A run names its workspaces in the note that keeps it, which has to stay small.
const WORKSPACES_MAX: usize = 16;
