//! The form of ids in paths and settings.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use crate::parsed::from_text;

/// 1 to 64 of `a-z`, `0-9` and `-`: a workspace's or a provider's id.
pub(crate) struct Slug(pub(crate) String);

impl Slug {
    /// Whether the text has this form.
    pub(crate) fn accepts(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=64).contains(&text.len()) && text.bytes().all(allowed)
    }
}

from_text!(Slug);

impl FromStr for Slug {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match Self::accepts(text) {
            true => Ok(Self(text.to_owned())),
            false => Err("expected an id of 1 to 64 of a-z, 0-9 and -"),
        }
    }
}

/// For serde: a list of ids.
pub(crate) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let ids = Vec::<Slug>::deserialize(from)?;
    Ok(ids.into_iter().map(|Slug(id)| id).collect())
}
