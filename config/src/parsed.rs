//! Deserializes values that are written as texts, and single values for
//! `#[serde(deserialize_with)]`.

use std::{
    fmt::{self, Display},
    marker::PhantomData,
    path::PathBuf,
    str::FromStr,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Derives `Deserialize` from `FromStr`, whose error must not repeat the text.
macro_rules! from_text {
    ($($parsed:ty),+) => {
        $(impl<'de> serde::Deserialize<'de> for $parsed {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                crate::parsed::text(from)
            }
        })+
    };
}

pub(crate) use from_text;

/// Parses a text. The parser's error must not repeat the text.
pub(crate) fn text<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(from)?;
    text.parse().map_err(D::Error::custom)
}

/// A path that is not empty.
pub(crate) fn path<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    match PathBuf::deserialize(from)? {
        path if path.as_os_str().is_empty() => Err(D::Error::custom("expected a path")),
        path => Ok(path),
    }
}

/// [`path`] for an optional key.
pub(crate) fn some_path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    path(from).map(Some)
}

/// A number from `MIN` to `MAX`; outside that range, code that uses it might panic.
pub(crate) fn within<'de, D, T, const MIN: u64, const MAX: u64>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let expected = || D::Error::custom(format!("expected a whole number from {MIN} to {MAX}"));
    let number = u64::deserialize(from)?;
    let number = (MIN..=MAX).contains(&number).then_some(number);
    number
        .and_then(|number| number.try_into().ok())
        .ok_or_else(expected)
}

/// A list whose items are texts, or tables where a text cannot express enough.
pub(crate) fn texts_or_tables<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display> + Deserialize<'de>,
{
    let items = Vec::<TextOrTable<T>>::deserialize(from)?;
    Ok(items.into_iter().map(|TextOrTable(value)| value).collect())
}

struct TextOrTable<T>(T);

impl<'de, T: FromStr<Err: Display> + Deserialize<'de>> Deserialize<'de> for TextOrTable<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(EitherVisitor(PhantomData)).map(Self)
    }
}

struct EitherVisitor<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: Display> + Deserialize<'de>> Visitor<'de> for EitherVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries))
    }
}
