//! `/api/session`: who one is, and signing in to the page. The browser gets a cookie; the token stays with its owner.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use keyside_credentials::{
    Act, Clock, Permission, Principal, Role, Session, SystemClock, WorkspaceId,
};
use serde::Serialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::tokens::workspaces;
use crate::{
    AdminState,
    access::{self, Caller},
    body::JsonBody,
    cookie::Cookie,
    form::{self, Form},
    limits::{Peer, SIGN_IN, Spender},
    openapi::{bodies, words},
    problem::{Kind, Problem},
    request_id::RequestId,
};

/// Signs in. The session is good once its beginning is on record.
#[utoipa::path(
    post, path = "/api/session", tag = "access", operation_id = "signIn",
    request_body = bodies::ShownToken,
    responses((status = 201, body = SessionView, description = "Signed in; the session is in a cookie"))
)]
pub(super) async fn create(
    State(state): State<AdminState>,
    Extension(id): Extension<RequestId>,
    peer: Peer,
    headers: HeaderMap,
    body: Result<JsonBody, Problem>,
) -> Result<Response, Problem> {
    let shown = sign_in(&state, body);
    // One that shows nothing is like any request of which nobody knows who sends it.
    let uncounted = |problem| match state.limits.request(Spender::Unknown(peer)) {
        Ok(()) => problem,
        Err(too_many) => too_many,
    };
    let token = shown.map_err(uncounted)?;
    let principal = owner_of(&token, &state, peer)?;
    let spender = Spender::Token(principal.actor.clone());
    state.limits.request(spender)?;
    let act = Act {
        actor: principal.actor.clone(),
        request_id: id.0,
    };
    // Whatever the browser had before ends here.
    if let Some(earlier) = state.cookie.read(&headers) {
        state.sessions.close(earlier);
    }
    let opened = state.sessions.open(&principal);
    let recorded = state.registry.audit().signed_in(&act, &opened.id).await;
    recorded.inspect_err(|_| state.sessions.close(&opened.text))?;
    let session = state.sessions.resume(&opened.text, state.registry.access());
    let mut view = SessionView::of(&state, &principal, session.as_ref());
    view.page_token = Some(state.pages.of(&opened.text));
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    add(
        &mut response,
        header::LOCATION,
        Some(HeaderValue::from_static(SIGN_IN)),
    );
    add(
        &mut response,
        header::SET_COOKIE,
        state.cookie.set(&opened.text),
    );
    Ok(response)
}

/// Who the caller is, and what they may.
#[utoipa::path(
    get, path = "/api/session", tag = "access", operation_id = "whoAmI",
    responses((status = 200, body = SessionView, description = "The caller"))
)]
pub(super) async fn show(
    State(state): State<AdminState>,
    caller: Caller,
    headers: HeaderMap,
) -> Json<SessionView> {
    let session = current(&state, &headers);
    Json(SessionView::of(
        &state,
        caller.principal(),
        session.as_ref(),
    ))
}

/// Signs out, at once and whether or not it can be put on record. A token by itself has nothing to end.
#[utoipa::path(
    delete, path = "/api/session", tag = "access", operation_id = "signOut",
    responses((status = 204, description = "Signed out"))
)]
pub(super) async fn end(
    State(state): State<AdminState>,
    caller: Caller,
    headers: HeaderMap,
) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let Some(session) = current(&state, &headers) else {
        return response;
    };
    if let Some(text) = state.cookie.read(&headers) {
        state.sessions.close(text);
    }
    let act = caller.act();
    let recorded = state.registry.audit().signed_out(&act, &session.id);
    if let Err(error) = recorded.await {
        tracing::error!(request_id = act.request_id, %error, "a sign-out could not be recorded");
    }
    add(&mut response, header::SET_COOKIE, state.cookie.clear());
    response
}

