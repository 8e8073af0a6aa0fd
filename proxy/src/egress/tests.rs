//! Which route is chosen, and what is reported about it.

use std::fs;

use keyside_config::{Settings, Sources};

use super::*;

const CANARY: &str = "canary-proxy-password-5c1e";

fn settings(variables: &[(&str, &str)]) -> Settings {
    let variable = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    let sources = Sources {
        file: None,
        environment: variables.iter().map(variable).collect(),
    };
    Settings::load(&sources).unwrap().settings
}

fn open(settings: &Settings, environment: &[(&str, &str)]) -> Result<Egress, String> {
    let variables = ProxyVariables::with(environment);
    Egress::open(&settings.egress, &settings.catalogue, &variables).map_err(|e| e.to_string())
}

/// The proxy of a route, or `direct`.
fn way(settings: &Settings, environment: &[(&str, &str)], provider: &str, base: &str) -> String {
    let egress = open(settings, environment).unwrap();
    let provider = settings.catalogue.get(provider).unwrap();
    match egress.route(provider, &BaseUrl::parse(base, true).unwrap()) {
        EgressRoute::Direct(_) => DIRECT.to_owned(),
        EgressRoute::Proxied(proxy) => proxy.to_string(),
    }
}

#[test]
fn the_first_variable_that_is_set_names_the_proxy() {
    let settings = settings(&[]);
    let api = "https://api.openai.com";
    let password = format!("http://me:{CANARY}@proxy.example:3128");
    let with_password = "http://proxy.example:3128 with a password";
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[], DIRECT),
        (&[("HTTP_PROXY", "http://proxy.example")], DIRECT),
        (
            &[("HTTPS_PROXY", "proxy.example")],
            "http://proxy.example:80",
        ),
        (
            &[("https_proxy", "https://proxy.example/")],
            "https://proxy.example:443",
        ),
        (
            &[("all_proxy", "socks5h://proxy.example")],
            "socks5://proxy.example:1080",
        ),
        (&[("HTTPS_PROXY", password.as_str())], with_password),
        (
            &[("HTTPS_PROXY", ""), ("ALL_PROXY", "http://second.example")],
            "http://second.example:80",
        ),
        (
            &[
                ("https_proxy", "http://first.example"),
                ("ALL_PROXY", "http://second.example"),
            ],
            "http://first.example:80",
        ),
    ];
    for (environment, expected) in cases {
        assert_eq!(way(&settings, environment, "openai", api), expected);
    }
}

#[test]
fn an_invalid_proxy_variable_is_reported_by_name_without_its_value() {
    let environment = settings(&[]);
    let direct = settings(&[("KEYSIDE_EGRESS__PROXY", "direct")]);
    for value in [
        format!("ftp://me:{CANARY}@proxy.example"),
        format!("http://me:{CANARY}@"),
        format!("http://me:{CANARY}@proxy.example:port"),
        format!("http://:{CANARY}@proxy.example"),
        format!("http://me:%FF{CANARY}@proxy.example"),
        format!("http://proxy.example/{CANARY}"),
    ] {
        let variables = [("HTTPS_PROXY", value.as_str())];
        let refused = open(&environment, &variables).err().unwrap();
        assert!(refused.starts_with("HTTPS_PROXY: "), "{refused}");
        assert!(!refused.contains(CANARY), "{refused}");
        // The direct route does not read the variable.
        assert!(open(&direct, &variables).is_ok());
    }
}

#[test]
fn hosts_that_no_proxy_exempts_are_reached_directly() {
    let settings = settings(&[]);
    for (exempt, base, is_exempt) in [
        ("example.com", "https://example.com", true),
        ("example.com", "https://api.example.com:8443", true),
        (".example.com", "https://api.example.com", true),
        ("example.com", "https://notexample.com", false),
        ("other.test, EXAMPLE.com", "https://example.com", true),
        ("198.51.100.0/24", "https://198.51.100.7", true),
        ("198.51.100.0/24", "https://198.51.101.7", false),
        ("2001:db8::/32", "https://[2001:db8::7]", true),
        ("*", "https://example.com", true),
        ("other.test example.com", "https://example.com", true),
        ("*.example.com", "https://api.example.com", true),
        ("example.com:443", "https://example.com", false),
    ] {
        for name in ["NO_PROXY", "no_proxy"] {
            let environment = [("HTTPS_PROXY", "http://proxy.example"), (name, exempt)];
            let way = way(&settings, &environment, "openai", base);
            assert_eq!(way == DIRECT, is_exempt, "{exempt} {base}");
        }
    }
}

