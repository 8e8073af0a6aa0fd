//! The paths, and what stands behind each.

mod audit;
mod credentials;
mod providers;
mod runs;
mod session;
mod tokens;
mod workspaces;

use std::str::FromStr;

use axum::{
    Router,
    extract::{FromRequestParts, Path},
    handler::Handler,
    middleware,
    routing::{MethodFilter, MethodRouter, on},
};
use http::{Extensions, Method, request::Parts};
use keyside_credentials::Permission;

use crate::{
    AdminState,
    access::{self, Caller},
    problem::{Kind, Problem},
};

/// A method of a path, what it asks for, and what answers.
pub(crate) struct Route {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the tests go through all routes")
    )]
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// What the caller must be allowed to do. `None` only where nobody can be known yet.
    pub(crate) needs: Option<Permission>,
    answer: MethodRouter<AdminState>,
}

/// All there are. A path's `{id}` is one that [`Caller`] finds; `tests/permissions.rs` has a row for each line here.
#[rustfmt::skip]
pub(crate) fn table() -> Vec<Route> {
    use Permission::*;
    vec![
        Route::get("/api/integrations/credentials", ReadCredentials, credentials::list),
        Route::post("/api/integrations/credentials", ChangeCredentials, credentials::create),
        Route::get("/api/integrations/credentials/{id}", ReadCredentials, credentials::show),
        Route::delete("/api/integrations/credentials/{id}", ChangeCredentials, credentials::revoke),
        Route::get("/api/integrations/providers", ReadCatalogue, providers::list),
        Route::get("/api/workspaces", ReadWorkspaces, workspaces::list),
        Route::post("/api/workspaces", CreateWorkspaces, workspaces::create),
        Route::get("/api/workspaces/{id}", ReadWorkspaces, workspaces::show),
        Route::get("/api/runs", ReadRuns, runs::list),
        Route::get("/api/audit", ReadAudit, audit::list),
        Route::get("/api/audit/export", ExportAudit, audit::export),
        Route::get("/api/audit/verify", VerifyAudit, audit::verify),
        Route::get("/api/tokens", ReadTokens, tokens::list),
        Route::post("/api/tokens", CreateTokens, tokens::create),
        Route::get("/api/tokens/{id}", ReadTokens, tokens::show),
        Route::delete("/api/tokens/{id}", RevokeTokens, tokens::revoke),
        Route::post("/api/session", None, session::create),
        Route::get("/api/session", KnowOneself, session::show),
        Route::delete("/api/session", KnowOneself, session::end),
        Route::post("/api/session/proof", KnowOneself, session::prove),
    ]
}

pub(crate) fn router() -> Router<AdminState> {
    let routes = table().into_iter().map(Route::guarded);
    routes
        .fold(Router::new(), |router, (path, answer)| {
            router.route(path, answer)
        })
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
}

impl Route {
    fn get<H: Handler<T, AdminState>, T: 'static>(
        path: &'static str,
        needs: impl Into<Option<Permission>>,
        answer: H,
    ) -> Self {
        Self::new(Method::GET, MethodFilter::GET, path, needs, answer)
    }

    fn post<H: Handler<T, AdminState>, T: 'static>(
        path: &'static str,
        needs: impl Into<Option<Permission>>,
        answer: H,
    ) -> Self {
        Self::new(Method::POST, MethodFilter::POST, path, needs, answer)
    }

    fn delete<H: Handler<T, AdminState>, T: 'static>(
        path: &'static str,
        needs: impl Into<Option<Permission>>,
        answer: H,
    ) -> Self {
        Self::new(Method::DELETE, MethodFilter::DELETE, path, needs, answer)
    }

    fn new<H: Handler<T, AdminState>, T: 'static>(
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        needs: impl Into<Option<Permission>>,
        answer: H,
    ) -> Self {
        Self {
            method,
            path,
            needs: needs.into(),
            answer: on(filter, answer),
        }
    }

    /// What answers, behind what it asks for.
    fn guarded(self) -> (&'static str, MethodRouter<AdminState>) {
        let answer = match self.needs {
            None => self.answer,
            Some(permission) => self
                .answer
                .route_layer(middleware::from_fn_with_state(permission, access::permit)),
        };
        (self.path, answer)
    }
}

/// Nobody without a token learns which paths there are.
async fn unknown_route(extensions: Extensions) -> Problem {
    let known = Caller::recognised(&extensions);
    known.err().unwrap_or_else(no_such_path)
}

async fn wrong_method(extensions: Extensions) -> Problem {
    let no_such_method = || {
        Problem::new(
            Kind::MethodNotAllowed,
            "The path is there, but not with this method.",
            "Use one of the methods in the Allow header.",
        )
    };
    let known = Caller::recognised(&extensions);
    known.err().unwrap_or_else(no_such_method)
}

fn no_such_path() -> Problem {
    Problem::new(
        Kind::RouteUnknown,
        "The API has no such path.",
        "GET /openapi.json describes all there are.",
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
            Err(_) => Err(no_such_path()),
        }
    }
}

/// A parameter that the domain knows how to read. Its errors say the rule and do not repeat the text.
fn parsed<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}
