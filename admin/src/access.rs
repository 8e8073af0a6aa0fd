//! Who is speaking: a bearer token, and the principal that it stands for.

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, header, request::Parts};
use keyside_credentials::{Act, Credential, CredentialId, Principal, Registry};

use crate::{
    AdminState,
    exchange::RequestId,
    problem::{Kind, Problem},
};

/// Runs once a request. Unknown paths are behind it too, so that nobody without a token learns which ones there are.
pub(crate) async fn require_token(
    State(state): State<AdminState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let token = bearer(request.headers()).ok_or_else(no_token)?;
    let access = state.registry.access();
    let principal = access.authenticate(token).ok_or_else(wrong_token)?;
    request.extensions_mut().insert(principal);
    Ok(next.run(request).await)
}

/// The one who asks, for the audit record of what they change.
pub(crate) struct Caller(pub(crate) Act);

impl Caller {
    /// For the audit record of what they change.
    pub(crate) fn act(&self) -> Act {
        self.0.clone()
    }

    /// The credential that a path names. An id that cannot be one leads to the same answer as one that is not there.
    pub(crate) fn credential(&self, registry: &Registry, id: &str) -> Result<Credential, Problem> {
        let id: Option<CredentialId> = id.parse().ok();
        let credential = id.and_then(|id| registry.credential(&id));
        credential.ok_or_else(Problem::credential_unknown)
    }

    /// Whether they may know of everything there is: owners of everything.
    pub(crate) fn sees_everything(&self) -> bool {
        true
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let principal = parts.extensions.get::<Principal>();
        let id = parts.extensions.get::<RequestId>();
        match (principal, id) {
            (Some(principal), Some(RequestId(id))) => Ok(Self(Act {
                actor: principal.actor.clone(),
                request_id: id.clone(),
            })),
            // A route that was put outside of the layers: nobody may act there.
            _ => Err(Problem::internal()),
        }
    }
}

/// The token of the one Authorization header. The scheme is case-insensitive (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, token) = given.next()?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && given.next().is_none()).then_some(token.trim())
}

fn no_token() -> Problem {
    unauthenticated(
        "The request carries no bearer token.",
        r#"Bearer realm="keyside""#,
    )
}

fn wrong_token() -> Problem {
    unauthenticated(
        "The token is not one of this server's.",
        r#"Bearer realm="keyside", error="invalid_token""#,
    )
}

fn unauthenticated(detail: &str, challenge: &'static str) -> Problem {
    Problem::new(
        Kind::Unauthenticated,
        detail,
        "Send `Authorization: Bearer <token>`. The owner's token is in the file `admin-token` of the data folder.",
    )
    .with_header(header::WWW_AUTHENTICATE, challenge)
}
