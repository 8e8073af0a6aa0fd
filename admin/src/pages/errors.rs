//! Shows problems as pages.

use askama::Template;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, StatusCode, header};
use keyside_credentials::RequestId;

use super::{
    gate,
    html::{problem_page, text},
    shell::assets_path,
};
use crate::{problem::Problem, state::AdminState};

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    assets: String,
    title: &'a str,
    detail: &'a str,
    remedy: &'a str,
    icon: &'static str,
    actions: Vec<Action>,
    request_id: &'a str,
}

struct Action {
    href: String,
    label: &'static str,
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
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = problem {
        let is_done = is_script || problem.is_page();
        let shown = match is_done {
            true => problem,
            false => with_page(problem, &state, &base, id.as_ref()),
        };
        response.extensions_mut().insert(shown);
    }
    response
}

fn with_page(problem: Problem, state: &AdminState, base: &str, id: Option<&RequestId>) -> Problem {
    // Remedies have commands in backticks, as Markdown.
    let remedy = remedy(&problem).replace('`', "");
    let page = text(&ErrorPage {
        assets: assets_path(&state.site),
        title: problem.kind().title(),
        detail: problem.detail(),
        remedy: &remedy,
        icon: icon(problem.kind().status()),
        actions: vec![Action {
            href: format!("{base}/keys"),
            label: "Integration Keys",
        }],
        request_id: id.map_or("", RequestId::as_str),
    });
    match page {
        Ok(page) => problem_page(problem, page),
        Err(cause) => cause,
    }
}

/// What to do next. For what is missing, the remedy names the API; the button leads to the list.
fn remedy(problem: &Problem) -> &str {
    match problem.kind().status() {
        StatusCode::NOT_FOUND => "It may have been erased, or this session may not see it.",
        _ => problem.remedy(),
    }
}

fn icon(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "lock",
        StatusCode::NOT_FOUND => "unknown",
        _ => "warn",
    }
}

/// Whether a script of a page asks, which names the one type that it reads.
pub(super) fn is_of_script(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    accept.is_some_and(|types| types == "application/json" || types == EVENT_STREAM)
}

/// The media type of an answer that arrives in parts.
pub(super) const EVENT_STREAM: &str = "text/event-stream";
