//! Which rules follow from which settings.

use keyside_config::Sources;

use super::*;

fn credential(label: &str, source: &str) -> DeclaredCredential {
    DeclaredCredential {
        workspace: "acme".to_owned(),
        provider: "openai".parse().unwrap(),
        label: label.to_owned(),
        environment: keyside_config::DeclaredEnvironment::Live,
        usage_tag: None,
        endpoint: None,
        limits: keyside_config::DeclaredLimits::default(),
        source: source.parse().unwrap(),
    }
}

fn add(rules: &mut Rules, label: &str, path: &str, found: &LocatedMount) -> Result<(), Failure> {
    let credential = credential(label, &format!("vault:{path}#api_key"));
    let SourceReference::Vault(reference) = &credential.source else {
        panic!("a source in Vault")
    };
    rules.secret(&credential, reference, found)
}

fn lines(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.starts_with("path "))
        .collect()
}

#[test]
fn two_credentials_at_one_path_share_its_rules_and_all_are_sorted() {
    let mut rules = Rules::default();
    rules.own_token();
    let found = LocatedMount::second_version("kv/teams", Origin::Settings);
    for label in ["main", "ci"] {
        add(&mut rules, label, "kv/teams/acme/openai", &found).unwrap();
    }
    let text = rules.to_hcl(Role::Sidecar, Some("team"));
    assert_eq!(
        lines(&text),
        [
            r#"path "auth/token/lookup-self" { capabilities = ["read"] }"#,
            r#"path "auth/token/renew-self" { capabilities = ["update"] }"#,
            r#"path "kv/teams/data/acme/openai" { capabilities = ["read"] }"#,
            r#"path "kv/teams/metadata/acme/openai" { capabilities = ["read"] }"#,
        ]
    );
    for part in [
        "# the key of credential acme/openai/ci\n# the key of credential acme/openai/main\npath",
        "# For namespace team.\n",
        ASSUMED,
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn in_version_1_there_is_no_metadata_to_read() {
    let mut rules = Rules::default();
    let mount = Mount {
        path: "secret".to_owned(),
        version: KvVersion::V1,
    };
    add(
        &mut rules,
        "main",
        "secret/openai",
        &LocatedMount::reported(&mount),
    )
    .unwrap();
    let text = rules.to_hcl(Role::Sidecar, None);
    assert_eq!(
        lines(&text),
        [r#"path "secret/openai" { capabilities = ["read"] }"#]
    );
    assert!(!text.contains(ASSUMED), "{text}");
}

#[test]
fn a_mount_that_is_guessed_is_said_to_be() {
    let mut rules = Rules::default();
    let found = LocatedMount::second_version("kv", Origin::Guess);
    add(&mut rules, "main", "kv/teams/openai", &found).unwrap();
    let text = rules.to_hcl(Role::Sidecar, None);
    assert!(text.contains("kv is assumed"), "{text}");
    assert!(text.contains(r#"path "kv/data/teams/openai" {"#), "{text}");
}

#[test]
fn a_path_that_a_policy_would_read_as_more_than_itself_is_refused() {
    for path in ["kv/a*", "kv/+/a", "kv/{{x}}", "kv/a\"b", "kv/${x"] {
        let found = LocatedMount::second_version("kv", Origin::Settings);
        let refused = add(&mut Rules::default(), "main", path, &found);
        assert!(refused.is_err(), "{path}");
    }
    for path in ["kv/a*b", "kv/a+", "kv/{x}", "kv/$x"] {
        let found = LocatedMount::second_version("kv", Origin::Settings);
        let added = add(&mut Rules::default(), "main", path, &found);
        assert!(added.is_ok(), "{path}");
    }
}

#[test]
fn a_label_with_a_line_break_adds_no_rule() {
    let mut rules = Rules::default();
    let found = LocatedMount::second_version("kv", Origin::Settings);
    let label = "main\npath \"*\" { capabilities = [\"sudo\"] }";
    add(&mut rules, label, "kv/a", &found).unwrap();
    let text = rules.to_hcl(Role::Sidecar, None);
    assert_eq!(lines(&text).len(), 2, "{text}");
}

fn allowed(prefixes: &str) -> AllowedReferences {
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sources = Sources {
        file: None,
        environment: [
            set("KEYSIDE_VAULT__ADDRESS", "https://vault.internal:8200"),
            set("KEYSIDE_VAULT__TOKEN_FILE", "/vault/token"),
            set("KEYSIDE_VAULT__REFERENCES__ALLOW", prefixes),
        ]
        .into_iter()
        .collect(),
    };
    let loaded = Settings::load(&sources).unwrap();
    loaded.settings.vault.unwrap().references
}

#[test]
fn what_stored_keys_may_name_is_a_prefix_for_any_workspace() {
    let version_1 = Mount {
        path: "kv".to_owned(),
        version: KvVersion::V1,
    };
    for (prefix, found, data, metadata) in [
        (
            "kv/teams/{workspace}/",
            LocatedMount::second_version("kv/teams", Origin::Settings),
            "kv/teams/data/+/*",
            Some("kv/teams/metadata/+/*"),
        ),
        (
            "kv/teams/{workspace}/ai",
            LocatedMount::second_version("kv", Origin::Guess),
            "kv/data/teams/+/ai/*",
            Some("kv/metadata/teams/+/ai/*"),
        ),
        (
            "kv/{workspace}",
            LocatedMount::reported(&version_1),
            "kv/+/*",
            None,
        ),
        (
            "kv/{workspace}",
            LocatedMount::second_version("kv/workspace", Origin::Guess),
            "kv/data/+/*",
            Some("kv/metadata/+/*"),
        ),
    ] {
        let mut rules = Rules::default();
        let prefix = Prefix::all(&allowed(prefix)).next().unwrap();
        rules.references(&prefix, &found).unwrap();
        let text = rules.to_hcl(Role::Serve, None);
        let rule = |path: &str| format!("path \"{path}\" {{ capabilities = [\"read\"] }}");
        let expected: Vec<_> = [Some(data), metadata]
            .into_iter()
            .flatten()
            .map(rule)
            .collect();
        assert_eq!(lines(&text), expected);
    }
}

#[test]
fn a_prefix_that_a_policy_would_read_as_more_than_itself_is_refused() {
    for prefix in ["kv/+/a", "kv/+"] {
        let found = LocatedMount::second_version("kv", Origin::Settings);
        let prefix = Prefix::all(&allowed(prefix)).next().unwrap();
        assert!(Rules::default().references(&prefix, &found).is_err());
    }
}

#[test]
fn transit_gets_what_the_settings_page_says() {
    let mut rules = Rules::default();
    rules.transit(&TransitKms {
        mount: "transit".to_owned(),
        key_prefix: "keyside-".to_owned(),
    });
    let text = rules.to_hcl(Role::Serve, None);
    let page = include_str!("../../../../docs/CONFIGURATION.md");
    let one_space = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut documented: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("path \"transit/"))
        .map(one_space)
        .collect();
    documented.sort();
    assert_eq!(lines(&text), documented);
}
