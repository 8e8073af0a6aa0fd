//! Variables whose names lack the second underscore, and secrets where a name belongs.

use super::{complaint, load};
use crate::{
    layers::{Fault, Node},
    settings::Document,
    sources::WITHOUT_DEFAULT,
};

#[test]
fn a_variable_with_single_underscores_is_an_error_that_names_the_right_one() {
    for (written, meant) in [
        ("KEYSIDE_PROXY_ENVIRONMENT", "KEYSIDE_PROXY__ENVIRONMENT"),
        (
            "KEYSIDE_PROXY_DEADLINES_DRAIN",
            "KEYSIDE_PROXY__DEADLINES__DRAIN",
        ),
        ("KEYSIDE_ADMIN_PUBLIC_URL", "KEYSIDE_ADMIN__PUBLIC_URL"),
        ("KEYSIDE_KMS_DRIVER", "KEYSIDE_KMS__DRIVER"),
        (
            "KEYSIDE_PROVIDERS_AZURE_OPENAI_ALLOW",
            "KEYSIDE_PROVIDERS__AZURE_OPENAI__ALLOW",
        ),
    ] {
        let expected =
            format!("{written}: sets nothing; the setting's variable has two underscores: {meant}");
        assert_eq!(complaint("", &[(written, "sandbox")]), expected);
    }
}

#[test]
fn all_such_variables_are_named_at_once() {
    let both = [("KEYSIDE_LOG_FORMAT", "x"), ("KEYSIDE_STORE_PATH", "x")];
    let complaint = complaint("", &both);
    assert!(complaint.contains("KEYSIDE_LOG__FORMAT"), "{complaint}");
    assert!(complaint.contains("KEYSIDE_STORE__PATH"), "{complaint}");
}

#[test]
fn variables_of_the_command_line_and_of_kubernetes_are_ignored() {
    for name in [
        "KEYSIDE_CONFIG",
        "KEYSIDE_TOKEN",
        "KEYSIDE_ADMIN_URL",
        "KEYSIDE_CA_FILE",
        "KEYSIDE_PORT",
        "KEYSIDE_SERVICE_HOST",
        "KEYSIDE_ADMIN_PORT",
        "KEYSIDE_PROXY_SERVICE_PORT",
        "KEYSIDE_PROXY_PORT_7380_TCP_ADDR",
    ] {
        assert!(load("", &[(name, "tcp://10.0.0.1:80")]).is_ok(), "{name}");
    }
}

#[test]
fn a_secret_in_place_of_a_name_is_not_repeated() {
    for text in [
        "sk-proj-CanaryInPlaceOfAName0123 = 1",
        "[sk-proj-CanaryInPlaceOfAName0123]",
        "[providers.openai]\nsk-proj-CanaryInPlaceOfAName0123 = 1",
        "[providers.sk-proj-CanaryInPlaceOfAName0123]\nbase_url = 'https://x.example'",
    ] {
        let complaint = complaint(text, &[]);
        assert!(complaint.contains("sk-proj-…"), "{complaint}");
        assert!(!complaint.contains("CanaryInPlaceOfAName"), "{complaint}");
    }
    let known = complaint(
        "[proxy.limits]\nupstream_connections_per_destinations = 1",
        &[],
    );
    assert!(
        known.contains("`proxy.limits.upstream_connections_per_destinations`"),
        "{known}"
    );
}

#[test]
fn the_settings_without_a_default_are_all_those_that_the_defaults_do_not_have() {
    let defaults = Node::defaults();
    let leaves = defaults.leaves();
    let has_default = |key: &String| leaves.iter().any(|(leaf, _)| leaf == key);
    let root = known_in("").expect("a table");
    let settings = root.iter().flat_map(|table| settings_at(table));
    // At the root are tables, and lists of tables, which no variable can set.
    let is_variable = |key: &String| key.contains('.');
    let mut without: Vec<_> = settings
        .filter(|key| is_variable(key) && !has_default(key))
        .collect();
    without.sort();
    assert_eq!(without, WITHOUT_DEFAULT);
}

/// The setting with this key, or those of the table.
fn settings_at(key: &str) -> Vec<String> {
    let Some(names) = known_in(key) else {
        return vec![key.to_owned()];
    };
    let below = names.iter().map(|name| format!("{key}.{name}"));
    below.flat_map(|key| settings_at(&key)).collect()
}

/// The names in a table, as the error for an unknown one tells them; `None` if there is no such
/// table.
fn known_in(table: &str) -> Option<&'static [&'static str]> {
    let unknown = match table {
        "" => "unknown = 1".to_owned(),
        table => format!("[{table}]\nunknown = 1"),
    };
    let mut tree = Node::defaults();
    tree.merge(Node::builtin(&unknown));
    match tree.read::<Document>().err()?.fault {
        Fault::Unknown { known, .. } => Some(known),
        Fault::Reason(_) => None,
    }
}
