//! The layer of environment variables.

use std::collections::BTreeMap;

use super::{Node, Value};
use crate::origin::Origin;

/// Prefix of `KEYSIDE_<SECTION>__<KEY>`. Names without the double underscore are not settings: some
/// belong to the CLI, and Kubernetes sets `KEYSIDE_PORT` and similar ones for a service named
/// keyside.
const PREFIX: &str = "KEYSIDE_";

/// Between the parts of a key in the name of its variable.
const SEPARATOR: &str = "__";

/// Names of settings without the prefix.
const ALIASES: [(&str, [&str; 2]); 3] = [
    ("KMS_DRIVER", ["kms", "driver"]),
    ("KMS_MASTER_KEY_FILE", ["kms", "master_key_file"]),
    (
        "KMS_PREVIOUS_MASTER_KEY_FILE",
        ["kms", "previous_master_key_file"],
    ),
];

/// Names that Vault's own tools read. Other programs on the machine may need them, so a settings
/// file overrides them.
const VAULT_NAMES: [(&str, [&str; 2]); 8] = [
    ("VAULT_ADDR", ["vault", "address"]),
    ("VAULT_NAMESPACE", ["vault", "namespace"]),
    ("VAULT_CACERT", ["vault", "ca_file"]),
    ("VAULT_CAPATH", ["vault", "ca_path"]),
    ("VAULT_CLIENT_CERT", ["vault", "client_certificate"]),
    ("VAULT_CLIENT_KEY", ["vault", "client_key"]),
    ("VAULT_TLS_SERVER_NAME", ["vault", "tls_server_name"]),
    ("VAULT_TOKEN_FILE", ["vault", "token_file"]),
];

impl Node {
    /// Reads the variables that are settings. A prefixed name overrides an alias.
    pub(crate) fn environment(variables: &BTreeMap<String, String>) -> Self {
        let prefixed = variables
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), keys(name)?, value)));
        layer(named(&ALIASES, variables).chain(prefixed))
    }

    /// Reads the variables of Vault's own tools: the layer below the settings file.
    pub(crate) fn vault_environment(variables: &BTreeMap<String, String>) -> Self {
        layer(named(&VAULT_NAMES, variables))
    }
}

/// Whether a setting comes from a variable of Vault's own tools.
pub(crate) fn is_vault_name(origin: &Origin) -> bool {
    match origin {
        Origin::Variable(variable) => VAULT_NAMES.iter().any(|(name, _)| **variable == **name),
        Origin::Default | Origin::File { .. } => false,
    }
}

/// Values of the variables in a table of names, each with its keys. An empty variable counts as
/// unset.
fn named<'a>(
    names: &'a [(&'a str, [&'a str; 2])],
    variables: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a str, Vec<String>, &'a String)> {
    names.iter().filter_map(|(name, keys)| {
        let value = variables.get(*name).filter(|value| !value.is_empty())?;
        Some((*name, keys.map(str::to_owned).to_vec(), value))
    })
}

fn layer<'a>(variables: impl Iterator<Item = (&'a str, Vec<String>, &'a String)>) -> Node {
    variables.fold(
        Node::table(Origin::Default),
        |mut layer, (name, keys, value)| {
            layer.merge(leaf(name, &keys, value));
            layer
        },
    )
}

/// Whether a variable can change a setting.
pub(crate) fn is_setting(name: &str) -> bool {
    let mut names = ALIASES.iter().chain(&VAULT_NAMES);
    keys(name).is_some() || names.any(|(alias, _)| *alias == name)
}

/// Whether a variable has the prefix, but sets nothing because it has no double underscore.
pub(crate) fn lacks_separator(name: &str) -> bool {
    let path = name.strip_prefix(PREFIX);
    path.is_some_and(|path| !path.contains(SEPARATOR))
}

/// The variable of a dotted key, with `separator` between its parts.
fn variable(key: &str, separator: &str) -> String {
    let path = key.replace('.', separator).replace('-', "_");
    format!("{PREFIX}{}", path.to_ascii_uppercase())
}

/// The variable of a dotted key, misspelled with single underscores, and as it should be.
pub(crate) fn misspelled(key: &str) -> (String, String) {
    (variable(key, "_"), variable(key, SEPARATOR))
}

/// The keys of a prefixed name.
fn keys(name: &str) -> Option<Vec<String>> {
    let path = name.strip_prefix(PREFIX)?;
    path.contains(SEPARATOR).then(|| {
        let mut keys: Vec<String> = path.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
        restore_hyphens(&mut keys);
        keys
    })
}

/// Restores hyphens: names of variables cannot contain them, and provider ids and header names do
/// not contain underscores.
fn restore_hyphens(keys: &mut [String]) {
    let hyphenated: &[usize] = match keys.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["providers", _, "headers", _] => &[1, 3],
        ["providers", ..] => &[1],
        _ => &[],
    };
    for index in hyphenated {
        keys[*index] = keys[*index].replace('_', "-");
    }
}

fn leaf(name: &str, keys: &[String], value: &str) -> Node {
    let origin = Origin::Variable(name.into());
    let leaf = Node {
        value: Value::Untyped(value.to_owned()),
        origin: origin.clone(),
    };
    keys.iter().rev().fold(leaf, |node, key| Node {
        value: Value::Table(BTreeMap::from([(key.clone(), node)])),
        origin: origin.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Vec<String> {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let layer = Node::environment(&variables);
        let shown =
            |(key, leaf): (String, &Node)| format!("{key} = {} # {}", leaf.value, leaf.origin);
        layer.leaves().into_iter().map(shown).collect()
    }

    #[test]
    fn a_name_is_the_path_of_its_key() {
        assert_eq!(
            read(&[("KEYSIDE_PROXY__DEADLINES__DRAIN", "5s")]),
            ["proxy.deadlines.drain = \"5s\" # KEYSIDE_PROXY__DEADLINES__DRAIN"]
        );
    }

    #[test]
    fn hyphens_come_back_in_provider_ids_and_header_names() {
        let layer = read(&[
            ("KEYSIDE_PROVIDERS__AZURE_OPENAI__BASE_URL", "x"),
            (
                "KEYSIDE_PROVIDERS__ANTHROPIC__HEADERS__ANTHROPIC_VERSION",
                "y",
            ),
        ]);
        assert!(
            layer[0].starts_with("providers.anthropic.headers.anthropic-version = "),
            "{layer:?}"
        );
        assert!(
            layer[1].starts_with("providers.azure-openai.base_url = "),
            "{layer:?}"
        );
    }

    #[test]
    fn names_that_are_not_settings_are_ignored() {
        assert_eq!(
            read(&[
                ("KEYSIDE_PORT", "tcp://10.0.0.1:80"),
                ("KEYSIDE_CONFIG", "x"),
                ("HOME", "/")
            ]),
            [""; 0]
        );
    }

    #[test]
    fn the_prefixed_name_wins_over_its_alias() {
        let layer = read(&[("KMS_DRIVER", "aws"), ("KEYSIDE_KMS__DRIVER", "local")]);
        assert_eq!(layer, ["kms.driver = \"local\" # KEYSIDE_KMS__DRIVER"]);
    }

    #[test]
    fn an_empty_alias_is_not_set() {
        assert_eq!(read(&[("KMS_MASTER_KEY_FILE", "")]), [""; 0]);
    }
}
