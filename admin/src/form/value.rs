//! A field's value for serde, straight from raw JSON: strings pass through a buffer that is wiped,
//! and no error quotes a value.

use std::{error::Error, fmt};

use keyside_credentials::json_text::unescaped;
use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::value::RawValue;

use super::{FIELDS_MAX, Fields};

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Json(&'a RawValue),
    Absent,
}

/// Why a value cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ValueError {
    /// The rule that the value breaks.
    Wrong(String),
    /// A required field is not among those that were read.
    Incomplete(&'static str),
}

/// The names on the wire of the fields of `T`, as serde has them.
pub(crate) fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    let _ = T::deserialize(FieldNames(&mut fields));
    fields
}

/// Reads one of a few names. The error lists them.
pub(crate) fn choice<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let read = T::deserialize(StrDeserializer::<ValueError>::new(text));
    read.map_err(|error| error.to_string())
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let Self::Json(raw) = self else {
            return Err(de::Error::custom("is missing"));
        };
        let json = raw.get();
        match json.as_bytes().first() {
            Some(b'"') => match unescaped(json) {
                Some(text) => visitor.visit_str(&text),
                None => Err(de::Error::custom("is not a valid JSON string")),
            },
            Some(b'{') => visit_object(json, visitor),
            Some(b'[') => visit_array(json, visitor),
            Some(b't') => visitor.visit_bool(true),
            Some(b'f') => visitor.visit_bool(false),
            Some(b'n') => visitor.visit_unit(),
            _ => match json.parse::<u64>() {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_f64(json.parse().unwrap_or(f64::NAN)),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::Absent => visitor.visit_none(),
            Self::Json(raw) if raw.get() == "null" => visitor.visit_none(),
            Self::Json(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self {
            Self::Absent => self.deserialize_any(visitor),
            Self::Json(raw) => match unescaped(raw.get()) {
                Some(text) => visitor.visit_enum(StrDeserializer::<ValueError>::new(&text)),
                None => Err(de::Error::unknown_variant("", variants)),
            },
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ValueError> for Value<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn visit_object<'de, V: Visitor<'de>>(json: &'de str, visitor: V) -> Result<V::Value, ValueError> {
    let fields = serde_json::Deserializer::from_str(json).deserialize_map(Fields);
    let fields = fields.map_err(|_| not_json())?;
    if fields.count > FIELDS_MAX {
        return Err(de::Error::custom("has too many fields"));
    }
    let fields = fields.named();
    let entries = fields
        .iter()
        .map(|(name, value)| (name.as_str(), Value::Json(value)));
    visitor.visit_map(MapDeserializer::<_, ValueError>::new(entries))
}

fn visit_array<'de, V: Visitor<'de>>(json: &'de str, visitor: V) -> Result<V::Value, ValueError> {
    let items: Vec<&'de RawValue> = serde_json::from_str(json).map_err(|_| not_json())?;
    let items = items.into_iter().map(Value::Json);
    visitor.visit_seq(SeqDeserializer::<_, ValueError>::new(items))
}

fn not_json() -> ValueError {
    de::Error::custom("is not valid JSON")
}

/// Stops at the names of a struct's fields.
struct FieldNames<'r>(&'r mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, ValueError> {
        Err(de::Error::custom("is not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(detail) => f.write_str(detail),
            Self::Incomplete(field) => write!(f, "{field} is missing"),
        }
    }
}

impl Error for ValueError {}

/// serde's own messages quote the value in some of these cases.
impl de::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Wrong(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Wrong(format!("expected {expected}, found {}", kind(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(_found: &str, expected: &'static [&'static str]) -> Self {
        Self::Wrong(format!("expected {}", expected.join(" or ")))
    }

    fn unknown_field(_found: &str, expected: &'static [&'static str]) -> Self {
        Self::Wrong(format!("the fields are {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Incomplete(field)
    }
}

fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        _ => "another type",
    }
}
