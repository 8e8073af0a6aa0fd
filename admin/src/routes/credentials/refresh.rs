//! Reads a secret in Vault immediately.

use axum::extract::State;

use super::tagged;
use crate::{
    access::Caller, entity_tag::Tagged, problem::Problem, routes::Segment, state::AdminState,
    wire::CredentialView,
};

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
