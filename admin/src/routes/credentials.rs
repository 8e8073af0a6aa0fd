//! `/api/integrations/credentials`: create, list and read credentials. No response has a secret.

pub(super) mod change;
mod view;

use axum::{Json, extract::State, response::Response};
use http::HeaderMap;
use keyside_config::ProviderId;
use keyside_credentials::{Credential, Filter, Listed, Permission};

use self::change::idempotency;
use super::Segment;
use crate::{
    access::Caller,
    body::JsonBody,
    concurrency::WorkKind,
    credential_changes::{Addition, Changed},
    entity_tag::Tagged,
    form,
    paging::Page,
    precondition::IdempotencyKey,
    problem::Problem,
    query::Parameters,
    schemas::queries,
    state::AdminState,
    wire::{self, CheckView, CredentialView, Duplicate},
};

/// Stores a provider key.
#[utoipa::path(
    post, path = "/api/integrations/credentials", tag = "credentials", operation_id = "createCredential",
    params(queries::IdempotencyKey), request_body = wire::NewCredential,
    responses((status = 201, body = CredentialView, description = "Created"), (status = 404), (status = 409))
)]
pub(super) async fn create(
    State(state): State<AdminState>,
    caller: Caller,
    key: IdempotencyKey,
    body: JsonBody,
) -> Result<Response, Problem> {
    let addition = Addition::read(body.bytes())?;
    let idempotency = idempotency(key, body.bytes());
    let added = addition.store(&state, &caller, idempotency).await?;
    let location = format!("{PATH}/{}", added.credential.id);
    Ok(changed(&state, &caller, added).created(&location))
}

/// Credentials, ordered by workspace, provider, label and age, including revoked ones. Credentials
/// whose record cannot be read are at the end of their workspace: their provider, label and
/// environment are null, and match no filter.
#[utoipa::path(
    get, path = "/api/integrations/credentials", tag = "credentials", operation_id = "listCredentials",
    params(queries::CredentialFilter, queries::Limit, queries::CredentialCursor),
    responses((status = 200, body = Page<CredentialView>, description = "A page"), (status = 404))
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<CredentialView>>, Problem> {
    let filter = Filter {
        within: caller.scope().clone(),
        workspace: query.optional("workspaceId", wire::parsed),
        provider: query.optional("provider", |text| known_provider(&state, text)),
        status: query.optional("status", form::choice),
        environment: query.optional("environment", form::choice),
    };
    let limit = query.limit();
    // The id of the last credential on the page. Records are never removed, so its position can be
    // found again.
    let after = query.cursor(|cursor| caller.listed(&state.registry, cursor).ok());
    query.finish()?;
    caller.check_filter(filter.workspace.as_ref())?;
    let _permit = state.acquire(WorkKind::List, &caller).await?;
    let all = state.registry.list_all(&filter).into_iter();
    let rest = all.skip_while(|listed| {
        let after = after.as_ref();
        after.is_some_and(|after| listed.list_order() <= after.list_order())
    });
    Ok(Json(Page::first(
        rest,
        limit,
        |listed| listed.id().to_string(),
        CredentialView::listed,
    )))
}

/// One credential, without its secret.
#[utoipa::path(
    get, path = "/api/integrations/credentials/{id}", tag = "credentials", operation_id = "getCredential",
    params(("id" = String, Path)),
    responses((status = 200, body = CredentialView, description = "The credential"), (status = 304, description = "Unchanged"))
)]
pub(super) async fn show(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let listed = caller.listed(&state.registry, &id)?;
    Ok(tagged_as_listed(&state, &caller, listed).read(&headers))
}

fn changed(state: &AdminState, caller: &Caller, changed: Changed) -> Tagged<CredentialView> {
    with_warnings(state, caller, changed.credential, changed.warnings)
}

fn tagged(state: &AdminState, caller: &Caller, credential: Credential) -> Tagged<CredentialView> {
    with_warnings(state, caller, credential, Vec::new())
}

/// Like [`tagged`], also for a credential whose record cannot be read. Its duplicates are unknown.
fn tagged_as_listed(state: &AdminState, caller: &Caller, listed: Listed) -> Tagged<CredentialView> {
    match listed {
        Listed::Known(credential) => tagged(state, caller, *credential),
        Listed::Lost(lost) => {
            Tagged::of_epoch(&state.registry, lost.revision, CredentialView::lost(lost))
        }
    }
}

/// Only callers with access to the whole installation see which other credentials have the same
/// secret.
fn with_warnings(
    state: &AdminState,
    caller: &Caller,
    credential: Credential,
    warnings: Vec<String>,
) -> Tagged<CredentialView> {
    let registry = &state.registry;
    let others = || registry.duplicates(&credential.id).into_iter();
    let duplicates = caller
        .require(Permission::SeeDuplicates)
        .is_ok()
        .then(|| others().map(Duplicate::of).collect());
    let check = CheckView::last(state, &credential);
    let revision = credential.revision;
    let view = CredentialView {
        duplicates,
        check,
        ..CredentialView::of(credential, warnings)
    };
    Tagged::of_epoch(registry, revision, view)
}

fn known_provider(state: &AdminState, text: &str) -> Result<ProviderId, String> {
    let id = state.provider(text).map(|provider| provider.id.clone());
    id.ok_or_else(|| "the catalogue has no such provider".to_owned())
}

const PATH: &str = "/api/integrations/credentials";
