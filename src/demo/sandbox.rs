//! The built-in sandbox provider, in place of OpenAI or Anthropic.
//!
//! With it `keyside demo` shows the whole path of a request without a key, an account or the
//! network. It speaks both dialects closely enough for their SDKs and knows nothing of Keyside:
//! like a real provider it accepts exactly one key.

mod chat;
mod messages;
mod models;
mod refusal;
mod reply;
mod responses;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, Method, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use self::refusal::{Dialect, Refusal};

/// A provider with one key.
pub struct Sandbox {
    key: String,
    pause: Duration,
    responses: AtomicU64,
}

impl Sandbox {
    /// Creates a provider that accepts `key` and no other.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            pause: PAUSE,
            responses: AtomicU64::new(0),
        }
    }

    /// Streams without a pause before each event.
    #[cfg(test)]
    fn without_pause(mut self) -> Self {
        self.pause = Duration::ZERO;
        self
    }

    /// Whether the request carries the one credential and no other. A second header, or another
    /// provider's header, would be a client's own key that leaked through, and must be noticed.
    fn accepts(&self, headers: &HeaderMap) -> bool {
        let mut presented = headers.get_all(header::AUTHORIZATION).iter();
        let bearer = presented
            .next()
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        bearer == Some(self.key.as_str())
            && presented.next().is_none()
            && OTHER_CREDENTIALS
                .iter()
                .all(|name| !headers.contains_key(*name))
    }

    /// The next response number, for its id.
    fn number(&self) -> u64 {
        self.responses.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The provider's routes, for a listener of its own.
pub fn router(sandbox: Sandbox) -> Router {
    let sandbox = Arc::new(sandbox);
    Router::new()
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/responses", post(responses::create))
        .route("/v1/messages", post(messages::create))
        .route("/v1/models", get(models::list))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(sandbox.clone(), require_key))
        .with_state(sandbox)
}

async fn require_key(
    State(sandbox): State<Arc<Sandbox>>,
    request: Request,
    next: Next,
) -> Response {
    if sandbox.accepts(request.headers()) {
        return next.run(request).await;
    }
    Refusal::key(Dialect::of(request.uri().path(), request.headers())).into_response()
}

async fn unknown(method: Method, uri: Uri, headers: HeaderMap) -> Refusal {
    Refusal::route(Dialect::of(uri.path(), &headers), &method, uri.path())
}

/// Seconds since 1970, as in providers' responses.
#[expect(
    clippy::disallowed_methods,
    reason = "a provider has a clock of its own; nothing in Keyside depends on it"
)]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Long enough to see a stream arrive word by word, short enough not to bore.
const PAUSE: Duration = Duration::from_millis(25);

/// In bytes: a prompt with images fits, although the response only uses its text.
const BODY_LIMIT: usize = 32 << 20;

const OTHER_CREDENTIALS: [&str; 4] = [
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "proxy-authorization",
];
