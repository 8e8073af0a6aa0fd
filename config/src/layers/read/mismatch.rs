//! A value that does not fit, on its way to the reader.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use crate::origin::Origin;

/// A node that does not fit the type it is read as.
#[derive(Debug)]
pub(crate) struct Mismatch {
    /// Dotted, from the node that was read.
    pub(crate) key: String,
    /// None until the error leaves the node that it is about.
    pub(crate) origin: Option<Origin>,
    pub(crate) fault: Fault,
}

#[derive(Debug)]
pub(crate) enum Fault {
    /// The key's last part is `name`, and should be one of `known`.
    Unknown {
        name: String,
        known: &'static [&'static str],
    },
    /// In words, and without the value.
    Reason(String),
}

impl Mismatch {
    /// For values that are each well-formed and do not go together: the key to change, and why.
    pub(crate) fn new(key: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            key: key.into(),
            ..Self::reason(reason.to_string())
        }
    }

    /// The same for a reader further out.
    pub(crate) fn below(self, name: &str) -> Self {
        Self {
            key: under(name, &self.key),
            ..self
        }
    }

    fn reason(reason: String) -> Self {
        Self {
            key: String::new(),
            origin: None,
            fault: Fault::Reason(reason),
        }
    }

    /// Takes the key and the origin of the node that it leaves.
    pub(super) fn inside(mut self, name: &str, origin: &Origin) -> Self {
        self.key = under(name, &self.key);
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }
}

impl Error for Mismatch {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::reason(reason.to_string())
    }

    /// Says what kind of thing was found, never which: it may come from the environment.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Signed(_) => "a number",
            Unexpected::Str(_) => "a string",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a table",
            Unexpected::Other(kind) => kind,
            _ => "something else",
        };
        Self::reason(format!("expected {}, found {found}", in_words(expected)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::reason(format!("expected {}", in_words(expected)))
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::reason(format!("expected one of {}", known.join(", ")))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        let fault = Fault::Unknown {
            name: name.to_owned(),
            known,
        };
        Self {
            fault,
            ..Self::reason(String::new())
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::reason(format!("`{field}` is missing"))
    }
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::Unknown { name, .. } => write!(f, "unknown key `{name}`"),
            Fault::Reason(reason) => f.write_str(reason),
        }
    }
}

/// What serde's derived code expects, for people.
fn in_words(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => "a whole number from 0 to 4294967295".into(),
        "u64" | "usize" => "a whole number from 0".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        derived if derived.starts_with("struct ") => "a table".into(),
        derived if derived.starts_with("enum ") => "a string".into(),
        own => own.into(),
    }
}

/// The dotted key of `key` below `name`; an index such as `[0]` takes no dot.
pub(crate) fn under(name: &str, key: &str) -> String {
    match key {
        "" => name.to_owned(),
        index if index.starts_with('[') => format!("{name}{index}"),
        key => format!("{name}.{key}"),
    }
}
