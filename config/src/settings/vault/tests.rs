//! `[vault]`, loaded from a file, the environment, and the names of Vault's own tools.

use super::*;
use crate::{Settings, Sources};

const ADDRESS: (&str, &str) = ("KEYSIDE_VAULT__ADDRESS", "https://vault.internal:8200");
const SECRET: &str = "hvs.canary-0419";

fn load(variables: &[(&str, &str)]) -> Result<Settings, String> {
    let variable = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    let sources = Sources {
        file: None,
        environment: variables.iter().map(variable).collect(),
    };
    let loaded = Settings::load(&sources).map_err(|error| error.to_string())?;
    let shown = format!("{:?}{:?}", loaded.settings, loaded.effective);
    assert!(!shown.contains(SECRET), "{shown}");
    Ok(loaded.settings)
}

fn vault(variables: &[(&str, &str)]) -> Vault {
    let all: Vec<_> = [ADDRESS].iter().chain(variables).copied().collect();
    load(&all).unwrap().vault.expect("a vault")
}

#[test]
fn without_settings_there_is_no_vault_even_if_vault_s_own_variables_are_set() {
    assert_eq!(load(&[]).unwrap().vault, None);
    // A developer's shell: not enough to sign in with, and not an error.
    assert_eq!(load(&[("VAULT_ADDR", "http://vault")]).unwrap().vault, None);
}

#[test]
fn vault_s_own_names_fill_in_what_the_settings_do_not_say() {
    let settings = load(&[
        ("KEYSIDE_VAULT__POLL", "5s"),
        ("VAULT_ADDR", "https://vault.example"),
        ("VAULT_NAMESPACE", "team/"),
        ("VAULT_CACERT", "/etc/ca.pem"),
        ("VAULT_TLS_SERVER_NAME", "Vault.Internal"),
        ("VAULT_TOKEN", SECRET),
    ]);
    let vault = settings.unwrap().vault.unwrap();
    assert_eq!(vault.address.to_string(), "https://vault.example");
    assert_eq!(vault.namespace.as_deref(), Some("team"));
    assert_eq!(vault.ca_file, Some("/etc/ca.pem".into()));
    assert_eq!(vault.tls_server_name.as_deref(), Some("vault.internal"));
    assert_eq!(vault.auth, VaultAuth::Token(VaultToken::Variable));
    assert_eq!(vault.poll, Duration::from_secs(5));
    assert_eq!(vault.outage, Duration::from_secs(900));
}

#[test]
fn a_setting_overrides_vault_s_own_variable() {
    let vault = vault(&[
        ("VAULT_ADDR", "https://other.example"),
        ("VAULT_TOKEN_FILE", "/other"),
        ("KEYSIDE_VAULT__TOKEN_FILE", "/vault/token"),
    ]);
    assert_eq!(vault.address.to_string(), "https://vault.internal:8200");
    assert_eq!(
        vault.auth,
        VaultAuth::Token(VaultToken::File("/vault/token".into()))
    );
}

#[test]
fn a_cache_is_off_unless_a_folder_and_a_key_are_named() {
    let token = ("VAULT_TOKEN", SECRET);
    assert_eq!(vault(&[token]).cache, None);
    let named = vault(&[
        token,
        ("KEYSIDE_VAULT__CACHE", "/var/cache/keyside"),
        ("KEYSIDE_VAULT__CACHE_KEY_FILE", "/etc/keyside/cache-key"),
    ]);
    let expected = VaultCache {
        folder: "/var/cache/keyside".into(),
        key_file: "/etc/keyside/cache-key".into(),
    };
    assert_eq!(named.cache, Some(expected));
}

#[test]
fn each_sign_in_method_has_its_own_settings_and_the_usual_mount() {
    let kubernetes = vault(&[
        ("KEYSIDE_VAULT__AUTH", "kubernetes"),
        ("KEYSIDE_VAULT__ROLE", "keyside-acme"),
    ]);
    assert_eq!(
        kubernetes.auth,
        VaultAuth::Kubernetes {
            mount: "kubernetes".into(),
            role: "keyside-acme".into(),
            jwt_file: SERVICE_ACCOUNT_TOKEN.into(),
        }
    );
    let jwt = vault(&[
        ("KEYSIDE_VAULT__AUTH", "jwt"),
        ("KEYSIDE_VAULT__AUTH_MOUNT", "auth/ci/gitlab/"),
        ("KEYSIDE_VAULT__JWT_FILE", "/run/jwt"),
    ]);
    assert_eq!(
        jwt.auth,
        VaultAuth::Jwt {
            mount: "ci/gitlab".into(),
            role: None,
            jwt_file: "/run/jwt".into(),
        }
    );
    let approle = vault(&[
        ("KEYSIDE_VAULT__AUTH", "approle"),
        ("KEYSIDE_VAULT__ROLE_ID", "r-1"),
        ("KEYSIDE_VAULT__SECRET_ID_FILE", "/run/secret-id"),
        ("KEYSIDE_VAULT__SECRET_ID_WRAPPED", "true"),
    ]);
    assert_eq!(
        approle.auth,
        VaultAuth::AppRole {
            mount: "approle".into(),
            role_id: "r-1".into(),
            secret_id_file: "/run/secret-id".into(),
            secret_id_wrapped: true,
        }
    );
    let cert = vault(&[
        ("KEYSIDE_VAULT__AUTH", "cert"),
        ("VAULT_CLIENT_CERT", "/tls.crt"),
        ("VAULT_CLIENT_KEY", "/tls.key"),
    ]);
    assert_eq!(
        cert.auth,
        VaultAuth::Certificate {
            mount: "cert".into(),
            role: None,
        }
    );
}

