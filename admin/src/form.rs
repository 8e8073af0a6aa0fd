//! Reads the body of a request as one of the types in `wire.rs`, and reports every wrong field at
//! once.
//!
//! serde stops at the first error, so each field is read by itself first, with a `Deserialize` that
//! sees only this field. serde_json's own messages are never shown: they quote the value, which may
//! be a secret in the wrong field.

mod value;

use std::{collections::HashSet, fmt, iter};

use keyside_credentials::json_text::unescaped;
use serde::{
    Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapDeserializer},
};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use self::value::{Value, ValueError};
pub(crate) use self::value::{choice, fields};
use crate::problem::{FieldError, Kind, Problem};

/// Reads a body whose fields need no further rule.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    Form::parse(body)?.read(&[])
}

/// The fields of a body, and the errors so far.
pub(crate) struct Form<'a> {
    given: Vec<(Zeroizing<String>, &'a RawValue)>,
    errors: Vec<FieldError>,
}

impl<'a> Form<'a> {
    /// Splits the body into its fields. A repeated name is an error. Takes linear time, whatever
    /// the body holds.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Problem> {
        expect_object(body)?;
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let fields = deserializer
            .deserialize_map(Fields)
            .and_then(|fields| deserializer.end().map(|()| fields))
            .map_err(|error| malformed(&error))?;
        expect_few(fields.count, "fields", WHOLE_BODY)?;
        let mut form = Self {
            given: fields.named(),
            errors: Vec::new(),
        };
        form.note_repeated();
        Ok(form)
    }

    /// Whether the body has this field with a value other than null.
    pub(crate) fn has(&self, name: &str) -> bool {
        let mut given = self.given.iter();
        given.any(|(given, value)| given.as_str() == name && value.get() != "null")
    }

    /// Reports a field as wrong, and does not read it.
    pub(crate) fn refuse(&mut self, name: &'static str, why: &str) {
        self.given.retain(|(given, _)| given.as_str() != name);
        self.errors.push(FieldError::field(name, why));
    }

    /// Reads the fields as a `T`. `others` are fields of other bodies, with the reason why they do
    /// not belong here; any other field that `T` does not have is unknown.
    ///
    /// # Errors
    /// The problem that names each wrong field.
    pub(crate) fn read<T: DeserializeOwned>(
        mut self,
        others: &[(&[&str], &str)],
    ) -> Result<T, Problem> {
        let fields = fields::<T>();
        self.note_foreign(fields, others);
        for name in fields {
            if !self.is_wrong(name)
                && let Some(detail) = fault::<T>(name, self.value(name))
            {
                self.errors.push(FieldError::field(name, detail));
            }
        }
        if !self.errors.is_empty() {
            return Err(Problem::fields(self.errors));
        }
        let given = self.given.iter();
        let given = given.map(|(name, value)| (name.as_str(), Value::Json(value)));
        let read = T::deserialize(MapDeserializer::<_, ValueError>::new(given));
        read.map_err(|error| {
            let error = FieldError::parameter(WHOLE_BODY, error.to_string());
            Problem::fields(vec![error])
        })
    }

    fn value(&self, name: &str) -> Value<'a> {
        let mut given = self.given.iter();
        let found = given.find(|(given, _)| given.as_str() == name);
        found.map_or(Value::Absent, |(_, value)| Value::Json(value))
    }

    fn is_wrong(&self, name: &str) -> bool {
        self.errors.iter().any(|error| error.field == name)
    }

    fn note_foreign(&mut self, fields: &[&str], others: &[(&[&str], &str)]) {
        let unknown = format!("is not a field here; the fields are {}", fields.join(", "));
        let why = |name: &str| {
            let mut others = others.iter();
            let other = others.find(|(names, _)| names.contains(&name));
            other.map_or(unknown.as_str(), |(_, why)| *why)
        };
        let names = self.given.iter().map(|(name, _)| name.as_str());
        let errors = names
            .filter(|name| !fields.contains(name))
            .map(|name| FieldError::field(presentable(name), why(name)));
        self.errors.extend(errors);
    }

    fn note_repeated(&mut self) {
        let mut seen = HashSet::new();
        let names = self.given.iter().map(|(name, _)| name.as_str());
        let errors = names
            .filter(|name| !seen.insert(*name))
            .map(|name| FieldError::field(presentable(name), "is repeated"));
        self.errors.extend(errors);
    }
}

/// Reads a document that this API issued, as a whole; nothing if it is an object of another form.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<Option<T>, Problem> {
    expect_object(body)?;
    let _object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    Ok(serde_json::from_slice(body).ok())
}

