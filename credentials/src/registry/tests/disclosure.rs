//! A canary key goes through everything that the registry does, and is then looked for in everything that comes out.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;
use crate::encoding::hex;

const CANARY: &str = "sk-canary-4f1d9b7c2e8a6053";

#[tokio::test]
async fn no_view_error_debug_output_or_stored_byte_shows_a_secret() {
    let (installation, registry) = Installation::with_acme().await;
    let added = registry.add(&act(), key("default", CANARY)).await.unwrap();
    let mut out = Vec::new();
    let grant = registry.resolver().resolve(&ask("acme")).unwrap();
    out.push(format!(
        "{grant:?} {added:?} {:?}",
        registry.list(&Filter::default())
    ));
    for wrong in [
        key("default", CANARY),
        NewCredential {
            provider: CANARY.to_owned(),
            ..key("x", CANARY)
        },
    ] {
        let error = registry.add(&act(), wrong).await.unwrap_err();
        out.push(format!("{error} {error:?}"));
    }
    let spoilt = Secret::from_plaintext(format!("{CANARY}\r\n\0").into_bytes())
        .err()
        .unwrap();
    out.push(format!("{spoilt} {spoilt:?}"));
    registry
        .revoke(&act(), &added.credential.id, Revocation::default())
        .await
        .unwrap();
    out.push(format!(
        "{:?}",
        registry.audit().records(1, 100).await.unwrap()
    ));
    installation.memory.tamper(|documents, logs| {
        let stored = documents
            .values()
            .map(|document| &document.body)
            .chain(logs.values());
        out.extend(stored.map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
    });
    for file in std::fs::read_dir(installation.folder.path()).unwrap() {
        out.push(
            String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()).into_owned(),
        );
    }
    let tail = &CANARY[10..];
    for needle in [
        tail.to_owned(),
        BASE64_STANDARD.encode(tail),
        hex(tail.as_bytes()),
    ] {
        for haystack in &out {
            assert!(!haystack.contains(&needle), "{haystack}");
        }
    }
}

#[tokio::test]
async fn nothing_from_which_a_secret_could_be_guessed_is_stored_in_the_clear() {
    let (installation, registry) = Installation::with_acme().await;
    let added = registry
        .add(&act(), key("default", CANARY))
        .await
        .unwrap()
        .credential;
    let (fingerprint, last_four) = (added.fingerprint.unwrap(), &CANARY[CANARY.len() - 4..]);
    installation.memory.tamper(|documents, logs| {
        for stored in documents
            .values()
            .map(|document| &document.body)
            .chain(logs.values())
        {
            let text = String::from_utf8_lossy(stored);
            assert!(
                !text.contains(&fingerprint.as_str()["sha256:".len()..]),
                "{text}"
            );
            assert!(!text.contains(&format!("…{last_four}")), "{text}");
        }
    });
}