#[test]
fn contradicting_settings_are_named_with_the_remedy() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
    let cases: [Case<'_>; 16] = [
        (&[], "vault.auth", "\"kubernetes\""),
        (
            &[("KEYSIDE_VAULT__AUTH", "kubernetes")],
            "vault.role",
            "it is missing",
        ),
        (
            &[("KEYSIDE_VAULT__AUTH", "token")],
            "vault.token_file",
            "VAULT_TOKEN",
        ),
        (
            &[("KEYSIDE_VAULT__AUTH", "cert")],
            "vault.client_certificate",
            "it is missing",
        ),
        (
            &[("VAULT_TOKEN", SECRET), ("KEYSIDE_VAULT__ROLE", "r")],
            "vault.role",
            "vault.auth is \"token\"",
        ),
        (
            &[("VAULT_TOKEN", SECRET), ("VAULT_CLIENT_KEY", "/key")],
            "vault.client_certificate",
            "client_key is set",
        ),
        (
            &[
                ("VAULT_TOKEN", SECRET),
                ("KEYSIDE_VAULT__ADDRESS", "http://vault.internal"),
            ],
            "vault.address",
            "vault.allow_plaintext",
        ),
        (
            &[
                ("VAULT_TOKEN", SECRET),
                ("KEYSIDE_VAULT__ADDRESS", "https://vault.internal/v1"),
            ],
            "vault.address",
            "/v1",
        ),
        (
            &[
                ("VAULT_TOKEN", SECRET),
                ("KEYSIDE_VAULT__PROXY", "socks5://proxy.example"),
            ],
            "vault.proxy",
            "http://",
        ),
        (
            &[
                ("VAULT_TOKEN", SECRET),
                (
                    "KEYSIDE_VAULT__PROXY",
                    "http://user:hvs.canary-0419@proxy.example",
                ),
            ],
            "vault.proxy",
            "without one, or remove this",
        ),
        (
            &[("VAULT_TOKEN", SECRET), ("KEYSIDE_VAULT__POLL", "999ms")],
            "vault.poll",
            "at least \"1s\"",
        ),
        (
            &[
                ("VAULT_TOKEN", SECRET),
                ("KEYSIDE_VAULT__TLS_SERVER_NAME", "a/b"),
            ],
            "vault.tls_server_name",
            "host name",
        ),
        (
            &[
                ("VAULT_TOKEN", SECRET),
                ("KEYSIDE_VAULT__CACHE", "/var/cache/keyside"),
            ],
            "vault.cache_key_file",
            "keyside master-key generate",
        ),
        (
            &[
                ("VAULT_TOKEN", SECRET),
                ("KEYSIDE_VAULT__CACHE_KEY_FILE", "/etc/keyside/cache-key"),
            ],
            "vault.cache",
            "it is missing",
        ),
        (
            &[
                ("VAULT_TOKEN", SECRET),
                ("KEYSIDE_VAULT__CACHE", "/var/cache/keyside"),
                ("KEYSIDE_VAULT__CACHE_KEY_FILE", "/var/cache/keyside/key"),
            ],
            "vault.cache_key_file",
            "move the key elsewhere",
        ),
        (
            &[
                ("VAULT_TOKEN", SECRET),
                ("KEYSIDE_VAULT__CACHE", "/var/cache/keyside"),
                ("KEYSIDE_VAULT__CACHE_KEY_FILE", "/etc/keyside/cache-key"),
                ("KEYSIDE_VAULT__OUTAGE", "0s"),
            ],
            "vault.cache",
            "vault.outage",
        ),
    ];
    for (variables, key, remedy) in cases {
        let all: Vec<_> = [ADDRESS].iter().chain(variables).copied().collect();
        let refused = load(&all).unwrap_err();
        assert!(refused.contains(&format!("`{key}`")), "{refused}");
        assert!(refused.contains(remedy), "{refused}");
        assert!(!refused.contains(SECRET), "{refused}");
    }
}

#[test]
fn a_driver_on_vault_needs_an_address() {
    let refused = load(&[("KMS_DRIVER", "vault"), ("VAULT_TOKEN", SECRET)]).unwrap_err();
    assert!(refused.contains("`vault.address`"), "{refused}");
    let given = [
        ("KMS_DRIVER", "vault"),
        ("VAULT_TOKEN", SECRET),
        ("VAULT_ADDR", "https://vault.example"),
    ];
    assert!(load(&given).unwrap().vault.is_some());
}
