//! A new key for a workspace, cut off between its commits.

use super::*;
use crate::{audit::Event, documents, sealing::SealingKey, storage::faulty::Fault};

fn acme() -> crate::WorkspaceId {
    "acme".parse().unwrap()
}

/// `acme` with more keys than one commit takes.
async fn with_many() -> (Installation, Arc<Registry>) {
    let (installation, registry) = Installation::with_acme().await;
    for n in 0..KEYS {
        let new = key(&format!("k{n}"), &format!("sk-{n}"));
        registry.add(&act(), new).await.unwrap();
    }
    (installation, registry)
}

const KEYS: usize = 120;

/// Every key is served, and none is damaged.
fn serves(registry: &Registry) {
    let resolver = registry.resolver();
    for n in 0..KEYS {
        let label = format!("k{n}");
        let ask = Ask {
            label: Some(&label),
            ..ask("acme")
        };
        assert_eq!(opened(resolver.resolve(&ask)).unwrap(), format!("sk-{n}"));
    }
    let credentials = registry.list(&Filter::default());
    assert!(credentials.iter().all(|it| !it.damaged));
    assert!(credentials.iter().all(|it| it.fingerprint.is_some()));
}

/// The ids of all keys that anything stored of `acme` names.
fn named(installation: &Installation) -> std::collections::BTreeSet<String> {
    let mut ids = std::collections::BTreeSet::new();
    installation.memory.tamper(|documents, _| {
        for (key, document) in documents.iter() {
            if !documents::is_of(key, &acme()) {
                continue;
            }
            let stored = crate::authentic::Stored::parse(&document.body).unwrap();
            ids.insert(stored.key.to_owned());
            let claims: Option<documents::CredentialDocument> = stored.claims();
            for version in claims.into_iter().flat_map(|it| it.versions) {
                for blob in [&version.sealed, &version.trace] {
                    ids.insert(SealingKey::id_in(blob).unwrap().to_owned());
                }
            }
        }
    });
    ids
}

#[tokio::test]
async fn everything_of_the_workspace_is_sealed_under_the_new_key_and_nothing_else_changes() {
    let (installation, registry) = with_many().await;
    let grant = registry.resolver().resolve(&ask("acme")).unwrap();
    let resealed = registry
        .rotate_workspace_key(&act(), &acme())
        .await
        .unwrap();
    assert_eq!((resealed.credentials, resealed.damaged), (KEYS, 0));
    assert_eq!(
        named(&installation),
        [resealed.key.clone()].into_iter().collect()
    );
    assert_eq!(opened(Ok(grant)).unwrap(), "sk-0");
    serves(&registry);
    let again = registry.rotate_workspace_key(&act(), &acme()).await;
    assert_ne!(again.unwrap().key, resealed.key, "a new one each time");
    drop(registry);
    let registry = installation.open().await;
    serves(&registry);
    registry.audit().verify().await.unwrap();
    let records = registry.audit().records(1, 1_000).await.unwrap();
    let created = |it: &&crate::AuditRecord| it.event == Event::CredentialCreated;
    assert!(
        records
            .iter()
            .filter(created)
            .all(|it| it.fingerprint.is_some()),
        "what older keys sealed in the log can still be read"
    );
}

#[tokio::test]
async fn a_rotation_that_is_cut_off_serves_all_keys_and_goes_on_where_it_was() {
    // Around the first commit and the second; in between one step is like the other.
    for at in (0..8).chain(100..110).chain([124, 125, 1_000]) {
        let (installation, registry) = with_many().await;
        drop(registry);
        let (storage, registry) = installation.open_faulty().await;
        storage.watch(Some(Fault {
            at,
            done: at % 2 == 0,
            for_good: true,
        }));
        let outcome = registry.rotate_workspace_key(&act(), &acme()).await;
        let reached = storage.asked().len() > at;
        serves(&registry);
        drop(registry);
        let registry = installation.open().await;
        serves(&registry);
        assert_eq!(reached, at < 1_000, "{at}");
        assert!(reached || outcome.is_ok(), "{at}: {outcome:?}");
        let keys = registry.inner.keyring.ids(&acme()).await;
        let left = registry
            .rotate_workspace_key(&act(), &acme())
            .await
            .unwrap();
        assert_eq!(named(&installation), [left.key.clone()].into(), "{at}");
        // Unless all was done but the clearing away, the key that was begun with is gone on with.
        if left.credentials < KEYS {
            assert_eq!(keys.last(), Some(&left.key), "{at}");
        }
    }
}

