//! Provider ids.

use std::{borrow::Borrow, fmt, ops::Deref, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};

use crate::{parsed::from_text, slug::Slug};

/// 1 to 64 of `a-z`, `0-9` and `-`, but not `w`, which begins the paths that name a workspace. The
/// catalogue may not have it: stored credentials outlive a change of the settings.
///
/// Cheap to clone, and compared, ordered and hashed like its text, so that maps of ids are searched
/// with the text of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        match Slug::accepts(text) && text != "w" {
            true => Ok(Self(text.into())),
            false => Err(ProviderIdError),
        }
    }
}

from_text!(ProviderId);

impl Serialize for ProviderId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl Deref for ProviderId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ProviderId {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for ProviderId {
    fn borrow(&self) -> &str {
        self
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    #[test]
    fn an_id_is_short_and_needs_no_escape_in_a_path() {
        let longest = "a".repeat(64);
        for right in ["openai", "azure-openai", "0", &longest] {
            let id: ProviderId = right.parse().unwrap();
            assert_eq!(id.as_str(), right);
        }
        let too_long = "a".repeat(65);
        for wrong in ["", "w", "OpenAI", "a/b", "a_b", "\u{e4}", &too_long] {
            assert!(wrong.parse::<ProviderId>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_id_is_found_by_its_text() {
        let id: ProviderId = "openai".parse().unwrap();
        assert_eq!(BTreeMap::from([(id.clone(), 1)]).get("openai"), Some(&1));
        assert_eq!(HashMap::from([(id, 1)]).get("openai"), Some(&1));
    }

    #[test]
    fn an_id_is_stored_as_its_text() {
        let id: ProviderId = "openai".parse().unwrap();
        let stored = serde_json::to_string(&BTreeMap::from([(&id, &id)])).unwrap();
        assert_eq!(stored, r#"{"openai":"openai"}"#);
        let read: BTreeMap<ProviderId, ProviderId> = serde_json::from_str(&stored).unwrap();
        assert_eq!(read.get("openai"), Some(&id));
        assert!(serde_json::from_str::<ProviderId>("\"w\"").is_err());
    }
}
