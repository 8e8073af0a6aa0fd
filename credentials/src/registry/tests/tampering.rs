//! Edits by an attacker with write access to the store. Each test ends the same way: an edited
//! credential is not served but still listed, it is audited once, and everything else works.

use super::*;
use crate::audit::VerifyError;

/// Workspaces `acme` with keys `a` (default) and `b`, and `globex` with key `a`.
pub(super) async fn two_workspaces() -> (Installation, [CredentialId; 3]) {
    let (installation, registry) = Installation::with_acme().await;
    registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap();
    let globex = NewCredential {
        workspace: "globex".parse().unwrap(),
        ..key("a", "sk-globex-a")
    };
    let mut ids = Vec::new();
    for new in [key("a", "sk-acme-a"), key("b", "sk-acme-b"), globex] {
        ids.push(registry.add(&act(), new).await.unwrap().credential.id);
    }
    (installation, ids.try_into().unwrap())
}

pub(super) fn edit(document: &mut Vec<u8>, from: &str, to: &str) {
    let mut windows = document.windows(from.len());
    let at = windows.position(|window| window == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("no {from} in {}", String::from_utf8_lossy(document)));
    document.splice(at..at + from.len(), to.bytes());
}

impl Installation {
    pub(super) fn put(&self, key: &str, bytes: &[u8]) {
        let mut contents = self.memory.contents();
        contents.objects.insert(key.to_owned(), bytes.to_vec());
    }

    pub(super) fn remove(&self, key: &str) {
        self.memory.contents().objects.remove(key).unwrap();
    }

    /// Puts everything of a chain back to its state in `older`. Objects written since stay in the
    /// store.
    pub(super) fn put_back(&self, chain: &str, older: &Memory) {
        for (key, bytes) in &older.contents().objects {
            if key.starts_with(&format!("{chain}/")) {
                self.put(key, bytes);
            }
        }
    }
}

/// The answers to requests for `a` and `b` of acme, and for globex.
pub(super) fn answers(registry: &Registry) -> [Result<String, Refusal>; 3] {
    let resolver = registry.resolver();
    let labelled = |workspace, label| {
        opened(resolver.resolve(&CredentialQuery {
            label: Some(label),
            ..ask(workspace)
        }))
    };
    [
        labelled("acme", "a"),
        labelled("acme", "b"),
        labelled("globex", "a"),
    ]
}

/// Edits the stored document of acme's key `a`, and expects that key to be refused and the others
/// to be served.
async fn refuses_only_a(what: &str, tamper: impl FnOnce(&Installation, &str, &[CredentialId; 3])) {
    let (installation, ids) = two_workspaces().await;
    let registry = installation.open().await;
    let before = seen(&registry).await;
    drop(registry);
    let at = installation.stored_credential(&ids[0]);
    tamper(&installation, &at, &ids);
    let registry = installation.open().await;
    let [a, b, globex] = answers(&registry);
    assert_eq!(a, Err(Refusal::CredentialUndecryptable), "{what}");
    assert_eq!(b.as_deref(), Ok("sk-acme-b"), "{what}");
    assert_eq!(globex.as_deref(), Ok("sk-globex-a"), "{what}");
    let revoked = registry
        .revoke(&act(), &ids[0], Revocation::default())
        .await;
    assert!(
        matches!(revoked, Err(ChangeError::Damaged)),
        "{what}: {revoked:?}"
    );
    let verified = registry.audit().verify().await;
    assert!(matches!(verified, Err(VerifyError::Broken(_))), "{what}");
    drop(registry);
    // Detected at each start, and audited once.
    let registry = installation.open().await;
    let recorded = events(&registry, &before).await;
    assert_eq!(recorded, [Event::DocumentDamaged], "{what}");
}

#[tokio::test]
async fn any_edit_of_a_document_is_detected() {
    for (from, to) in [
        ("\"endpoint\":null", "\"endpoint\":\"https://evil.example\""),
        ("\"provider\":\"openai\"", "\"provider\":\"gemini\""),
        (
            "\"expiresAt\":null",
            "\"expiresAt\":\"2099-01-01T00:00:00Z\"",
        ),
        ("\"environment\":\"live\"", "\"environment\":\"sandbox\""),
        ("\"label\":\"a\"", "\"label\":\"c\""),
        (
            "\"revokedAt\":null",
            "\"revokedAt\":\"2020-01-01T00:00:00Z\"",
        ),
        ("\"current\":1", "\"current\":2"),
        (
            "\"destroyedAt\":null",
            "\"destroyedAt\":\"2020-01-01T00:00:00Z\"",
        ),
        ("\"revision\":1", "\"revision\":2"),
    ] {
        let (installation, [a, ..]) = two_workspaces().await;
        let at = installation.stored_credential(&a);
        installation.tamper(&at, |document| edit(document, from, to));
        let registry = installation.open().await;
        let granted = |provider| {
            registry
                .resolver()
                .resolve(&CredentialQuery {
                    provider,
                    ..ask("acme")
                })
                .map(drop)
        };
        assert_eq!(
            granted("openai"),
            Err(Refusal::CredentialUndecryptable),
            "{to}"
        );
        assert!(granted("gemini").is_err(), "{to}");
        assert!(registry.credential(&a).unwrap().damaged, "{to}");
        assert!(
            matches!(
                registry.revoke(&act(), &a, Revocation::default()).await,
                Err(ChangeError::Damaged)
            ),
            "{to}"
        );
    }
}

