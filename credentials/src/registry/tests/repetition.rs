//! Repeated requests with an idempotency key.

use keyside_store::Hash;

use super::*;
use crate::access::{NewToken, Role};

pub(super) fn once(key: &str, request: &str) -> Option<Idempotency> {
    let (key, request) = (key.to_owned(), Hash::of(request.as_bytes()));
    Some(Idempotency { key, request })
}

#[tokio::test]
async fn a_repeated_request_creates_one_credential_even_after_a_restart() {
    let (installation, registry) = Installation::with_acme().await;
    registry.add(&act(), key("first", "sk-0")).await.unwrap();
    let new = |text: &str| NewCredential {
        idempotency: once("my-key", text),
        ..key("default", text)
    };
    let made = registry.add(&act(), new("sk-1")).await.unwrap();
    assert!(!made.repeated && made.warnings.len() == 2);
    drop(registry);
    let registry = installation.open().await;
    let head = seen(&registry).await;
    let again = registry.add(&act(), new("sk-1")).await.unwrap();
    assert_eq!(
        (&again.credential, &again.warnings),
        (&made.credential, &made.warnings)
    );
    assert!(again.repeated);
    let other = registry.add(&act(), new("sk-2")).await;
    assert!(matches!(other, Err(ChangeError::IdempotencyKeyReused)));
    assert_eq!(seen(&registry).await, head, "nothing was changed");
    let by = ActorContext {
        actor: "other".parse().unwrap(),
        ..act()
    };
    let someone_else = NewCredential {
        idempotency: once("my-key", "x"),
        ..key("theirs", "sk-3")
    };
    assert!(!registry.add(&by, someone_else).await.unwrap().repeated);
}

#[tokio::test]
async fn a_repeated_rotation_creates_one_version_even_after_a_restart() {
    let (installation, registry, id) = one_key().await;
    let rotation = |text: &str| Rotation {
        idempotency: once("my-key", text),
        expected: Some(1),
        ..to(text)
    };
    registry
        .rotate(&act(), &id, rotation("sk-2"))
        .await
        .unwrap();
    registry.rotate(&act(), &id, to("sk-3")).await.unwrap();
    drop(registry);
    let registry = installation.open().await;
    let again = registry
        .rotate(&act(), &id, rotation("sk-2"))
        .await
        .unwrap();
    assert!(again.repeated && again.credential.versions.len() == 3);
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-3"
    );
    let other = registry.rotate(&act(), &id, rotation("sk-4")).await;
    assert!(matches!(other, Err(ChangeError::IdempotencyKeyReused)));
}

#[tokio::test]
async fn no_idempotency_key_or_request_is_stored_in_plaintext() {
    let (installation, registry) = Installation::with_acme().await;
    let new = NewCredential {
        idempotency: once("sk-pasted-by-mistake", "body"),
        ..key("default", "sk-1")
    };
    registry.add(&act(), new).await.unwrap();
    for body in installation.all_stored() {
        let text = String::from_utf8_lossy(&body);
        for trace in ["pasted", &Hash::of(b"body").to_string(), "\"mark\""] {
            assert!(!text.contains(trace), "{trace} in {text}");
        }
    }
}

/// A change whose sync failed is in memory only, and a power cut undoes it.
#[tokio::test]
async fn a_repeated_request_confirms_nothing_that_is_not_on_disk() {
    let (installation, registry, id) = one_key().await;
    drop(registry);
    let (storage, registry) = installation.open_faulty().await;
    let new = NewToken {
        name: "Robin".parse().unwrap(),
        role: Role::Editor,
        scope: Scope::All,
        expires_at: None,
    };
    let made = registry.create_token(&act(), &Scope::All, new).await;
    let token = made.unwrap().token.id;
    let add = || async {
        let new = NewCredential {
            idempotency: once("my-key", "sk-2"),
            ..key("second", "sk-2")
        };
        registry.add(&act(), new).await
    };
    let revoke = || async { registry.revoke(&act(), &id, Revocation::default()).await };
    let revoke_token = || async {
        registry
            .revoke_token(&act(), &Scope::All, &token, None)
            .await
    };
    storage.fail_syncs(true);
    for attempt in 1..=2 {
        for (name, is_unknown) in [
            ("adding", is_unknown(add().await)),
            ("revoking", is_unknown(revoke().await)),
            ("revoking a token", is_unknown(revoke_token().await)),
        ] {
            assert!(is_unknown, "{name}, attempt {attempt}");
        }
    }
    storage.fail_syncs(false);
    assert!(add().await.unwrap().repeated);
    revoke().await.unwrap();
    revoke_token().await.unwrap();
}

fn is_unknown<T>(outcome: Result<T, ChangeError>) -> bool {
    matches!(outcome, Err(ChangeError::OutcomeUnknown(_)))
}
