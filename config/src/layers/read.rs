//! Deserializes a tree, through serde.
//!
//! A deserializer of our own, because only it knows all three: the keys of each struct, the origin
//! of each value, and the type that an untyped environment variable has to be parsed as.

mod mismatch;

use std::{collections::btree_map, str::FromStr, vec};

use serde::{
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess,
        SeqAccess, Unexpected, Visitor,
    },
    forward_to_deserialize_any,
};

pub(crate) use self::mismatch::{Fault, Mismatch, under};
use super::{Node, Value};

impl Node {
    /// Deserializes the node.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, Mismatch> {
        T::deserialize(self)
    }

    /// Parses an untyped text.
    fn typed<T: FromStr>(&self) -> Option<T> {
        match &self.value {
            Value::Untyped(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

impl<'de> Deserializer<'de> for Node {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Table(entries) => visitor.visit_map(Entries {
                entries: entries.into_iter(),
                current: None,
            }),
            Value::List(items) => visitor.visit_seq(Items::of(items)),
            Value::String(text) | Value::Untyped(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Boolean(truth) => visitor.visit_bool(truth),
            Value::Unsupported(kind) => Err(Error::invalid_type(Unexpected::Other(kind), &visitor)),
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

    /// In a variable, commas separate the items of a list, and an empty variable is an empty list.
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
        visitor.visit_seq(Items::of(items.map(item).collect()))
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

/// The entries of a table. An error in one gets its key and origin.
struct Entries {
    entries: btree_map::IntoIter<String, Node>,
    current: Option<(String, Node)>,
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

/// The items of a list. An error in one gets its index and origin.
struct Items {
    items: vec::IntoIter<Node>,
    index: usize,
}

impl Items {
    fn of(items: Vec<Node>) -> Self {
        let items = items.into_iter();
        Self { items, index: 0 }
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

#[cfg(test)]
mod tests;
