//! From what a request says to the one credential it may use.
//!
//! Once a request, from memory alone: no storage, no key service, no lock. The choice is deterministic, and every way it
//! can end without a credential is a [`Refusal`].

use std::sync::Arc;

use keyside_config::EnvironmentPin;

use crate::{CredentialId, Environment, Label, Secret, WorkspaceId};

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The workspace it is tagged with.
    pub workspace: &'a str,
    /// The provider it is for.
    pub provider: &'a str,
    /// A credential by name.
    pub label: Option<&'a str>,
    /// Live or sandbox.
    pub environment: Option<Environment>,
    /// What its listener may use.
    pub pin: EnvironmentPin,
}

/// Hands out grants. Cheap to clone; all clones see every change at once.
#[derive(Clone)]
pub struct Resolver(());

impl Resolver {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// The credential that `ask` leads to.
    ///
    /// # Errors
    /// Why there is none.
    pub fn resolve(&self, _ask: &Ask<'_>) -> Result<Grant, Refusal> {
        Err(Refusal::StoreUnavailable)
    }

    /// Whether there is such a workspace.
    pub fn knows(&self, _workspace: &str) -> bool {
        false
    }
}

/// Leave to use one version of one credential, for one request. It stays with that version whatever happens meanwhile.
#[derive(Clone)]
pub struct Grant(
    Arc<(
        WorkspaceId,
        Arc<str>,
        CredentialId,
        Label,
        Environment,
        Option<String>,
    )>,
);

impl Grant {
    /// The workspace that pays.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.0.0
    }

    /// The provider it is good for.
    pub fn provider(&self) -> &Arc<str> {
        &self.0.1
    }

    /// The credential.
    pub fn credential_id(&self) -> &CredentialId {
        &self.0.2
    }

    /// The credential's name.
    pub fn label(&self) -> &Label {
        &self.0.3
    }

    /// Live or sandbox.
    pub fn environment(&self) -> Environment {
        self.0.4
    }

    /// The version of the secret, from 1.
    pub fn version(&self) -> u32 {
        0
    }

    /// The host it is good for, where the provider leaves that to the credential.
    pub fn endpoint(&self) -> Option<&str> {
        self.0.5.as_deref()
    }

    /// The secret in plaintext, until it is dropped. Once a request; about a microsecond.
    ///
    /// # Errors
    /// [`Refusal::CredentialUndecryptable`] when the sealed bytes are not the ones that were sealed for this place.
    pub fn open(&self) -> Result<Secret, Refusal> {
        Err(Refusal::StoreUnavailable)
    }
}

/// Why a request gets no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No such workspace.
    #[error("there is no such workspace")]
    WorkspaceUnknown,
    /// Nothing stored for this provider, or nothing in the environment that was asked for.
    #[error("the workspace has no credential for this provider")]
    CredentialMissing,
    /// The chosen one was withdrawn.
    #[error("the credential was revoked")]
    CredentialRevoked,
    /// The chosen one is past its end.
    #[error("the credential has expired")]
    CredentialExpired,
    /// No credential of that name.
    #[error("the workspace has no credential with this label for this provider")]
    LabelUnknown,
    /// The chosen one is not for the environment that was asked for, or that the listener is pinned to.
    #[error("this credential's environment is not allowed here")]
    EnvironmentNotAllowed,
    /// The record failed authentication: damaged, moved, edited or replayed.
    #[error("the stored credential failed authentication and is not used")]
    CredentialUndecryptable,
    /// Storage has been away for too long.
    #[error("the credential store cannot be reached")]
    StoreUnavailable,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::WorkspaceUnknown,
        Self::CredentialMissing,
        Self::CredentialRevoked,
        Self::CredentialExpired,
        Self::LabelUnknown,
        Self::EnvironmentNotAllowed,
        Self::CredentialUndecryptable,
        Self::StoreUnavailable,
    ];

    /// The stable name in responses and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::WorkspaceUnknown => "workspace_unknown",
            Self::CredentialMissing => "credential_missing",
            Self::CredentialRevoked => "credential_revoked",
            Self::CredentialExpired => "credential_expired",
            Self::LabelUnknown => "label_unknown",
            Self::EnvironmentNotAllowed => "environment_not_allowed",
            Self::CredentialUndecryptable => "credential_undecryptable",
            Self::StoreUnavailable => "store_unavailable",
        }
    }
}
