//! `/api/integrations/credentials`: the secret goes in, and never comes out.

pub(super) mod change;
pub(super) mod refresh;
pub(super) mod verify;
mod view;

use axum::{Json, extract::State, response::Response};
use http::HeaderMap;
use keyside_config::{Catalogue, ProviderId};
use keyside_credentials::{
    ChangeError, Credential, Environment, Filter, Listed, NewCredential, NewSecret, Permission,
    Registry, Saved, Secret, Status, UsageTag, other_providers,
};

use self::{
    change::once,
    view::{CredentialView, Twin},
};
use super::Segment;
use crate::{
    access::Caller,
    body::JsonBody,
    entity_tag::{Life, Tagged},
    form::{self, Form},
    page::Page,
    precondition::IdempotencyKey,
    problem::Problem,
    query::Parameters,
    schemas::{bodies, queries},
    state::AdminState,
    turns::Work,
};

/// Stores a key that was pasted. The body is gone, wiped, when this returns.
#[utoipa::path(
    post, path = "/api/integrations/credentials", tag = "credentials", operation_id = "createCredential",
    params(queries::IdempotencyKey), request_body = bodies::NewCredential,
    responses((status = 201, body = CredentialView, description = "Stored"), (status = 404), (status = 409))
)]
pub(super) async fn create(
    State(state): State<AdminState>,
    caller: Caller,
    key: IdempotencyKey,
    body: JsonBody,
) -> Result<Response, Problem> {
    let new = NewCredential {
        idempotency: once(key, body.bytes()),
        ..read_new(body.bytes())?
    };
    caller.enter(&new.workspace, ChangeError::WorkspaceUnknown)?;
    let foreign = match &new.secret {
        NewSecret::Given(secret) => foreign(&state.catalogue, &new.provider, secret),
        NewSecret::InVault(_) => None,
    };
    let added = state.registry.add(&caller.act(), new).await?;
    let location = format!("{PATH}/{}", added.credential.id);
    Ok(saved(&state.registry, &caller, added, foreign).created(&location))
}

/// Credentials, in order of workspace, provider, label and age. Revoked ones stay. In each workspace those come last whose
/// record cannot be read: their provider, label and environment are null, and pass no filter.
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
        workspace: query.optional("workspaceId", super::parsed),
        provider: query.optional("provider", |text| known_provider(&state, text)),
        status: query.optional("status", word(&STATUSES)),
        environment: query.optional("environment", word(&ENVIRONMENTS)),
    };
    let limit = query.limit();
    let after = query.cursor(|cursor| place(&caller, &state.registry, cursor));
    query.finish()?;
    caller.look_into(filter.workspace.as_ref())?;
    let _turn = state.turn(Work::List, &caller).await?;
    let all = state.registry.list_all(&filter).into_iter();
    let rest = all.skip_while(|listed| {
        let after = after.as_ref();
        after.is_some_and(|after| listed.list_order() <= after.list_order())
    });
    Ok(Json(Page::cut(
        rest,
        limit,
        |listed| listed.id().to_string(),
        CredentialView::listed,
    )))
}

/// One credential; never its secret.
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
    Ok(tagged_as_listed(&state.registry, &caller, listed).read(&headers))
}

fn read_new(body: &[u8]) -> Result<NewCredential, Problem> {
    let mut form = Form::parse(body, &FIELDS)?;
    let workspace = form.required("workspaceId", form::parsed);
    let provider = form.required("provider", form::text(64));
    let label = form.required("label", form::parsed);
    let environment = form.optional("environment", form::one_of(&ENVIRONMENTS));
    let secret = read_secret(&mut form);
    let usage_tag = form.optional("usageTag", form::parsed::<UsageTag>);
    let expires_at = form.optional("expiresAt", form::timestamp);
    let endpoint = form.optional("endpoint", form::text(512));
    let default = form.optional("default", form::flag);
    let new = || {
        Some(NewCredential {
            workspace: workspace?,
            provider: provider?,
            label: label?,
            environment: environment.unwrap_or(Environment::Live),
            secret: secret?,
            usage_tag,
            expires_at,
            endpoint,
            default: default.unwrap_or(false),
            idempotency: None,
        })
    };
    form.finish(new())
}

