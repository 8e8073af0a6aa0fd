//! Reads fields of request bodies, for `#[serde(deserialize_with)]`. An error states the rule and
//! never repeats the value: it may be a secret in the wrong field.

use std::{collections::BTreeSet, fmt, marker::PhantomData, str::FromStr};

use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_credentials::{DisplayName, Label, UsageTag, WorkspaceId};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A type that is read from a JSON string. The string may be in a buffer that is wiped, so
/// implementations copy only what they accept.
pub(super) trait FromText: Sized {
    /// The error states the rule.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// A field that must be present.
pub(super) fn required<'de, D: Deserializer<'de>, T: FromText>(from: D) -> Result<T, D::Error> {
    from.deserialize_str(TextVisitor(PhantomData))
}

/// A field that may be absent or null.
pub(super) fn optional<'de, D: Deserializer<'de>, T: FromText>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let read = Option::<Text<T>>::deserialize(from)?;
    Ok(read.map(|Text(value)| value))
}

/// A field of a change: absent keeps the value (`None`), null removes it (`Some(None)`).
pub(super) fn nullable<'de, D: Deserializer<'de>, T: FromText>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    optional(from).map(Some)
}

/// A required string of 1 to `MAX` characters without control characters.
pub(super) fn text<'de, D: Deserializer<'de>, const MAX: usize>(
    from: D,
) -> Result<String, D::Error> {
    required(from).map(|Bounded::<MAX>(text)| text)
}

/// Such a string that may be absent or null.
pub(super) fn optional_text<'de, D: Deserializer<'de>, const MAX: usize>(
    from: D,
) -> Result<Option<String>, D::Error> {
    let read = optional(from)?;
    Ok(read.map(|Bounded::<MAX>(text)| text))
}

/// An integer from `MIN` to `MAX` that may be absent or null.
pub(super) fn within<'de, D: Deserializer<'de>, T: TryFrom<u64>, const MIN: u64, const MAX: u64>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let expected = || D::Error::custom(format!("expected an integer from {MIN} to {MAX}"));
    let Some(number) = Option::<u64>::deserialize(from).map_err(|_| expected())? else {
        return Ok(None);
    };
    let fits = (MIN..=MAX).contains(&number);
    let number = T::try_from(number).ok().filter(|_| fits);
    number.map(Some).ok_or_else(expected)
}

/// A list of 1 to `MAX` strings that may be absent or null. Repeated strings count once.
pub(super) fn set<'de, D: Deserializer<'de>, T: FromText + Ord, const MAX: usize>(
    from: D,
) -> Result<Option<BTreeSet<T>>, D::Error> {
    let Some(items) = Option::<Vec<Text<T>>>::deserialize(from)? else {
        return Ok(None);
    };
    match (1..=MAX).contains(&items.len()) {
        true => Ok(Some(items.into_iter().map(|Text(item)| item).collect())),
        false => Err(D::Error::custom(format!("expected 1 to {MAX} items"))),
    }
}

struct Text<T>(T);

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        required(from).map(Self)
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }
}

struct Bounded<const MAX: usize>(String);

impl<const MAX: usize> FromText for Bounded<MAX> {
    fn from_text(text: &str) -> Result<Self, String> {
        let length = text.chars().count();
        match (1..=MAX).contains(&length) && !text.chars().any(char::is_control) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "expected 1 to {MAX} characters without control characters"
            )),
        }
    }
}

macro_rules! parsed {
    ($($name:ident),*) => {
        $(impl FromText for $name {
            fn from_text(text: &str) -> Result<Self, String> {
                parsed(text)
            }
        })*
    };
}

parsed!(DisplayName, Label, ProviderId, UsageTag, WorkspaceId);

impl FromText for Timestamp {
    fn from_text(text: &str) -> Result<Self, String> {
        time(text)
    }
}

/// Parses a time. jiff's own error would quote the text. Its last time is a day before that of RFC
/// 3339, so that it can be shown in each time zone.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let expected =
        "expected a time (RFC 3339) such as 2027-01-31T00:00:00Z, before 9999-12-30T22:00:01Z";
    text.parse().map_err(|_| expected.to_owned())
}

/// Parses a type of the domain. Its errors state the rule and do not repeat the text.
pub(crate) fn parsed<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_last_time() {
        assert_eq!(time("9999-12-30T22:00:00.999999999Z"), Ok(Timestamp::MAX));
        let error = time("9999-12-31T23:59:59Z").unwrap_err();
        assert!(error.contains("before 9999-12-30T22:00:01Z"), "{error}");
    }
}