/// Shows the token once more, for what asks for a fresh proof. A bearer token is one by itself.
#[utoipa::path(
    post, path = "/api/session/proof", tag = "access", operation_id = "showTokenAgain",
    request_body = bodies::ShownToken,
    responses((status = 200, body = SessionView, description = "Proven, for five minutes"))
)]
pub(super) async fn prove(
    State(state): State<AdminState>,
    caller: Caller,
    peer: Peer,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Json<SessionView>, Problem> {
    let shown = owner_of(&token(&body)?, &state, peer)?;
    let is_own = shown.actor == caller.principal().actor;
    let text = current(&state, &headers).and_then(|_| state.cookie.read(&headers));
    if !is_own || !text.is_none_or(|text| state.sessions.prove(text, &shown)) {
        return Err(access::wrong_token().refusing(&caller.principal().actor));
    }
    let session = current(&state, &headers);
    Ok(Json(SessionView::of(&state, &shown, session.as_ref())))
}

/// The token that someone wants to sign in with.
fn sign_in(
    state: &AdminState,
    body: Result<JsonBody, Problem>,
) -> Result<Zeroizing<String>, Problem> {
    match state.cookie {
        Cookie::Refused => Err(in_the_clear()),
        _ => token(&body?),
    }
}

/// The token that a body shows.
fn token(body: &JsonBody) -> Result<Zeroizing<String>, Problem> {
    let mut form = Form::parse(body.bytes(), &["token"])?;
    let token = form.required("token", form::token);
    form.finish(token)
}

/// Whose token it is. Only wrong ones count as guesses.
fn owner_of(token: &str, state: &AdminState, peer: Peer) -> Result<Principal, Problem> {
    match state.registry.access().authenticate(token) {
        Some(principal) => Ok(principal),
        None => {
            state.limits.guess(peer)?;
            Err(access::wrong_token())
        }
    }
}

/// Who one is, on the wire.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionView {
    /// The id of the token: what the audit log names.
    token_id: String,
    name: String,
    #[schema(value_type = words::Role)]
    role: Role,
    /// Null for all.
    #[schema(value_type = Option<Vec<String>>)]
    workspaces: Option<Vec<WorkspaceId>>,
    /// What the role allows here, a fresh proof provided.
    #[schema(value_type = Vec<String>)]
    permissions: Vec<Permission>,
    /// Null for a bearer token.
    session: Option<SessionTimes>,
    /// What the page keeps, and sends as `X-Keyside-Page-Token` beside the cookie. Only in the answer to signing in.
    #[serde(skip_serializing_if = "Option::is_none")]
    page_token: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionTimes {
    id: String,
    /// At the latest; without requests it ends sooner.
    expires_at: Timestamp,
    /// Until when no other proof is needed; null when one is.
    proven_until: Option<Timestamp>,
}

impl SessionView {
    fn of(state: &AdminState, principal: &Principal, session: Option<&Session>) -> Self {
        let token = state.registry.access().named(&principal.actor);
        let proven = Principal {
            proven: true,
            ..principal.clone()
        };
        let allowed = Permission::ALL.into_iter();
        Self {
            token_id: principal.actor.to_string(),
            name: token.map(|token| token.name).unwrap_or_default(),
            role: principal.role,
            workspaces: workspaces(&principal.scope),
            permissions: allowed
                .filter(|wanted| proven.may(*wanted).is_ok())
                .collect(),
            session: session.map(SessionTimes::of),
            page_token: None,
        }
    }
}

impl SessionTimes {
    fn of(session: &Session) -> Self {
        let now = SystemClock.now();
        let after = |left| {
            let left = SignedDuration::try_from(left).unwrap_or(SignedDuration::ZERO);
            now.saturating_add(left).unwrap_or(now)
        };
        Self {
            id: session.id.clone(),
            expires_at: after(session.left),
            proven_until: (!session.proof_left.is_zero()).then(|| after(session.proof_left)),
        }
    }
}

/// The session that the caller is known by; none for a bearer token, which goes before the cookie.
fn current(state: &AdminState, headers: &HeaderMap) -> Option<Session> {
    if headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    let text = state.cookie.read(headers)?;
    state.sessions.resume(text, state.registry.access())
}

fn add(response: &mut Response, name: header::HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        response.headers_mut().insert(name, value);
    }
}

fn in_the_clear() -> Problem {
    Problem::new(
        Kind::SignInInTheClear,
        "admin.public_url is plain http:// to another machine: the session would travel in the clear.",
        "Put TLS in front and set admin.public_url to its https:// address, or sign in over http://127.0.0.1.",
    )
}
