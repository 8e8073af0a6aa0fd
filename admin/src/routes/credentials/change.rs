//! Changes to a stored credential: rotation, rollback, edit and revocation.
//!
//! All but revocation require `If-Match`. For revocation the header is optional: a leaked key is
//! revoked first.

use std::time::Duration;

use axum::extract::State;
use keyside_credentials::{
    Credential, Edit, GRACE_DEFAULT, Hash, Idempotency, LimitsChange, Listed, Revocation, Rollback,
    Rotation,
};

use super::{
    check::{self, CheckRequest, SaveCheck},
    foreign, saved, tagged, tagged_as_listed,
};
use crate::{
    access::Caller,
    body::JsonBody,
    entity_tag::{Lineage, Tagged},
    form::{self, Form},
    precondition::{IdempotencyKey, IfMatch},
    problem::Problem,
    query::Parameters,
    routes::Segment,
    schemas::queries,
    state::AdminState,
    wire::{
        self, CredentialEdit, CredentialRollback, CredentialRotation, CredentialView,
        NewCredential, WriteOnly,
    },
};

/// Edits the metadata of a credential, or rotates its secret if the body has a `secret`.
#[utoipa::path(
    patch, path = "/api/integrations/credentials/{id}", tag = "credentials", operation_id = "changeCredential",
    params(("id" = String, Path), queries::IfMatchRequired, queries::IdempotencyKey), request_body = wire::CredentialChange,
    responses((status = 200, body = CredentialView, description = "Changed"), (status = 404), (status = 409))
)]
pub(in crate::routes) async fn update(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
    key: IdempotencyKey,
    body: JsonBody,
) -> Result<Tagged<CredentialView>, Problem> {
    let Credential { id, provider, .. } = caller.credential(&state.registry, &id)?;
    let expected = seen.required(Lineage::of_epoch(&state.registry))?;
    let (act, body) = (caller.context(), body.bytes());
    let (done, warnings) = match read(body)? {
        Change::Rotate(rotation, wanted) => {
            let foreign = foreign(&state.catalogue, &provider, &rotation.secret);
            let known = state.catalogue.get(&provider).map(|provider| &**provider);
            let checking = SaveCheck::begin(&state, &caller, wanted)?;
            let rotation = Rotation {
                expected,
                idempotency: idempotency(key, body),
                check: checking.check.clone(),
                ..rotation
            };
            let rotated = state.registry.rotate(&act, &id, rotation).await;
            let rotated = rotated.map_err(|error| check::problem(error, known))?;
            let checked = checking.warnings(rotated.finding.as_ref(), known);
            (rotated, foreign.into_iter().chain(checked).collect())
        }
        Change::Edit(edit) => {
            let edit = Edit { expected, ..edit };
            (state.registry.edit(&act, &id, edit).await?, Vec::new())
        }
    };
    Ok(saved(&state, &caller, done, warnings))
}

/// Makes a version in grace current again: the named one, or the newest.
#[utoipa::path(
    post, path = "/api/integrations/credentials/{id}/rollback", tag = "credentials", operation_id = "rollBackCredential",
    params(("id" = String, Path), queries::IfMatchRequired), request_body = wire::CredentialRollback,
    responses((status = 200, body = CredentialView, description = "Rolled back"), (status = 404), (status = 409))
)]
pub(in crate::routes) async fn roll_back(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
    body: JsonBody,
) -> Result<Tagged<CredentialView>, Problem> {
    let id = caller.credential(&state.registry, &id)?.id;
    let expected = seen.required(Lineage::of_epoch(&state.registry))?;
    let CredentialRollback { version: to } = form::read(body.bytes())?;
    let rollback = Rollback { to, expected };
    let act = caller.context();
    let credential = state.registry.roll_back(&act, &id, rollback).await?;
    Ok(tagged(&state, &caller, credential))
}

/// Revokes a credential immediately and permanently; its record stays. A credential whose record
/// cannot be read is revoked by its id.
#[utoipa::path(
    delete, path = "/api/integrations/credentials/{id}", tag = "credentials", operation_id = "revokeCredential",
    params(("id" = String, Path), queries::Cut, queries::IfMatch),
    responses((status = 200, body = CredentialView, description = "Revoked"), (status = 404), (status = 409))
)]
pub(in crate::routes) async fn revoke(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
    mut query: Parameters,
) -> Result<Tagged<CredentialView>, Problem> {
    let listed = caller.listed(&state.registry, &id)?;
    let cut = query.optional("cut", flag);
    query.finish()?;
    let revocation = Revocation {
        cut: cut.unwrap_or(false),
        expected: seen.expected(Lineage::of_epoch(&state.registry)),
    };
    let act = caller.context();
    let registry = &state.registry;
    let revoked = match listed {
        Listed::Known(credential) => {
            let revoked = registry.revoke(&act, &credential.id, revocation).await?;
            Listed::Known(Box::new(revoked))
        }
        Listed::Lost(lost) => registry.revoke_lost(&act, &lost.id, revocation).await?,
    };
    Ok(tagged_as_listed(&state, &caller, revoked))
}

fn flag(text: &str) -> Result<bool, String> {
    let expected = "expected true or false";
    text.parse().map_err(|_| expected.to_owned())
}

/// The idempotency of a request: its key, and the hash of its body.
pub(super) fn idempotency(IdempotencyKey(key): IdempotencyKey, body: &[u8]) -> Option<Idempotency> {
    Some(Idempotency {
        key: key?,
        request: Hash::of(body),
    })
}

enum Change {
    /// With what is to be checked first.
    Rotate(Rotation, CheckRequest),
    Edit(Edit),
}

/// A body with a `secret` is a rotation, any other one an edit.
fn read(body: &[u8]) -> Result<Change, Problem> {
    let form = Form::parse(body)?;
    match form.has("secret") {
        true => read_rotation(form),
        false => read_edit(form).map(Change::Edit),
    }
}

fn read_rotation(form: Form<'_>) -> Result<Change, Problem> {
    let new: CredentialRotation = form.read(&[
        (form::fields::<CredentialEdit>(), NOT_WITH_SECRET),
        (form::fields::<NewCredential>(), FIXED),
    ])?;
    let Some(WriteOnly(secret)) = new.secret else {
        return Err(Problem::field("secret", "is missing"));
    };
    let rotation = Rotation {
        grace: new.grace_seconds.map_or(GRACE_DEFAULT, Duration::from_secs),
        expires_at: new.expires_at,
        ..Rotation::to(secret)
    };
    let wanted = CheckRequest {
        mode: new.check.unwrap_or_default(),
        prompt: new.prompt.unwrap_or(false),
    };
    Ok(Change::Rotate(rotation, wanted))
}

fn read_edit(form: Form<'_>) -> Result<Edit, Problem> {
    let new: CredentialEdit = form.read(&[
        (form::fields::<CredentialRotation>(), ONLY_WITH_SECRET),
        (form::fields::<NewCredential>(), FIXED),
    ])?;
    Ok(Edit {
        label: new.label,
        usage_tag: new.usage_tag,
        expires_at: new.expires_at,
        limits: new
            .limits
            .map_or_else(LimitsChange::default, wire::LimitsEdit::into_domain),
        default: new.default,
        expected: None,
    })
}

const NOT_WITH_SECRET: &str =
    "cannot be changed together with the secret; send it in a separate request";

const ONLY_WITH_SECRET: &str =
    "belongs to a rotation, and the body has no `secret`; POST …/verify checks the secret in use";

/// The secret is sealed for its workspace, provider and endpoint, and runners pinned to the sandbox
/// must not get a live key.
const FIXED: &str = "cannot be changed; store the key as another credential";
