//! The static page that refusals link to: how to remedy each with the command line.
//!
//! Anyone who reaches the listener may read it, without a token: it is the same for everyone, holds nothing of this
//! installation, and repeats nothing of the request. It is not a part of the API, so it is in no row of the table of
//! routes, and so not in the description either.

use axum::{Router, response::IntoResponse, routing::get};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use crate::state::AdminState;

/// All of [`PAGES`], and what they are styled with.
pub(super) fn router() -> Router<AdminState> {
    PAGES
        .iter()
        .fold(Router::new(), |router, path| router.route(path, get(page)))
        .route("/keyside.css", get(stylesheet))
}

/// Whether the page is at this path.
pub(crate) fn is_at(path: &str) -> bool {
    PAGES.contains(&path)
}

async fn page() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, include_str!("guide/page.html"))
}

async fn stylesheet() -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8")];
    (headers, include_str!("guide/keyside.css"))
}

/// The paths that `proxy/src/refusal/messages.rs` links to.
const PAGES: [&str; 5] = ["/", "/keys", "/keys/new", "/workspaces", "/providers"];

/// Its own stylesheet and nothing else: no script, no image, no form, no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
