//! Shows problems as pages.

use askama::Template;
use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, StatusCode, header};
use keyside_credentials::RequestId;

use super::{gate, html::problem_page, marked::Text, no_such_page, remedy, shell::assets_path};
use crate::{
    problem::{Kind, Problem},
    state::AdminState,
};

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    assets: String,
    title: &'a str,
    detail: Text,
    remedy: Text,
    icon: &'static str,
    /// The page on which to go on.
    href: String,
    label: &'static str,
    request_id: &'a str,
}

/// Runs once per request for a page, around everything that may refuse it. A script gets the problem
/// document.
pub(super) async fn as_pages(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Response {
    let is_script = is_of_script(request.headers());
    let id = request.extensions().get::<RequestId>().copied();
    let base = gate::base(&state.site, request.uri().path());
    shown(next.run(request).await, |problem| match is_script {
        true => remedy::in_own_words(problem),
        false => with_page(problem, &state, &base, id.as_ref()),
    })
}

/// Runs once per request, around the API too: a person's browser gets a page wherever it asked for
/// something that is neither the API nor one of the pages.
pub(crate) async fn for_browsers(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Response {
    let is_for_person = is_of_person(request.headers(), request.uri().path());
    let is_unknown = request.extensions().get::<MatchedPath>().is_none();
    let id = request.extensions().get::<RequestId>().copied();
    let response = next.run(request).await;
    if !is_for_person {
        return shown(response, |problem| problem);
    }
    let not_found = no_such_page().await;
    shown(response, |problem| {
        // The API tells strangers that they need a token, so that they learn nothing of its paths. The
        // paths of pages are no secret, and a person at a browser has no header to send.
        let problem = match is_unknown && problem.kind() == Kind::Unauthenticated {
            true => not_found,
            false => problem,
        };
        with_page(problem, &state, state.site.base(), id.as_ref())
    })
}

/// The response with its problem as `show` returns it. An error without a problem is one that axum
/// answered as bare text, such as a path that is not UTF-8.
fn shown(mut response: Response, show: impl FnOnce(Problem) -> Problem) -> Response {
    let problem = response.extensions_mut().remove::<Problem>();
    match problem.or_else(|| of_bare(&response)) {
        Some(problem) if problem.is_page() => {
            response.extensions_mut().insert(problem);
        }
        Some(problem) => {
            response.extensions_mut().insert(show(problem));
        }
        None => {}
    }
    response
}

fn of_bare(response: &Response) -> Option<Problem> {
    let status = response.status();
    let media_type = response.headers().get(header::CONTENT_TYPE);
    let is_bare = media_type.is_none_or(|it| it.as_bytes().starts_with(b"text/plain"));
    let is_error = status.is_client_error() || status.is_server_error();
    (is_error && is_bare).then(|| {
        let kind = match status {
            StatusCode::NOT_FOUND => Kind::RouteUnknown,
            StatusCode::METHOD_NOT_ALLOWED => Kind::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Kind::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::MediaTypeUnsupported,
            _ if status.is_client_error() => Kind::RequestMalformed,
            _ => {
                return Problem::internal(format!("a handler answered {status} without a problem"));
            }
        };
        let detail = "The request cannot be read.";
        let remedy = "Correct its address and its headers, or follow a link of a page.";
        Problem::new(kind, detail, remedy)
    })
}

fn with_page(problem: Problem, state: &AdminState, base: &str, id: Option<&RequestId>) -> Problem {
    let kind = problem.kind();
    let (path, label) = remedy::way_on(kind);
    let page = ErrorPage {
        assets: assets_path(&state.site),
        title: kind.title(),
        detail: remedy::detail(&problem),
        remedy: remedy::next_step(&problem),
        icon: icon(kind.status()),
        href: format!("{base}{path}"),
        label,
        request_id: id.map_or("", RequestId::as_str),
    };
    problem_page(problem, &page)
}

fn icon(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "lock",
        StatusCode::NOT_FOUND => "unknown",
        _ => "warn",
    }
}

/// Whether a browser asks for a page outside of the API.
fn is_of_person(headers: &HeaderMap, path: &str) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter();
    let accept = accept.filter_map(|types| types.to_str().ok());
    let is_api = path == "/api" || path.starts_with("/api/");
    !is_api
        && accept
            .flat_map(|types| types.split([',', ';']))
            .any(|it| it.trim() == "text/html")
}

/// Whether a script of a page asks, which names the one type that it reads.
pub(super) fn is_of_script(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    accept.is_some_and(|types| types == "application/json" || types == EVENT_STREAM)
}

/// The media type of an answer that arrives in parts.
pub(super) const EVENT_STREAM: &str = "text/event-stream";
