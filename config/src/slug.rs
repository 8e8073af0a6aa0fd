//! The form of ids in paths and settings.

use std::str::FromStr;

/// 1 to 64 of `a-z`, `0-9` and `-`: a workspace's or a provider's id.
pub(crate) struct Slug(pub(crate) String);

impl Slug {
    /// Whether the text has this form.
    pub(crate) fn accepts(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=64).contains(&text.len()) && text.bytes().all(allowed)
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        match Self::accepts(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(SlugError),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("expected an id of 1 to 64 of a-z, 0-9 and -")]
pub(crate) struct SlugError;