#[tokio::test]
async fn a_workspace_without_keys_gets_a_new_one_too() {
    let (installation, registry) = Installation::with_acme().await;
    let resealed = registry
        .rotate_workspace_key(&act(), &acme())
        .await
        .unwrap();
    assert_eq!(resealed.credentials, 0);
    assert_eq!(named(&installation), [resealed.key].into());
    let unknown = registry
        .rotate_workspace_key(&act(), &"nowhere".parse().unwrap())
        .await;
    assert!(matches!(unknown, Err(ChangeError::WorkspaceUnknown)));
}

#[tokio::test]
async fn changes_and_a_second_rotation_come_between_and_all_ends_under_one_key() {
    let (installation, registry) = with_many().await;
    let (by, id) = (act(), acme());
    let (one, other, added, backup) = tokio::join!(
        registry.rotate_workspace_key(&by, &id),
        registry.rotate_workspace_key(&by, &id),
        registry.add(&by, key("between", "sk-between")),
        registry.backup(&by),
    );
    added.unwrap();
    drop(backup.unwrap());
    let last = registry.inner.keyring.current(&acme()).unwrap();
    assert!([one.unwrap().key, other.unwrap().key].contains(&last.id().to_owned()));
    assert_eq!(
        named(&installation),
        [last.id().to_owned()].into(),
        "of {} keys",
        registry.inner.keyring.ids(&acme()).await.len()
    );
    serves(&registry);
    drop(registry);
    serves(&*installation.open().await);
}

#[tokio::test]
async fn what_does_not_open_is_left_as_it_is_and_counted() {
    let (installation, registry) = with_many().await;
    let id = registry.list(&Filter::default())[0].id.clone();
    drop(registry);
    installation.memory.tamper(|documents, _| {
        let stored = documents.get_mut(&format!("credentials/acme/{id}"));
        stored.unwrap().body[40] ^= 1; // in its MAC
    });
    let registry = installation.open().await;
    let resealed = registry
        .rotate_workspace_key(&act(), &acme())
        .await
        .unwrap();
    assert_eq!((resealed.credentials, resealed.damaged), (KEYS - 1, 1));
    let damaged = registry.list(&Filter::default()).into_iter();
    assert_eq!(damaged.filter(|it| it.damaged).count(), 1);
}

#[tokio::test]
async fn a_new_key_is_made_although_something_old_does_not_open_any_more() {
    let (installation, registry, id) = one_key().await;
    let first = registry.inner.keyring.ids(&acme()).await;
    registry.inner.keyring.add_next(&acme()).await.unwrap();
    // Of the destroyed version its trace stays, under the first key, which then does not unwrap any more.
    let rotation = Rotation {
        grace: std::time::Duration::ZERO,
        ..to("sk-2")
    };
    registry.rotate(&act(), &id, rotation).await.unwrap();
    let first = first.into_iter().collect();
    registry.inner.keyring.destroy(&first).await.unwrap();
    for _ in 0..2 {
        let before = registry.inner.keyring.current(&acme()).unwrap();
        let resealed = registry
            .rotate_workspace_key(&act(), &acme())
            .await
            .unwrap();
        assert_ne!(resealed.key, before.id());
        assert_eq!((resealed.credentials, resealed.damaged), (0, 1));
    }
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-2"
    );
}
