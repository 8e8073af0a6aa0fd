//! The fields of a secret: texts, in memory that is zeroed, and of everything else only what it is.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use zeroize::Zeroizing;

/// All fields of a secret.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Fields(BTreeMap<String, Field>);

/// One field's value.
enum Field {
    Text(Zeroizing<String>),
    Other(&'static str),
}

/// Why there is no text in a field.
pub(super) enum Missing {
    /// There is no such field. These there are.
    Field { there: Vec<String> },
    /// It is empty.
    Empty,
    /// It is something else than a text.
    NoText(&'static str),
}

impl Fields {
    /// The text of a field; the others are zeroed.
    pub(super) fn take(mut self, name: &str) -> Result<Zeroizing<Vec<u8>>, Missing> {
        match self.0.remove(name) {
            Some(Field::Text(text)) if text.is_empty() => Err(Missing::Empty),
            Some(Field::Text(text)) => Ok(Zeroizing::new(text.as_bytes().to_vec())),
            Some(Field::Other(kind)) => Err(Missing::NoText(kind)),
            None => Err(Missing::Field {
                there: self.0.into_keys().collect(),
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Field, E> {
        Ok(Field::Text(Zeroizing::new(text)))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other("true or false"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Field, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_unit<E: Error>(self) -> Result<Field, E> {
        Ok(Field::Other("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Field, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other("an object"))
    }
}
