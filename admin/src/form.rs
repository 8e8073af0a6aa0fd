//! The fields of a JSON object, read one by one, so that all that is wrong with them is said at once.
//!
//! serde's own messages are never shown: they repeat the value that they stumble over, and the one in the wrong place is
//! the secret.

mod read;

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

pub(crate) use self::read::{
    Given, flag, one_of, parsed, secret, set, text, timestamp, whole, word,
};
use crate::problem::{FieldError, Kind, Problem};

/// A body's fields, and what was wrong with them so far.
pub(crate) struct Form<'a> {
    given: Vec<(String, &'a RawValue)>,
    errors: Vec<FieldError>,
}

impl<'a> Form<'a> {
    /// Takes the body apart into its fields. Names that are not `known`, or that come twice, are noted as wrong.
    pub(crate) fn parse(body: &'a [u8], known: &[&str]) -> Result<Self, Problem> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let given = deserializer
            .deserialize_map(Fields)
            .and_then(|fields| deserializer.end().map(|()| fields))
            .map_err(|error| malformed(&error))?;
        let mut form = Self {
            given,
            errors: Vec::new(),
        };
        form.note_unknown(known);
        form.note_repeated();
        Ok(form)
    }

    /// A field that must be there.
    pub(crate) fn required<T>(&mut self, name: &'static str, read: impl Read<T>) -> Option<T> {
        match self.value(name) {
            Some(raw) => self.note(name, read(Given(raw))),
            None => self.note(name, Err("is missing".to_owned())),
        }
    }

    /// A field that may be left out, or be null. What cannot be read counts as left out here and keeps
    /// [`Form::finish`] from succeeding.
    pub(crate) fn optional<T>(&mut self, name: &'static str, read: impl Read<T>) -> Option<T> {
        let raw = self.value(name)?;
        match raw.get() {
            "null" => None,
            _ => self.note(name, read(Given(raw))),
        }
    }

    /// A field that may be left out, and of which null says that there is to be nothing.
    pub(crate) fn nullable<T>(
        &mut self,
        name: &'static str,
        read: impl Read<T>,
    ) -> Option<Option<T>> {
        let raw = self.value(name)?;
        match raw.get() {
            "null" => Some(None),
            _ => self.note(name, read(Given(raw))).map(Some),
        }
    }

    /// Whether a field is there, whatever it holds.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// A field that may not be there, and why.
    pub(crate) fn refuse(&mut self, name: &'static str, why: &str) {
        if self.has(name) {
            self.errors.push(FieldError::field(name, why));
        }
    }

    /// What the fields came to, or the problem document about all that are wrong.
    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, Problem> {
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            _ => Err(Problem::fields(self.errors)),
        }
    }

    fn value(&self, name: &str) -> Option<&'a RawValue> {
        let given = self.given.iter().find(|(given, _)| given == name);
        given.map(|(_, raw)| *raw)
    }

    fn note<T>(&mut self, name: &'static str, read: Result<T, String>) -> Option<T> {
        read.map_err(|detail| self.errors.push(FieldError::field(name, detail)))
            .ok()
    }

    fn note_unknown(&mut self, known: &[&str]) {
        let unknown = |name: &&String| !known.contains(&name.as_str());
        let names = self.given.iter().map(|(name, _)| name);
        let detail = format!("is not a field here; the fields are {}", known.join(", "));
        let errors = names
            .filter(unknown)
            .map(|name| FieldError::field(presentable(name), &*detail));
        self.errors.extend(errors);
    }

    fn note_repeated(&mut self) {
        for (position, (name, _)) in self.given.iter().enumerate() {
            if self.given[..position]
                .iter()
                .any(|(earlier, _)| earlier == name)
            {
                self.errors
                    .push(FieldError::field(presentable(name), "is there twice"));
            }
        }
    }
}

/// A document that this API itself has made, as a whole; nothing if it is an object of another form.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<Option<T>, Problem> {
    let _object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    Ok(serde_json::from_slice(body).ok())
}

/// How one field's value is read. The error says what was expected and what kind of thing was found, never the value.
pub(crate) trait Read<T>: FnOnce(Given<'_>) -> Result<T, String> {}

impl<T, F: FnOnce(Given<'_>) -> Result<T, String>> Read<T> for F {}

/// Collects an object's fields with their values still in JSON.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

/// A name that could be a misspelt field. Whatever else stands where a name should is not repeated: letters and
/// underscores alone are no key of any provider.
fn presentable(name: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    match name.len() <= 32 && name.bytes().all(plain) {
        true => name,
        false => "(a name that is not repeated here)",
    }
}

/// Only the place is taken from the parser's error, not its words.
fn malformed(error: &serde_json::Error) -> Problem {
    let detail = match error.is_data() {
        true => "The body is expected to be a JSON object.".to_owned(),
        false => format!(
            "The body is not valid JSON: it goes wrong in line {}, column {}.",
            error.line(),
            error.column()
        ),
    };
    Problem::new(
        Kind::RequestMalformed,
        detail,
        "Send one JSON object in UTF-8.",
    )
}
