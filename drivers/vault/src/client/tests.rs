//! Responses that never arrive, and the error texts for that.

use keyside_config::{VaultAuth, VaultToken};
use serde_json::Value;

use super::*;
use crate::fake_vault::{FakeVault, NO_ANSWER};

fn auth() -> VaultAuth {
    VaultAuth::Token(VaultToken::Variable)
}

#[tokio::test]
async fn a_slow_answer_names_the_time_limit() {
    let vault = FakeVault::start(|_| (NO_ANSWER, Value::Null)).await;
    let mut settings = vault.settings(auth());
    settings.timeout = Duration::from_millis(50);
    let http = Http::open(&settings).unwrap();
    let call = Call::new(Method::GET, "kv/x");
    let error = http.send(None, &call).await.err().unwrap();
    assert!(error.is_unavailable());
    assert!(error.to_string().contains("vault.timeout"), "{error}");
}

#[tokio::test]
async fn a_port_where_nothing_listens_names_the_address() {
    let vault = FakeVault::start(|_| (200, Value::Null)).await;
    let mut settings = vault.settings(auth());
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    settings.address = BaseUrl::parse(&format!("http://{address}"), false).unwrap();
    let http = Http::open(&settings).unwrap();
    let call = Call::new(Method::GET, "kv/x");
    let error = http.send(None, &call).await.err().unwrap();
    let said = error.to_string();
    assert!(error.is_unavailable());
    assert!(
        said.contains(&address.to_string()) && said.contains("vault.address"),
        "{said}"
    );
}

#[tokio::test]
async fn checking_the_seal_status_needs_no_token() {
    for (status, said) in [(200, None), (503, Some("sealed"))] {
        let vault = FakeVault::start(move |_| (status, Value::Null)).await;
        let http = Http::open(&vault.settings(auth())).unwrap();
        let answered = http.date().await;
        let error = answered.err().map(|error| error.to_string());
        assert_eq!(error.is_some(), said.is_some(), "{status}: {error:?}");
        assert!(error.unwrap_or_default().contains(said.unwrap_or_default()));
        let asked = vault.asked("GET sys/health?");
        assert_eq!(asked.len(), 1, "{status}");
        assert_eq!(asked[0].header("x-vault-token"), None);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_because_the_token_would_go_along() {
    let vault = FakeVault::start(|_| (307, Value::Null)).await;
    let http = Http::open(&vault.settings(auth())).unwrap();
    let call = Call::new(Method::GET, "kv/x");
    let error = http.send(None, &call).await.err().unwrap();
    assert!(error.is_unavailable());
    assert_eq!(vault.asked("").len(), 1);
}

#[tokio::test]
async fn a_file_without_a_certificate_is_named_with_its_setting() {
    let vault = FakeVault::start(|_| (200, Value::Null)).await;
    let mut settings = vault.settings(auth());
    settings.address.scheme = keyside_config::Scheme::Https;
    let ca = tempfile::NamedTempFile::new().unwrap();
    settings.ca_file = Some(ca.path().to_owned());
    let error = Http::open(&settings).err().unwrap();
    assert!(error.to_string().starts_with("vault.ca_file: "), "{error}");
}

#[tokio::test]
async fn a_failure_of_tls_names_the_setting() {
    let vault = FakeVault::start(|_| (200, Value::Null)).await;
    let without = vault.settings(auth());
    let with = keyside_config::Vault {
        client_certificate: Some(keyside_config::ClientCertificate {
            certificate: "client.pem".into(),
            key: "client.key".into(),
        }),
        ..without.clone()
    };
    let expired = "invalid peer certificate: certificate expired: verification time 2 (UNIX), but certificate is not valid after 1";
    for (settings, why, expected) in [
        (
            &without,
            "invalid peer certificate: UnknownIssuer",
            "vault.ca_file",
        ),
        (&without, expired, "correct the clock"),
        (
            &without,
            "received corrupt message of type InvalidContentType",
            "vault.address",
        ),
        (
            &without,
            "received fatal alert: CertificateRequired",
            "set vault.client_certificate",
        ),
        (
            &with,
            "received fatal alert: CertificateExpired",
            "renew it",
        ),
        (
            &with,
            "received fatal alert: UnknownCA",
            "vault.client_certificate",
        ),
    ] {
        let said = tls::explain(why, settings).unwrap().to_string();
        assert!(said.contains(expected), "{why}: {said}");
    }
    assert!(tls::explain("Connection refused (os error 111)", &with).is_none());
}

#[tokio::test]
async fn a_path_is_escaped_and_appended_to_the_address_s_path() {
    let vault = FakeVault::start(|_| (200, Value::Null)).await;
    let mut settings = vault.settings(auth());
    settings.address.path = "/vault".to_owned();
    let http = Http::open(&settings).unwrap();
    let call = Call::new(Method::GET, "/kv/a b%2F?c");
    http.send(None, &call).await.ok().unwrap();
    assert_eq!(vault.asked("")[0].line, "GET /vaultkv/a%20b%252F%3Fc");
}
