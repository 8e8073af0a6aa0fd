//! `/metrics`, `/healthz`, `/readyz`: what a scraper and an orchestrator ask.
//! Never a secret, never a write.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use keyside_credentials::Registry;
use keyside_proxy::{Drain, Phase};
use prometheus::{Encoder, TextEncoder};
use std::sync::Arc;

/// What can be asked.
#[derive(Clone)]
pub(crate) struct Observed {
    pub(crate) metrics: prometheus::Registry,
    pub(crate) drain: Drain,
    pub(crate) registry: Arc<Registry>,
}

pub(crate) fn router(observed: Observed) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(observed)
}

async fn metrics(State(observed): State<Observed>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&observed.metrics.gather(), &mut text) {
        Ok(()) => (
            [(header::CONTENT_TYPE, encoder.format_type().to_owned())],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Ready is who answers requests. What is wrong besides is said below it, and in the metrics.
async fn ready(State(observed): State<Observed>) -> (StatusCode, String) {
    let (status, mut said) = match observed.drain.phase() {
        Phase::Serving if observed.registry.runs().refuses() => {
            (StatusCode::SERVICE_UNAVAILABLE, "refusing\n".to_owned())
        }
        Phase::Serving => (StatusCode::OK, "ready\n".to_owned()),
        Phase::Draining | Phase::Closing => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
        }
    };
    for detail in details(&observed.registry) {
        said.push_str(&detail);
    }
    (status, said)
}

/// A line for each thing that is wrong with the store.
fn details(registry: &Registry) -> impl Iterator<Item = String> {
    let failed = registry.storage_failure().map(|reason| {
        format!("store: a write failed ({reason}); no change is accepted until a restart\n")
    });
    let runs = registry.runs();
    let unrecorded = (!runs.are_recorded()).then(|| {
        let meanwhile = match runs.refuses() {
            true => "requests are refused",
            false => "requests are served, and only the log has a line for each",
        };
        format!("runs: records cannot be written; {meanwhile}\n")
    });
    failed.into_iter().chain(unrecorded)
}
