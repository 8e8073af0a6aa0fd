//! Sign-in with a token, sign-out, and the static page of every stable link.

use std::time::Instant;

use askama::Template;
use axum::{
    extract::{FromRequest, Request, State},
    response::Response,
};
use http::{Extensions, HeaderMap, Uri, header, uri::PathAndQuery};
use keyside_config::headers::SEC_FETCH_SITE;
use keyside_credentials::{ActorContext, Permission, Principal, RequestId};

use super::{
    cookies,
    form::{Fields, SessionForm},
    html::{page, problem_page, see_other},
    shell::{Visit, assets_path, role},
    view::{Notice, text_of},
};
use crate::{
    access::permitted,
    access_audit::Proof,
    problem::{Kind, Problem},
    rate_limits::ClientNetwork,
    sessions::Flash,
    state::AdminState,
};

/// The page for signing in without being led further.
pub(super) const PATH: &str = "/sign-in";

/// Where signing out leads.
pub(super) const SIGNED_OUT: &str = "/signed-out";

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    base: &'a str,
    assets: String,
    /// Whether the script may look for a session of this browser and go there.
    find: bool,
    notice: Option<Notice>,
    /// What is wrong with the token; empty if nothing is.
    wrong: &'static str,
}

/// The static page: the same for everyone, whatever was asked for.
pub(super) async fn show(State(state): State<AdminState>) -> Result<Response, Problem> {
    page(&sign_in_page(&state, true, None, ""))
}

pub(super) async fn show_signed_out(State(state): State<AdminState>) -> Result<Response, Problem> {
    let text = "The session has ended. Its pages no longer open in this browser.";
    let notice = Notice::new("info", "Signed out", text);
    page(&sign_in_page(&state, false, Some(notice), ""))
}

/// Opens a session for the token in the form, and leads to the page that was asked for.
pub(super) async fn sign_in(
    State(state): State<AdminState>,
    request: Request,
) -> Result<Response, Problem> {
    let uri = request.uri().clone();
    let peer = ClientNetwork::of(request.extensions());
    let id = request_id(request.extensions())?;
    if lacks_fetch_metadata(request.headers()) {
        let page = sign_in_page(&state, false, Some(needs_https()), "");
        return Err(problem_page(insecure(), &page));
    }
    let fields = Fields::from_request(request, &state).await?;
    let principal = state.registry.access().authenticate(fields.text("token"));
    let Some(principal) = principal else {
        state.limits.check_invalid_token(peer)?;
        let wrong = "This token is not valid: it is mistyped, expired or revoked.";
        let page = sign_in_page(&state, false, None, wrong);
        return Err(problem_page(invalid_token(), &page));
    };
    let page = asked_page(&uri);
    open_session(&state, &principal, id, Proof::Token, &page).await
}

/// Ends the session, in the browser too.
pub(super) async fn sign_out(visit: Visit, _form: SessionForm) -> Response {
    let Visit { state, session, .. } = visit;
    state.sessions.close(&session.id);
    tracing::info!(actor = %session.actor, "signed out of the page");
    let mut response = see_other(&format!("{}{SIGNED_OUT}", state.site.base()));
    cookies::clear(&mut response, &state.site, &session.id);
    response
}

/// A new session's first response: the browser gets the cookies and is led to `page`, which begins
/// with a slash.
///
/// # Errors
/// 403 if the role may not use the page.
pub(super) async fn open_session(
    state: &AdminState,
    principal: &Principal,
    request_id: RequestId,
    proof: Proof,
    page: &str,
) -> Result<Response, Problem> {
    permitted(principal, Permission::SignIn)?;
    let by = ActorContext {
        actor: principal.actor.clone(),
        request_id: request_id.as_str().to_owned(),
    };
    state.access_audit.signed_in(&by, proof).await;
    let new = state.sessions.open(principal.actor.clone(), Instant::now());
    let name = state.registry.access().find(&principal.actor);
    let name = text_of(name.map(|token| token.name));
    let flash = Flash {
        title: "Signed in",
        text: format!("As {name} ({}).", role(principal.role)),
        warnings: Vec::new(),
    };
    state.sessions.set_flash(&new.id, flash);
    tracing::info!(actor = %principal.actor, "signed in to the page");
    let mut response = see_other(&format!("{}/s/{}{page}", state.site.base(), new.id));
    cookies::set(&mut response, &state.site, &new);
    Ok(response)
}

/// The id that `request_log.rs` gave the request.
pub(super) fn request_id(extensions: &Extensions) -> Result<RequestId, Problem> {
    let id = extensions.get::<RequestId>().copied();
    id.ok_or_else(|| Problem::internal("the page is outside of the layer that gives ids"))
}

/// Whether a browser sent the form without Fetch Metadata: over plain http from another machine.
/// Programs send no Origin.
pub(super) fn lacks_fetch_metadata(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) && !headers.contains_key(SEC_FETCH_SITE)
}

pub(super) fn needs_https() -> Notice {
    Notice::new(
        "bad",
        "This address needs https",
        "Over plain http, browsers do not say which page sends a request, so Keyside cannot protect a session. Use https, or \
         forward the port (ssh -L, kubectl port-forward) and open it on localhost.",
    )
}

pub(super) fn insecure() -> Problem {
    Problem::new(
        Kind::BrowserNotAllowed,
        "The browser does not say which page sent the form.",
        "Open the page over https or on localhost, with a current browser.",
    )
}

/// The page to open after sign-in: the one at the form's address.
fn asked_page(uri: &Uri) -> String {
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    match uri.path() {
        PATH | SIGNED_OUT | "/sign-out" => "/".to_owned(),
        _ => target.to_owned(),
    }
}

fn sign_in_page<'a>(
    state: &'a AdminState,
    find: bool,
    notice: Option<Notice>,
    wrong: &'static str,
) -> SignIn<'a> {
    SignIn {
        base: state.site.base(),
        assets: assets_path(&state.site),
        find,
        notice,
        wrong,
    }
}

fn invalid_token() -> Problem {
    let detail = "The token is not valid.";
    let remedy = "Sign in with a token that is neither expired nor revoked.";
    Problem::new(Kind::Unauthenticated, detail, remedy)
}