#[test]
fn a_no_proxy_entry_that_matches_nothing_is_reported_by_its_position() {
    let warnings = |list: &str| {
        let environment = [("HTTPS_PROXY", "http://proxy.example"), ("NO_PROXY", list)];
        ProxyVariables::with(&environment).warnings()
    };
    for list in [
        "",
        "*",
        "a.test, .b.test *.c.test",
        "10.0.0.0/8,::1,2001:db8::/32",
    ] {
        assert_eq!(warnings(list), [""; 0], "{list}");
    }
    for (list, part) in [
        ("a.test,b.test:8080", "entry 2 has a port"),
        ("10.0.0.0/33", "entry 1 is not a network"),
        ("10.0.0/8", "entry 1 is not a network"),
        ("http://a.test", "entry 1 is not a network"),
        ("[::1]", "entry 1 is not a name"),
        ("a.*.test", "entry 1 is not a name"),
    ] {
        let said = warnings(list).join("\n");
        assert!(
            said.starts_with("NO_PROXY: ") && said.contains(part),
            "{said}"
        );
        assert!(
            !said.contains("test") && said.lines().count() == 1,
            "{said}"
        );
    }
    let plain = ProxyVariables::with(&[("HTTP_PROXY", "http://proxy.example")]).warnings();
    assert!(plain[0].contains("HTTPS_PROXY"), "{plain:?}");
}

#[test]
fn loopback_plain_http_and_private_networks_are_reached_directly() {
    let settings = settings(&[
        ("KEYSIDE_EGRESS__PROXY", "http://proxy.example:3128"),
        ("KEYSIDE_PROVIDERS__MISTRAL__ALLOW_PRIVATE", "true"),
        ("KEYSIDE_PROVIDERS__COHERE__EGRESS", "direct"),
        ("KEYSIDE_PROVIDERS__GROQ__EGRESS", "environment"),
        ("KEYSIDE_PROVIDERS__XAI__EGRESS", "socks5://own.example"),
    ]);
    // NO_PROXY applies to the proxy of the environment only.
    let environment = [("HTTPS_PROXY", "http://third.example"), ("NO_PROXY", "*")];
    let usual = "http://proxy.example:3128";
    for (provider, base, expected) in [
        ("openai", "https://api.example", usual),
        ("openai", "https://localhost", DIRECT),
        ("openai", "https://127.1.2.3", DIRECT),
        ("openai", "https://[::1]", DIRECT),
        ("openai", "http://api.example", DIRECT),
        ("mistral", "https://gateway.example", DIRECT),
        ("cohere", "https://api.example", DIRECT),
        ("groq", "https://api.example", DIRECT),
        ("xai", "https://api.example", "socks5://own.example:1080"),
    ] {
        assert_eq!(
            way(&settings, &environment, provider, base),
            expected,
            "{provider} {base}"
        );
    }
}

/// Resolvers read such a host as an address, and only the resolved address can be checked: a proxy
/// would resolve it unchecked.
#[test]
fn an_address_in_an_unusual_form_is_reached_directly_and_checked_there() {
    let settings = settings(&[("KEYSIDE_EGRESS__PROXY", "http://proxy.example:3128")]);
    for (base, is_direct) in [
        ("https://2852039166", true),
        ("https://0xa9fea9fe", true),
        ("https://0xA9FEA9FE", true),
        ("https://169.254.43518", true),
        ("https://0251.0376.0251.0376", true),
        ("https://127.1", true),
        ("https://example.0x7f", true),
        ("https://8.8.8.8", false),
        ("https://[2606:4700::6812:7c0]", false),
        ("https://1.example", false),
        ("https://0xa9.example", false),
    ] {
        let way = way(&settings, &[], "openai", base);
        assert_eq!(way == DIRECT, is_direct, "{base}: {way}");
    }
}

#[test]
fn a_password_goes_to_the_proxy_that_it_is_for_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy-password");
    let settings = settings(&[
        ("KEYSIDE_EGRESS__PROXY", "http://proxy.example:3128"),
        ("KEYSIDE_EGRESS__CREDENTIALS_FILE", file.to_str().unwrap()),
        ("KEYSIDE_PROVIDERS__XAI__EGRESS", "http://own.example:3128"),
    ]);
    let refused = open(&settings, &[]).err().unwrap();
    assert!(refused.contains("proxy-password"), "{refused}");
    fs::write(&file, CANARY).unwrap();
    let refused = open(&settings, &[]).err().unwrap();
    assert!(
        refused.starts_with("egress.credentials_file: "),
        "{refused}"
    );
    assert!(!refused.contains(CANARY), "{refused}");

    fs::write(&file, format!("me:{CANARY}\n")).unwrap();
    let egress = open(&settings, &[]).unwrap();
    let effective = egress.effective(&settings.catalogue);
    assert_eq!(
        effective[0].via,
        "http://proxy.example:3128 with a password"
    );
    assert_eq!(effective[0].because, "egress.proxy");
    let own = effective
        .iter()
        .find(|one| one.provider.as_deref() == Some("xai"));
    let own = own.unwrap();
    assert_eq!(own.via, "http://own.example:3128");
    assert_eq!(own.because, "providers.xai.egress");
    assert!(!format!("{effective:?}").contains(CANARY));
}

#[test]
fn an_unreadable_ca_file_is_named_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    let settings = settings(&[("KEYSIDE_EGRESS__CA_FILE", file.to_str().unwrap())]);
    for contents in [None, Some(""), Some("no certificate"), Some(BROKEN)] {
        if let Some(contents) = contents {
            fs::write(&file, contents).unwrap();
        }
        let refused = open(&settings, &[]).err().unwrap();
        assert!(refused.starts_with("egress.ca_file: "), "{refused}");
        assert!(refused.contains("authority.pem"), "{refused}");
    }
}

const BROKEN: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
