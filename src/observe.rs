//! The observe listener: `/metrics`, `/healthz` and `/readyz`. It shows no secret and changes
//! nothing.

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use keyside_config::RequestHost;
use keyside_credentials::{
    DeclaredCredentials, FromCache, Registry, RejectedCredential, Rejection, Runs, SourceHealth,
};
use keyside_proxy::{Drain, Phase};
use prometheus::{Encoder, TextEncoder};

use crate::{backing::Backing, web::Certificates};

#[derive(Clone)]
pub(crate) struct ObserveState {
    pub(crate) metrics: prometheus::Registry,
    pub(crate) drain: Drain,
    pub(crate) backing: Backing,
    pub(crate) certificates: Certificates,
}

pub(crate) fn router(observed: ObserveState) -> Router {
    let metrics = observed.metrics.clone();
    Router::new()
        .route("/readyz", get(ready))
        .with_state(observed)
        .merge(without_readiness(metrics))
}

/// Answers only under loopback's names and addresses: a web page whose name was rebound to loopback
/// still sends that name. For a listener on loopback without a certificate; of others the names are
/// not known, or the certificate proves them.
pub(crate) fn under_loopback_names(router: Router) -> Router {
    router.layer(middleware::from_fn(expect_loopback_name))
}

/// A browser always names a host; a probe over HTTP/1.0 may name none.
async fn expect_loopback_name(request: Request, next: Next) -> Response {
    let is_ours = match RequestHost::of(request.uri(), request.headers()) {
        Ok(host) => host.is_loopback(),
        Err(_) => !request.headers().contains_key(header::HOST),
    };
    match is_ours {
        true => next.run(request).await,
        false => (StatusCode::FORBIDDEN, NOT_OURS).into_response(),
    }
}

/// The routes that work before the store is open too.
pub(crate) fn without_readiness(measured: prometheus::Registry) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .with_state(measured)
}

async fn metrics(State(measured): State<prometheus::Registry>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&measured.gather(), &mut text) {
        Ok(()) => {
            let content_type = [(header::CONTENT_TYPE, encoder.format_type().to_owned())];
            (content_type, text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Ready means that requests are answered. Other faults are listed below the state, and in the
/// metrics.
async fn ready(State(observed): State<ObserveState>) -> (StatusCode, String) {
    let backing = &observed.backing;
    let waits = || backing.registry().is_none() && is_waiting(&backing.declared);
    let (status, state) = match observed.drain.phase() {
        Phase::Serving if backing.runs.refuses() => (UNAVAILABLE, "refusing\n"),
        Phase::Serving if waits() => (UNAVAILABLE, "waiting\n"),
        Phase::Serving => (StatusCode::OK, "ready\n"),
        Phase::Draining | Phase::Closing => (UNAVAILABLE, "draining\n"),
    };
    let mut text = state.to_owned();
    text.extend(drain_details(&observed.drain));
    text.extend(backing.registry().and_then(|one| store_details(one)));
    text.extend(backing.registry().and_then(|one| head_details(one)));
    text.extend(run_details(&backing.runs));
    text.extend(secret_details(backing.source_health()));
    text.extend(rejection_details(&backing.rejected_in_traffic()));
    text.extend(cache_details(&backing.declared));
    text.extend(certificate_details(&observed.certificates));
    (status, text)
}

/// One line once a shutdown has begun: what it still waits for.
fn drain_details(drain: &Drain) -> Option<String> {
    let in_flight = drain.in_flight();
    (drain.phase() > Phase::Serving).then(|| format!("{IN_FLIGHT}{in_flight}\n"))
}

/// Whether some declared secret was never read yet, so that its requests would be refused.
fn is_waiting(declared: &DeclaredCredentials) -> bool {
    declared.source_health().iter().any(|health| health.unknown)
}

/// One line per credential whose secret is kept elsewhere and could not be read.
fn secret_details(source_health: Vec<SourceHealth>) -> Vec<String> {
    let line = |health: SourceHealth| {
        let (fault, meanwhile) = match (health.fault, health.cached) {
            (None, None) => return None,
            (fault, Some(FromCache { confirmed, until })) => (
                fault.unwrap_or_else(|| "it was not read since the start".to_owned()),
                format!(
                    "the one in vault.cache, which Vault confirmed at {confirmed}, is used until {until}"
                ),
            ),
            (Some(fault), None) if health.usable => {
                (fault, "the one that was read before is used".to_owned())
            }
            (Some(fault), None) => (fault, "requests for it are refused".to_owned()),
        };
        let (workspace, provider) = (health.workspace, health.provider);
        let (label, source) = (health.label, health.source);
        Some(format!(
            "credential {workspace}/{provider}/{label} ({source}): {fault}; {meanwhile}\n"
        ))
    };
    source_health.into_iter().filter_map(line).collect()
}

/// One line per credential that its provider rejects in traffic, up to a limit. Readiness does not
/// depend on it: the process answers requests, and other keys work.
fn rejection_details(rejected: &[RejectedCredential]) -> Vec<String> {
    let line = |one: &RejectedCredential| {
        let (workspace, provider, label) = (&one.workspace, &one.provider, &one.label);
        let Rejection {
            since,
            count,
            cause,
        } = one.rejection;
        format!(
            "credential {workspace}/{provider}/{label}: {REJECTED} ({cause}) since {since}; requests rejected: {count}\n"
        )
    };
    let shown = rejected.iter().take(MAX_REJECTIONS).map(line);
    let more = rejected.len().saturating_sub(MAX_REJECTIONS);
    let more = (more > 0).then(|| format!("credentials: {more} more are rejected in traffic\n"));
    shown.chain(more).collect()
}

/// One line if a restart during an outage of Vault would find no current copy.
fn cache_details(declared: &DeclaredCredentials) -> Option<String> {
    let fault = declared.cache_fault()?;
    Some(format!("vault.cache: {fault}\n"))
}

/// One line per listener whose files contain a certificate that cannot be used.
fn certificate_details(certificates: &Certificates) -> Vec<String> {
    let faults = certificates.faults().into_iter();
    faults
        .map(|fault| format!("{fault}; the certificate before it stays in use\n"))
        .collect()
}

/// One line if the store accepts no changes.
fn store_details(registry: &Registry) -> Option<String> {
    let failure = registry.storage_failure()?;
    Some(format!(
        "store: a write failed ({failure}); no change is accepted until a restart\n"
    ))
}

/// One line if files in `heads/` are behind. Changes are made all the same: each is in the store, and
/// a key must be revocable.
fn head_details(registry: &Registry) -> Option<String> {
    let behind = registry.anchors_behind();
    (behind > 0).then(|| {
        format!(
            "heads: {behind} files in heads/ could not be written; a store that is put back to their state would not be detected\n"
        )
    })
}

fn run_details(runs: &Runs) -> Option<String> {
    (!runs.are_recorded()).then(|| {
        let meanwhile = match runs.refuses() {
            true => "requests are refused",
            false => "requests are served, and only the log has a line for each",
        };
        format!("runs: records cannot be written; {meanwhile}\n")
    })
}

/// What the line of a key that its provider rejects has after its name; `keyside doctor` reads it.
pub(crate) const REJECTED: &str = "the provider rejects it in traffic";

/// How the line with the number of requests in flight begins; `keyside drain` reads it.
pub(crate) const IN_FLIGHT: &str = "requests in flight: ";

/// A probe reads a few lines; `keyside key list` shows all rejected keys.
const MAX_REJECTIONS: usize = 20;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
const NOT_OURS: &str = "the Host header names no loopback address, so a web page may have sent this: use localhost, 127.0.0.1 or [::1]\n";
