//! Who sends a request, whether they may, and what is there for them.
//!
//! Each request is authenticated first. A route then asks for the permission that the table of routes says, and the handler
//! gets a [`Caller`]: the only way to find a workspace or a credential by what the request names, so that one outside of
//! the caller's scope is not there at all.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::Response,
};
use http::{Extensions, HeaderMap, header, request::Parts};
use keyside_credentials::{
    Access, ActorContext, ActorId, ChangeError, Credential, CredentialId, Denial, Listed,
    Permission, Principal, Registry, Scope, Token, Workspace, WorkspaceId,
};

use crate::{
    problem::{Kind, Problem},
    request_id::RequestId,
    request_log::ClientConnection,
};

/// Runs once a request. Keeps nobody out: that is for the routes, and for the paths that are none.
pub(crate) async fn authenticate(
    State(registry): State<Arc<Registry>>,
    mut request: Request,
    next: Next,
) -> Response {
    let principal = principal(registry.access(), request.headers());
    request.extensions_mut().insert(Authentication(principal));
    next.run(request).await
}

/// Runs once a request, on each route that asks for a permission.
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

/// What a request's headers came to.
#[derive(Clone)]
struct Authentication(Result<Principal, AuthenticationError>);

/// Why it is not known who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthenticationError {
    /// There is no token, or not exactly one.
    MissingToken,
    /// There is one, and it is none of ours, or no longer.
    InvalidToken,
}

/// The one who asks, once the route has let them in.
#[derive(Clone)]
pub(crate) struct Caller {
    principal: Principal,
    request_id: String,
    client: ClientConnection,
}

impl Caller {
    /// Whoever it is, whatever they may.
    pub(crate) fn authenticated(extensions: &Extensions) -> Result<Self, Problem> {
        let authentication = extensions.get::<Authentication>();
        let id = extensions.get::<RequestId>();
        let client = extensions.get::<ClientConnection>();
        match (authentication, id.zip(client)) {
            (Some(Authentication(Ok(principal))), Some((RequestId(id), client))) => Ok(Self {
                principal: principal.clone(),
                request_id: id.clone(),
                client: client.clone(),
            }),
            (Some(Authentication(Err(error))), _) => Err((*error).into()),
            // A route that was put outside of the layers: nobody may act there.
            _ => Err(Problem::internal(NOT_AUTHENTICATED)),
        }
    }

    /// Holds the caller to a permission beyond that of the route.
    pub(crate) fn require(&self, permission: Permission) -> Result<(), Problem> {
        let permitted = self.principal.may(permission);
        permitted.map_err(|denial| denied(denial).refusing(&self.principal.actor))
    }

    /// Who it is.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The reader of the answer.
    pub(crate) fn client(&self) -> &ClientConnection {
        &self.client
    }

    /// Refuses where the token was revoked after the request was authenticated.
    pub(crate) fn still_has_access(&self, registry: &Registry) -> Result<(), Problem> {
        match registry.access().has_ended(&self.principal.actor) {
            true => Err(ChangeError::AccessEnded.into()),
            false => Ok(()),
        }
    }

    /// For the audit record of what they change.
    pub(crate) fn context(&self) -> ActorContext {
        ActorContext {
            actor: self.principal.actor.clone(),
            request_id: self.request_id.clone(),
        }
    }

    /// The workspaces that are there for them; lists leave out all others.
    pub(crate) fn scope(&self) -> &Scope {
        &self.principal.scope
    }

    /// The workspace that a path names.
    pub(crate) fn workspace(&self, registry: &Registry, id: &str) -> Result<Workspace, Problem> {
        let found = registry.workspace(&self.workspace_id(id)?);
        found.ok_or_else(|| self.not_found(Problem::workspace_unknown()))
    }

    /// The id of the workspace that a path names, be it there or no more.
    pub(crate) fn workspace_id(&self, id: &str) -> Result<WorkspaceId, Problem> {
        let id: Option<WorkspaceId> = id.parse().ok();
        id.filter(|id| self.scope().holds(id))
            .ok_or_else(|| self.not_found(Problem::workspace_unknown()))
    }

    /// The credential that a path names. An id that cannot be one leads to the same answer as one that is not there.
    pub(crate) fn listed(&self, registry: &Registry, id: &str) -> Result<Listed, Problem> {
        let id: Option<CredentialId> = id.parse().ok();
        id.and_then(|id| registry.find(&id))
            .filter(|listed| self.scope().holds(listed.workspace()))
            .ok_or_else(|| self.not_found(Problem::credential_unknown()))
    }

    /// The same for what takes a record that can be read: of one that is lost nothing can be used or changed.
    pub(crate) fn credential(&self, registry: &Registry, id: &str) -> Result<Credential, Problem> {
        match self.listed(registry, id)? {
            Listed::Known(credential) => Ok(*credential),
            Listed::Lost(_) => Err(ChangeError::Damaged.into()),
        }
    }

    /// The token that a path names.
    pub(crate) fn token(&self, registry: &Registry, id: &str) -> Result<Token, Problem> {
        let id: Option<ActorId> = id.parse().ok();
        id.and_then(|id| registry.access().named(&id))
            .filter(|token| self.scope().covers(&token.scope))
            .ok_or_else(|| self.not_found(Problem::token_unknown()))
    }

    /// Lets the caller into the workspace that a body names. Whether there is one is for the registry to say, in the same
    /// words: `unknown`.
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

    /// Lets the caller look into the workspace that a filter names, if it names one. One that is not there holds nothing.
    pub(crate) fn check_filter(&self, workspace: Option<&WorkspaceId>) -> Result<(), Problem> {
        workspace.map_or(Ok(()), |workspace| {
            self.enter_workspace(workspace, Problem::workspace_unknown())
        })
    }

    /// Someone who is limited may be probing; what they asked for is put on record, whether or not it exists elsewhere.
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
        // Not there: a route that asks for no permission, so nobody may act on it.
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal(NOT_AUTHENTICATED))
    }
}

/// Whether a request shows a token that is wrong.
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

/// The token of the one Authorization header. The scheme is case-insensitive (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, token) = given.next()?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && given.next().is_none()).then_some(token.trim())
}

/// RFC 6750 section 3: a challenge names no error where no token was shown.
impl From<AuthenticationError> for Problem {
    fn from(error: AuthenticationError) -> Self {
        let (detail, challenge) = match error {
            AuthenticationError::MissingToken => (
                "The request carries no bearer token.",
                r#"Bearer realm="keyside""#,
            ),
            AuthenticationError::InvalidToken => (
                "The token is not one of this server's.",
                r#"Bearer realm="keyside", error="invalid_token""#,
            ),
        };
        Self::new(
            Kind::Unauthenticated,
            detail,
            "Send `Authorization: Bearer <token>`. The owner's token is in the file `admin-token` of the data folder.",
        )
        .with_header(header::WWW_AUTHENTICATE, challenge)
    }
}

fn denied(denial: Denial) -> Problem {
    let (kind, detail, remedy) = match denial {
        Denial::Role => (
            Kind::PermissionDenied,
            "The token's role does not allow this.",
            "CredentialQuery an owner to do it, or for a token with another role (`keyside token create --role`).",
        ),
        Denial::Limited => (
            Kind::PermissionDenied,
            "This concerns the whole installation, and the token is limited to some workspaces.",
            "CredentialQuery someone whose token is not limited to workspaces.",
        ),
    };
    Problem::new(kind, detail, remedy)
}

const NOT_AUTHENTICATED: &str = "the route is not behind the layer that authenticates its callers";
