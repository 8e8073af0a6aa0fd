//! The static page that explains the remedy for each refusal with the command line.
//!
//! It needs no token: it is the same for everyone, holds nothing of this installation and repeats
//! nothing of the request. It is not part of the API, so it has no row in the route table and is
//! not in the OpenAPI description.

use axum::{Router, response::IntoResponse, routing::get};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use crate::state::AdminState;

/// The guide and its stylesheet.
pub(super) fn router() -> Router<AdminState> {
    Router::new()
        .route(PATH, get(page))
        .route("/guide.css", get(stylesheet))
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
    (headers, include_str!("guide/guide.css"))
}

/// The path that `proxy/src/refusal/messages.rs` links to.
pub(crate) const PATH: &str = "/guide";

/// Allows only its own stylesheet: no scripts, images, forms or frames.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
