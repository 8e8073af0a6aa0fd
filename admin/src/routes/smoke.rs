//! `/api/smoke`: live checks of tagged keys.

use axum::{Json, extract::State};
use http::StatusCode;
use keyside_config::ProviderId;
use keyside_credentials::{
    WorkspaceId,
    smoke::{ExternalResult, Selection},
};

use crate::{
    access::Caller,
    body::{JsonBody, OptionalBody},
    concurrency::WorkKind,
    form,
    problem::Problem,
    query::Parameters,
    schemas::queries,
    smoke::{self, NOT_IN_CATALOGUE},
    state::AdminState,
    wire::{self, NewSmokeResult, NewSmokeRun, SmokeItemView, SmokeReportView, SmokeView},
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
    let scope = caller.scope();
    let mut view = smoke::overview(&state, &selection, scope).await?;
    if let Some(id) = run_id {
        let found = smoke::report(&state, &id, &selection, scope).await?;
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
    let view = smoke::start(&state, &caller, body.read()?).await?;
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
    smoke::expect_workspace(&state, &caller, &new.workspace_id)?;
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
