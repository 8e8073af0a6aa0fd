//! The layer of a TOML document.

use std::{ops::Range, path::Path, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::{Node, Value};
use crate::{error::SettingsError, origin::Origin};

impl Node {
    /// Parses a built-in document.
    pub(crate) fn builtin(text: &str) -> Self {
        let document = DeTable::parse(text).expect("built-in documents are parsed by the tests");
        Layer {
            origin: &|_| Origin::Default,
        }
        .table(document.into_inner(), 0)
    }

    /// Parses the text of a settings file.
    pub(crate) fn file(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let path: Arc<Path> = path.into();
        let document = DeTable::parse(text).map_err(|error| syntax(&path, text, &error))?;
        let origin = |offset| Origin::File {
            path: path.clone(),
            line: line(text, offset),
        };
        Ok(Layer { origin: &origin }.table(document.into_inner(), 0))
    }
}

/// Converts parsed TOML to nodes; `origin` maps a byte offset to an origin.
struct Layer<'a> {
    origin: &'a dyn Fn(usize) -> Origin,
}

impl Layer<'_> {
    fn table(&self, table: DeTable<'_>, start: usize) -> Node {
        let entries = table.into_iter().map(|(key, value)| {
            let Range { start, .. } = key.span();
            (
                key.into_inner().into_owned(),
                self.node(value.into_inner(), start),
            )
        });
        Node {
            value: Value::Table(entries.collect()),
            origin: (self.origin)(start),
        }
    }

    fn node(&self, value: DeValue<'_>, start: usize) -> Node {
        let value = match value {
            DeValue::Table(table) => return self.table(table, start),
            DeValue::Array(items) => Value::List(
                items
                    .into_iter()
                    .map(|item| (item.span().start, item.into_inner()))
                    .map(|(at, item)| self.node(item, at))
                    .collect(),
            ),
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Boolean(truth) => Value::Boolean(truth),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(
                    Value::Unsupported("a number beyond 64 bits"),
                    Value::Integer,
                ),
            DeValue::Float(_) => Value::Unsupported("a fraction"),
            DeValue::Datetime(_) => Value::Unsupported("a date or time"),
        };
        Node {
            value,
            origin: (self.origin)(start),
        }
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let offset = error
        .span()
        .map_or(text.len(), |span| span.start.min(text.len()));
    let before = &text.as_bytes()[..offset];
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    SettingsError::Syntax {
        path: path.to_owned(),
        line: line(text, offset),
        column: 1 + String::from_utf8_lossy(&before[start..]).chars().count(),
        message: error.message().to_owned(),
    }
}

/// The line of a byte offset, counted from 1.
fn line(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_the_line_of_its_key() {
        let text =
            "[proxy]\nthreads = 2\n\nhosts = [\n  'a',\n  'b',\n]\n[proxy.limits]\nstreams = 1\n";
        let root = Node::file("k.toml".as_ref(), text).unwrap();
        let proxy = root.get("proxy").unwrap();
        let Value::List(hosts) = &proxy.get("hosts").unwrap().value else {
            panic!("a list")
        };
        let limits = proxy.get("limits").unwrap();
        let nodes = [
            proxy,
            proxy.get("threads").unwrap(),
            &hosts[1],
            limits,
            limits.get("streams").unwrap(),
        ];
        let lines = nodes.map(|node| node.origin.to_string());
        assert_eq!(
            lines,
            ["k.toml:1", "k.toml:2", "k.toml:6", "k.toml:8", "k.toml:9"]
        );
    }

    #[test]
    fn a_syntax_error_names_line_and_column() {
        let error = Node::file("k.toml".as_ref(), "[proxy]\nhost = é\n").unwrap_err();
        assert!(error.to_string().starts_with("k.toml:2:8: "), "{error}");
    }
}
