//! Changes to credentials, which the API and the page make in the same way: from the JSON of a
//! request to the registry, with what the person or program has to know about the result.

mod check;
mod save;

use keyside_credentials::{Credential, Listed, Revocation};

pub(crate) use self::save::{Addition, Change};
use crate::{access::Caller, concurrency::WorkKind, problem::Problem, state::AdminState};

/// A changed credential.
pub(crate) struct Changed {
    pub(crate) credential: Credential,
    /// Problems that did not stop the change, each with a remedy.
    pub(crate) warnings: Vec<String>,
}

/// Asks the provider whether it accepts the current secret, with a minimal prompt if `prompt`.
///
/// # Errors
/// 429 if the token has another check in progress; others as the registry says.
pub(crate) async fn verify(
    state: &AdminState,
    caller: &Caller,
    credential: Credential,
    prompt: bool,
) -> Result<Changed, Problem> {
    let _permit = state.concurrency.try_acquire(WorkKind::LiveCheck, caller)?;
    let (act, check) = (caller.context(), state.check(prompt));
    let verified = state.registry.verify(&act, &credential.id, check).await?;
    let (credential, finding) = verified;
    let provider = state.provider(&credential.provider);
    let advice = check::advice(&finding, provider).into_iter();
    Ok(Changed {
        credential,
        warnings: advice.chain(check::unprompted(prompt, provider)).collect(),
    })
}

/// Revokes a credential, also one whose record cannot be read.
///
/// # Errors
/// As the registry says.
pub(crate) async fn revoke(
    state: &AdminState,
    caller: &Caller,
    listed: Listed,
    revocation: Revocation,
) -> Result<Listed, Problem> {
    let (act, registry) = (caller.context(), &state.registry);
    Ok(match listed {
        Listed::Known(credential) => {
            let revoked = registry.revoke(&act, &credential.id, revocation).await?;
            Listed::Known(Box::new(revoked))
        }
        Listed::Lost(lost) => registry.revoke_lost(&act, &lost.id, revocation).await?,
    })
}
