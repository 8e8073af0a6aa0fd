//! `check` and the start report unusable egress settings, and show the routes in effect.

use super::{Authority, Builder, Keyside, quoted};
use serde_json::Value;
use std::fs;

const CANARY: &str = "canary-egress-setting-90be";

/// Checks that both commands refuse these settings, with these words and without a password.
fn check_unusable(builder: &Builder, parts: &[&str]) {
    for command in ["check", "serve"] {
        let exit = builder.run(&[command], b"");
        assert_eq!(exit.code, Some(78), "{exit:#?}");
        for part in parts {
            assert!(exit.stderr.contains(part), "no {part} in {exit:#?}");
        }
        let said = [exit.stdout, exit.stderr].concat();
        assert!(!said.contains(CANARY), "{said}");
    }
    assert!(!builder.home().join("data").exists(), "something was made");
}

#[test]
fn a_variable_that_names_no_proxy_is_an_error_that_names_the_variable() {
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let value = format!("ftp://me:{CANARY}@proxy.example");
        let builder = Keyside::builder().variable(name, &value);
        check_unusable(&builder, &[name, "egress.proxy"]);
        let direct = builder.set("egress.proxy", r#""direct""#);
        let exit = direct.run(&["check"], b"");
        assert_eq!(exit.code, Some(0), "{exit:#?}");
    }
}

#[test]
fn a_password_in_a_url_of_the_settings_is_refused_with_the_remedy() {
    let url = format!("\"http://me:{CANARY}@proxy.example:3128\"");
    for key in ["egress.proxy", "providers.openai.egress"] {
        let builder = Keyside::builder().set(key, &url);
        check_unusable(&builder, &[key, "egress.credentials_file"]);
    }
}

#[test]
fn a_file_that_is_missing_or_holds_something_else_is_named() {
    let proxied = || Keyside::builder().set("egress.proxy", r#""http://proxy.example:3128""#);
    let certificates = Keyside::builder().variable("SSL_CERT_FILE", "/nowhere/roots.pem");
    check_unusable(&certificates, &["SSL_CERT_FILE", "/nowhere/roots.pem"]);
    let empty = Keyside::builder().variable("SSL_CERT_FILE", "");
    check_unusable(&empty, &["SSL_CERT_FILE: it is empty"]);
    let folder = Keyside::builder().variable("SSL_CERT_DIR", "/nowhere/roots");
    check_unusable(&folder, &["SSL_CERT_DIR", "/nowhere/roots"]);
    let spoilt = Keyside::builder();
    let file = spoilt.home().join("roots.pem");
    fs::write(&file, CANARY).expect("a writable folder");
    let spoilt = spoilt.variable("SSL_CERT_FILE", file.to_str().expect("a plain path"));
    check_unusable(&spoilt, &["SSL_CERT_FILE", "contains no certificate"]);
    for key in ["egress.ca_file", "egress.credentials_file"] {
        let missing = proxied().set(key, r#""/nowhere/file""#);
        check_unusable(&missing, &[key, "/nowhere/file"]);
        let builder = proxied();
        let file = builder.home().join("file");
        fs::write(&file, CANARY).expect("a writable folder");
        check_unusable(&builder.set(key, &quoted(&file)), &[key]);
    }
    let without_proxy = Keyside::builder().set("egress.credentials_file", r#""file""#);
    check_unusable(&without_proxy, &["egress.credentials_file", "egress.proxy"]);
}

#[test]
fn proxy_variables_without_effect_are_warned_of() {
    let proxied = Keyside::builder().variable("HTTPS_PROXY", "http://proxy.example");
    let exempting = |list: &str| proxied.clone().variable("NO_PROXY", list);
    for (builder, expected) in [
        (exempting("corp.example:8080"), Some("entry 1 has a port")),
        (
            exempting("a.example 10.0.0.0/99"),
            Some("entry 2 is not a network"),
        ),
        (exempting("a.example,*.b.example 10.0.0.0/8 ::1"), None),
        (
            Keyside::builder().variable("HTTP_PROXY", "http://proxy.example"),
            Some("HTTPS_PROXY"),
        ),
    ] {
        let exit = builder.run(&["check"], b"");
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        match expected {
            Some(part) => assert!(exit.stderr.contains(part), "no {part} in {exit:#?}"),
            None => assert_eq!(exit.stderr, ""),
        }
    }
}

#[test]
fn check_shows_each_provider_with_another_route() {
    let authority = Authority::new();
    let builder = Keyside::builder()
        .set("providers.openai.egress", r#""direct""#)
        .provider("mistral", "https://mistral.internal")
        .set("providers.mistral.allow_private", "true")
        .variable("HTTPS_PROXY", &format!("http://me:{CANARY}@proxy.example"))
        .variable("NO_PROXY", "anthropic.com");
    let file = authority.file_in(builder.home());
    let exit = builder
        .set("egress.ca_file", &quoted(&file))
        .run(&["check", "--json"], b"");
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(!exit.stdout.contains(CANARY), "{exit:#?}");
    let json: Value = serde_json::from_str(&exit.stdout).expect("JSON");
    let of = |provider: Option<&str>| {
        let ways = json["egress"].as_array().expect("a list");
        let way = ways.iter().find(|way| way["provider"].as_str() == provider);
        let way = way.map(|way| [&way["via"], &way["because"]].map(|part| part.as_str()));
        way.map(|way| way.map(|part| part.expect("a text")))
    };
    let usual = ["http://proxy.example:80 with a password", "HTTPS_PROXY"];
    assert_eq!(of(None), Some(usual), "{json}");
    let own = ["direct", "providers.openai.egress"];
    assert_eq!(of(Some("openai")), Some(own), "{json}");
    assert_eq!(
        of(Some("anthropic")),
        Some(["direct", "NO_PROXY"]),
        "{json}"
    );
    assert_eq!(
        of(Some("mistral")),
        Some(["direct", "allow_private"]),
        "{json}"
    );
    assert_eq!(of(Some("groq")), None, "{json}");
}
