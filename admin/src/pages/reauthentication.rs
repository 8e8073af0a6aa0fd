//! Proof of identity again, before what cannot be undone: somebody else may sit at a browser that
//! was left open. `admin/templates/reauthenticate.html` asks for it where a session is not fresh.

use std::time::Instant;

use super::{form::Fields, shell::Visit};
use crate::{access_audit::Proof, problem::Problem};

/// Checks the form's `proof`, a token or the code of a one-time link, unless the person gave one a
/// moment ago.
///
/// # Errors
/// 422 for the field `proof` if it is missing, or is not of the session's own token; 429 after too
/// many.
pub(super) async fn prove(visit: &Visit, fields: &Fields) -> Result<(), Problem> {
    let Visit { state, session, .. } = visit;
    if session.is_fresh {
        return Ok(());
    }
    let (given, now) = (fields.text("proof"), Instant::now());
    let by_token = state.registry.access().authenticate(given);
    let (actor, proof) = match by_token {
        Some(principal) => (Some(principal.actor), Proof::Token),
        None => (state.sign_in_links.redeem(given, now), Proof::Link),
    };
    let by = visit.caller.context();
    if actor.as_ref() == Some(&session.actor) {
        state.access_audit.reauthenticated(&by, proof).await;
        state.sessions.prove(&session.id, now);
        return Ok(());
    }
    state.limits.check_invalid_token(visit.peer)?;
    let detail = "is not the token of this session, nor a code that opens it";
    state.access_audit.refused(&by, "reauthentication").await;
    Err(Problem::field("proof", detail))
}
