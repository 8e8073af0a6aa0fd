//! Live checks of a stored key.

use axum::extract::State;

use super::changed;
use crate::{
    access::Caller,
    body::OptionalBody,
    credential_changes,
    entity_tag::{Lineage, Tagged},
    precondition::IfMatch,
    problem::Problem,
    routes::Segment,
    schemas::queries,
    state::AdminState,
    wire::{CredentialCheck, CredentialView},
};

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
