//! The route table: paths, required permissions and handlers.

pub(crate) mod audit;
mod credentials;
mod description;
mod file;
pub(crate) mod guide;
mod installation;
mod preview;
mod providers;
mod readiness;
mod runs;
mod sign_in_links;
mod smoke;
pub(crate) mod tokens;
pub(crate) mod workspaces;

use axum::{
    Router,
    extract::{FromRequestParts, Path, State},
    middleware,
    routing::MethodRouter,
};
use http::{Extensions, Method, Uri, request::Parts};
use keyside_config::{Catalogue, Listener, ProxyAddress};
use keyside_credentials::Permission;
use utoipa::openapi::{
    RefOr,
    path::{Operation, ParameterIn},
    schema::Schema,
};
use utoipa_axum::{router::UtoipaMethodRouter, routes};

use crate::{
    access::{self, Caller},
    problem::{Kind, Problem},
    query,
    state::AdminState,
};

/// A method of a path with its permission, its handler and its description.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// The permission that the caller must have.
    pub(crate) needs: Permission,
    pub(crate) operation: Operation,
    pub(crate) schemas: Vec<(String, RefOr<Schema>)>,
    answer: MethodRouter<AdminState>,
}

/// All routes. The handler's `#[utoipa::path]` declares method and path; `{id}` is looked up
/// through [`Caller`]. `tests/permissions.rs` has a row for each line here.
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
        Route::new(ChangeCredentials, routes!(credentials::change::verify)),
        Route::new(ChangeCredentials, routes!(credentials::change::refresh)),
        Route::new(ReadCatalogue, routes!(providers::list)),
        Route::new(ReadCredentials, routes!(readiness::show)),
        Route::new(Preview, routes!(preview::send)),
        Route::new(ReadWorkspaces, routes!(workspaces::list)),
        Route::new(CreateWorkspaces, routes!(workspaces::create)),
        Route::new(ReadWorkspaces, routes!(workspaces::show)),
        Route::new(ChangeWorkspace, routes!(workspaces::update)),
        Route::new(EraseWorkspace, routes!(workspaces::lifecycle::erase)),
        Route::new(ExportWorkspace, routes!(workspaces::lifecycle::export)),
        Route::new(RotateWorkspaceKey, routes!(workspaces::lifecycle::rotate_key)),
        Route::new(RotateMasterKey, routes!(installation::rotate_master_key)),
        Route::new(Backup, routes!(installation::backup)),
        Route::new(ReadRuns, routes!(runs::list)),
        Route::new(ReadRuns, routes!(runs::figures::show)),
        Route::new(ReadRuns, routes!(smoke::show)),
        Route::new(RunSmoke, routes!(smoke::start)),
        Route::new(RunSmoke, routes!(smoke::post)),
        Route::new(ReadAudit, routes!(audit::list)),
        Route::new(ExportAudit, routes!(audit::export)),
        Route::new(ReadAudit, routes!(audit::key)),
        Route::new(VerifyAudit, routes!(audit::verify)),
        Route::new(VerifyAudit, routes!(audit::confirm)),
        Route::new(ReadTokens, routes!(tokens::list)),
        Route::new(CreateTokens, routes!(tokens::create)),
        Route::new(ReadTokens, routes!(tokens::show)),
        Route::new(RevokeTokens, routes!(tokens::revoke)),
        Route::new(SignIn, routes!(sign_in_links::create)),
        Route::new(ReadCatalogue, routes!(description::show)),
    ]
}

/// The router of the table and of the static guide.
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
    /// From a handler that declares one method of one path.
    fn new(needs: Permission, (schemas, paths, answer): UtoipaMethodRouter<AdminState>) -> Self {
        let (path, item) = paths
            .paths
            .into_iter()
            .next()
            .expect("a handler declares its path");
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
        let (method, operation) = said.next().expect("a handler declares its method");
        Self {
            method,
            path,
            needs,
            operation,
            schemas,
            answer,
        }
    }

    /// The handler, behind the checks of its permission and of its query.
    fn guarded(self) -> (String, MethodRouter<AdminState>) {
        let permit = middleware::from_fn_with_state(self.needs, access::authorize);
        let answer = match has_query(&self.operation) {
            true => self.answer,
            false => {
                let refuse = middleware::from_fn(query::refuse_parameters);
                self.answer.route_layer(refuse)
            }
        };
        (self.path, answer.route_layer(permit))
    }
}

/// Whether an operation has a parameter in the query.
pub(crate) fn has_query(operation: &Operation) -> bool {
    let mut parameters = operation.parameters.iter().flatten();
    parameters.any(|parameter| {
        matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query)
    })
}

/// Without a valid token the response is 401, so that it does not reveal which paths exist.
async fn unknown_route(
    State(state): State<AdminState>,
    uri: Uri,
    extensions: Extensions,
) -> Problem {
    let known = Caller::authenticated(&extensions);
    let problem = known.err().unwrap_or_else(no_such_path);
    match is_of_proxy(&state.catalogue, uri.path()) {
        true => problem.with_remedy(proxy_instead(&state.proxy_listeners)),
        false => problem,
    }
}

/// Whether the path begins like one of a provider: the client should call the proxy.
fn is_of_proxy(catalogue: &Catalogue, path: &str) -> bool {
    let Some((first, _)) = path.trim_start_matches('/').split_once('/') else {
        return false;
    };
    matches!(first, "v1" | "v1beta" | "w") || catalogue.get(first).is_some()
}

/// Only a loopback address is told: the caller may be anybody, and others say something about the
/// network.
fn proxy_instead(listeners: &[Listener]) -> String {
    let proxy = ProxyAddress::of(listeners, "");
    let address = proxy.map(|proxy| proxy.address);
    match address.filter(|address| address.ip().is_loopback()) {
        Some(address) => format!(
            "This is the admin API. Point the client at the proxy: its base URLs begin with http://{address}, as in \
             http://{address}/openai/v1."
        ),
        None => {
            "This is the admin API. Point the client at the proxy, on an address of `proxy.listen`."
                .to_owned()
        }
    }
}

async fn wrong_method(extensions: Extensions) -> Problem {
    let no_such_method = || {
        let detail = "The path does not support this method.";
        let remedy = "Use one of the methods in the Allow header.";
        Problem::new(Kind::MethodNotAllowed, detail, remedy)
    };
    let known = Caller::authenticated(&extensions);
    known.err().unwrap_or_else(no_such_method)
}

fn no_such_path() -> Problem {
    let detail = "The API has no such path.";
    let remedy = "GET /openapi.json describes all paths.";
    Problem::new(Kind::RouteUnknown, detail, remedy)
}

/// The `{id}` of a path. An id that is not UTF-8 is an unknown path.
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
