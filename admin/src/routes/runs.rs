//! `/api/runs`: what keys were used for, newest first.

use axum::{Json, extract::State};
use jiff::Timestamp;
use keyside_credentials::runs::StoredRun;
use serde::Serialize;

use crate::{AdminState, page::Page, problem::Problem, query::Parameters};

pub(super) async fn list(
    State(state): State<AdminState>,
    mut query: Parameters,
) -> Result<Json<Page<RunView>>, Problem> {
    let limit = query.limit();
    query.finish()?;
    let runs = state.registry.runs().recent(limit).await;
    Ok(Json(Page::whole(
        runs.into_iter().map(RunView::of).collect(),
    )))
}

/// A run on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunView {
    at: Timestamp,
}

impl RunView {
    fn of(run: StoredRun) -> Self {
        Self { at: run.at }
    }
}
