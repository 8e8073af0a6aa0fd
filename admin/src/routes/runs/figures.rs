//! `/api/runs/figures`: counts, errors, latency and tokens of runs, in groups.

use std::collections::HashSet;

use axum::{Json, extract::State};
use jiff::civil::Date;
use keyside_credentials::{
    Environment,
    runs::{Dimension, Figures, GroupFigures, Percentiles, RunFigures, RunKind},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::filter;
use crate::{
    access::Caller,
    concurrency::WorkKind,
    form,
    problem::Problem,
    query::Parameters,
    schemas::{queries, types},
    state::AdminState,
    wire::milliseconds,
};

/// Figures of the runs that match, in total and in groups: at most `limit` groups, those with the
/// most runs. They cover the stored runs only. Live checks are counted with `kind=check` only.
#[utoipa::path(
    get, path = "/api/runs/figures", tag = "runs", operation_id = "summarizeRuns",
    params(queries::RunFilter, queries::GroupBy, queries::Limit),
    responses((status = 200, body = RunFiguresView, description = "The figures"), (status = 404))
)]
pub(in crate::routes) async fn show(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<RunFiguresView>, Problem> {
    let filter = filter(&caller, &mut query);
    let by = query.optional("by", dimensions);
    let limit = query.limit();
    query.finish()?;
    caller.check_filter(filter.workspace.as_ref())?;
    let _permit = state.acquire(WorkKind::List, &caller).await?;
    let by = by.unwrap_or_else(|| HashSet::from([Dimension::Provider]));
    let figures = state.registry.runs().figures(&filter, &by, limit).await;
    Ok(Json(RunFiguresView::of(
        figures.map_err(Problem::unreadable)?,
    )))
}

fn dimensions(text: &str) -> Result<HashSet<Dimension>, String> {
    let dimensions: Result<HashSet<_>, String> = text.split(',').map(form::choice).collect();
    dimensions.map_err(|error| format!("{error}; several are separated by commas"))
}

/// Figures of runs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::routes) struct RunFiguresView {
    /// The groups, ordered by their values.
    items: Vec<GroupView>,
    /// Number of smaller groups that were left out because of `limit`.
    omitted_groups: usize,
    /// Of all runs that match, including those of omitted groups.
    total: FiguresView,
}

/// What the runs of a group share, and their figures. What they are not grouped by is null, and so
/// are values that the runs do not have: a refused request has no credential.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GroupView {
    /// The day in UTC.
    #[schema(value_type = Option<String>, format = Date)]
    day: Option<Date>,
    #[schema(value_type = Option<String>)]
    workspace_id: Option<Box<str>>,
    #[schema(value_type = Option<String>)]
    provider: Option<Box<str>>,
    #[schema(value_type = Option<String>)]
    credential_id: Option<Box<str>>,
    /// The label of the credential in its latest run.
    #[schema(value_type = Option<String>)]
    label: Option<Box<str>>,
    #[schema(value_type = Option<types::Environment>)]
    environment: Option<Environment>,
    #[schema(value_type = Option<String>)]
    tag: Option<Box<str>>,
    #[schema(value_type = Option<types::RunKind>)]
    kind: Option<RunKind>,
    #[serde(flatten)]
    figures: FiguresView,
}

/// Figures of some runs. Latency and tokens are those of forwarded requests.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FiguresView {
    /// Number of runs.
    count: u64,
    /// Runs that failed: any outcome except `ok` and `client_closed`.
    errors: u64,
    /// Their share, from 0 to 1; null without runs.
    error_rate: Option<f64>,
    /// Runs that Keyside refused without forwarding them. They are among the errors.
    refused: u64,
    /// Null without forwarded requests.
    latency_ms: Option<PercentilesView>,
    /// Sums of what providers reported; null if no run reported this count.
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cached_input_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
    /// Forwarded requests whose token usage is unknown. The sums do not contain them.
    unknown_usage: u64,
}

/// Percentiles in milliseconds. Each is the latency of one of the runs.
#[derive(Serialize, ToSchema)]
struct PercentilesView {
    p50: f64,
    p95: f64,
    p99: f64,
}

impl RunFiguresView {
    fn of(figures: RunFigures) -> Self {
        Self {
            items: figures.groups.into_iter().map(GroupView::of).collect(),
            omitted_groups: figures.omitted,
            total: FiguresView::of(&figures.total),
        }
    }
}

impl GroupView {
    fn of(figures: GroupFigures) -> Self {
        let group = figures.group;
        Self {
            day: group.day,
            workspace_id: group.workspace,
            provider: group.provider,
            credential_id: group.credential,
            label: figures.label,
            environment: group.environment,
            tag: group.tag,
            kind: group.kind,
            figures: FiguresView::of(&figures.figures),
        }
    }
}

impl FiguresView {
    fn of(figures: &Figures) -> Self {
        let rate = figures.errors as f64 / figures.count as f64;
        Self {
            count: figures.count,
            errors: figures.errors,
            error_rate: (figures.count > 0).then_some(rate),
            refused: figures.refused,
            latency_ms: figures.latency.map(PercentilesView::of),
            input_tokens: figures.tokens.input,
            output_tokens: figures.tokens.output,
            cached_input_tokens: figures.tokens.cached_input,
            cache_write_tokens: figures.tokens.cache_write,
            reasoning_tokens: figures.tokens.reasoning,
            unknown_usage: figures.unknown_usage,
        }
    }
}

impl PercentilesView {
    fn of(percentiles: Percentiles) -> Self {
        Self {
            p50: milliseconds(percentiles.p50_us),
            p95: milliseconds(percentiles.p95_us),
            p99: milliseconds(percentiles.p99_us),
        }
    }
}
