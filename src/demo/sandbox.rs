//! The built-in sandbox provider: it stands where OpenAI or Anthropic would, so that `keyside demo` shows the whole way
//! of a request without a key, an account or the network. It speaks both dialects closely enough for their SDKs, and it
//! knows nothing of Keyside: what it accepts is one key, exactly, the way a real provider does.

mod chat;
mod messages;
mod models;
mod refusal;
mod reply;
mod responses;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use self::refusal::{Dialect, Refusal};

/// A provider with one key.
pub struct Sandbox {
    key: String,
    pause: Duration,
    answered: AtomicU64,
}

impl Sandbox {
    /// A provider that answers requests which carry `key`, and no others.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            pause: PAUSE,
            answered: AtomicU64::new(0),
        }
    }

    /// Streams without waiting before each event.
    #[cfg(test)]
    fn without_pause(mut self) -> Self {
        self.pause = Duration::ZERO;
        self
    }

    /// Whether this is the one credential and the only one: a second header, or another provider's header beside it, is
    /// what a client's own key that leaked through would look like, and has to show.
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

    /// The next number of an answer, for its id.
    fn number(&self) -> u64 {
        self.answered.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The provider's routes, to be served on a listener of their own.
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

/// Seconds since 1970, as providers stamp their answers.
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

/// A prompt with pictures in it fits; the answer only looks at its text.
const BODY_LIMIT: usize = 32 << 20;

const OTHER_CREDENTIALS: [&str; 4] = [
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "proxy-authorization",
];
