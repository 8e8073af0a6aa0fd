//! The one word for a workspace and a provider, from each mixture of credentials.

use async_trait::async_trait;
use jiff::Timestamp;
use keyside_config::Verification;

use super::*;
use crate::live_check::{Finding, LiveCheck};

/// A provider that refuses every key.
struct Refuses;

#[async_trait]
impl LiveCheck for Refuses {
    async fn check(&self, _: &Grant) -> Finding {
        Finding::of_verdict(Verification::Rejected, Some(401))
    }
}

/// A credential to be, by what is to be said of it.
#[derive(Clone, Copy, Debug)]
enum Is {
    Ready,
    Sandbox,
    Expiring,
    Rejected,
    Revoked,
    Expired,
}

async fn add(registry: &Arc<Registry>, label: &str, is: Is) {
    let in_days = |days| Some(Timestamp::from_second(NOW + days * DAY).unwrap());
    let new = NewCredential {
        environment: match is {
            Is::Sandbox => Environment::Sandbox,
            _ => Environment::Live,
        },
        expires_at: match is {
            Is::Expiring => in_days(20),
            Is::Expired => in_days(1),
            _ => None,
        },
        ..key(label, label)
    };
    let id = registry.add(&act(), new).await.unwrap().credential.id;
    match is {
        Is::Revoked => drop(
            registry
                .revoke(&act(), &id, Revocation::default())
                .await
                .unwrap(),
        ),
        Is::Rejected => drop(
            registry
                .verify(&act(), &id, Arc::new(Refuses))
                .await
                .unwrap(),
        ),
        _ => {}
    }
}

fn of_openai(registry: &Registry) -> (ReadinessStatus, Option<String>) {
    let openai = ["openai".parse().unwrap()];
    let mut found = registry.readiness(&"acme".parse().unwrap(), Some(&openai));
    let found = found.pop().unwrap();
    let label = found.decided_by.map(|(_, label)| label.as_str().to_owned());
    (found.status, label)
}

#[track_caller]
fn check(registry: &Registry, status: ReadinessStatus, label: Option<&str>, of: &str) {
    let (found, decided_by) = of_openai(registry);
    assert_eq!((found, decided_by.as_deref()), (status, label), "{of}");
}

#[tokio::test]
async fn the_best_usable_credential_decides_and_else_the_worst_news() {
    use ReadinessStatus as S;
    // Each with the index of the one that decides.
    let cases: &[(&[Is], S, usize)] = &[
        (&[Is::Ready], S::Ready, 0),
        (&[Is::Expiring], S::Expiring, 0),
        (&[Is::Rejected], S::Rejected, 0),
        (&[Is::Revoked], S::Revoked, 0),
        (&[Is::Expired], S::Expired, 0),
        (&[Is::Expiring, Is::Ready], S::Ready, 1),
        (&[Is::Rejected, Is::Expiring], S::Expiring, 1),
        (&[Is::Revoked, Is::Sandbox], S::Ready, 1),
        (&[Is::Sandbox, Is::Ready], S::Ready, 1),
        (&[Is::Sandbox, Is::Expiring], S::Expiring, 1),
        (&[Is::Ready, Is::Ready], S::Ready, 0),
        (&[Is::Expired, Is::Revoked, Is::Rejected], S::Rejected, 2),
        (&[Is::Expired, Is::Revoked], S::Revoked, 1),
    ];
    for (credentials, status, decides) in cases {
        let (installation, registry) = Installation::with_acme().await;
        check(&registry, S::Missing, None, "nothing");
        for (number, is) in credentials.iter().enumerate() {
            add(&registry, &format!("key-{number}"), *is).await;
        }
        installation.clock.set(NOW + 2 * DAY);
        let label = format!("key-{decides}");
        let of = format!("{credentials:?}");
        check(&registry, *status, Some(&label), &of);
    }
}

/// The label of the unusable default, and what is wrong with it.
fn unusable_default(registry: &Registry) -> Option<(String, ReadinessStatus)> {
    let found = registry.readiness(&"acme".parse().unwrap(), None).pop();
    let (id, status) = found.unwrap().unusable_default?;
    let mut keys = registry.list(&Filter::default()).into_iter();
    let key = keys.find(|key| key.id == id).unwrap();
    Some((key.label.to_string(), status))
}

#[tokio::test]
async fn an_unusable_default_is_named_while_another_credential_is_usable() {
    use ReadinessStatus as S;
    // Each with what is wrong with the first, which is a default.
    let cases: &[(&[Is], Option<S>)] = &[
        (&[Is::Ready, Is::Expired], None),
        (&[Is::Expiring, Is::Ready], None),
        (&[Is::Sandbox, Is::Ready], None),
        (&[Is::Expired], None),
        (&[Is::Expired, Is::Rejected], None),
        (&[Is::Expired, Is::Ready], Some(S::Expired)),
        (&[Is::Expired, Is::Sandbox], Some(S::Expired)),
        (&[Is::Rejected, Is::Ready], Some(S::Rejected)),
    ];
    for (credentials, wrong) in cases {
        let (installation, registry) = Installation::with_acme().await;
        for (number, is) in credentials.iter().enumerate() {
            add(&registry, &format!("key-{number}"), *is).await;
        }
        installation.clock.set(NOW + 2 * DAY);
        let expected = wrong.map(|status| ("key-0".to_owned(), status));
        assert_eq!(unusable_default(&registry), expected, "{credentials:?}");
    }
}

#[tokio::test]
async fn a_revoked_default_is_named_until_another_takes_its_place() {
    let (_installation, registry) = Installation::with_acme().await;
    let stored = async |label| registry.add(&act(), key(label, label)).await.unwrap();
    let main = stored("main").await.credential.id;
    let other = stored("other").await.credential.id;
    let revocation = Revocation::default();
    registry.revoke(&act(), &main, revocation).await.unwrap();
    let expected = Some(("main".to_owned(), ReadinessStatus::Revoked));
    assert_eq!(unusable_default(&registry), expected);
    let edit = Edit {
        default: Some(true),
        ..Edit::default()
    };
    registry.edit(&act(), &other, edit).await.unwrap();
    assert_eq!(unusable_default(&registry), None);
}

#[tokio::test]
async fn a_rotation_ends_a_rejection() {
    let (_installation, registry) = Installation::with_acme().await;
    add(&registry, "main", Is::Rejected).await;
    check(&registry, ReadinessStatus::Rejected, Some("main"), "before");
    let id = registry.list(&Filter::default()).pop().unwrap().id;
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    check(&registry, ReadinessStatus::Ready, Some("main"), "after");
}

#[tokio::test]
async fn a_damaged_credential_counts_as_missing() {
    let (installation, registry, id) = one_key().await;
    let stored = installation.stored_credential(&id);
    drop(registry);
    installation.tamper(&stored, |bytes| {
        tampering::edit(bytes, "\"live\"", "\"sandbox\"");
    });
    let registry = installation.open().await;
    assert_eq!(of_openai(&registry).0, ReadinessStatus::Missing);
}

#[tokio::test]
async fn without_a_list_every_provider_with_a_credential_is_named() {
    let (_installation, registry) = Installation::with_acme().await;
    for provider in ["openai", "anthropic"] {
        let new = NewCredential {
            provider: provider.to_owned(),
            ..key("main", provider)
        };
        registry.add(&act(), new).await.unwrap();
    }
    let named = |workspace: &str| {
        let found = registry.readiness(&workspace.parse().unwrap(), None);
        let names = found.iter().map(|one| one.provider.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(named("acme"), ["anthropic", "openai"]);
    assert!(named("beta").is_empty());
}
