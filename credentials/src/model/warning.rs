//! Warnings for the caller that stored a secret.

use serde::{Deserialize, Serialize};

use super::Label;

/// A warning about a stored secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Warning {
    /// It does not match the provider's pattern. Providers change patterns, so this does not
    /// prevent a change.
    #[error("the secret does not have the usual form of this provider's keys")]
    SecretUnusualForm,
    /// The credential has, or had, the same secret before.
    #[error("it is the same secret as in version {version} of this credential")]
    SecretKnown {
        /// The version with that secret.
        version: u32,
    },
    /// Another credential stays the default for requests without a label.
    #[error(
        "\"{label}\" stays the default: requests get this one only if they ask for it by its label"
    )]
    OtherIsDefault {
        /// The default's label.
        label: Label,
    },
    /// The credential becomes the default for requests without a label.
    #[error(
        "it takes the place of \"{label}\" as the default: requests that ask for no label get this one now"
    )]
    DefaultReplaced {
        /// The previous default's label.
        label: Label,
    },
    /// The credential has expired, so the secret is not used until its expiry is changed.
    #[error("the credential has expired: the new secret is not used before its expiry is changed")]
    Expired,
}
