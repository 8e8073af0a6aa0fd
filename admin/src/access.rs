//! Authentication and authorization of requests.
//!
//! Each request is authenticated first. Each route then requires the permission that the route
//! table gives it, and the handler gets a [`Caller`]. A `Caller` is the only way to look up a
//! workspace or a credential by an id in the request, so resources outside of the caller's scope do
//! not exist for it.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::Response,
};
use http::{Extensions, HeaderMap, header, request::Parts};
use keyside_credentials::{
    Access, ActorContext, ActorId, ChangeError, Credential, CredentialId, Denial, Listed,
    Permission, Principal, Registry, RequestId, Scope, Token, Workspace, WorkspaceId,
};

use crate::{
    problem::{INVALID_TOKEN, Kind, Problem},
    request_log::ClientConnection,
};

/// Runs once per request, before the rate limit. It rejects nobody: routes do, and so does the
/// fallback for unknown paths.
pub(crate) async fn authenticate(
    State(registry): State<Arc<Registry>>,
    mut request: Request,
    next: Next,
) -> Response {
    let principal = principal(registry.access(), request.headers());
    request.extensions_mut().insert(Authentication(principal));
    next.run(request).await
}

/// Runs once per request, on each route that requires a permission.
pub(crate) async fn authorize(
    State(permission): State<Permission>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let caller = Caller::authenticated(request.extensions())?;
    caller.require(permission)?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// The result of authenticating a request, stored in its extensions.
#[derive(Clone)]
struct Authentication(Result<Principal, AuthenticationError>);

/// Authenticates a request by something else than a bearer token: the session of the admin page.
pub(crate) fn authenticated_as(extensions: &mut Extensions, principal: Principal) {
    extensions.insert(Authentication(Ok(principal)));
}

/// Why a request is not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthenticationError {
    /// No Authorization header, more than one, or one without a bearer token.
    MissingToken,
    /// A token that this installation never issued, or that is expired or revoked.
    InvalidToken,
}

/// The authenticated caller of a route whose permission it has.
#[derive(Clone)]
pub(crate) struct Caller {
    principal: Principal,
    request_id: RequestId,
    client: ClientConnection,
}

impl Caller {
    /// The authenticated caller, without a check of permissions.
    pub(crate) fn authenticated(extensions: &Extensions) -> Result<Self, Problem> {
        let authentication = extensions.get::<Authentication>();
        let id = extensions.get::<RequestId>();
        let client = extensions.get::<ClientConnection>();
        match (authentication, id.zip(client)) {
            (Some(Authentication(Ok(principal))), Some((id, client))) => Ok(Self {
                principal: principal.clone(),
                request_id: *id,
                client: client.clone(),
            }),
            (Some(Authentication(Err(error))), _) => Err((*error).into()),
            // A route outside of the authentication layer: fail closed.
            _ => Err(Problem::internal(NOT_AUTHENTICATED)),
        }
    }

    /// Checks a permission in addition to that of the route. A denial is audited.
    pub(crate) fn require(&self, permission: Permission) -> Result<(), Problem> {
        permitted(&self.principal, permission)
    }

    /// The token's actor, role and scope.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The request's id.
    pub(crate) fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// The connection of the client that waits for the response.
    pub(crate) fn client(&self) -> &ClientConnection {
        &self.client
    }

    /// Rejects a token that was revoked after the request was authenticated.
    pub(crate) fn still_has_access(&self, registry: &Registry) -> Result<(), Problem> {
        match registry.access().has_ended(&self.principal.actor) {
            true => Err(ChangeError::AccessEnded.into()),
            false => Ok(()),
        }
    }

    /// The actor and request id for audit records of the caller's changes.
    pub(crate) fn context(&self) -> ActorContext {
        ActorContext {
            actor: self.principal.actor.clone(),
            request_id: self.request_id.as_str().to_owned(),
        }
    }

    /// The workspaces that the caller can access. Lists omit all others.
    pub(crate) fn scope(&self) -> &Scope {
        &self.principal.scope
    }

    /// The workspace with the id in a path.
    pub(crate) fn workspace(&self, registry: &Registry, id: &str) -> Result<Workspace, Problem> {
        let found = registry.workspace(&self.workspace_id(id)?);
        found.ok_or_else(|| self.not_found(Problem::workspace_unknown()))
    }

    /// The workspace id in a path, whether or not the workspace still exists.
    pub(crate) fn workspace_id(&self, id: &str) -> Result<WorkspaceId, Problem> {
        let id: Option<WorkspaceId> = id.parse().ok();
        id.filter(|id| self.scope().holds(id))
            .ok_or_else(|| self.not_found(Problem::workspace_unknown()))
    }

