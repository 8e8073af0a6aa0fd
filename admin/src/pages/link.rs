//! The page of a one-time link. Its script takes the code out of the fragment, asks whose session it
//! opens, and one click opens it.

use std::time::Instant;

use askama::Template;
use axum::{
    Json,
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    form::Fields,
    html::{page, problem_page},
    shell::{assets_path, role},
    sign_in::{insecure, lacks_fetch_metadata, needs_https, open_session, request_id},
    view::Notice,
};
use crate::{
    access_audit::Proof,
    problem::{Kind, Problem},
    rate_limits::ClientNetwork,
    state::AdminState,
};

/// Where links lead: `sign_in_links.rs` writes it.
pub(super) const PATH: &str = "/link";

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage<'a> {
    base: &'a str,
    assets: String,
    notice: Option<Notice>,
    /// What is wrong with the code; empty if nothing is.
    wrong: &'static str,
}

pub(super) async fn show(State(state): State<AdminState>) -> Result<Response, Problem> {
    page(&link_page(&state, None, ""))
}

/// Opens the session of the code in the form, once. With `ask=whose`, says whose it is and leaves
/// the code unused.
pub(super) async fn open(
    State(state): State<AdminState>,
    request: Request,
) -> Result<Response, Problem> {
    let peer = ClientNetwork::of(request.extensions());
    let request_id = request_id(request.extensions())?;
    if lacks_fetch_metadata(request.headers()) {
        let page = link_page(&state, Some(needs_https()), "");
        return Err(problem_page(insecure(), &page));
    }
    let fields = Fields::from_request(request, &state).await?;
    let (code, now) = (fields.text("code"), Instant::now());
    if fields.text("ask") == "whose" {
        return match whose(&state, code, now) {
            Some(whose) => Ok(Json(whose).into_response()),
            None => Err(unknown_code(&state, peer)?),
        };
    }
    let actor = state.sign_in_links.redeem(code, now);
    let principal = actor.and_then(|actor| state.registry.access().principal(&actor));
    match principal {
        Some(principal) => open_session(&state, &principal, request_id, Proof::Link, "/").await,
        None => {
            let problem = unknown_code(&state, peer)?;
            let wrong = "This code was used before, its five minutes are over, or it is mistyped.";
            Err(problem_page(problem, &link_page(&state, None, wrong)))
        }
    }
}

/// Whose session a code opens, and for how many seconds.
fn whose(state: &AdminState, code: &str, now: Instant) -> Option<Value> {
    let (actor, left) = state.sign_in_links.peek(code, now)?;
    let access = state.registry.access();
    let principal = access.principal(&actor)?;
    Some(json!({
        "name": access.find(&actor)?.name,
        "role": role(principal.role),
        "expiresIn": left.as_secs(),
    }))
}

/// The problem for a code that opens nothing, which counts like an invalid token.
///
/// # Errors
/// 429 after too many.
fn unknown_code(state: &AdminState, peer: ClientNetwork) -> Result<Problem, Problem> {
    state.limits.check_invalid_token(peer)?;
    Ok(Problem::new(
        Kind::Unauthenticated,
        "The code of the link is not valid.",
        "Print a new link with `keyside link`.",
    ))
}

fn link_page<'a>(
    state: &'a AdminState,
    notice: Option<Notice>,
    wrong: &'static str,
) -> LinkPage<'a> {
    LinkPage {
        base: state.site.base(),
        assets: assets_path(&state.site),
        notice,
        wrong,
    }
}