/// What is wrong with one field of a `T`, if anything.
fn fault<T: DeserializeOwned>(name: &'static str, value: Value<'_>) -> Option<String> {
    let field = MapDeserializer::<_, ValueError>::new(iter::once((name, value)));
    match T::deserialize(field) {
        Err(ValueError::Wrong(detail)) => Some(detail),
        // The other fields are absent here.
        Ok(_) | Err(ValueError::Incomplete(_)) => None,
    }
}

/// Collects the fields of an object, names and values still in JSON.
struct Fields;

/// The fields of an object.
#[derive(Default)]
struct Collected<'de> {
    /// The first [`FIELDS_MAX`].
    first: Vec<(&'de RawValue, &'de RawValue)>,
    /// How many the object has.
    count: usize,
}

impl<'de> Collected<'de> {
    fn named(self) -> Vec<(Zeroizing<String>, &'de RawValue)> {
        // A name whose escapes are not valid text matches no field.
        let name = |json: &RawValue| {
            let text = unescaped(json.get());
            text.unwrap_or_else(|| Zeroizing::new("\u{fffd}".to_owned()))
        };
        let fields = self.first.into_iter();
        fields.map(|(json, value)| (name(json), value)).collect()
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Collected<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Collected::default();
        // serde_json (1.0.154) returns a name as raw JSON too; other formats of serde do not.
        while let Some(field) = map.next_entry()? {
            fields.count += 1;
            if fields.count <= FIELDS_MAX {
                fields.first.push(field);
            }
        }
        Ok(fields)
    }
}

/// A name that could be a misspelt field. Anything else is not repeated: no provider has keys of
/// letters and underscores alone.
fn presentable(name: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    match name.len() <= 32 && name.bytes().all(plain) {
        true => name,
        false => "(a name that is not repeated here)",
    }
}

/// Runs before the parser, whose error about anything but an object quotes it.
fn expect_object(body: &[u8]) -> Result<(), Problem> {
    let first = body.iter().find(|byte| !b" \t\r\n".contains(byte));
    match first {
        Some(b'{') => Ok(()),
        _ => Err(no_object("The body is not a JSON object.".to_owned())),
    }
}

/// Takes only the position from the parser's error: its text may quote the body.
fn malformed(error: &serde_json::Error) -> Problem {
    no_object(format!(
        "The body is not valid JSON: line {}, column {}.",
        error.line(),
        error.column()
    ))
}

fn no_object(detail: String) -> Problem {
    let remedy = "Send one JSON object in UTF-8.";
    Problem::new(Kind::RequestMalformed, detail, remedy)
}

/// Refuses a body, a form or a query with more fields than any has here: each is copied, and compared
/// with every name that is known.
///
/// # Errors
/// 422, which calls them `what`, and the place of the error `whole`.
pub(crate) fn expect_few(count: usize, what: &str, whole: &str) -> Result<(), Problem> {
    if count <= FIELDS_MAX {
        return Ok(());
    }
    let detail = format!("has {count} {what}; at most {FIELDS_MAX} are read");
    Err(Problem::fields(vec![FieldError::parameter(whole, detail)]))
}

/// Several times what any body, form or query has.
const FIELDS_MAX: usize = 64;

/// The place of an error that concerns no single field.
pub(crate) const WHOLE_BODY: &str = "(the whole body)";

#[cfg(test)]
mod tests {
    use keyside_credentials::Environment;

    use super::*;
    use crate::wire::{CredentialEdit, NewCredential};

    #[test]
    fn serde_names_the_fields_of_a_body_in_the_order_of_their_declaration() {
        assert_eq!(
            fields::<CredentialEdit>(),
            ["label", "usageTag", "expiresAt", "limits", "default"]
        );
    }

    #[test]
    fn every_field_that_is_missing_or_wrong_is_named_and_its_value_is_not_repeated() {
        let body =
            br#"{"provider": ["sk-canary"], "environment": "sk-canary", "secret": 7, "labels": 1}"#;
        let problem = read::<NewCredential>(body).err().unwrap();
        let said = format!("{problem:?}");
        assert!(!said.contains("sk-canary"), "{said}");
        for field in [
            "workspaceId",
            "provider",
            "label",
            "environment",
            "secret",
            "labels",
        ] {
            assert!(said.contains(&format!("#/{field}\"")), "{field}: {said}");
        }
        assert!(said.contains("expected live or sandbox"), "{said}");
    }

    #[test]
    fn null_removes_a_value_and_an_absent_field_keeps_it() {
        let edit: CredentialEdit = read(br#"{"usageTag": null}"#).unwrap();
        assert_eq!((edit.usage_tag, edit.expires_at), (Some(None), None));
    }

    #[test]
    fn a_choice_is_one_of_the_names_on_the_wire() {
        assert_eq!(choice("sandbox"), Ok(Environment::Sandbox));
        let error = choice::<Environment>("sk-canary").unwrap_err();
        assert_eq!(error, "expected live or sandbox");
    }
}