    /// The credential with the id in a path. A malformed id is answered like one that does not
    /// exist.
    pub(crate) fn listed(&self, registry: &Registry, id: &str) -> Result<Listed, Problem> {
        let id: Option<CredentialId> = id.parse().ok();
        id.and_then(|id| registry.find(&id))
            .filter(|listed| self.scope().holds(listed.workspace()))
            .ok_or_else(|| self.not_found(ChangeError::CredentialUnknown.into()))
    }

    /// Like [`Self::listed`], for operations that need a readable record: a lost credential can
    /// only be revoked.
    pub(crate) fn credential(&self, registry: &Registry, id: &str) -> Result<Credential, Problem> {
        match self.listed(registry, id)? {
            Listed::Known(credential) => Ok(*credential),
            Listed::Lost(_) => Err(ChangeError::Damaged.into()),
        }
    }

    /// The token with the id in a path.
    pub(crate) fn token(&self, registry: &Registry, id: &str) -> Result<Token, Problem> {
        let id: Option<ActorId> = id.parse().ok();
        id.and_then(|id| registry.access().find(&id))
            .filter(|token| self.scope().covers(&token.scope))
            .ok_or_else(|| self.not_found(ChangeError::TokenUnknown.into()))
    }

    /// Checks that the workspace in a body is within the caller's scope. Whether it exists is up to
    /// the registry, whose error must be the same: `unknown`.
    pub(crate) fn enter_workspace(
        &self,
        workspace: &WorkspaceId,
        unknown: impl Into<Problem>,
    ) -> Result<(), Problem> {
        match self.scope().holds(workspace) {
            true => Ok(()),
            false => Err(self.not_found(unknown.into())),
        }
    }

    /// Checks that the workspace in a filter, if any, is within the caller's scope. The list of a
    /// workspace that does not exist is empty.
    pub(crate) fn check_filter(&self, workspace: Option<&WorkspaceId>) -> Result<(), Problem> {
        workspace.map_or(Ok(()), |workspace| {
            self.enter_workspace(workspace, Problem::workspace_unknown())
        })
    }

    /// A caller with a limited scope may be probing for ids, so the attempt is audited whether or
    /// not the resource exists.
    fn not_found(&self, problem: Problem) -> Problem {
        match self.scope() {
            Scope::All => problem,
            Scope::Only(_) => problem.refusing(&self.principal.actor),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        // Absent on a route that requires no permission: fail closed.
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal(NOT_AUTHENTICATED))
    }
}

/// Checks a permission. A denial is audited.
pub(crate) fn permitted(principal: &Principal, permission: Permission) -> Result<(), Problem> {
    let permitted = principal.may(permission);
    permitted.map_err(|denial| denied(denial).refusing(&principal.actor))
}

/// Whether the request carries a token that is not valid.
pub(crate) fn has_invalid_token(extensions: &Extensions) -> bool {
    let authentication = extensions.get::<Authentication>();
    authentication.is_some_and(|Authentication(found)| {
        found.as_ref().err() == Some(&AuthenticationError::InvalidToken)
    })
}

fn principal(access: &Access, headers: &HeaderMap) -> Result<Principal, AuthenticationError> {
    let token = bearer(headers).ok_or(AuthenticationError::MissingToken)?;
    access
        .authenticate(token)
        .ok_or(AuthenticationError::InvalidToken)
}

/// The token of the Authorization header, if there is exactly one. The scheme is case-insensitive
/// (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, token) = given.next()?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && given.next().is_none()).then_some(token.trim())
}

/// RFC 6750 section 3: the challenge has no error code if the request carries no token.
impl From<AuthenticationError> for Problem {
    fn from(error: AuthenticationError) -> Self {
        let (detail, challenge) = match error {
            AuthenticationError::MissingToken => (
                "The request carries no bearer token.",
                r#"Bearer realm="keyside""#,
            ),
            AuthenticationError::InvalidToken => ("The bearer token is not valid.", INVALID_TOKEN),
        };
        Self::new(
            Kind::Unauthenticated,
            detail,
            "Send `Authorization: Bearer <token>`. The first owner token is in the file `admin-token` of the data folder.",
        )
        .with_header(header::WWW_AUTHENTICATE, challenge)
    }
}

fn denied(denial: Denial) -> Problem {
    let (detail, remedy) = match denial {
        Denial::Role => (
            "The token's role does not allow this.",
            "Ask an owner to do it, or for a token with another role (`keyside token create --role`).",
        ),
        Denial::Limited => (
            "This affects the whole installation, and the token is limited to some workspaces.",
            "Ask an owner whose token is not limited to workspaces.",
        ),
    };
    Problem::new(Kind::PermissionDenied, detail, remedy)
}

const NOT_AUTHENTICATED: &str = "the route is outside of the authentication layer";
