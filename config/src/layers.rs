//! Layers of settings, merged into one tree whose leaves remember their origin.
//!
//! Knows TOML and the environment, not the meaning of settings.

mod document;
mod environment;
mod error;
mod read;

use std::{collections::BTreeMap, fmt};

pub(crate) use self::{
    environment::{is_setting, is_vault_name, lacks_separator, misspelled},
    read::{Fault, Mismatch},
};
use crate::origin::Origin;

/// A value and its origin.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Table(BTreeMap<String, Node>),
    List(Vec<Node>),
    String(String),
    Integer(i64),
    Boolean(bool),
    /// A TOML type that no setting has, by name.
    Unsupported(&'static str),
    /// The value of an environment variable. Read as the type that its key has.
    Untyped(String),
}

impl Node {
    pub(crate) fn table(origin: Origin) -> Self {
        let value = Value::Table(BTreeMap::new());
        Self { value, origin }
    }

    /// The lowest layer, without the providers.
    pub(crate) fn defaults() -> Self {
        Self::builtin(include_str!("../defaults.toml"))
    }

    /// Merges `over` on top: tables are merged key by key, other values replaced.
    pub(crate) fn merge(&mut self, over: Node) {
        match (&mut self.value, over.value) {
            (Value::Table(below), Value::Table(above)) => {
                for (key, node) in above {
                    match below.get_mut(&key) {
                        Some(under) => under.merge(node),
                        None => drop(below.insert(key, node)),
                    }
                }
            }
            (_, value) => {
                *self = Node {
                    value,
                    origin: over.origin,
                }
            }
        }
    }

    /// Sets an entry of a table.
    pub(crate) fn insert(&mut self, key: &str, node: Node) {
        if let Value::Table(entries) = &mut self.value {
            entries.insert(key.to_owned(), node);
        }
    }

    /// Removes the node at a dotted key; of an item of a list, the list. `None` if there is none.
    pub(crate) fn remove(&mut self, key: &str) -> Option<()> {
        let mut names = key.split('.');
        let last = names.next_back()?;
        let mut node = self;
        for name in names {
            node = node.part_mut(name)?;
        }
        let last = last.split_once('[').map_or(last, |(list, _)| list);
        match &mut node.value {
            Value::Table(entries) => entries.remove(last).map(drop),
            _ => None,
        }
    }

    /// The entries of a table.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Node)> {
        let entries = match &self.value {
            Value::Table(entries) => Some(entries),
            _ => None,
        };
        entries.into_iter().flatten()
    }

    /// The entry of a table.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Table(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The origin of the node at a dotted key, such as `webhook[1].name`, or of its nearest ancestor
    /// that exists.
    pub(crate) fn origin_of(&self, key: &str) -> &Origin {
        let deepest = key
            .split('.')
            .try_fold(self, |node, name| node.part(name).ok_or(node));
        let (Ok(node) | Err(node)) = deepest;
        &node.origin
    }

    /// The entry of a table, or with an index, an item of a list in it.
    fn part(&self, name: &str) -> Option<&Node> {
        let Some((name, index)) = indexed(name) else {
            return self.get(name);
        };
        match &self.get(name)?.value {
            Value::List(items) => items.get(index),
            _ => None,
        }
    }

    fn part_mut(&mut self, name: &str) -> Option<&mut Node> {
        let Value::Table(entries) = &mut self.value else {
            return None;
        };
        let Some((name, index)) = indexed(name) else {
            return entries.get_mut(name);
        };
        match &mut entries.get_mut(name)?.value {
            Value::List(items) => items.get_mut(index),
            _ => None,
        }
    }

    /// All values that are not tables, by dotted key, in order.
    pub(crate) fn leaves(&self) -> Vec<(String, &Node)> {
        let below = self.entries().flat_map(|(name, node)| {
            let leaves = match node.value {
                Value::Table(_) => node.leaves(),
                _ => vec![(String::new(), node)],
            };
            let named = move |(key, leaf): (String, _)| (read::under(name, &key), leaf);
            leaves.into_iter().map(named)
        });
        below.collect()
    }
}

/// The list and the index of `name[1]`.
fn indexed(name: &str) -> Option<(&str, usize)> {
    let (list, index) = name.strip_suffix(']')?.split_once('[')?;
    Some((list, index.parse().ok()?))
}

impl fmt::Display for Value {
    /// TOML notation. The value of a variable is shown as the type that it looks like.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let looks_typed = |text: &str| text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok();
        match self {
            Self::Table(entries) => {
                let entry = |(key, node): (&String, &Node)| format!("{key} = {}", node.value);
                let entries: Vec<_> = entries.iter().map(entry).collect();
                write!(f, "{{ {} }}", entries.join(", "))
            }
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| item.value.to_string()).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(truth) => truth.fmt(f),
            Self::Unsupported(kind) => f.write_str(kind),
            Self::Untyped(text) if looks_typed(text) => f.write_str(text),
            Self::String(text) | Self::Untyped(text) => toml::Value::from(text.as_str()).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        Node::builtin(text)
    }

    #[test]
    fn tables_merge_and_lists_are_replaced() {
        let mut below = tree("a = 1\nl = [1, 2]\n[t]\nx = 1\ny = 2");
        below.merge(tree("l = [3]\n[t]\ny = 'z'"));
        let leaves = below.leaves();
        let shown: Vec<_> = leaves
            .iter()
            .map(|(key, leaf)| format!("{key} = {}", leaf.value))
            .collect();
        assert_eq!(shown, ["a = 1", "l = [3]", "t.x = 1", "t.y = \"z\""]);
    }

    #[test]
    fn a_node_is_removed_with_the_list_that_it_is_an_item_of() {
        let mut root = tree("l = [1, 2]\n[t]\nx = 1\n[[a]]\nb = 1\nc = 2");
        for (key, removed) in [
            ("t.y", None),
            ("t.x.y", None),
            ("a[1].b", None),
            ("t.x", Some(())),
            ("l[1]", Some(())),
            ("a[0].c", Some(())),
        ] {
            assert_eq!(root.remove(key), removed, "{key}");
        }
        let shown = root.value.to_string();
        assert_eq!(shown, "{ a = [{ b = 1 }], t = {  } }");
    }

    #[test]
    fn the_origin_of_a_missing_key_is_that_of_its_table() {
        let text = "[a]\nb = 1\n[c]\nd = 1\n";
        let root = Node::file("k.toml".as_ref(), text).unwrap();
        assert_eq!(root.origin_of("c.d").to_string(), "k.toml:4");
        assert_eq!(root.origin_of("c.missing").to_string(), "k.toml:3");
    }

    #[test]
    fn the_origin_of_an_item_is_its_own_line() {
        let text = "[[a]]\nb = 1\n[[a]]\nb = 2\n";
        let root = Node::file("k.toml".as_ref(), text).unwrap();
        let lines = ["a[0].b", "a[1].b", "a[1].missing", "a[2].b"]
            .map(|key| root.origin_of(key).to_string());
        assert_eq!(lines[..2], ["k.toml:2", "k.toml:4"]);
        // A table in a list begins at its header.
        assert_eq!(lines[2], "k.toml:3");
        assert_eq!(lines[3], root.origin.to_string());
    }
}
