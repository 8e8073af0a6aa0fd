//! Changes to a stored credential: rotation, rollback, edit and revocation; and live checks and
//! reads of its secret.
//!
//! All changes but revocation require `If-Match`. For revocation the header is optional: a leaked
//! key is revoked first.

use axum::extract::State;
use keyside_credentials::{Hash, Idempotency, Revocation, Rollback};

use super::{changed, tagged, tagged_as_listed};
use crate::{
    access::Caller,
    body::{JsonBody, OptionalBody},
    credential_changes::{self, Change},
    entity_tag::{Lineage, Tagged},
    precondition::{IdempotencyKey, IfMatch},
    problem::Problem,
    query::Parameters,
    routes::Segment,
    schemas::queries,
    state::AdminState,
    wire::{self, CredentialCheck, CredentialRollback, CredentialView},
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
    let credential = caller.credential(&state.registry, &id)?;
    let expected = seen.required(Lineage::of_epoch(&state.registry))?;
    let change = Change::read(body.bytes())?;
    let idempotency = idempotency(key, body.bytes());
    let made = change.make(&state, &caller, &credential, expected, idempotency);
    Ok(changed(&state, &caller, made.await?))
}

/// Makes a version in grace current again: the named one, or the newest.
#[utoipa::path(
    post, path = "/api/integrations/credentials/{id}/rollback", tag = "credentials", operation_id = "rollBackCredential",
    params(("id" = String, Path), queries::IfMatchRequired), request_body = Option<CredentialRollback>,
    responses((status = 200, body = CredentialView, description = "Rolled back"), (status = 404), (status = 409))
)]
pub(in crate::routes) async fn roll_back(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
    body: OptionalBody,
) -> Result<Tagged<CredentialView>, Problem> {
    let id = caller.credential(&state.registry, &id)?.id;
    let expected = seen.required(Lineage::of_epoch(&state.registry))?;
    let CredentialRollback { version: to } = body.read()?;
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
    let revoked = credential_changes::revoke(&state, &caller, listed, revocation).await?;
    Ok(tagged_as_listed(&state, &caller, revoked))
}

/// Asks the provider whether it accepts the current secret. A verdict that differs from the last
/// one is audited. The secret stays in use whatever the result.
#[utoipa::path(
    post, path = "/api/integrations/credentials/{id}/verify", tag = "credentials", operation_id = "verifyCredential",
    params(("id" = String, Path), queries::IfMatch), request_body = Option<CredentialCheck>,
    responses((status = 200, body = CredentialView, description = "Checked; `check` is the result"), (status = 404), (status = 409))
)]
pub(in crate::routes) async fn verify(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
    body: OptionalBody,
) -> Result<Tagged<CredentialView>, Problem> {
    let credential = caller.credential(&state.registry, &id)?;
    seen.check(Lineage::of_epoch(&state.registry), credential.revision)?;
    let wanted: CredentialCheck = body.read()?;
    let prompt = wanted.prompt.unwrap_or(false);
    let verified = credential_changes::verify(&state, &caller, credential, prompt);
    Ok(changed(&state, &caller, verified.await?))
}

/// Reads the secret of a credential with a `secretRef` immediately instead of at the next poll. If
/// that fails, `sourceFault` has the reason.
#[utoipa::path(
    post, path = "/api/integrations/credentials/{id}/refresh", tag = "credentials", operation_id = "refreshCredential",
    params(("id" = String, Path)),
    responses((status = 200, body = CredentialView, description = "Refreshed; `sourceVersion` is the version in use"), (status = 404), (status = 409))
)]
pub(in crate::routes) async fn refresh(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Tagged<CredentialView>, Problem> {
    let id = caller.credential(&state.registry, &id)?.id;
    let credential = state.registry.refresh(&id).await?;
    Ok(tagged(&state, &caller, credential))
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
