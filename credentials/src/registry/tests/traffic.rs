//! Keys that providers reject in traffic.

use super::*;
use crate::model::{CredentialEventKind, Rejection, RejectionCause, TrafficCounts};

fn grant(registry: &Registry) -> Grant {
    registry.resolver().resolve(&ask("acme")).unwrap()
}

fn rejection(registry: &Registry, id: &CredentialId) -> Option<Rejection> {
    registry.credential(id).unwrap().rejection
}

fn counts(registry: &Registry) -> TrafficCounts {
    registry.traffic_counts()["openai"]
}

#[tokio::test]
async fn rejections_are_counted_until_the_next_success() {
    let (installation, registry, id) = one_key().await;
    let mut events = registry.events();
    let grant = grant(&registry);
    grant.accepted();
    assert_eq!(rejection(&registry, &id), None);
    assert_eq!(counts(&registry), TrafficCounts { ok: 1, rejected: 0 });
    grant.rejected(RejectionCause::WrongKey);
    installation.clock.set(NOW + 60);
    grant.rejected(RejectionCause::NoFunds);
    let expected = rejection(&registry, &id).unwrap();
    assert_eq!(
        (expected.count, expected.cause),
        (2, RejectionCause::NoFunds)
    );
    assert_eq!(expected.since.as_second(), NOW);
    assert_eq!(counts(&registry), TrafficCounts { ok: 0, rejected: 1 });
    let listed = registry.rejected_in_traffic();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].label.as_str(), listed[0].rejection),
        ("default", expected)
    );
    grant.accepted();
    assert_eq!(rejection(&registry, &id), None);
    assert!(registry.rejected_in_traffic().is_empty());
    // One event for each change of the state, not for each request.
    let begun = events.try_recv().unwrap();
    let cause = RejectionCause::WrongKey;
    assert_eq!(begun.kind, CredentialEventKind::RejectedInTraffic(cause));
    assert_eq!((&begun.credential, begun.version), (&Some(id), Some(1)));
    let ended = events.try_recv().unwrap();
    assert_eq!(
        ended.kind,
        CredentialEventKind::RecoveredInTraffic(expected)
    );
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn a_rotation_ends_rejections_and_an_edit_does_not() {
    let (_installation, registry, id) = one_key().await;
    let first = grant(&registry);
    first.rejected(RejectionCause::WrongKey);
    let edit = Edit {
        label: "renamed".parse().ok(),
        ..Edit::default()
    };
    registry.edit(&act(), &id, edit).await.unwrap();
    assert_eq!(rejection(&registry, &id).unwrap().count, 1);
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    assert_eq!(rejection(&registry, &id), None);
    // The provider's late response to the old secret says nothing about the new one.
    first.rejected(RejectionCause::WrongKey);
    assert_eq!(rejection(&registry, &id), None);
    let second = grant(&registry);
    second.rejected(RejectionCause::NoFunds);
    let found = rejection(&registry, &id).unwrap();
    assert_eq!((found.count, found.cause), (1, RejectionCause::NoFunds));
    first.accepted();
    first.rejected(RejectionCause::WrongKey);
    assert_eq!(rejection(&registry, &id), Some(found));
    second.accepted();
    assert_eq!(rejection(&registry, &id), None);
}

#[tokio::test]
async fn a_revoked_key_is_not_counted() {
    let (_installation, registry, id) = one_key().await;
    grant(&registry).rejected(RejectionCause::WrongKey);
    let revoked = registry.revoke(&act(), &id, Revocation::default()).await;
    assert_eq!(revoked.unwrap().rejection, None);
    assert!(registry.rejected_in_traffic().is_empty());
    assert_eq!(registry.traffic_counts().get("openai"), None);
}

#[tokio::test]
async fn rejections_survive_a_restart() {
    let (installation, registry, id) = one_key().await;
    grant(&registry).rejected(RejectionCause::Quota);
    let before = rejection(&registry, &id);
    assert!(before.is_some());
    registry.flush().await;
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(rejection(&registry, &id), before);
    // Nothing has changed, so nothing is written.
    let notes = || installation.memory.contents().notes.clone();
    let written = notes();
    registry.flush().await;
    assert_eq!(notes(), written);
    grant(&registry).accepted();
    registry.flush().await;
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(rejection(&registry, &id), None);
    grant(&registry).rejected(RejectionCause::Quota);
    registry.flush().await;
    drop(registry);
    // A note that cannot be read counts as empty.
    installation
        .memory
        .contents()
        .notes
        .values_mut()
        .for_each(|note| note.truncate(9));
    let registry = installation.open().await;
    assert_eq!(rejection(&registry, &id), None);
}
