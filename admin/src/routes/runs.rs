//! `/api/runs`: the latest requests through the proxy.

pub(super) mod figures;

use axum::{Json, extract::State};
use jiff::Timestamp;
use keyside_credentials::{
    Environment,
    runs::{RunFilter, RunKind, StoredRun},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::Caller,
    concurrency::WorkKind,
    form,
    paging::Page,
    problem::Problem,
    query::Parameters,
    schemas::{queries, types},
    state::AdminState,
    wire::{self, milliseconds},
};

/// The runs that match, newest first. Never contents of requests or responses. A page may be empty
/// and the last one: a full page always has a `nextCursor`.
#[utoipa::path(
    get, path = "/api/runs", tag = "runs", operation_id = "listRuns",
    params(queries::RunFilter, queries::Limit, queries::RunCursor),
    responses((status = 200, body = Page<RunView>, description = "A page"), (status = 404))
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<RunView>>, Problem> {
    let filter = filter(&caller, &mut query);
    let limit = query.limit();
    let before = query.cursor(|text| text.parse().ok());
    query.finish()?;
    caller.check_filter(filter.workspace.as_ref())?;
    let _permit = state.acquire(WorkKind::List, &caller).await?;
    let page = state.registry.runs().page(limit, &filter, before).await;
    let views = page.runs.into_iter().map(RunView::of).collect();
    let next = page.next.map(|position| position.to_string());
    Ok(Json(Page::found(views, next)))
}

fn filter(caller: &Caller, query: &mut Parameters) -> RunFilter {
    RunFilter {
        within: caller.scope().clone(),
        workspace: query.optional("workspaceId", wire::parsed),
        provider: query.optional("provider", text),
        credential: query.optional("credentialId", wire::parsed),
        label: query.optional("label", text),
        environment: query.optional("environment", form::choice),
        kind: query.optional("kind", form::choice),
        request_id: query.optional("requestId", text),
        run_id: query.optional("runId", text),
        tag: query.optional("tag", text),
        status: query.optional("status", status),
        outcome: query.optional("outcome", text),
        since: query.optional("since", wire::time),
        until: query.optional("until", wire::time),
    }
}

/// Any text: it came from a runner, or is a label that no longer exists.
fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// 0 finds requests without a response; their status is null in the list.
fn status(text: &str) -> Result<u16, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| *number <= 599);
    number.ok_or_else(|| "expected a status, or 0 for none".to_owned())
}

/// A request through the proxy, without contents.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunView {
    at: Timestamp,
    #[schema(value_type = String)]
    request_id: Box<str>,
    /// `traffic` for requests of clients; the others are Keyside's own.
    #[schema(value_type = types::RunKind)]
    kind: RunKind,
    #[schema(value_type = String)]
    workspace_id: Box<str>,
    /// Null if a refused request names no provider.
    #[schema(value_type = Option<String>)]
    provider: Option<Box<str>>,
    /// Null if the request was refused before a credential was chosen, as are version, label and
    /// environment.
    #[schema(value_type = Option<String>)]
    credential_id: Option<Box<str>>,
    /// The number of the version whose secret was sent.
    version: Option<u32>,
    #[schema(value_type = Option<String>)]
    label: Option<Box<str>>,
    #[schema(value_type = Option<types::Environment>)]
    environment: Option<Environment>,
    /// The provider's status, or Keyside's for a refusal; null without a response.
    status: Option<u16>,
    /// How the request ended; the code of a refusal.
    #[schema(value_type = String)]
    outcome: Box<str>,
    /// The method and path that were refused, relative to the provider; null for other outcomes.
    #[schema(value_type = Option<String>)]
    refused: Option<Box<str>>,
    latency_ms: f64,
    time_to_first_byte_ms: Option<f64>,
    /// Tokens billed as input, including cached ones; null, as all counts, if the provider did not
    /// report it.
    input_tokens: Option<u64>,
    /// Tokens billed as output, including reasoning.
    output_tokens: Option<u64>,
    /// Input tokens read from a cache.
    cached_input_tokens: Option<u64>,
    /// Input tokens written to a cache.
    cache_write_tokens: Option<u64>,
    /// Output tokens used for reasoning.
    reasoning_tokens: Option<u64>,
    #[schema(value_type = Option<String>)]
    run_id: Option<Box<str>>,
    #[schema(value_type = Option<String>)]
    tag: Option<Box<str>>,
}

impl RunView {
    fn of(run: StoredRun) -> Self {
        let used = run.used.as_ref();
        Self {
            at: run.at,
            request_id: run.request_id,
            kind: run.kind,
            workspace_id: run.workspace,
            provider: Some(run.provider).filter(|provider| !provider.is_empty()),
            credential_id: used.map(|used| used.credential.clone()),
            version: used.map(|used| used.version),
            label: used.map(|used| used.label.clone()),
            environment: used.map(|used| used.environment),
            status: (run.status != 0).then_some(run.status),
            outcome: run.outcome,
            refused: run.refused,
            latency_ms: milliseconds(run.latency_us),
            time_to_first_byte_ms: run.first_byte_us.map(milliseconds),
            input_tokens: run.tokens.input,
            output_tokens: run.tokens.output,
            cached_input_tokens: run.tokens.cached_input,
            cache_write_tokens: run.tokens.cache_write,
            reasoning_tokens: run.tokens.reasoning,
            run_id: run.run_id,
            tag: run.tag,
        }
    }
}
