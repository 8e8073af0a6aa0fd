//! Variables whose names lack the second underscore, and secrets where a name belongs.

use super::{complaint, load};

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
