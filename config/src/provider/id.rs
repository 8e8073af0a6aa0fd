//! Provider ids.

use std::{fmt, str::FromStr, sync::Arc};

use serde::Deserialize;

use crate::slug::Slug;

/// 1 to 64 of `a-z`, `0-9` and `-`, but not `w`, which begins the paths that name a workspace.
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ProviderId(Arc<str>);

impl ProviderId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProviderId {
    type Err = ProviderIdError;

    fn from_str(text: &str) -> Result<Self, ProviderIdError> {
        let Slug(text) = text.parse().map_err(|_| ProviderIdError)?;
        match text.as_str() {
            "w" => Err(ProviderIdError),
            id => Ok(Self(id.into())),
        }
    }
}

impl TryFrom<String> for ProviderId {
    type Error = ProviderIdError;

    fn try_from(text: String) -> Result<Self, ProviderIdError> {
        text.parse()
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a provider id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a provider id is 1 to 64 of a-z, 0-9 and -, but not w, with which the paths of workspaces begin"
)]
pub struct ProviderIdError;
