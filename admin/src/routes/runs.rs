//! `/api/runs`: what keys were used for, newest first.

use axum::{Json, extract::State};
use jiff::Timestamp;
use keyside_credentials::{Environment, runs::StoredRun};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    AdminState,
    access::Caller,
    openapi::{queries, words},
    page::Page,
    problem::Problem,
    query::Parameters,
    turns::Work,
};

/// The latest runs, newest first. Never what was asked or answered.
#[utoipa::path(
    get, path = "/api/runs", tag = "runs", operation_id = "listRuns",
    params(queries::Limit),
    responses((status = 200, body = Page<RunView>, description = "The latest"))
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<RunView>>, Problem> {
    let limit = query.limit();
    query.finish()?;
    let _turn = state.turn(Work::List, &caller).await?;
    let runs = state.registry.runs().recent(limit, caller.scope()).await;
    let views = runs.into_iter().map(RunView::of).collect();
    Ok(Json(Page::whole(views)))
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
    #[schema(value_type = String)]
    provider: Box<str>,
    /// Null where the request was refused without a credential, as are label and environment.
    #[schema(value_type = Option<String>)]
    credential_id: Option<Box<str>>,
    #[schema(value_type = Option<String>)]
    label: Option<Box<str>>,
    #[schema(value_type = Option<words::Environment>)]
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
            provider: run.provider,
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
