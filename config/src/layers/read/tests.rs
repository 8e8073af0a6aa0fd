//! Every type of setting, read from a file and from a variable.

use serde::Deserialize;

use super::*;
use crate::Origin;

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
    node.merge(Node::file("k.toml".as_ref(), text).unwrap());
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
fn a_wrong_type_is_reported_with_its_place() {
    let cases = [
        (
            "\ncount = '1'",
            "k.toml:2: count: expected a whole number from 0, found a string",
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
            "k.toml:1: names: expected a list, found a string",
        ),
        (
            "names = [\n 'a',\n 1 ]",
            "k.toml:3: names[1]: expected a string, found a number",
        ),
        ("kind = 'three'", "k.toml:1: kind: expected one of one, two"),
        (
            "kind = 3",
            "k.toml:1: kind: expected a string, found a number",
        ),
        ("counts = 3", "k.toml:1: counts: unknown key `counts`"),
    ];
    for (text, expected) in cases {
        assert_eq!(complaint(text), expected);
    }
}
