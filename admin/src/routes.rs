//! The paths, and what stands behind each.

mod audit;
mod credentials;
mod description;
mod file;
pub(crate) mod guide;
mod installation;
mod providers;
mod runs;
mod tokens;
mod workspaces;

use std::str::FromStr;

use axum::{
    Router,
    extract::{FromRequestParts, Path},
    middleware,
    routing::MethodRouter,
};
use http::{Extensions, Method, request::Parts};
use keyside_credentials::Permission;
use utoipa::openapi::{RefOr, path::Operation, schema::Schema};
use utoipa_axum::{router::UtoipaMethodRouter, routes};

use crate::{
    access::{self, Caller},
    problem::{Kind, Problem},
    state::AdminState,
};

/// A method of a path, what it asks for, what answers, and how it is described.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// What the caller must be allowed to do.
    pub(crate) needs: Permission,
    pub(crate) operation: Operation,
    pub(crate) schemas: Vec<(String, RefOr<Schema>)>,
    answer: MethodRouter<AdminState>,
}

/// All there are: what each asks for, and its handler, which says method and path in its `#[utoipa::path]`. A path's
/// `{id}` is one that [`Caller`] finds; `tests/permissions.rs` has a row for each line here.
#[rustfmt::skip]
pub(crate) fn table() -> Vec<Route> {
    use Permission::*;
    vec![
        Route::new(ReadCredentials, routes!(credentials::list)),
        Route::new(ChangeCredentials, routes!(credentials::create)),
        Route::new(ReadCredentials, routes!(credentials::show)),
        Route::new(ChangeCredentials, routes!(credentials::change::update)),
        Route::new(ChangeCredentials, routes!(credentials::change::roll_back)),
        Route::new(ChangeCredentials, routes!(credentials::change::revoke)),
        Route::new(ChangeCredentials, routes!(credentials::verify::verify)),
        Route::new(ChangeCredentials, routes!(credentials::refresh::refresh)),
        Route::new(ReadCatalogue, routes!(providers::list)),
        Route::new(ReadWorkspaces, routes!(workspaces::list)),
        Route::new(CreateWorkspaces, routes!(workspaces::create)),
        Route::new(ReadWorkspaces, routes!(workspaces::show)),
        Route::new(EraseWorkspace, routes!(workspaces::lifecycle::erase)),
        Route::new(ExportWorkspace, routes!(workspaces::lifecycle::export)),
        Route::new(RotateWorkspaceKey, routes!(workspaces::lifecycle::rotate_key)),
        Route::new(RotateMasterKey, routes!(installation::rotate_master_key)),
        Route::new(Backup, routes!(installation::backup)),
        Route::new(ReadRuns, routes!(runs::list)),
        Route::new(ReadAudit, routes!(audit::list)),
        Route::new(ExportAudit, routes!(audit::export)),
        Route::new(ReadAudit, routes!(audit::key)),
        Route::new(VerifyAudit, routes!(audit::verify)),
        Route::new(VerifyAudit, routes!(audit::confirm)),
        Route::new(ReadTokens, routes!(tokens::list)),
        Route::new(CreateTokens, routes!(tokens::create)),
        Route::new(ReadTokens, routes!(tokens::show)),
        Route::new(RevokeTokens, routes!(tokens::revoke)),
        Route::new(ReadCatalogue, routes!(description::show)),
    ]
}

/// The table, and the page for people.
pub(crate) fn router() -> Router<AdminState> {
    let routes = table().into_iter().map(Route::guarded);
    routes
        .fold(Router::new(), |router, (path, answer)| {
            router.route(&path, answer)
        })
        .merge(guide::router())
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
}

impl Route {
    /// Of a handler that says one method of one path.
    fn new(needs: Permission, (schemas, paths, answer): UtoipaMethodRouter<AdminState>) -> Self {
        let (path, item) = paths
            .paths
            .into_iter()
            .next()
            .expect("a handler says its path");
        let operations = [
            (Method::GET, item.get),
            (Method::POST, item.post),
            (Method::PATCH, item.patch),
            (Method::PUT, item.put),
            (Method::DELETE, item.delete),
        ];
        let mut said = operations
            .into_iter()
            .filter_map(|(method, operation)| Some((method, operation?)));
        let (method, operation) = said.next().expect("a handler says its method");
        Self {
            method,
            path,
            needs,
            operation,
            schemas,
            answer,
        }
    }

    /// What answers, behind what it asks for.
    fn guarded(self) -> (String, MethodRouter<AdminState>) {
        let permit = middleware::from_fn_with_state(self.needs, access::authorize);
        (self.path, self.answer.route_layer(permit))
    }
}

/// Nobody without a token learns which paths there are.
async fn unknown_route(extensions: Extensions) -> Problem {
    let known = Caller::authenticated(&extensions);
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
    let known = Caller::authenticated(&extensions);
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
