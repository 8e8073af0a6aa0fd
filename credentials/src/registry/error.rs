//! Why the registry did not open, or did not change.

use keyside_config::EndpointError;

use crate::{Label, storage::StorageError};

/// Why a change was not made. None of them leaves anything changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// No such workspace: a typing error must not make one.
    #[error("there is no such workspace")]
    WorkspaceUnknown,
    /// The id is taken.
    #[error("there is a workspace of this id already")]
    WorkspaceExists,
    /// A name nobody could read in a table.
    #[error("a workspace's name is 1 to 200 characters without control characters")]
    NameUnfit,
    /// Not in the catalogue.
    #[error("the catalogue has no such provider")]
    ProviderUnknown,
    /// Labels are unique within workspace and provider, revoked ones included: earlier runs name them.
    #[error("the workspace has a credential labelled {label:?} for this provider already")]
    LabelTaken {
        /// The label.
        label: Label,
    },
    /// The provider gives each customer a host.
    #[error("this provider needs an endpoint, such as {example}")]
    EndpointMissing {
        /// What one looks like.
        example: String,
    },
    /// A host that is not the provider's.
    #[error(transparent)]
    EndpointRefused(#[from] EndpointError),
    /// The provider has one host for all.
    #[error("this provider takes no endpoint")]
    EndpointNotTaken,
    /// It would never be used.
    #[error("the expiry lies in the past")]
    ExpiryPast,
    /// No such credential.
    #[error("there is no such credential")]
    CredentialUnknown,
    /// What is stored failed authentication, so nothing is built on it.
    #[error("the stored record failed authentication and cannot be changed")]
    Damaged,
    /// Storage, the audit log or the keyring cannot be written, so nothing was changed.
    #[error("the change could not be recorded, so it was not made: {0}")]
    StoreUnavailable(#[source] StorageError),
}

impl ChangeError {
    pub(crate) fn not_yet() -> Self {
        Self::StoreUnavailable(StorageError::Unavailable {
            reason: "not yet".to_owned(),
        })
    }
}

/// Why the registry cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Storage fails.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
