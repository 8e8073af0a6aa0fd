//! Why a request gets no credential.

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
    /// The secret of the chosen one is not where the settings say that it is kept, or may not be read.
    #[error("the credential's secret is not where it is kept")]
    SecretGone,
    /// Where it is kept cannot be reached.
    #[error("where the credential's secret is kept cannot be reached")]
    SecretUnavailable,
}

impl Refusal {
    /// One for each code.
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
            Self::CredentialMissing | Self::SecretGone => "credential_missing",
            Self::CredentialRevoked => "credential_revoked",
            Self::CredentialExpired => "credential_expired",
            Self::LabelUnknown => "label_unknown",
            Self::EnvironmentNotAllowed => "environment_not_allowed",
            Self::CredentialUndecryptable => "credential_undecryptable",
            Self::StoreUnavailable | Self::SecretUnavailable => "store_unavailable",
        }
    }
}
