//! Passes a canary key through every operation of the registry, and searches all output for it.

use base64::{Engine, prelude::BASE64_STANDARD};
use keyside_store::hex;

use super::*;

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
    out.push(format!("{:?}", all_records(&registry).await));
    out.extend(stored(&installation));
    for folder in [installation.folder.path(), installation.heads().as_path()] {
        let paths = fs::read_dir(folder).unwrap();
        let files = paths.map(|entry| entry.unwrap().path());
        for file in files.filter(|path| path.is_file()) {
            out.push(String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned());
        }
    }
    let tail = &CANARY[10..];
    for needle in [tail.to_owned(), hex(tail.as_bytes())] {
        for haystack in &out {
            assert!(!haystack.contains(&needle), "{haystack}");
        }
    }
}

#[tokio::test]
async fn nothing_that_helps_to_guess_a_secret_is_stored_in_plaintext() {
    let (installation, registry) = Installation::with_acme().await;
    let added = registry
        .add(&act(), key("default", CANARY))
        .await
        .unwrap()
        .credential;
    let (fingerprint, last_four) = (added.fingerprint.unwrap(), &CANARY[CANARY.len() - 4..]);
    for text in stored(&installation) {
        assert!(
            !text.contains(&fingerprint.as_str()["sha256:".len()..]),
            "{text}"
        );
        assert!(!text.contains(&format!("…{last_four}")), "{text}");
    }
}

/// Everything in the store, and its base64 decoded to any depth.
fn stored(installation: &Installation) -> Vec<String> {
    let mut stored = installation.all_stored();
    let mut at = 0;
    while let Some(bytes) = stored.get(at) {
        let text = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
        let words: Vec<_> = bytes
            .split(|byte| !text(byte))
            .map(<[u8]>::to_vec)
            .collect();
        let hidden = words.iter().filter(|word| word.len() >= 8);
        stored.extend(hidden.filter_map(|word| BASE64_STANDARD.decode(word).ok()));
        at += 1;
    }
    let texts = stored.iter().map(|bytes| String::from_utf8_lossy(bytes));
    texts.map(|text| text.into_owned()).collect()
}

#[tokio::test]
async fn plaintext_in_the_store_would_be_found() {
    let (installation, registry) = Installation::with_acme().await;
    registry.add(&act(), key("default", CANARY)).await.unwrap();
    let sealed = format!(r#"{{"sealed":"{}"}}"#, BASE64_STANDARD.encode(CANARY));
    let within = format!(r#"{{"body":"{}"}}"#, BASE64_STANDARD.encode(sealed));
    let planted = "workspace/acme/object/planted".to_owned();
    let mut contents = installation.memory.contents();
    contents.objects.insert(planted, within.into_bytes());
    drop(contents);
    let found = stored(&installation);
    assert!(found.iter().any(|text| text.contains(CANARY)));
}
