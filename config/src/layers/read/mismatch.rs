//! A value that does not match its type.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use crate::origin::Origin;

/// A mismatch between a node and the type that it is deserialized to.
#[derive(Debug)]
pub(crate) struct Mismatch {
    /// The dotted key, relative to the deserialized node.
    pub(crate) key: String,
    /// `None` until the error has left the node where it occurred.
    pub(crate) origin: Option<Origin>,
    pub(crate) fault: Fault,
}

#[derive(Debug)]
pub(crate) enum Fault {
    /// The last part of the key is `name`, but should be one of `known`.
    Unknown {
        name: String,
        known: &'static [&'static str],
    },
    /// Any other reason. Never contains the value.
    Reason(String),
}

impl Mismatch {
    /// For valid values that contradict each other: the key to change, and the reason.
    pub(crate) fn new(key: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            key: key.into(),
            ..Self::reason(reason.to_string())
        }
    }

    /// The same mismatch, relative to the parent `name`.
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

    /// Adds the key and origin of the node where the error occurred.
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

    /// Names the type of the value but not the value, which may come from the environment.
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

/// Rewords the expectations of serde's derived code.
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

/// Joins dotted keys. An index such as `[0]` gets no dot.
pub(crate) fn under(name: &str, key: &str) -> String {
    match key {
        "" => name.to_owned(),
        index if index.starts_with('[') => format!("{name}{index}"),
        key => format!("{name}.{key}"),
    }
}
