//! Finds the session of a request under `/s/<id>/`. Requests without one are sent on to the stable
//! link of what they asked for.

use std::time::Instant;

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, StatusCode, Uri, request::Parts, uri::PathAndQuery};
use keyside_credentials::{Permission, Principal};

use super::{cookies, html::see_other};
use crate::{access, problem::Problem, sessions::Session, site::Site, state::AdminState};

/// Runs once per request for a page of a session, before the rate limit.
pub(super) async fn authenticate(
    State(state): State<AdminState>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = split(request.uri().path()).map(|(id, _)| id);
    let live = id.and_then(|id| live(&state, id, request.headers()));
    let Some((session, principal)) = live else {
        return to_stable_link(&state.site, request.uri());
    };
    access::authenticated_as(request.extensions_mut(), principal);
    request.extensions_mut().insert(session);
    next.run(request).await
}

/// 204, so that the script of a stable link can tell a session that lives from one that has ended,
/// which is redirected.
pub(super) async fn is_alive() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Whether the path is one of a session.
pub(crate) fn is_in_session(path: &str) -> bool {
    split(path).is_some()
}

/// What links on a page with this path begin with: the session's path, or that of the server.
pub(super) fn base(site: &Site, path: &str) -> String {
    match split(path) {
        Some((id, _)) => format!("{}/s/{id}", site.base()),
        None => site.base().to_owned(),
    }
}

/// Sends a request for a page of a session on to the page's stable link.
pub(crate) fn to_stable_link(site: &Site, uri: &Uri) -> Response {
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = split(target).map_or("", |(_, rest)| rest);
    // One slash: two would begin the name of another host.
    let rest = rest.trim_start_matches(['/', '\\']);
    see_other(&format!("{}/{rest}", site.base()))
}

/// The session's id, and what follows it.
fn split(target: &str) -> Option<(&str, &str)> {
    let rest = target.strip_prefix("/s/")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// The session and what its token permits now. A session whose token has ended ends with it.
fn live(state: &AdminState, id: &str, headers: &HeaderMap) -> Option<(Session, Principal)> {
    let host_cookies = cookies::of_host(headers, id);
    let host_cookies = state.site.is_https().then_some(host_cookies.as_slice());
    let of_path = cookies::of_path(headers);
    let session = state
        .sessions
        .find(id, &of_path, host_cookies, Instant::now())?;
    let principal = state.registry.access().principal(&session.actor);
    let principal = principal.filter(|principal| principal.may(Permission::SignIn).is_ok());
    if principal.is_none() {
        state.sessions.close(id);
    }
    Some((session, principal?))
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        // Absent outside of the layer above: fail closed.
        let session = parts.extensions.get::<Self>().cloned();
        session.ok_or_else(|| Problem::internal("the page is outside of the session layer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stable(public_url: &str, target: &str) -> String {
        let response = to_stable_link(&Site::new(public_url), &target.parse().unwrap());
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        response.headers()["location"].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_page_of_a_session_has_a_stable_link_on_this_server() {
        let here = "http://127.0.0.1:7381";
        for (target, expected) in [
            (
                "/s/abc/keys/cred_1?tab=runs&q=%20",
                "/keys/cred_1?tab=runs&q=%20",
            ),
            ("/s/abc/", "/"),
            ("/s/abc", "/"),
            ("/s/abc?q=1", "/?q=1"),
            ("/s/", "/"),
            ("/s/abc//attacker.test/x", "/attacker.test/x"),
            ("/s///attacker.test", "/attacker.test"),
            ("/s/abc/%2fattacker.test", "/%2fattacker.test"),
        ] {
            assert_eq!(stable(here, target), expected, "{target}");
        }
        let below = "https://keys.example/team";
        assert_eq!(stable(below, "/s/abc/keys"), "/team/keys");
        assert_eq!(stable(below, "/s/abc//x"), "/team/x");
    }
}
