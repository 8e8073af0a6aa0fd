//! The fields of a secret. Reads the requested one into memory that is zeroed, and of the others
//! only their type.
//!
//! Fields stay raw JSON until then: serde_json unescapes strings in a buffer that it does not zero,
//! and Go escapes `&`, `<` and `>`, which a key may contain.

use std::collections::BTreeMap;

use keyside_credentials::json_text::unescaped;
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// All fields of a secret.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Fields<'a>(#[serde(borrow)] BTreeMap<String, &'a RawValue>);

/// Why a field has no usable text.
pub(super) enum MissingField {
    /// The field does not exist; `existing` lists those that do.
    Field { existing: Vec<String> },
    /// The text is empty.
    Empty,
    /// The value is not a string, but this type.
    NoText(&'static str),
}

impl Fields<'_> {
    /// Takes the text of a field.
    pub(super) fn take(mut self, name: &str) -> Result<Zeroizing<Vec<u8>>, MissingField> {
        let Some(value) = self.0.remove(name) else {
            return Err(MissingField::Field {
                existing: self.0.into_keys().collect(),
            });
        };
        match unescaped(value.get()) {
            Some(text) if text.is_empty() => Err(MissingField::Empty),
            // Takes the buffer itself, so that no copy is left behind.
            Some(mut text) => Ok(Zeroizing::new(std::mem::take(&mut *text).into_bytes())),
            None => Err(MissingField::NoText(kind(value.get()))),
        }
    }
}

/// The type of a JSON value that is not a string.
fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'"') => "half of a surrogate pair, or has one inside",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(json: &str, name: &str) -> Result<String, &'static str> {
        let fields: Fields = serde_json::from_slice(json.as_bytes()).unwrap();
        match fields.take(name) {
            Ok(text) => Ok(String::from_utf8(text.to_vec()).unwrap()),
            Err(MissingField::NoText(kind)) => Err(kind),
            Err(MissingField::Empty) => Err("empty"),
            Err(MissingField::Field { .. }) => Err("not there"),
        }
    }

    #[test]
    fn a_field_is_its_unescaped_text_or_the_type_it_has_instead() {
        let json = r#"{"plain":"sk-1","escaped":"sk\u0026\"2","key":3,"list":["sk"],"object":{"a":"sk"},"flag":false,
                       "null": null, "nothing":"", "half":"sk\ud83d", "n\u0061me":"sk-4"}"#;
        for (name, expected) in [
            ("plain", Ok("sk-1")),
            ("escaped", Ok("sk&\"2")),
            ("name", Ok("sk-4")),
            ("key", Err("a number")),
            ("list", Err("a list")),
            ("object", Err("an object")),
            ("flag", Err("true or false")),
            ("null", Err("null")),
            ("nothing", Err("empty")),
            ("half", Err("half of a surrogate pair, or has one inside")),
            ("other", Err("not there")),
        ] {
            assert_eq!(taken(json, name), expected.map(str::to_owned), "{name}");
        }
    }

    #[test]
    fn the_buffer_of_a_text_is_moved_not_copied() {
        let text = format!(r#"{{"key":"{}"}}"#, "\\u0061".repeat(1_000));
        let fields: Fields = serde_json::from_str(&text).unwrap();
        let key = fields.take("key").ok().unwrap();
        // The capacity includes space for the escapes, so this is the buffer that was parsed into.
        assert_eq!((key.len(), key.capacity()), (1_000, 6_000));
    }
}
