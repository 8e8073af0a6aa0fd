//! The static page that refusals link to. It explains the remedy for each refusal with the command
//! line.
//!
//! It needs no token: it is the same for everyone, holds nothing of this installation and repeats
//! nothing of the request. It is not part of the API, so it has no row in the route table and is
//! not in the OpenAPI description.

use axum::{Router, response::IntoResponse, routing::get};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use crate::state::AdminState;

/// The paths in [`PAGES`] and their stylesheet.
pub(super) fn router() -> Router<AdminState> {
    PAGES
        .iter()
        .fold(Router::new(), |router, path| router.route(path, get(page)))
        .route("/keyside.css", get(stylesheet))
}

/// Whether the guide is served at this path.
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

/// Allows only its own stylesheet: no scripts, images, forms or frames.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
