//! Knows what a provider's keys look like, and which kinds of keys are never stored.

use serde::{Deserialize, Deserializer, de::Error};

use crate::parsed;

/// What a provider's keys look like.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRules {
    /// The usual form. A key of another form is accepted with a warning, since providers change their forms.
    #[serde(deserialize_with = "parsed::text")]
    pub pattern: regex_lite::Regex,
    /// A made-up key of that form.
    pub example: String,
    /// Prefixes that may be shown in a hint, longest first.
    pub prefix: Vec<String>,
    /// The permissions a key needs, in the provider's words.
    pub scopes: Vec<String>,
    /// Keys of other kinds, which are never stored.
    #[serde(default)]
    pub refused: Vec<RefusedKey>,
}

/// A kind of key that is never stored: one that administers an account, belongs to a person's subscription or session, or
/// is half of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedKey {
    /// What every key of this kind begins with; never empty.
    #[serde(deserialize_with = "prefix")]
    pub prefix: String,
    /// What it is, and what to create instead: a sentence or two for people.
    pub why: String,
}

impl KeyRules {
    /// The kind of `key`, if it is one that is never stored, even where it has the usual form.
    pub fn refusal(&self, key: &[u8]) -> Option<&RefusedKey> {
        let mut kinds = self.refused.iter();
        kinds.find(|kind| key.starts_with(kind.prefix.as_bytes()))
    }
}

/// A prefix that is not empty: an empty one would refuse every key.
fn prefix<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match String::deserialize(from)? {
        text if text.is_empty() => Err(D::Error::custom("expected what such keys begin with")),
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
    fn a_key_is_refused_by_its_beginning_even_where_it_has_the_usual_form() {
        let rules = rules("[[refused]]\nprefix = 'k-admin'\nwhy = 'An admin key.'").unwrap();
        assert!(rules.pattern.is_match("k-admins"));
        let refusal = |key: &str| rules.refusal(key.as_bytes()).map(|kind| kind.why.as_str());
        assert_eq!(refusal("k-admins"), Some("An admin key."));
        for key in ["k-admi", "K-admin", "xk-admin", ""] {
            assert_eq!(refusal(key), None, "{key:?}");
        }
    }

    #[test]
    fn a_kind_without_a_beginning_is_an_error_and_no_kind_at_all_is_none() {
        assert!(rules("[[refused]]\nprefix = ''\nwhy = 'All.'").is_err());
        assert!(
            rules("[[refused]]\nprefix = 'k-'").is_err(),
            "without a reason"
        );
        assert!(rules("").unwrap().refused.is_empty());
    }
}
