//! `/api/integrations/credentials`: create, list and read credentials. No response has a secret.

pub(super) mod change;
mod check;
pub(super) mod refresh;
pub(super) mod verify;
mod view;

use axum::{Json, extract::State, response::Response};
use http::HeaderMap;
use keyside_config::{Catalogue, ProviderId};
use keyside_credentials::{
    ChangeError, CheckBeforeSave, Credential, Environment, Filter, Limits, Listed, NewCredential,
    NewSecret, Permission, Registry, Saved, Secret, other_providers,
};

use self::{
    change::idempotency,
    check::{CheckRequest, SaveCheck},
};
use super::Segment;
use crate::{
    access::Caller,
    body::JsonBody,
    concurrency::WorkKind,
    entity_tag::Tagged,
    form::{self, Form},
    paging::Page,
    precondition::IdempotencyKey,
    problem::Problem,
    query::Parameters,
    schemas::queries,
    state::AdminState,
    wire::{self, CheckView, CredentialView, Duplicate, WriteOnly},
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
    let (new, wanted) = read_new(body.bytes())?;
    caller.enter_workspace(&new.workspace, ChangeError::WorkspaceUnknown)?;
    let checking = SaveCheck::begin(&state, &caller, wanted)?;
    let new = NewCredential {
        idempotency: idempotency(key, body.bytes()),
        check: checking.check.clone(),
        ..new
    };
    let foreign = match &new.secret {
        NewSecret::Given(secret) => foreign(&state.catalogue, &new.provider, secret),
        NewSecret::InVault(_) => None,
    };
    let provider = state.catalogue.get(&new.provider).cloned();
    let added = state.registry.add(&caller.context(), new).await;
    let added = added.map_err(|error| check::problem(error, provider.as_deref()))?;
    let location = format!("{PATH}/{}", added.credential.id);
    let checked = checking.warnings(added.finding.as_ref(), provider.as_deref());
    let warnings = foreign.into_iter().chain(checked).collect();
    Ok(saved(&state, &caller, added, warnings).created(&location))
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
    let after = query.cursor(|cursor| place(&caller, &state.registry, cursor));
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

fn read_new(body: &[u8]) -> Result<(NewCredential, CheckRequest), Problem> {
    let mut form = Form::parse(body)?;
    match (form.has("secret"), form.has("secretRef")) {
        (true, true) => form.refuse(
            "secretRef",
            "is present beside `secret`; send one of the two",
        ),
        (false, false) => form.refuse("secret", "is missing"),
        _ => {}
    }
    let new: wire::NewCredential = form.read(&[])?;
    let reference = new.secret_ref.and_then(|place| place.reference());
    let secret = match (new.secret, reference) {
        (Some(WriteOnly(secret)), _) => NewSecret::Given(secret),
        (None, Some(reference)) => NewSecret::InVault(reference),
        (None, None) => return Err(Problem::field("secret", "is missing")),
    };
    let wanted = CheckRequest {
        mode: new.check.unwrap_or_default(),
        prompt: new.prompt.unwrap_or(false),
    };
    let new = NewCredential {
        workspace: new.workspace_id,
        provider: new.provider,
        label: new.label,
        environment: new.environment.unwrap_or(Environment::Live),
        secret,
        usage_tag: new.usage_tag,
        expires_at: new.expires_at,
        endpoint: new.endpoint,
        limits: new
            .limits
            .map_or_else(Limits::default, wire::Limits::into_domain),
        default: new.default.unwrap_or(false),
        idempotency: None,
        check: CheckBeforeSave::Skip,
    };
    Ok((new, wanted))
}

/// The stored credential with its warnings, and others after them.
fn saved(
    state: &AdminState,
    caller: &Caller,
    saved: Saved,
    others: Vec<String>,
) -> Tagged<CredentialView> {
    let warnings = saved.warnings.iter().map(ToString::to_string);
    let warnings = warnings.chain(others).collect();
    with_warnings(state, caller, saved.credential, warnings)
}

/// A warning if the key has the usual form of another provider's keys.
fn foreign(catalogue: &Catalogue, provider: &str, secret: &Secret) -> Option<String> {
    let others = other_providers(secret, provider, catalogue);
    (!others.is_empty()).then(|| {
        format!(
            "it has the usual form of a key of {}: check that it is stored for the right provider",
            others.join(" or ")
        )
    })
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
    let provider = state.catalogue.get(&credential.provider);
    let check = CheckView::last(state, &credential.id, provider.map(|provider| &**provider));
    let revision = credential.revision;
    let view = CredentialView {
        duplicates,
        check,
        ..CredentialView::of(credential, warnings)
    };
    Tagged::of_epoch(registry, revision, view)
}

/// The cursor is the id of the last credential on the page. Records are never removed, so its
/// position can be found again.
fn place(caller: &Caller, registry: &Registry, cursor: &str) -> Option<Listed> {
    caller.listed(registry, cursor).ok()
}

fn known_provider(state: &AdminState, text: &str) -> Result<ProviderId, String> {
    match state.catalogue.get(text) {
        Some(provider) => Ok(provider.id.clone()),
        None => Err("the catalogue has no such provider".to_owned()),
    }
}

const PATH: &str = "/api/integrations/credentials";
