//! The paths, and what stands behind each.

mod credentials;
mod providers;
mod runs;
mod workspaces;

use axum::{
    Router,
    extract::{FromRequestParts, Path},
    routing::{get, post},
};
use http::request::Parts;

use crate::{
    AdminState,
    problem::{Kind, Problem},
};

pub(crate) fn router() -> Router<AdminState> {
    Router::new()
        .route(
            "/api/integrations/credentials",
            get(credentials::list).post(credentials::create),
        )
        .route(
            "/api/integrations/credentials/{id}",
            get(credentials::show)
                .patch(credentials::change)
                .delete(credentials::revoke),
        )
        .route(
            "/api/integrations/credentials/{id}/rollback",
            post(credentials::roll_back),
        )
        .route("/api/integrations/providers", get(providers::list))
        .route(
            "/api/workspaces",
            get(workspaces::list).post(workspaces::create),
        )
        .route("/api/workspaces/{id}", get(workspaces::show))
        .route("/api/runs", get(runs::list))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
}

async fn unknown_route() -> Problem {
    Problem::new(
        Kind::RouteUnknown,
        "The API has no such path.",
        "Paths begin with /api/integrations/credentials, /api/integrations/providers, /api/workspaces or /api/runs.",
    )
}

async fn wrong_method() -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        "The path is there, but not with this method.",
        "Use one of the methods in the Allow header.",
    )
}

/// The part of a path that names one resource. What is not even text names none.
struct Segment(String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let segment = Path::from_request_parts(parts, state).await;
        match segment {
            Ok(Path(name)) => Ok(Self(name)),
            Err(_) => Err(unknown_route().await),
        }
    }
}
