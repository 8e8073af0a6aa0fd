//! What may be known about a secret without having it: a fingerprint and a hint.
//!
//! Both are stored only sealed: with a copy of the disk, a short secret could be guessed from its
//! fingerprint.

use std::borrow::Cow;

use keyside_config::{Catalogue, KeyRules, RefusedKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ids::text;
use crate::{encoding::hex, secret::Secret};

/// `sha256:` and the first 16 hex digits of the secret's SHA-256, which anyone who has the secret
/// can compute.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(Box<str>);

impl Fingerprint {
    /// The fingerprint of a secret.
    pub fn of(secret: &Secret) -> Self {
        let digest = Sha256::digest(secret.expose());
        Self(format!("sha256:{}", hex(&digest[..8])).into())
    }
}

/// A recognisable prefix and the last four characters: `sk-proj-…wXyZ`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hint(Box<str>);

impl Hint {
    /// The hint of a secret, with the first of `prefixes` that it starts with. A secret that is too
    /// short shows no characters at its end.
    pub fn of(secret: &Secret, prefixes: &[String]) -> Self {
        let text = secret.expose();
        let prefix = prefixes
            .iter()
            .find(|prefix| text.starts_with(prefix.as_bytes()))
            .map_or("", String::as_str);
        let hidden = text.len() - prefix.len();
        let tail = if hidden >= MIN_HIDDEN + TAIL {
            &text[text.len() - TAIL..]
        } else {
            &[]
        };
        Self(format!("{prefix}…{}", String::from_utf8_lossy(tail)).into())
    }
}

/// Whether a secret matches the pattern of its provider's keys.
pub(crate) fn has_usual_form(secret: &Secret, rules: &KeyRules) -> bool {
    str::from_utf8(secret.expose()).is_ok_and(|text| rules.pattern.is_match(text))
}

/// The kind of key, if its provider's catalogue entry says that it must not be stored. The
/// catalogue's own example is one: it may have been copied from a documentation page.
pub(crate) fn refused_kind<'a>(
    secret: &Secret,
    rules: &'a KeyRules,
) -> Option<Cow<'a, RefusedKey>> {
    let text = secret.expose();
    if !rules.example.is_empty() && text == rules.example.as_bytes() {
        return Some(Cow::Owned(RefusedKey {
            prefix: rules.example.clone(),
            why: "It is the example of such a key, which no provider takes. Give a key of your own instead."
                .to_owned(),
        }));
    }
    rules.refusal(text).map(Cow::Borrowed)
}

/// The names of other providers whose key pattern and prefix match this secret, if its own
/// provider's pattern does not. Patterns without a prefix are ignored: many providers' keys are 32
/// letters and digits.
pub fn other_providers<'a>(
    secret: &Secret,
    provider: &str,
    catalogue: &'a Catalogue,
) -> Vec<&'a str> {
    let own = catalogue.get(provider);
    if own.is_none_or(|own| has_usual_form(secret, &own.key)) {
        return Vec::new();
    }
    let begins = |rules: &KeyRules| {
        let mut prefixes = rules.prefix.iter();
        prefixes.any(|prefix| secret.expose().starts_with(prefix.as_bytes()))
    };
    let others = catalogue
        .iter()
        .filter(|other| begins(&other.key) && has_usual_form(secret, &other.key));
    others.map(|other| other.name.as_str()).collect()
}

/// Number of characters shown at the end.
const TAIL: usize = 4;
/// Number of characters that must stay hidden for the end to be shown.
const MIN_HIDDEN: usize = 12;

text!(Fingerprint);
text!(Hint);

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from_plaintext(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_example_key_of_a_provider_is_refused() {
        for provider in Catalogue::builtin().iter() {
            let example = secret(&provider.key.example);
            assert!(refused_kind(&example, &provider.key).is_some());
        }
        let catalogue = Catalogue::builtin();
        let openai = &catalogue.get("openai").unwrap().key;
        let other = secret("sk-proj-CanaryOfAnotherKey0123456789");
        assert_eq!(refused_kind(&other, openai), None);
    }

    #[test]
    fn a_key_in_another_providers_format_names_that_provider() {
        let catalogue = Catalogue::builtin();
        let others = |text: &str, provider| other_providers(&secret(text), provider, &catalogue);
        let anthropic = "sk-ant-api03-CanaryOfAnotherProvider";
        assert_eq!(others(anthropic, "openai"), ["Anthropic"]);
        assert_eq!(others(anthropic, "anthropic"), [""; 0]);
        assert_eq!(others("gsk_CanaryOfAnotherProvider", "mistral"), ["Groq"]);
        assert_eq!(others("CanaryOfNoForm", "openai"), [""; 0]);
        assert_eq!(others(&"a".repeat(32), "openai"), [""; 0]);
    }

    #[test]
    fn a_fingerprint_equals_the_output_of_sha256sum() {
        assert_eq!(
            Fingerprint::of(&secret("abcdefgh")).as_str(),
            "sha256:9c56cc51b374c3ba"
        );
    }

    #[test]
    fn a_hint_shows_the_kind_and_the_last_four() {
        let prefixes = ["sk-proj-".to_owned(), "sk-".to_owned()];
        assert_eq!(
            Hint::of(&secret("sk-proj-0123456789abcdefwXyZ"), &prefixes).as_str(),
            "sk-proj-…wXyZ"
        );
        assert_eq!(
            Hint::of(&secret("0123456789abcdefwXyZ"), &prefixes).as_str(),
            "…wXyZ"
        );
    }

    #[test]
    fn a_hint_of_a_short_secret_shows_none_of_its_characters() {
        assert_eq!(Hint::of(&secret("hunter22"), &[]).as_str(), "…");
        assert_eq!(
            Hint::of(&secret("sk-hunter2"), &["sk-".to_owned()]).as_str(),
            "sk-…"
        );
    }
}
