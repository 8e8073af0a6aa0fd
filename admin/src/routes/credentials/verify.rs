//! Live checks of a stored key.

use axum::extract::State;
use keyside_credentials::{Finding, Verification};

use super::with_warnings;
use crate::{
    access::Caller,
    concurrency::WorkKind,
    entity_tag::{Lineage, Tagged},
    precondition::IfMatch,
    problem::Problem,
    routes::Segment,
    schemas::queries,
    state::AdminState,
    wire::CredentialView,
};

/// Asks the provider whether it accepts the current secret, and audits the result. The secret stays
/// in use whatever the result.
#[utoipa::path(
    post, path = "/api/integrations/credentials/{id}/verify", tag = "credentials", operation_id = "verifyCredential",
    params(("id" = String, Path), queries::IfMatch),
    responses((status = 200, body = CredentialView, description = "Checked; `verification` is the result"), (status = 404), (status = 409))
)]
pub(in crate::routes) async fn verify(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
) -> Result<Tagged<CredentialView>, Problem> {
    let credential = caller.credential(&state.registry, &id)?;
    seen.check(Lineage::of_epoch(&state.registry), credential.revision)?;
    let id = credential.id;
    let _permit = state
        .concurrency
        .try_acquire(WorkKind::LiveCheck, &caller)?;
    let (act, check) = (caller.context(), state.live_check);
    let (credential, finding) = state.registry.verify(&act, &id, check).await?;
    let advice = advice(finding).into_iter().collect();
    Ok(with_warnings(&state.registry, &caller, credential, advice))
}

/// The remedy, unless the provider accepts the key.
fn advice(finding: Finding) -> Option<String> {
    let remedy = match finding.verification {
        Verification::Accepted => return None,
        Verification::Limited => {
            "the key works for some requests: check its permissions and the remaining budget in the provider's console"
        }
        Verification::Rejected => {
            "requests with it fail: create a new key in the provider's console and rotate to it, or revoke this one"
        }
        Verification::Unreachable => {
            "the check was inconclusive: check the provider's status page and Keyside's log, and try again"
        }
    };
    Some(format!("{finding}; {remedy}"))
}