/// The secret itself, or where it stays: exactly one of the two.
fn read_secret(form: &mut Form<'_>) -> Option<NewSecret> {
    match (form.has("secret"), form.has("secretRef")) {
        (true, true) => {
            form.refuse("secretRef", "is there beside `secret`; send one of the two");
            None
        }
        (false, true) => {
            let reference = form.required("secretRef", form::reference);
            reference.map(NewSecret::InVault)
        }
        (_, false) => form.required("secret", form::secret).map(NewSecret::Given),
    }
}

/// What was stored, with what there is to say of it.
fn saved(
    registry: &Registry,
    caller: &Caller,
    saved: Saved,
    foreign: Option<String>,
) -> Tagged<CredentialView> {
    let warnings = saved.warnings.iter().map(ToString::to_string);
    let warnings = warnings.chain(foreign).collect();
    with_warnings(registry, caller, saved.credential, warnings)
}

/// The warning that a key looks like one of another provider, which was probably meant.
fn foreign(catalogue: &Catalogue, provider: &str, secret: &Secret) -> Option<String> {
    let others = other_providers(secret, provider, catalogue);
    (!others.is_empty()).then(|| {
        format!(
            "it has the usual form of a key of {}: see that it is stored for the right provider",
            others.join(" or ")
        )
    })
}

fn tagged(registry: &Registry, caller: &Caller, credential: Credential) -> Tagged<CredentialView> {
    with_warnings(registry, caller, credential, Vec::new())
}

/// The same, also of one whose record cannot be read. Nobody can tell who else has its secret.
fn tagged_as_listed(
    registry: &Registry,
    caller: &Caller,
    listed: Listed,
) -> Tagged<CredentialView> {
    match listed {
        Listed::Known(credential) => tagged(registry, caller, *credential),
        Listed::Lost(lost) => Tagged {
            life: Life::of_this_epoch(registry),
            revision: lost.revision,
            view: CredentialView::lost(lost),
        },
    }
}

/// Who else has the same secret is only for those who see everything.
fn with_warnings(
    registry: &Registry,
    caller: &Caller,
    credential: Credential,
    warnings: Vec<String>,
) -> Tagged<CredentialView> {
    let twins = || registry.duplicates(&credential.id).into_iter();
    let duplicates = caller
        .must(Permission::SeeDuplicates)
        .is_ok()
        .then(|| twins().map(Twin::of).collect());
    Tagged {
        life: Life::of_this_epoch(registry),
        revision: credential.revision,
        view: CredentialView::of(credential, warnings).with_duplicates(duplicates),
    }
}

/// A cursor is the id of the last one shown. Records are never removed, so its place in the order can be found again.
fn place(caller: &Caller, registry: &Registry, cursor: &str) -> Option<Listed> {
    caller.listed(registry, cursor).ok()
}

fn known_provider(state: &AdminState, text: &str) -> Result<ProviderId, String> {
    match state.catalogue.get(text) {
        Some(provider) => Ok(provider.id.clone()),
        None => Err("the catalogue has no such provider".to_owned()),
    }
}

fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl FnOnce(&str) -> Result<T, String> {
    move |text| form::word(words, text)
}

const PATH: &str = "/api/integrations/credentials";

const FIELDS: [&str; 10] = [
    "workspaceId",
    "provider",
    "label",
    "environment",
    "secret",
    "secretRef",
    "usageTag",
    "expiresAt",
    "endpoint",
    "default",
];

const ENVIRONMENTS: [(&str, Environment); 2] = [
    ("live", Environment::Live),
    ("sandbox", Environment::Sandbox),
];

const STATUSES: [(&str, Status); 4] = [
    ("active", Status::Active),
    ("expiring", Status::Expiring),
    ("expired", Status::Expired),
    ("revoked", Status::Revoked),
];
