//! Reads a tree into types, through serde.
//!
//! A deserializer of our own, because only it has all three at hand: the keys that a struct knows, the origin of each
//! value, and the type that an untyped value from the environment is wanted as.

use std::{collections::btree_map, fmt, str::FromStr, vec};

use serde::{
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer,
        MapAccess, SeqAccess, Unexpected, Visitor,
    },
    forward_to_deserialize_any,
};

use super::{Node, Value};
use crate::Origin;

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

impl Node {
    /// Reads it as a `T`.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, Mismatch> {
        T::deserialize(self)
    }

    /// An untyped text as a `T`, if it is one.
    fn typed<T: FromStr>(&self) -> Option<T> {
        match &self.value {
            Value::Untyped(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// The dotted key of `key` below `name`; an index such as `[0]` takes no dot.
pub(super) fn under(name: &str, key: &str) -> String {
    match key {
        "" => name.to_owned(),
        index if index.starts_with('[') => format!("{name}{index}"),
        key => format!("{name}.{key}"),
    }
}

impl<'de> Deserializer<'de> for Node {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Table(entries) => visitor.visit_map(Entries::from(entries)),
            Value::List(items) => visitor.visit_seq(Items::from(items)),
            Value::String(text) | Value::Untyped(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Boolean(truth) => visitor.visit_bool(truth),
            Value::Foreign(kind) => Err(Error::invalid_type(Unexpected::Other(kind), &visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.typed() {
            Some(truth) => visitor.visit_bool(truth),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.typed() {
            Some(number) => visitor.visit_i64(number),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_i64(visitor)
    }

    /// A list in a variable is separated by commas; an empty variable is an empty list.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let Value::Untyped(text) = &self.value else {
            return self.deserialize_any(visitor);
        };
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        let item = |text: &str| Node {
            value: Value::Untyped(text.to_owned()),
            origin: self.origin.clone(),
        };
        visitor.visit_seq(Items::from(items.map(item).collect::<Vec<_>>()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::String(name) | Value::Untyped(name) => {
                visitor.visit_enum(name.into_deserializer())
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct struct
        map identifier ignored_any
    }
}

/// The entries of a table; an error in one is given its key and its origin on the way out.
struct Entries {
    entries: btree_map::IntoIter<String, Node>,
    current: Option<(String, Node)>,
}

impl From<std::collections::BTreeMap<String, Node>> for Entries {
    fn from(entries: std::collections::BTreeMap<String, Node>) -> Self {
        Self {
            entries: entries.into_iter(),
            current: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mismatch> {
        self.current = self.entries.next();
        let Some((name, node)) = &self.current else {
            return Ok(None);
        };
        let key = seed.deserialize(name.as_str().into_deserializer());
        key.map(Some)
            .map_err(|error: Mismatch| error.inside(name, &node.origin))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let (name, node) = self
            .current
            .take()
            .expect("serde asks for a value after its key");
        let origin = node.origin.clone();
        seed.deserialize(node)
            .map_err(|error| error.inside(&name, &origin))
    }
}

/// The items of a list, likewise.
struct Items {
    items: vec::IntoIter<Node>,
    index: usize,
}

impl From<Vec<Node>> for Items {
    fn from(items: Vec<Node>) -> Self {
        Self {
            items: items.into_iter(),
            index: 0,
        }
    }
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Mismatch;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mismatch> {
        let Some(node) = self.items.next() else {
            return Ok(None);
        };
        let name = format!("[{}]", self.index);
        self.index += 1;
        let origin = node.origin.clone();
        seed.deserialize(node)
            .map(Some)
            .map_err(|error| error.inside(&name, &origin))
    }
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

    fn inside(mut self, name: &str, origin: &Origin) -> Self {
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
            Unexpected::Str(_) => "a text",
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
        "a string" => "a text".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        derived if derived.starts_with("struct ") => "a table".into(),
        derived if derived.starts_with("enum ") => "a text".into(),
        own => own.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        count: usize,
        small: Option<u16>,
        flag: bool,
        names: Vec<String>,
        #[serde(default)]
        kind: Kind,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        #[default]
        One,
        Two,
    }

    const COMPLETE: &str = "count = 1\nflag = true\nnames = ['a']\nkind = 'two'\n";

    fn complaint(text: &str) -> String {
        let mut node = Node::builtin(COMPLETE);
        node.lay(Node::file("k.toml".as_ref(), text).unwrap());
        let mismatch = node.read::<Sample>().unwrap_err();
        format!(
            "{}: {}: {mismatch}",
            mismatch.origin.clone().unwrap(),
            mismatch.key
        )
    }

    #[test]
    fn a_complete_tree_is_read() {
        let read: Sample = Node::builtin(COMPLETE).read().unwrap();
        assert_eq!(
            read,
            Sample {
                count: 1,
                small: None,
                flag: true,
                names: vec!["a".into()],
                kind: Kind::Two
            }
        );
    }

    #[test]
    fn an_untyped_value_becomes_the_type_of_its_key() {
        let untyped = |text: &str| Node {
            value: Value::Untyped(text.into()),
            origin: Origin::Default,
        };
        let entries = [
            ("count", "7"),
            ("small", "8"),
            ("flag", "false"),
            ("names", "a, b,"),
            ("kind", "two"),
        ];
        let entries = entries.map(|(key, text)| (key.to_owned(), untyped(text)));
        let node = Node {
            value: Value::Table(entries.into()),
            origin: Origin::Default,
        };
        let names = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(
            node.read::<Sample>().unwrap(),
            Sample {
                count: 7,
                small: Some(8),
                flag: false,
                names,
                kind: Kind::Two
            }
        );
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        let cases = [
            (
                "\ncount = '1'",
                "k.toml:2: count: expected a whole number from 0, found a text",
            ),
            (
                "count = -1",
                "k.toml:1: count: expected a whole number from 0",
            ),
            (
                "count = 1.5",
                "k.toml:1: count: expected a whole number from 0, found a fraction",
            ),
            (
                "small = 65536",
                "k.toml:1: small: expected a whole number from 0 to 65535",
            ),
            (
                "flag = 1",
                "k.toml:1: flag: expected true or false, found a number",
            ),
            (
                "names = 'a'",
                "k.toml:1: names: expected a list, found a text",
            ),
            (
                "names = [\n 'a',\n 1 ]",
                "k.toml:3: names[1]: expected a text, found a number",
            ),
            ("kind = 'three'", "k.toml:1: kind: expected one of one, two"),
            (
                "kind = 3",
                "k.toml:1: kind: expected a text, found a number",
            ),
            ("counts = 3", "k.toml:1: counts: unknown key `counts`"),
        ];
        for (text, expected) in cases {
            assert_eq!(complaint(text), expected);
        }
    }
}
