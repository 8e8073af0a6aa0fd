//! Sign-in, renewal and 403s, against a fake Vault.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use keyside_config::VaultAuth;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{
    Vault, VaultError,
    fake_vault::{FakeVault, refused, signed_in},
};

const SECRET_ID: &str = "canary-secret-id";

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn approle(file: &NamedTempFile, wrapped: bool) -> VaultAuth {
    VaultAuth::AppRole {
        mount: "approle".to_owned(),
        role_id: "r-1".to_owned(),
        secret_id_file: file.path().to_owned(),
        secret_id_wrapped: wrapped,
    }
}

fn found() -> (u16, Value) {
    (200, json!({ "data": { "found": true } }))
}

const LOGIN: &str = "POST auth/approle/login";
const LOOKUP: &str = "GET auth/token/lookup-self";

#[tokio::test]
async fn a_hundred_readers_sign_in_once() {
    let vault = FakeVault::start(|asked| match asked.line.as_str() {
        LOGIN => signed_in("hvs.one", 3600),
        _ => found(),
    })
    .await;
    let secret_id = file(SECRET_ID);
    let client = Vault::open(&vault.settings(approle(&secret_id, false))).unwrap();
    let readers = (0..100).map(|number| {
        let client = client.clone();
        tokio::spawn(async move { client.get(&format!("kv/{number}")).await })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap().unwrap();
    }
    let logins = vault.asked(LOGIN);
    assert_eq!(logins.len(), 1);
    let sent: Value = serde_json::from_str(&logins[0].body).unwrap();
    assert_eq!(sent, json!({ "role_id": "r-1", "secret_id": SECRET_ID }));
    assert_eq!(logins[0].header("x-vault-token"), None);
    let reads = vault.asked("GET kv/");
    assert_eq!(reads.len(), 100);
    assert!(
        reads
            .iter()
            .all(|read| read.header("x-vault-token") == Some("hvs.one"))
    );
}

#[tokio::test]
async fn every_request_carries_the_namespace_and_an_id_of_its_own() {
    let vault = FakeVault::start(|asked| match asked.line.as_str() {
        LOGIN => signed_in("hvs.one", 3600),
        _ => found(),
    })
    .await;
    let secret_id = file(SECRET_ID);
    let mut settings = vault.settings(approle(&secret_id, false));
    settings.namespace = Some("team/payments".to_owned());
    let client = Vault::open(&settings).unwrap();
    client.get("kv/x").await.unwrap();
    let asked = vault.asked("");
    assert_eq!(asked.len(), 2);
    assert!(
        asked
            .iter()
            .all(|one| one.header("x-vault-namespace") == Some("team/payments"))
    );
    let ids: Vec<_> = asked
        .iter()
        .map(|one| one.header("x-keyside-request-id").unwrap())
        .collect();
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_403_with_a_valid_token_is_about_the_call() {
    let vault = FakeVault::start(|asked| match asked.line.as_str() {
        LOGIN => signed_in("hvs.one", 3600),
        LOOKUP => found(),
        _ => refused(403, "permission denied"),
    })
    .await;
    let secret_id = file(SECRET_ID);
    let client = Vault::open(&vault.settings(approle(&secret_id, false))).unwrap();
    let error = client.get("kv/x").await.unwrap_err();
    assert_eq!(error.status(), Some(403));
    assert!(!error.is_unavailable());
    assert_eq!(vault.asked(LOGIN).len(), 1);
    assert_eq!(vault.asked(LOOKUP).len(), 1);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once_for_all_readers() {
    let logins = Arc::new(AtomicUsize::new(0));
    let vault = FakeVault::start(move |asked| {
        if asked.line == LOGIN {
            let number = logins.fetch_add(1, SeqCst);
            return signed_in(&format!("hvs.{number}"), 3600);
        }
        match asked.header("x-vault-token") {
            Some("hvs.0") if asked.line != "GET kv/first" => refused(403, "permission denied"),
            _ => found(),
        }
    })
    .await;
    let secret_id = file(SECRET_ID);
    let client = Vault::open(&vault.settings(approle(&secret_id, false))).unwrap();
    client.get("kv/first").await.unwrap();
    let readers = (0..50).map(|number| {
        let client = client.clone();
        tokio::spawn(async move { client.get(&format!("kv/{number}")).await })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap().unwrap();
    }
    assert_eq!(vault.asked(LOGIN).len(), 2);
    assert_eq!(vault.asked(LOOKUP).len(), 1, "a dead token stays dead");
}

#[tokio::test]
async fn without_self_lookup_a_403_is_about_the_call_and_causes_no_sign_ins() {
    let logins = Arc::new(AtomicUsize::new(0));
    let vault = FakeVault::start(move |asked| match asked.line.as_str() {
        LOGIN => signed_in(&format!("hvs.{}", logins.fetch_add(1, SeqCst)), 3600),
        "GET kv/allowed" => found(),
        _ => refused(403, "permission denied"),
    })
    .await;
    let secret_id = file(SECRET_ID);
    let client = Vault::open(&vault.settings(approle(&secret_id, false))).unwrap();
    for _ in 0..10 {
        let error = client.get("kv/x").await.unwrap_err();
        assert_eq!(error.status(), Some(403));
        client.get("kv/allowed").await.unwrap();
    }
    assert_eq!(vault.asked(LOGIN).len(), 2);
    assert_eq!(vault.asked(LOOKUP).len(), 2, "once a token");
}

#[tokio::test]
async fn a_refused_sign_in_is_not_repeated_by_every_reader_and_repeats_no_secret() {
    let vault = FakeVault::start(|_| {
        let long = format!("{} invalid secret id {SECRET_ID}", "x".repeat(270));
        let short = format!("invalid secret id {SECRET_ID}");
        (400, json!({ "errors": [short, long] }))
    })
    .await;
    let secret_id = file(SECRET_ID);
    let client = Vault::open(&vault.settings(approle(&secret_id, false))).unwrap();
    let readers = (0..100).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.get("kv/x").await })
    });
    for reader in readers.collect::<Vec<_>>() {
        let error = reader.await.unwrap().unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, VaultError::SignIn(_)), "{said}");
        assert!(
            said.contains("vault.role_id") && said.contains("vault.secret_id_file"),
            "{said}"
        );
        assert!(!said.contains(&SECRET_ID[..8]), "{said}");
    }
    assert!(
        vault.asked(LOGIN).len() < 10,
        "{}",
        vault.asked(LOGIN).len()
    );
}

