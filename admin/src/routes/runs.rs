//! `/api/runs`: what keys were used for, newest first.

use axum::{Json, extract::State};
use jiff::Timestamp;
use keyside_credentials::{
    Environment,
    runs::{RunFilter, StoredRun},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::Caller,
    concurrency::WorkKind,
    page::Page,
    problem::Problem,
    query::Parameters,
    schemas::{queries, types},
    state::AdminState,
};

/// The latest runs that pass, newest first. Never what was asked or answered.
#[utoipa::path(
    get, path = "/api/runs", tag = "runs", operation_id = "listRuns",
    params(queries::RunFilter, queries::Limit),
    responses((status = 200, body = Page<RunView>, description = "The latest"), (status = 404))
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<RunView>>, Problem> {
    let filter = filter(&caller, &mut query);
    let limit = query.limit();
    query.finish()?;
    caller.check_filter(filter.workspace.as_ref())?;
    let _permit = state.acquire(WorkKind::List, &caller).await?;
    let runs = state.registry.runs().search(limit, &filter).await;
    let views = runs.into_iter().map(RunView::of).collect();
    Ok(Json(Page::complete(views)))
}

fn filter(caller: &Caller, query: &mut Parameters) -> RunFilter {
    RunFilter {
        within: caller.scope().clone(),
        workspace: query.optional("workspaceId", super::parsed),
        provider: query.optional("provider", text),
        label: query.optional("label", text),
        request_id: query.optional("requestId", text),
        run_id: query.optional("runId", text),
        tag: query.optional("tag", text),
        status: query.optional("status", status),
        outcome: query.optional("outcome", text),
        since: query.optional("since", time),
        until: query.optional("until", time),
    }
}

/// What a runner said, or what a key was called that may be gone: any text may be looked for.
fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// 0 finds requests that got no response, whose status is null in the answer.
fn status(text: &str) -> Result<u16, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| *number <= 599);
    number.ok_or_else(|| "expected a status, or 0 for none".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    let expected = "expected a time in the form of 2027-01-31T00:00:00Z";
    text.parse().map_err(|_| expected.to_owned())
}

/// A run on the wire. Never what was asked or answered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunView {
    at: Timestamp,
    #[schema(value_type = String)]
    request_id: Box<str>,
    #[schema(value_type = String)]
    workspace_id: Box<str>,
    /// Null where a request was refused that names none.
    #[schema(value_type = Option<String>)]
    provider: Option<Box<str>>,
    /// Null where the request was refused without a credential, as are label and environment.
    #[schema(value_type = Option<String>)]
    credential_id: Option<Box<str>>,
    #[schema(value_type = Option<String>)]
    label: Option<Box<str>>,
    #[schema(value_type = Option<types::Environment>)]
    environment: Option<Environment>,
    /// The provider's status, or null where it gave none; of a refusal, Keyside's.
    status: Option<u16>,
    /// How it ended; of a refusal, its code.
    #[schema(value_type = String)]
    outcome: Box<str>,
    /// Method and path that were refused, after the provider; null for what was not.
    #[schema(value_type = Option<String>)]
    refused: Option<Box<str>>,
    latency_ms: f64,
    time_to_first_byte_ms: Option<f64>,
    /// All that are billed as input, cached ones included; null where the provider did not tell, as with all counts.
    input_tokens: Option<u64>,
    /// All that are billed as output, reasoning included.
    output_tokens: Option<u64>,
    /// Of the input, those read from a cache.
    cached_input_tokens: Option<u64>,
    /// Of the input, those written to a cache.
    cache_write_tokens: Option<u64>,
    /// Of the output, those the model reasoned with.
    reasoning_tokens: Option<u64>,
    #[schema(value_type = Option<String>)]
    run_id: Option<Box<str>>,
    #[schema(value_type = Option<String>)]
    tag: Option<Box<str>>,
}

impl RunView {
    fn of(run: StoredRun) -> Self {
        let (credential_id, label, environment) = match run.used {
            Some(used) => (
                Some(used.credential),
                Some(used.label),
                Some(used.environment),
            ),
            None => (None, None, None),
        };
        Self {
            at: run.at,
            request_id: run.request_id,
            workspace_id: run.workspace,
            provider: Some(run.provider).filter(|provider| !provider.is_empty()),
            credential_id,
            label,
            environment,
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

fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}
