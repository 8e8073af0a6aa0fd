//! What becomes of a stored credential: a new secret, the one before, other words about it, or its end.
//!
//! All but the last are held to the state that they were decided on (`If-Match`). A leaked key is withdrawn first and looked
//! at later, so there the header is heeded and not asked for.

use std::time::Duration;

use axum::extract::State;
use jiff::Timestamp;
use keyside_credentials::{
    Credential, Edit, GRACE_DEFAULT, GRACE_LIMIT, Hash, Idempotency, Listed, Revocation, Rollback,
    Rotation, Secret, UsageTag,
};

use super::{CredentialView, foreign, saved, tagged, tagged_as_listed};
use crate::{
    access::Caller,
    body::JsonBody,
    entity_tag::{Life, Tagged},
    form::{self, Form},
    precondition::{IdempotencyKey, IfMatch},
    problem::Problem,
    query::Parameters,
    routes::Segment,
    schemas::{bodies, queries},
    state::AdminState,
    turns::Work,
};

/// Edits a credential; with a `secret`, replaces it.
#[utoipa::path(
    patch, path = "/api/integrations/credentials/{id}", tag = "credentials", operation_id = "changeCredential",
    params(("id" = String, Path), queries::IfMatchRequired, queries::IdempotencyKey), request_body = bodies::CredentialChange,
    responses((status = 200, body = CredentialView, description = "Changed"), (status = 404), (status = 409))
)]
pub(in crate::routes) async fn apply(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
    key: IdempotencyKey,
    body: JsonBody,
) -> Result<Tagged<CredentialView>, Problem> {
    let Credential { id, provider, .. } = caller.credential(&state.registry, &id)?;
    let expected = seen.required(Life::of_this_epoch(&state.registry))?;
    let (act, body) = (caller.act(), body.bytes());
    let (done, foreign) = match read(body)? {
        Change::Rotate(rotation, checked) => {
            let foreign = foreign(&state.catalogue, &provider, &rotation.secret);
            let _turn = match checked {
                true => Some(state.turns.take(Work::LiveCheck, &caller)?),
                false => None,
            };
            let rotation = Rotation {
                expected,
                idempotency: once(key, body),
                check: checked.then_some(state.live_check),
                ..rotation
            };
            (state.registry.rotate(&act, &id, rotation).await?, foreign)
        }
        Change::Edit(edit) => {
            let edit = Edit { expected, ..edit };
            (state.registry.edit(&act, &id, edit).await?, None)
        }
    };
    Ok(saved(&state.registry, &caller, done, foreign))
}

/// Goes back to the version that is named, or to the newest in grace.
#[utoipa::path(
    post, path = "/api/integrations/credentials/{id}/rollback", tag = "credentials", operation_id = "rollBackCredential",
    params(("id" = String, Path), queries::IfMatchRequired), request_body = bodies::CredentialRollback,
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
    let expected = seen.required(Life::of_this_epoch(&state.registry))?;
    let mut form = Form::parse(body.bytes(), &["version"])?;
    let to = form.optional("version", form::whole(1..=u32::MAX.into()));
    let to = form.finish(Some(to))?.map(|number| number as u32);
    let rollback = Rollback { to, expected };
    let act = caller.act();
    let credential = state.registry.roll_back(&act, &id, rollback).await?;
    Ok(tagged(&state.registry, &caller, credential))
}

/// Withdraws a key, at once and for good; the record stays. One whose record cannot be read is revoked by its id.
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
    let cut = query.optional("cut", |text| form::word(&FLAGS, text));
    query.finish()?;
    let revocation = Revocation {
        cut: cut.unwrap_or(false),
        expected: seen.heeded(Life::of_this_epoch(&state.registry)),
    };
    let act = caller.act();
    let registry = &state.registry;
    let revoked = match listed {
        Listed::Known(credential) => {
            let revoked = registry.revoke(&act, &credential.id, revocation).await?;
            Listed::Known(Box::new(revoked))
        }
        Listed::Lost(lost) => registry.revoke_lost(&act, &lost.id, revocation).await?,
    };
    Ok(tagged_as_listed(registry, &caller, revoked))
}

/// How a repetition of a request with this body is known.
pub(super) fn once(IdempotencyKey(key): IdempotencyKey, body: &[u8]) -> Option<Idempotency> {
    Some(Idempotency {
        key: key?,
        request: Hash::of(body),
    })
}

enum Change {
    /// And whether the provider has to take the new key first.
    Rotate(Rotation, bool),
    Edit(Edit),
}

fn read(body: &[u8]) -> Result<Change, Problem> {
    let mut form = Form::parse(body, &FIELDS)?;
    for (field, why) in FIXED {
        form.refuse(field, why);
    }
    match form.has("secret") {
        true => read_rotation(form),
        false => read_edit(form).map(Change::Edit),
    }
}

fn read_rotation(mut form: Form<'_>) -> Result<Change, Problem> {
    for field in ["label", "usageTag", "default"] {
        form.refuse(
            field,
            "cannot be changed together with the secret; send it in a request of its own",
        );
    }
    let secret: Option<Secret> = form.required("secret", form::secret);
    let grace = form.optional("graceSeconds", form::whole(0..=GRACE_LIMIT.as_secs()));
    let expires_at: Option<Option<Timestamp>> = form.nullable("expiresAt", form::timestamp);
    let checked = form.optional("check", form::flag).unwrap_or(false);
    let rotation = secret.map(|secret| Rotation {
        grace: grace.map_or(GRACE_DEFAULT, Duration::from_secs),
        expires_at,
        ..Rotation::to(secret)
    });
    form.finish(rotation.map(|rotation| Change::Rotate(rotation, checked)))
}

fn read_edit(mut form: Form<'_>) -> Result<Edit, Problem> {
    for (field, why) in OF_ROTATION {
        form.refuse(field, why);
    }
    let edit = Edit {
        label: form.optional("label", form::parsed),
        usage_tag: form.nullable("usageTag", form::parsed::<UsageTag>),
        expires_at: form.nullable("expiresAt", form::timestamp),
        default: form.optional("default", form::flag),
        expected: None,
    };
    form.finish(Some(edit))
}

const FIELDS: [&str; 11] = [
    "secret",
    "graceSeconds",
    "check",
    "label",
    "usageTag",
    "expiresAt",
    "default",
    "workspaceId",
    "provider",
    "environment",
    "endpoint",
];

/// What is said about a new secret only.
const OF_ROTATION: [(&str, &str); 2] = [
    (
        "graceSeconds",
        "says how long the old secret is kept, and there is no new `secret`",
    ),
    (
        "check",
        "has the provider asked about a new secret, and there is none; POST …/verify asks about the one in use",
    ),
];

/// What a credential is for good.
const FIXED: [(&str, &str); 4] = [
    ("workspaceId", SEALED),
    ("provider", SEALED),
    ("endpoint", SEALED),
    (
        "environment",
        "cannot be changed: what is pinned to sandbox keys must not get a live one overnight. Store the key as another credential",
    ),
];

const SEALED: &str = "cannot be changed: the secret is sealed for it and opens nowhere else. Store the key as another credential";

const FLAGS: [(&str, bool); 2] = [("true", true), ("false", false)];
