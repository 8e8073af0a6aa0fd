//! The form of a provider's keys, and kinds of keys that are never stored.

use serde::{Deserialize, Deserializer, de::Error};

use crate::parsed;

/// The form of a provider's keys, and what they must be allowed to do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRules {
    /// The usual form. A key in another form is accepted with a warning, because providers change
    /// their forms.
    #[serde(deserialize_with = "parsed::text")]
    pub pattern: regex_lite::Regex,
    /// A made-up key in the usual form.
    pub example: String,
    /// Prefixes that a hint may show, longest first.
    pub prefix: Vec<String>,
    /// The permissions that a key needs, in the provider's words.
    pub scopes: Vec<String>,
    /// Keys of other kinds, which are never stored.
    #[serde(default)]
    pub refused: Vec<RefusedKey>,
}

/// A kind of key that is never stored: one that administers an account, belongs to a person's
/// subscription or session, or is half of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedKey {
    /// The prefix of every key of this kind; never empty.
    #[serde(deserialize_with = "prefix")]
    pub prefix: String,
    /// What the key is, and what to create instead, in a sentence or two.
    pub why: String,
}

impl KeyRules {
    /// The kind of `key`, if it must not be stored. Checked even if the key has the usual form.
    pub fn refusal(&self, key: &[u8]) -> Option<&RefusedKey> {
        let mut kinds = self.refused.iter();
        kinds.find(|kind| key.starts_with(kind.prefix.as_bytes()))
    }
}

/// Refuses an empty prefix, which would match every key.
fn prefix<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match String::deserialize(from)? {
        text if text.is_empty() => Err(D::Error::custom("expected the beginning of such keys")),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(refused: &str) -> Result<KeyRules, toml::de::Error> {
        let usual = "pattern = '^k-[a-z]+$'\nexample = 'k-a'\nprefix = ['k-']\nscopes = []\n";
        toml::from_str(&format!("{usual}{refused}"))
    }

    #[test]
    fn a_key_is_refused_by_its_prefix_even_if_it_has_the_usual_form() {
        let rules = rules("[[refused]]\nprefix = 'k-admin'\nwhy = 'An admin key.'").unwrap();
        assert!(rules.pattern.is_match("k-admins"));
        let refusal = |key: &str| rules.refusal(key.as_bytes()).map(|kind| kind.why.as_str());
        assert_eq!(refusal("k-admins"), Some("An admin key."));
        for key in ["k-admi", "K-admin", "xk-admin", ""] {
            assert_eq!(refusal(key), None, "{key:?}");
        }
    }

    #[test]
    fn a_kind_without_a_prefix_is_an_error_and_no_kinds_is_an_empty_list() {
        assert!(rules("[[refused]]\nprefix = ''\nwhy = 'All.'").is_err());
        assert!(
            rules("[[refused]]\nprefix = 'k-'").is_err(),
            "without a reason"
        );
        assert!(rules("").unwrap().refused.is_empty());
    }
}
