//! `/metrics`, `/healthz`, `/readyz`: what a scraper and an orchestrator ask.
//! Never a secret, never a write.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use keyside_proxy::{Drain, Phase};
use prometheus::{Encoder, Registry, TextEncoder};

/// What can be asked.
#[derive(Clone)]
pub(crate) struct Observed {
    pub(crate) registry: Registry,
    pub(crate) drain: Drain,
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
    match encoder.encode(&observed.registry.gather(), &mut text) {
        Ok(()) => (
            [(header::CONTENT_TYPE, encoder.format_type().to_owned())],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(observed): State<Observed>) -> (StatusCode, &'static str) {
    match observed.drain.phase() {
        Phase::Serving => (StatusCode::OK, "ready\n"),
        Phase::Draining | Phase::Closing => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}
