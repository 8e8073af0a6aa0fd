//! Gives each request an id and a task of its own, whose log lines have the id, adds headers to every
//! response, audits refusals, and writes one log line per request.

use std::{net::IpAddr, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use keyside_config::headers::REQUEST_ID;
use keyside_credentials::{ActorContext, RequestContext, RequestId};
use tokio::sync::watch;

use crate::{access_audit::AccessAudit, client_address::ClientAddress, problem::Problem};

/// Runs once per request, around everything that may refuse it.
///
/// The handler runs in a task of its own, so a request whose client disconnects is still audited
/// and logged, and a panic becomes a 500 response instead of a closed connection.
pub(crate) async fn track(
    State(audit): State<Arc<AccessAudit>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::next();
    request.extensions_mut().insert(id);
    // Dropped with this future, which hyper (1.x) drops when the connection ends.
    let (_present, client) = watch::channel(());
    request.extensions_mut().insert(ClientConnection(client));
    let answer = RequestContext::new(id).run(answer(audit, id, request, next));
    let answered = tokio::spawn(answer).await;
    // The panic message went to standard error. It may contain anything, so it is not repeated.
    let mut response = answered
        .unwrap_or_else(|_panic| Problem::internal("the handler panicked").render(id.as_str()));
    add_headers(&id, response.headers_mut());
    response
}

/// Tells whether the client is still connected. Work that has begun continues without it; queued
/// work is cancelled.
#[derive(Clone)]
pub(crate) struct ClientConnection(watch::Receiver<()>);

impl ClientConnection {
    /// Completes when the client disconnects.
    pub(crate) async fn disconnected(&self) {
        let mut present = self.0.clone();
        while present.changed().await.is_ok() {}
    }
}

async fn answer(audit: Arc<AccessAudit>, id: RequestId, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let client = ClientAddress::of(request.extensions()).ip();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        if let Some(actor) = problem.refused() {
            let by = ActorContext {
                actor,
                request_id: id.as_str().to_owned(),
            };
            audit.refused(&by, problem.kind().name()).await;
        }
        response = rendered(&problem, &id, response.headers());
    }
    log(client, &method, route.as_ref(), &response, &id, started);
    response
}

fn rendered(problem: &Problem, id: &RequestId, before: &HeaderMap) -> Response {
    let mut response = problem.render(id.as_str());
    // The router knows the methods of a path; RFC 9110 section 15.5.6 requires them in Allow.
    if let Some(allow) = before.get(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, allow.clone());
    }
    response
}

fn add_headers(id: &RequestId, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in DEFAULT_HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

/// Logs the pattern of the route and never the path, which may contain anything, including a pasted
/// key.
fn log(
    client: IpAddr,
    method: &Method,
    route: Option<&MatchedPath>,
    response: &Response,
    id: &RequestId,
    started: Instant,
) {
    // A session's path is half of what opens it: the pattern that replaces it is shortened too, so
    // that a search for it finds the same in every log.
    let route = route.map_or("unknown", MatchedPath::as_str);
    let route = route.replacen("/s/{session}", "/s/-", 1);
    tracing::info!(
        request_id = id.as_str(),
        %client,
        method = known(method),
        route,
        status = response.status().as_u16(),
        duration_us = started.elapsed().as_micros() as u64,
        "admin request"
    );
}

/// The client chooses the method too, so only standard ones are logged.
fn known(method: &Method) -> &str {
    match KNOWN.contains(method) {
        true => method.as_str(),
        false => "other",
    }
}

const KNOWN: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Responses are not cached, not framed, and not readable by pages of other sites: there is no
/// `Access-Control-Allow-*`. Headers that a handler has set (`routes/guide.rs` does) are kept.
const DEFAULT_HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];
