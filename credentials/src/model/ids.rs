//! Ids and other short texts: validated where they enter, and cheap to clone.

use std::{borrow::Borrow, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

use super::display_name::is_display_name;

/// A text that is not valid as the given kind of id. Does not repeat the text: it may be a secret
/// that was pasted by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {rule}")]
pub struct IdError {
    what: &'static str,
    rule: &'static str,
}

/// What a newtype over a text has: the text, also as its `Display` and `Debug`.
macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
pub(super) use text;

/// A newtype over `Arc<str>` that only its `FromStr` creates.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        text!($name);

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let accepts: fn(&str) -> bool = $accepts;
                match accepts(text) {
                    true => Ok(Self(text.into())),
                    false => Err(IdError { what: $what, rule: $rule }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

    };
}

name!(
    /// A workspace's id: 1 to 64 of `a-z`, `0-9` and `-`.
    WorkspaceId, "a workspace id", "1 to 64 of a-z, 0-9 and -",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(is_slug)
);

name!(
    /// A credential's id: `cred_` and 26 characters of lower-case base32 (128 random bits).
    CredentialId, "a credential id", "cred_ and 26 characters of lower-case base32",
    |text| text.strip_prefix("cred_").is_some_and(|rest| rest.len() == 26 && rest.bytes().all(is_base32))
);

name!(
    /// A credential's display name, unique among those of its workspace and provider that are not
    /// revoked: 1 to 64 visible ASCII characters, with spaces between them. Sent in a response
    /// header, hence the restriction.
    Label, "a label", "1 to 64 visible ASCII characters, with spaces only between them",
    is_visible_phrase
);

name!(
    /// A credential's purpose (`ci-smoke`), in the same form as a label.
    UsageTag, "a usage tag", "1 to 64 visible ASCII characters, with spaces only between them",
    is_visible_phrase
);

name!(
    /// A name for people, of a workspace or a token: 1 to 200 characters that are not all spaces, none
    /// of them a control character, a mark of writing direction or otherwise invisible.
    ///
    /// Only new names have this type. A stored name is a text, which shows whatever an earlier release
    /// accepted.
    DisplayName, "a name",
    "1 to 200 characters that are not all spaces, none of them a control character, a mark of writing direction or otherwise invisible",
    is_display_name
);

name!(
    /// An actor's opaque id. Names are stored elsewhere, so that a person can be erased without
    /// breaking the audit log.
    ActorId, "an actor id", "1 to 64 of a-z, A-Z, 0-9, -, _, . and :",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(is_actor)
);

impl DisplayName {
    /// That of the token which the first start creates.
    pub(crate) fn of_first_owner() -> Self {
        Self("Installation owner".into())
    }
}

/// The name of a workspace that was given none.
impl From<&WorkspaceId> for DisplayName {
    fn from(id: &WorkspaceId) -> Self {
        Self(id.0.clone())
    }
}

impl CredentialId {
    pub(crate) fn random() -> Self {
        Self(random_id("cred_").into())
    }

    pub(crate) fn from_bits(bits: [u8; 16]) -> Self {
        Self(id("cred_", bits).into())
    }
}

impl ActorId {
    /// Keyside itself: first start, recovery, findings of damage.
    pub fn system() -> Self {
        Self("system".into())
    }

    /// A caller that is not authenticated.
    pub fn anonymous() -> Self {
        Self("anonymous".into())
    }

    pub(crate) fn random_token() -> Self {
        Self(random_id(TOKEN_ID_PREFIX).into())
    }

    /// Whether it is the id of a token, which may have been deleted.
    pub(crate) fn is_token(&self) -> bool {
        self.0.starts_with(TOKEN_ID_PREFIX)
    }
}

pub(crate) fn random_id(prefix: &str) -> String {
    let mut bits = [0; 16];
    crate::entropy::fill(&mut bits);
    id(prefix, bits)
}

fn id(prefix: &str, bits: [u8; 16]) -> String {
    let mut text = String::with_capacity(prefix.len() + 26);
    text.push_str(prefix);
    // 26 digits of five bits, most significant first; the last one has two bits of padding.
    let wide = u128::from_be_bytes(bits);
    text.extend((0..26).map(|digit| {
        let shift = 123 - 5 * digit;
        let five = if shift >= 0 {
            wide >> shift
        } else {
            wide << -shift
        };
        char::from(BASE32[(five & 31) as usize])
    }));
    text
}

const TOKEN_ID_PREFIX: &str = "tok_";

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn is_base32(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'2'..=b'7')
}

fn is_slug(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

fn is_actor(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)
}

fn is_visible_phrase(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && !text.starts_with(' ')
        && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_id_is_a_short_slug() {
        assert!("acme-2".parse::<WorkspaceId>().is_ok());
        for wrong in ["", "Acme", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(wrong.parse::<WorkspaceId>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_label_contains_no_characters_unsafe_in_headers_or_logs() {
        assert!("QA Sandbox".parse::<Label>().is_ok());
        for wrong in [
            "",
            " a",
            "a ",
            "a\nb",
            "a\r\nb",
            "a\0b",
            "a\tb",
            "é",
            "\u{7f}",
            &"a".repeat(65),
        ] {
            assert!(wrong.parse::<Label>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn random_credential_ids_parse_and_are_unique() {
        let (one, two) = (CredentialId::random(), CredentialId::random());
        assert_ne!(one, two);
        assert_eq!(one.as_str().parse(), Ok(one));
    }

    #[test]
    fn a_refused_name_is_not_repeated_in_the_error() {
        let error = "sk-live-pasted-by-mistake\n".parse::<Label>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("sk-live"));
    }
}
