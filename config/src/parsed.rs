//! Deserializers of single values, for `#[serde(deserialize_with)]`.

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

/// Parses a text. The parser's error must not repeat the text.
pub(crate) fn text<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    Parsed::deserialize(from).map(|Parsed(value)| value)
}

/// Parses a list of texts; an error names the item.
pub(crate) fn texts<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let items = Vec::<Parsed<T>>::deserialize(from)?;
    Ok(items.into_iter().map(|Parsed(value)| value).collect())
}

/// [`texts`] for an optional key.
pub(crate) fn some_texts<'de, D, T>(from: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    texts(from).map(Some)
}

/// [`text`] for an optional key.
pub(crate) fn some_text<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    text(from).map(Some)
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

struct Parsed<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
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
