//! The fields of a JSON object, read one by one, so that all that is wrong with them is said at once.
//!
//! serde's own messages are never shown: they repeat the value that they stumble over, and the one in the wrong place is
//! the secret.

mod read;

use std::{collections::HashSet, fmt};

use keyside_credentials::json_text::unescaped;
use serde::{
    Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

pub(crate) use self::read::{
    Given, flag, one_of, parsed, reference, secret, set, text, timestamp, whole, word,
};
use crate::problem::{FieldError, Kind, Problem};

/// A body's fields, and what was wrong with them so far.
pub(crate) struct Form<'a> {
    given: Vec<(Zeroizing<String>, &'a RawValue)>,
    errors: Vec<FieldError>,
}

impl<'a> Form<'a> {
    /// Takes the body apart into its fields. Names that are not `known`, or that come twice, are noted as wrong. Takes a time
    /// that is linear in the length of the body, whatever is in it.
    pub(crate) fn parse(body: &'a [u8], known: &[&str]) -> Result<Self, Problem> {
        expect_object(body)?;
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let fields = deserializer
            .deserialize_map(Fields)
            .and_then(|fields| deserializer.end().map(|()| fields))
            .map_err(|error| malformed(&error))?;
        if fields.count > FIELDS_MAX {
            return Err(too_many(fields.count));
        }
        // A name that is no text is none that is known.
        let name = |json: &RawValue| {
            let text = unescaped(json.get());
            text.unwrap_or_else(|| Zeroizing::new("\u{fffd}".to_owned()))
        };
        let given = fields.first.into_iter();
        let mut form = Self {
            given: given.map(|(json, value)| (name(json), value)).collect(),
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
        let given = self.given.iter().find(|(given, _)| given.as_str() == name);
        given.map(|(_, raw)| *raw)
    }

    fn note<T>(&mut self, name: &'static str, read: Result<T, String>) -> Option<T> {
        read.map_err(|detail| self.errors.push(FieldError::field(name, detail)))
            .ok()
    }

    fn note_unknown(&mut self, known: &[&str]) {
        let unknown = |name: &&str| !known.contains(name);
        let names = self.given.iter().map(|(name, _)| name.as_str());
        let detail = format!("is not a field here; the fields are {}", known.join(", "));
        let errors = names
            .filter(unknown)
            .map(|name| FieldError::field(presentable(name), &*detail));
        self.errors.extend(errors);
    }

    fn note_repeated(&mut self) {
        let mut seen = HashSet::new();
        let names = self.given.iter().map(|(name, _)| name.as_str());
        let errors = names
            .filter(|name| !seen.insert(*name))
            .map(|name| FieldError::field(presentable(name), "is there twice"));
        self.errors.extend(errors);
    }
}

/// A document that this API itself has made, as a whole; nothing if it is an object of another form.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<Option<T>, Problem> {
    expect_object(body)?;
    let _object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    Ok(serde_json::from_slice(body).ok())
}

/// How one field's value is read. The error says what was expected and what kind of thing was found, never the value.
pub(crate) trait Read<T>: FnOnce(Given<'_>) -> Result<T, String> {}

impl<T, F: FnOnce(Given<'_>) -> Result<T, String>> Read<T> for F {}

/// Collects an object's fields, names and values still in JSON.
struct Fields;

/// An object's fields.
#[derive(Default)]
struct Collected<'de> {
    /// As many as are read at most.
    first: Vec<(&'de RawValue, &'de RawValue)>,
    /// How many there are.
    count: usize,
}

impl<'de> Visitor<'de> for Fields {
    type Value = Collected<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Collected::default();
        // serde_json (1.0.154) gives a name as raw JSON too, which serde's other formats do not.
        while let Some(field) = map.next_entry()? {
            fields.count += 1;
            if fields.count <= FIELDS_MAX {
                fields.first.push(field);
            }
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

/// Before the parser sees it: its error about anything else quotes that, and may be about the secret.
fn expect_object(body: &[u8]) -> Result<(), Problem> {
    let first = body.iter().find(|byte| !b" \t\r\n".contains(byte));
    match first {
        Some(b'{') => Ok(()),
        _ => Err(no_object(
            "The body is expected to be a JSON object.".to_owned(),
        )),
    }
}

/// Only the place is taken from the parser's error, not its words.
fn malformed(error: &serde_json::Error) -> Problem {
    no_object(format!(
        "The body is not valid JSON: it goes wrong in line {}, column {}.",
        error.line(),
        error.column()
    ))
}

fn no_object(detail: String) -> Problem {
    Problem::new(
        Kind::RequestMalformed,
        detail,
        "Send one JSON object in UTF-8.",
    )
}

fn too_many(count: usize) -> Problem {
    let detail = format!("has {count} fields; at most {FIELDS_MAX} are read");
    Problem::fields(vec![FieldError::parameter("(the whole body)", detail)])
}

/// Several times what any body here has.
const FIELDS_MAX: usize = 64;