#[tokio::test]
async fn a_lease_is_renewed_while_nobody_uses_the_token() {
    let vault = FakeVault::start(|asked| match asked.line.as_str() {
        LOGIN => signed_in("hvs.one", 3),
        "POST auth/token/renew-self" => signed_in("hvs.one", 3600),
        _ => found(),
    })
    .await;
    let secret_id = file(SECRET_ID);
    let client = Vault::open(&vault.settings(approle(&secret_id, false))).unwrap();
    client.sign_in().await.unwrap();
    vault.wait_for(1, "POST auth/token/renew-self").await;
    client.get("kv/x").await.unwrap();
    assert_eq!(vault.asked(LOGIN).len(), 1);
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_is_followed_by_a_sign_in() {
    let again = Arc::new(AtomicBool::new(false));
    let vault = FakeVault::start(move |asked| match asked.line.as_str() {
        LOGIN if again.swap(true, SeqCst) => signed_in("hvs.two", 3600),
        LOGIN => signed_in("hvs.one", 3),
        "POST auth/token/renew-self" => refused(400, "lease is not renewable"),
        _ => found(),
    })
    .await;
    let secret_id = file(SECRET_ID);
    let client = Vault::open(&vault.settings(approle(&secret_id, false))).unwrap();
    client.sign_in().await.unwrap();
    vault.wait_for(2, LOGIN).await;
    assert!(client.sign_in().await.unwrap().is_some());
    assert_eq!(vault.asked(LOGIN).len(), 2);
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once() {
    let logins = Arc::new(AtomicUsize::new(0));
    let vault = FakeVault::start(move |asked| match asked.line.as_str() {
        "POST sys/wrapping/unwrap" => (200, json!({ "data": { "secret_id": SECRET_ID } })),
        LOGIN => signed_in(&format!("hvs.{}", logins.fetch_add(1, SeqCst)), 3600),
        _ if asked.header("x-vault-token") == Some("hvs.0") => refused(403, "permission denied"),
        _ => found(),
    })
    .await;
    let wrapping = file("hvs.wrapping\n");
    let client = Vault::open(&vault.settings(approle(&wrapping, true))).unwrap();
    client.get("kv/x").await.unwrap();
    let unwraps = vault.asked("POST sys/wrapping/unwrap");
    assert_eq!(unwraps.len(), 1);
    assert_eq!(unwraps[0].header("x-vault-token"), Some("hvs.wrapping"));
    let logins = vault.asked(LOGIN);
    assert_eq!(logins.len(), 2);
    assert!(logins.iter().all(|login| login.body.contains(SECRET_ID)));
}

#[tokio::test]
async fn the_service_account_s_token_is_read_again_at_each_sign_in() {
    let logins = Arc::new(AtomicUsize::new(0));
    let jwt = file("jwt.one");
    let path = jwt.path().to_owned();
    let vault = FakeVault::start(move |asked| match asked.line.as_str() {
        "POST auth/kubernetes/login" => {
            std::fs::write(&path, "jwt.two").unwrap();
            signed_in(&format!("hvs.{}", logins.fetch_add(1, SeqCst)), 3600)
        }
        _ if asked.header("x-vault-token") == Some("hvs.0") => refused(403, "permission denied"),
        _ => found(),
    })
    .await;
    let auth = VaultAuth::Kubernetes {
        mount: "kubernetes".to_owned(),
        role: "keyside-acme".to_owned(),
        jwt_file: jwt.path().to_owned(),
    };
    let client = Vault::open(&vault.settings(auth)).unwrap();
    client.get("kv/x").await.unwrap();
    let sent = vault.asked("POST auth/kubernetes/login");
    let sent: Vec<Value> = sent
        .iter()
        .map(|login| serde_json::from_str(&login.body).unwrap())
        .collect();
    let body = |jwt: &str| json!({ "role": "keyside-acme", "jwt": jwt });
    assert_eq!(sent, [body("jwt.one"), body("jwt.two")]);
}

#[tokio::test]
async fn while_a_token_s_validity_is_unknown_nothing_is_refused() {
    let vault = FakeVault::start(|asked| match asked.line.as_str() {
        LOGIN => signed_in("hvs.one", 3600),
        LOOKUP => refused(503, "Vault is sealed"),
        _ => refused(403, "permission denied"),
    })
    .await;
    let secret_id = file(SECRET_ID);
    let client = Vault::open(&vault.settings(approle(&secret_id, false))).unwrap();
    let error = client.get("kv/x").await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}

#[tokio::test]
async fn debug_shows_where_vault_is_and_no_token() {
    let vault = FakeVault::start(|_| signed_in("hvs.canary", 3600)).await;
    let secret_id = file(SECRET_ID);
    let client = Vault::open(&vault.settings(approle(&secret_id, false))).unwrap();
    client.sign_in().await.unwrap();
    let shown = format!("{client:?}");
    assert!(shown.contains("http://127.0.0.1"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}
