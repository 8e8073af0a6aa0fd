//! `/api/tokens`: access to the API. Only the response that creates a token has its text.

use std::sync::Arc;

use axum::{Json, extract::State, response::Response};
use http::HeaderMap;
use keyside_credentials::{
    ActorId, ChangeError, CreatedToken, NewToken, Registry, Scope, Token, WorkspaceId,
};

use super::Segment;
use crate::{
    access::Caller,
    body::JsonBody,
    concurrency::WorkKind,
    entity_tag::{Lineage, Tagged},
    form,
    paging::Page,
    precondition::IfMatch,
    problem::Problem,
    query::Parameters,
    schemas::queries,
    state::AdminState,
    wire::{self, TokenView},
};

/// Creates a token. Only this response has its text.
#[utoipa::path(
    post, path = "/api/tokens", tag = "access", operation_id = "createToken",
    request_body = wire::NewToken,
    responses((status = 201, body = TokenView, description = "Created"), (status = 404))
)]
pub(super) async fn create(
    State(state): State<AdminState>,
    caller: Caller,
    body: JsonBody,
) -> Result<Response, Problem> {
    let made = created(&state, &caller, form::read(body.bytes())?).await?;
    let location = format!("{PATH}/{}", made.token.id);
    let mut tagged = tagged(&state.registry, made.token);
    tagged.view.token = Some(made.text);
    tagged.view.warnings = made.warnings.iter().map(ToString::to_string).collect();
    Ok(tagged.created(&location))
}

/// Creates a token within the caller's scope.
///
/// # Errors
/// The attributes are not valid or exceed the caller's scope, or storage failed.
pub(crate) async fn created(
    state: &AdminState,
    caller: &Caller,
    new: wire::NewToken,
) -> Result<CreatedToken, Problem> {
    let scope = new.workspaces.map(|only| Scope::Only(Arc::new(only)));
    let new = NewToken {
        name: new.name,
        role: new.role,
        scope: scope.unwrap_or(Scope::All),
        expires_at: new.expires_at,
    };
    let act = caller.context();
    let made = state.registry.create_token(&act, caller.scope(), new);
    made.await.map_err(|error| match error {
        ChangeError::WorkspaceUnknown => Problem::workspaces_unknown(),
        error => error.into(),
    })
}

/// Tokens, oldest first, including expired and revoked ones.
#[utoipa::path(
    get, path = "/api/tokens", tag = "access", operation_id = "listTokens",
    params(queries::Limit, queries::TokenCursor),
    responses((status = 200, body = Page<TokenView>, description = "A page"))
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<TokenView>>, Problem> {
    let limit = query.limit();
    let after = query.cursor(place);
    query.finish()?;
    let _permit = state.acquire(WorkKind::List, &caller).await?;
    let all = state.registry.access().tokens(caller.scope());
    let rest = all.into_iter().skip_while(|token| {
        let after = after.as_ref();
        after.is_some_and(|(made, id)| (order(token), &token.id) <= (*made, id))
    });
    let cursor = |token: &Token| format!("{}-{}", order(token), token.id);
    Ok(Json(Page::first(rest, limit, cursor, TokenView::of)))
}

/// One token, without its text.
#[utoipa::path(
    get, path = "/api/tokens/{id}", tag = "access", operation_id = "getToken",
    params(("id" = String, Path)),
    responses((status = 200, body = TokenView, description = "The token"), (status = 304, description = "Unchanged"))
)]
pub(super) async fn show(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let token = caller.token(&state.registry, &id)?;
    Ok(tagged(&state.registry, token).read(&headers))
}

/// Revokes a token immediately and permanently. `If-Match` is optional: a leaked token is revoked
/// first.
#[utoipa::path(
    delete, path = "/api/tokens/{id}", tag = "access", operation_id = "revokeToken",
    params(("id" = String, Path), queries::IfMatch),
    responses((status = 200, body = TokenView, description = "Revoked"), (status = 409))
)]
pub(super) async fn revoke(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
) -> Result<Tagged<TokenView>, Problem> {
    let token = caller.token(&state.registry, &id)?;
    let (act, scope, registry) = (caller.context(), caller.scope(), &state.registry);
    let expected = seen.expected(Lineage::of_epoch(registry));
    let revoked = registry.revoke_token(&act, scope, &token.id, expected);
    Ok(tagged(registry, revoked.await?))
}

impl TokenView {
    fn of(token: Token) -> Self {
        Self {
            workspaces: workspaces(&token.scope),
            id: token.id,
            name: token.name,
            role: token.role,
            status: token.status,
            created_by: token.created_by,
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
            last_used_at: token.last_used_at,
            warnings: Vec::new(),
            token: None,
        }
    }
}

/// The workspaces of a scope; `None` for all.
fn workspaces(scope: &Scope) -> Option<Vec<WorkspaceId>> {
    match scope {
        Scope::All => None,
        Scope::Only(workspaces) => Some(workspaces.iter().cloned().collect()),
    }
}

/// The creation time, by which the list is ordered.
fn order(token: &Token) -> i64 {
    token.created_at.as_microsecond()
}

/// The position of a cursor, whether or not its token is still visible to the caller.
fn place(cursor: &str) -> Option<(i64, ActorId)> {
    let (made, id) = cursor.split_once('-')?;
    let is_number = made.bytes().all(|byte| byte.is_ascii_digit());
    Some((made.parse().ok().filter(|_| is_number)?, id.parse().ok()?))
}

fn tagged(registry: &Registry, token: Token) -> Tagged<TokenView> {
    Tagged::of_epoch(registry, token.revision, TokenView::of(token))
}

const PATH: &str = "/api/tokens";
