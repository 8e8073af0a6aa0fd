//! Why a request gets no credential.

use super::Cap;

/// Why a request gets no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The workspace does not exist.
    #[error("there is no such workspace")]
    WorkspaceUnknown,
    /// No credential for this provider, or none in the requested environment.
    #[error("the workspace has no credential for this provider")]
    CredentialMissing,
    /// The selected credential was revoked.
    #[error("the credential was revoked")]
    CredentialRevoked,
    /// The selected credential has expired.
    #[error("the credential has expired")]
    CredentialExpired,
    /// No credential has this label.
    #[error("the workspace has no credential with this label for this provider")]
    LabelUnknown,
    /// The selected credential is not of the environment that the request or its listener requires.
    #[error("this credential's environment is not allowed here")]
    EnvironmentNotAllowed,
    /// The record failed authentication: damaged, moved, edited or replayed.
    #[error("the stored credential failed authentication and is not used")]
    CredentialUndecryptable,
    /// Storage has been unavailable for too long.
    #[error("the credential store cannot be reached")]
    StoreUnavailable,
    /// The selected credential's secret is missing at its source, or may not be read.
    #[error("the credential's secret is missing at its source")]
    SecretGone,
    /// The source of the selected credential's secret is unavailable.
    #[error("the source of the credential's secret is unavailable")]
    SecretUnavailable,
    /// A limit on what may be spent in a day is reached.
    #[error("a limit for today is reached")]
    BudgetExhausted(Cap),
}

impl Refusal {
    /// One refusal for each code.
    pub const ALL: [Self; 9] = [
        Self::WorkspaceUnknown,
        Self::CredentialMissing,
        Self::CredentialRevoked,
        Self::CredentialExpired,
        Self::LabelUnknown,
        Self::EnvironmentNotAllowed,
        Self::CredentialUndecryptable,
        Self::StoreUnavailable,
        Self::BudgetExhausted(Cap::CredentialRequests),
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
            Self::BudgetExhausted(_) => "budget_exhausted",
        }
    }
}
