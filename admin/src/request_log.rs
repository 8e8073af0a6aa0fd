//! One request and its answer, from outside: an id, a task of its own, headers that every answer has, one log line, and
//! the audit record of a refusal.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tokio::sync::watch;

use crate::{problem::Problem, refusal_audit::RefusalAudit, request_id::RequestId};

/// Runs once a request, outermost.
///
/// The rest runs in a task of its own: a client that hangs up early is audited and logged like any other, and a panic
/// becomes an answer instead of a cut connection.
pub(crate) async fn track(
    State(refusals): State<Arc<RefusalAudit>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::random();
    request.extensions_mut().insert(id.clone());
    // Dropped with this future, which hyper (1.x) does when the connection ends.
    let (_present, client) = watch::channel(());
    request.extensions_mut().insert(ClientConnection(client));
    let answered = tokio::spawn(answer(refusals, id.clone(), request, next)).await;
    // The panic's own words went to standard error; they are nobody's to repeat.
    let mut response =
        answered.unwrap_or_else(|_panic| Problem::internal("it panicked").render(&id.0));
    add_headers(&id, response.headers_mut());
    response
}

/// Whether someone still waits for the answer. What has begun goes on without them; what waits for its turn does not.
#[derive(Clone)]
pub(crate) struct ClientConnection(watch::Receiver<()>);

impl ClientConnection {
    /// Waits until the client has left.
    pub(crate) async fn disconnected(&self) {
        let mut present = self.0.clone();
        while present.changed().await.is_ok() {}
    }
}

async fn answer(
    refusals: Arc<RefusalAudit>,
    id: RequestId,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        if let Some(actor) = problem.refused() {
            refusals.audit(&id, actor, problem.kind()).await;
        }
        response = rendered(&problem, &id, response.headers());
    }
    log(&method, route.as_ref(), &response, &id, started);
    response
}

fn rendered(problem: &Problem, id: &RequestId, before: &HeaderMap) -> Response {
    let mut response = problem.render(&id.0);
    // The router itself knows which methods a path has; RFC 9110 section 15.5.6 wants them said.
    if let Some(allow) = before.get(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, allow.clone());
    }
    response
}

fn add_headers(id: &RequestId, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in DEFAULT_HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

/// The route's pattern stands in the line, never the path itself: that may be anything, a pasted key included.
fn log(
    method: &Method,
    route: Option<&MatchedPath>,
    response: &Response,
    id: &RequestId,
    started: Instant,
) {
    tracing::info!(
        request_id = id.0,
        method = known(method),
        route = route.map_or("unknown", MatchedPath::as_str),
        status = response.status().as_u16(),
        duration_us = started.elapsed().as_micros() as u64,
        "admin request"
    );
}

/// A method is a token of the client's choosing too.
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

const REQUEST_ID: HeaderName = HeaderName::from_static("x-keyside-request-id");

/// No answer is for caches or frames, or for a page of another site to read; there is no `Access-Control-Allow-*`. A handler
/// that sets one of these itself (`routes/guide.rs` does) is taken at its word.
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
