//! Responses with HTML: their headers, and the rendering of templates.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::problem::Problem;

/// Renders a template, escaped for HTML.
pub(super) fn page(template: &impl Template) -> Result<Response, Problem> {
    Ok((HEADERS, Html(text(template)?)).into_response())
}

/// The problem, shown as this page.
pub(super) fn problem_page(problem: Problem, template: &impl Template) -> Problem {
    match text(template) {
        Ok(page) => HEADERS
            .into_iter()
            .fold(problem.shown_as(page), |problem, (name, value)| {
                problem.with_value(name, value)
            }),
        Err(failed) => failed,
    }
}

fn text(template: &impl Template) -> Result<String, Problem> {
    let rendered = template.render();
    rendered.map_err(|error| Problem::internal(format!("a page could not be rendered: {error}")))
}

/// 303: the browser asks for `location` with GET.
pub(super) fn see_other(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    // A path and query of a request, or of ours: always a header value.
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// No inline script or style, nothing from another origin, no frames, no HTML made by scripts. The
/// headers that all responses have are in `request_log.rs`.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
