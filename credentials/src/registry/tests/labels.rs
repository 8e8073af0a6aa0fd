//! A label belongs to the only credential with it that is not revoked.

use keyside_store::Hash;

use super::{tampering::edit, *};

fn labelled(label: &'static str) -> CredentialQuery<'static> {
    CredentialQuery {
        label: Some(label),
        ..ask("acme")
    }
}

async fn revoke(registry: &Arc<Registry>, id: &CredentialId) {
    let revoked = registry.revoke(&act(), id, Revocation::default()).await;
    revoked.unwrap();
}

fn relabelled(label: &str) -> Edit {
    Edit {
        label: Some(label.parse().unwrap()),
        ..Edit::default()
    }
}

#[tokio::test]
async fn the_replacement_of_a_revoked_key_takes_its_label_and_default_role() {
    let (installation, registry, leaked) = one_key().await;
    revoke(&registry, &leaked).await;
    let resolver = registry.resolver();
    assert_eq!(
        opened(resolver.resolve(&labelled("default"))),
        Err(Refusal::CredentialRevoked)
    );
    let saved = registry.add(&act(), key("default", "sk-2")).await.unwrap();
    assert_eq!(saved.warnings, [Warning::SecretUnusualForm]);
    assert!(saved.credential.is_default);
    replaced(&registry).await;
    drop(registry);
    // A restart reads documents in the order in which storage lists them.
    let reopened = installation.open().await;
    replaced(&reopened).await;
}

async fn replaced(registry: &Arc<Registry>) {
    let resolver = registry.resolver();
    for asked in [labelled("default"), ask("acme")] {
        assert_eq!(opened(resolver.resolve(&asked)).as_deref(), Ok("sk-2"));
    }
    assert_eq!(registry.list(&Filter::default()).len(), 2);
    let taken = registry.add(&act(), key("default", "sk-3")).await;
    assert!(matches!(taken, Err(ChangeError::LabelTaken { .. })));
}

#[tokio::test]
async fn an_edit_can_take_the_label_of_a_revoked_key_and_release_it() {
    let (_installation, registry, gone) = one_key().await;
    let other = registry.add(&act(), key("other", "sk-2")).await.unwrap();
    let other = other.credential.id;
    let taken = registry.edit(&act(), &other, relabelled("default")).await;
    assert!(matches!(taken, Err(ChangeError::LabelTaken { .. })));
    revoke(&registry, &gone).await;
    let edited = registry.edit(&act(), &other, relabelled("default")).await;
    edited.unwrap();
    let resolver = registry.resolver();
    let asked = |label| opened(resolver.resolve(&labelled(label)));
    assert_eq!(asked("default").as_deref(), Ok("sk-2"));
    assert_eq!(asked("other"), Err(Refusal::LabelUnknown));
    let edited = registry.edit(&act(), &other, relabelled("third")).await;
    edited.unwrap();
    assert_eq!(asked("default"), Err(Refusal::CredentialRevoked));
    assert_eq!(asked("third").as_deref(), Ok("sk-2"));
    // The revoked key stays revoked.
    let back = registry.edit(&act(), &gone, relabelled("fourth")).await;
    assert!(matches!(back, Err(ChangeError::Revoked)));
}

#[tokio::test]
async fn a_label_of_revoked_keys_only_resolves_to_the_one_revoked_last() {
    let (installation, registry, first) = one_key().await;
    revoke(&registry, &first).await;
    installation.clock.set(NOW + 60);
    let second = registry.add(&act(), key("default", "sk-2")).await.unwrap();
    let second = second.credential.id;
    installation.clock.set(NOW + 120);
    revoke(&registry, &second).await;
    drop(registry);
    let registry = installation.open_running().await;
    let from = seen(&registry).await;
    assert_eq!(
        opened(registry.resolver().resolve(&labelled("default"))),
        Err(Refusal::CredentialRevoked)
    );
    let noted = loop {
        let records = since(&registry, &from).await;
        match records.into_iter().next() {
            Some(record) => break record,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(noted.event, Event::RevokedUseAttempted);
    assert_eq!(noted.credential, Some(second));
}

#[tokio::test]
async fn repeating_the_request_that_created_a_revoked_key_creates_no_other() {
    let (_installation, registry) = Installation::with_acme().await;
    let new = || NewCredential {
        idempotency: Some(Idempotency {
            key: "my-key".to_owned(),
            request: Hash::of(b"request"),
        }),
        ..key("default", "sk-1")
    };
    let first = registry.add(&act(), new()).await.unwrap().credential.id;
    revoke(&registry, &first).await;
    registry.add(&act(), key("default", "sk-2")).await.unwrap();
    let again = registry.add(&act(), new()).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.credential.id, first);
    let resolver = registry.resolver();
    assert_eq!(
        opened(resolver.resolve(&labelled("default"))).as_deref(),
        Ok("sk-2")
    );
}

#[tokio::test]
async fn of_many_concurrent_creations_with_the_label_of_a_revoked_key_exactly_one_succeeds() {
    let (_installation, registry, gone) = one_key().await;
    revoke(&registry, &gone).await;
    let saving: Vec<_> = (0..16)
        .map(|n| {
            let (registry, secret) = (registry.clone(), format!("sk-{n}"));
            tokio::spawn(async move { registry.add(&act(), key("default", &secret)).await.is_ok() })
        })
        .collect();
    let mut saved = 0;
    for one in saving {
        saved += usize::from(one.await.unwrap());
    }
    assert_eq!(saved, 1);
}

/// An attacker with write access to the store can neither free a label nor shadow the key that has
/// it.
#[tokio::test]
async fn an_edited_document_neither_frees_its_label_nor_takes_another() {
    let (installation, registry, id) = one_key().await;
    registry.add(&act(), key("other", "sk-2")).await.unwrap();
    drop(registry);
    let at = installation.stored_credential(&id);
    let tampered = |from: &'static str, to: &'static str| {
        installation.tamper(&at, |document| edit(document, from, to));
    };
    tampered(
        "\"revokedAt\":null",
        "\"revokedAt\":\"2026-11-22T00:00:00Z\"",
    );
    let registry = installation.open().await;
    let asked = |registry: &Registry, label| opened(registry.resolver().resolve(&labelled(label)));
    assert_eq!(
        asked(&registry, "default"),
        Err(Refusal::CredentialUndecryptable)
    );
    let taken = registry.add(&act(), key("default", "sk-3")).await;
    assert!(matches!(taken, Err(ChangeError::LabelTaken { .. })));
    drop(registry);
    tampered("\"label\":\"default\"", "\"label\":\"other\"");
    let registry = installation.open().await;
    assert_eq!(asked(&registry, "other").as_deref(), Ok("sk-2"));
}

#[tokio::test]
async fn a_list_orders_credentials_of_one_label_by_age() {
    let (installation, registry) = Installation::with_acme().await;
    let mut made = Vec::new();
    for n in 0..4 {
        installation.clock.set(NOW + n);
        let new = key("default", &format!("sk-{n}"));
        let id = registry.add(&act(), new).await.unwrap().credential.id;
        revoke(&registry, &id).await;
        made.push(id);
    }
    let listed = registry.list(&Filter::default());
    let listed: Vec<_> = listed.into_iter().map(|it| it.id).collect();
    assert_eq!(listed, made);
}

#[tokio::test]
async fn a_label_or_usage_tag_that_repeats_the_secret_is_refused_later_too() {
    const CANARY: &str = "sk-canary-label-0123456789";
    let (_installation, registry, id) = one_key().await;
    registry.rotate(&act(), &id, to(CANARY)).await.unwrap();
    let tagged = |tag: &str| Edit {
        usage_tag: Some(Some(tag.parse().unwrap())),
        ..Edit::default()
    };
    // Version 1 is in grace.
    for text in [CANARY, "sk-1----"] {
        let edited = registry.edit(&act(), &id, relabelled(text)).await;
        assert!(matches!(edited, Err(ChangeError::LabelRepeatsSecret)));
        let edited = registry.edit(&act(), &id, tagged(text)).await;
        assert!(matches!(edited, Err(ChangeError::UsageTagRepeatsSecret)));
    }
    let next = "sk-canary-next-0123456789";
    for edit in [relabelled(next), tagged(next)] {
        registry.edit(&act(), &id, edit).await.unwrap();
        let rotated = registry.rotate(&act(), &id, to(next)).await;
        assert!(matches!(rotated, Err(ChangeError::SecretRepeated)));
        let other = Edit {
            usage_tag: Some(None),
            ..relabelled("other")
        };
        registry.edit(&act(), &id, other).await.unwrap();
    }
    registry.rotate(&act(), &id, to(next)).await.unwrap();
}
