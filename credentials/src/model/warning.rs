//! Warnings for the person who stored a secret.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Label;

/// Something that whoever stored a secret should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Warning {
    /// Providers change their forms, so this is no error.
    SecretUnusualForm,
    /// It is the secret that this credential has, or had.
    SecretKnown {
        /// In this version.
        version: u32,
    },
    /// Requests that ask for no label still get another one.
    OtherIsDefault {
        /// Which.
        label: Label,
    },
    /// Requests that ask for no label get this one from now on.
    DefaultReplaced {
        /// And which they got until now.
        label: Label,
    },
    /// The new secret is not used before the expiry is moved.
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