#[tokio::test]
async fn a_replaced_missing_or_truncated_document_is_detected_without_a_panic() {
    refuses_only_a("of another key", |installation, at, [_, b, _]| {
        let other = installation.stored(&installation.stored_credential(b));
        installation.put(at, &other);
    })
    .await;
    refuses_only_a("of another workspace", |installation, at, [.., globex]| {
        let other = installation.stored(&installation.stored_credential(globex));
        installation.put(at, &other);
    })
    .await;
    refuses_only_a("gone", |installation, at, _| installation.remove(at)).await;
    for cut in [0, 1, 8, 9, 20, 40, 64, 300] {
        refuses_only_a(&format!("cut to {cut}"), |installation, at, _| {
            installation.tamper(at, |document| document.truncate(cut));
        })
        .await;
    }
}

#[tokio::test]
async fn an_older_document_put_back_is_detected() {
    let (installation, [a, ..]) = two_workspaces().await;
    let at = installation.stored_credential(&a);
    let older = installation.stored(&at);
    let registry = installation.open().await;
    registry
        .revoke(&act(), &a, Revocation::default())
        .await
        .unwrap();
    drop(registry);
    // The old storage key is no longer read.
    installation.put(&at, &older);
    let found = &answers(&*installation.open().await)[0];
    assert_eq!(*found, Err(Refusal::CredentialRevoked));
    installation.remove(&at);
    let now = installation.stored_credential(&a);
    installation.put(&now, &older);
    let found = &answers(&*installation.open().await)[0];
    assert_eq!(
        *found,
        Err(Refusal::CredentialUndecryptable),
        "a revoked key does not revive"
    );
}

#[tokio::test]
async fn changed_defaults_are_detected_and_disable_the_workspace() {
    let (installation, [a, b, _]) = two_workspaces().await;
    let at = installation.stored_at("{\"id\":\"acme\"");
    installation.tamper(&at, |document| edit(document, a.as_str(), b.as_str()));
    let registry = installation.open().await;
    let [a, b, globex] = answers(&registry);
    assert_eq!(
        [a, b],
        [
            Err(Refusal::CredentialUndecryptable),
            Err(Refusal::CredentialUndecryptable)
        ]
    );
    assert_eq!(globex.as_deref(), Ok("sk-globex-a"));
    assert!(
        registry.workspaces(&Scope::All)[0].damaged && !registry.workspaces(&Scope::All)[1].damaged
    );
    assert!(matches!(
        registry.add(&act(), key("d", "sk-d")).await,
        Err(ChangeError::Damaged)
    ));
}

#[tokio::test]
async fn a_key_added_beside_a_missing_default_becomes_the_default() {
    let (installation, [a, ..]) = two_workspaces().await;
    let at = installation.stored_credential(&a);
    installation.remove(&at);
    let registry = installation.open().await;
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))),
        Err(Refusal::CredentialUndecryptable)
    );
    let added = registry.add(&act(), key("new", "sk-new")).await.unwrap();
    assert!(added.credential.is_default);
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).as_deref(),
        Ok("sk-new")
    );
}

#[tokio::test]
async fn objects_and_segments_that_no_head_names_have_no_effect() {
    let (installation, ids) = two_workspaces().await;
    let other = installation.stored(&installation.stored_credential(&ids[1]));
    for seq in [1, 9, u64::MAX] {
        let key = format!("workspace/acme/object/{seq:016x}-{}", "0".repeat(64));
        installation.put(&key, &other);
    }
    installation.put("workspace/umbrella/head", &other);
    for number in [1, 2] {
        let segment = (String::from("workspace/acme"), number);
        let mut contents = installation.memory.contents();
        contents.segments.insert(segment, other.clone());
    }
    let registry = installation.open().await;
    assert!(answers(&registry).iter().all(Result::is_ok));
    registry.audit().verify().await.unwrap();
    // The chain writes its first segments nevertheless.
    for n in 0..70 {
        let more = key(&format!("k{n}"), "sk-more");
        registry.add(&act(), more).await.unwrap();
    }
    registry.audit().verify().await.unwrap();
    drop(registry);
    let registry = installation.open().await;
    assert!(answers(&registry).iter().all(Result::is_ok));
    registry.audit().verify().await.unwrap();
}
