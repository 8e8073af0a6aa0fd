//! The layer of a TOML document.

use std::{path::Path, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::{Node, Value};
use crate::{error::SettingsError, origin::Origin};

impl Node {
    /// Parses a built-in document.
    pub(crate) fn builtin(text: &str) -> Self {
        let document = DeTable::parse(text).expect("built-in documents are parsed by the tests");
        let origin = |_: usize| Origin::Default;
        Layer { origin: &origin }.node(DeValue::Table(document.into_inner()), 0)
    }

    /// Parses the text of a settings file.
    pub(crate) fn file(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let path: Arc<Path> = path.into();
        let document = DeTable::parse(text).map_err(|error| syntax(&path, text, &error))?;
        let origin = |offset| Origin::File {
            path: path.clone(),
            line: line(text, offset),
        };
        Ok(Layer { origin: &origin }.node(DeValue::Table(document.into_inner()), 0))
    }
}

/// Converts parsed TOML to nodes; `origin` maps a byte offset to an origin.
struct Layer<'a> {
    origin: &'a dyn Fn(usize) -> Origin,
}

impl Layer<'_> {
    fn node(&self, value: DeValue<'_>, start: usize) -> Node {
        Node {
            value: self.value(value),
            origin: (self.origin)(start),
        }
    }

    fn value(&self, value: DeValue<'_>) -> Value {
        match value {
            DeValue::Table(table) => {
                let entries = table.into_iter().map(|(key, value)| {
                    let node = self.node(value.into_inner(), key.span().start);
                    (key.into_inner().into_owned(), node)
                });
                Value::Table(entries.collect())
            }
            DeValue::Array(items) => {
                let items = items.into_iter();
                let items = items.map(|item| (item.span().start, item.into_inner()));
                Value::List(items.map(|(start, item)| self.node(item, start)).collect())
            }
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Boolean(truth) => Value::Boolean(truth),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(
                    Value::Unsupported("a number beyond 64 bits"),
                    Value::Integer,
                ),
            DeValue::Float(_) => Value::Unsupported("a fraction"),
            DeValue::Datetime(_) => Value::Unsupported("a date or time"),
        }
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let offset = error
        .span()
        .map_or(text.len(), |span| span.start.min(text.len()));
    let before = &text.as_bytes()[..offset];
    let line_before = before.rsplit(|byte| *byte == b'\n').next();
    let line_before = String::from_utf8_lossy(line_before.unwrap_or_default());
    SettingsError::Syntax {
        path: path.to_owned(),
        line: line(text, offset),
        column: 1 + line_before.chars().count(),
        message: error.message().to_owned(),
    }
}

/// The line of a byte offset, counted from 1.
fn line(text: &str, offset: usize) -> usize {
    let before = text.bytes().take(offset);
    1 + before.filter(|byte| *byte == b'\n').count()
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
