//! Warnings for the caller that stored a secret.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Label;

/// A warning about a stored secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Warning {
    /// It does not match the provider's pattern. Providers change patterns, so this is not an
    /// error.
    SecretUnusualForm,
    /// The credential has, or had, the same secret before.
    SecretKnown {
        /// The version with that secret.
        version: u32,
    },
    /// Another credential stays the default for requests without a label.
    OtherIsDefault {
        /// The default's label.
        label: Label,
    },
    /// The credential becomes the default for requests without a label.
    DefaultReplaced {
        /// The previous default's label.
        label: Label,
    },
    /// The credential has expired, so the secret is not used until its expiry is changed.
    Expired,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretUnusualForm => {
                f.write_str("the secret does not have the usual form of this provider's keys")
            }
            Self::SecretKnown { version } => write!(
                f,
                "it is the same secret as in version {version} of this credential"
            ),
            Self::OtherIsDefault { label } => write!(
                f,
                "\"{label}\" stays the default: requests get this one only if they ask for it by its label"
            ),
            Self::DefaultReplaced { label } => write!(
                f,
                "it takes the place of \"{label}\" as the default: requests that ask for no label get this one now"
            ),
            Self::Expired => f.write_str(
                "the credential has expired: the new secret is not used before its expiry is changed",
            ),
        }
    }
}
