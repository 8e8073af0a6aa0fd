//! What subscribers learn, and how often.

use jiff::Timestamp;
use keyside_config::Verification;
use keyside_store::faulty::{Fault, FaultyNotes};
use tokio::sync::broadcast::Receiver;

use super::*;
use crate::{
    live_check::Finding,
    model::{CredentialChange, CredentialEvent, CredentialEventKind as Kind, Label},
};

fn next(events: &mut Receiver<CredentialEvent>) -> Option<CredentialEvent> {
    events.try_recv().ok()
}

fn kinds(events: &mut Receiver<CredentialEvent>) -> Vec<Kind> {
    std::iter::from_fn(|| next(events))
        .map(|it| it.kind)
        .collect()
}

fn ending(end: Timestamp) -> Edit {
    Edit {
        expires_at: Some(Some(end)),
        ..Edit::default()
    }
}

fn in_days(days: i64) -> Timestamp {
    Timestamp::from_second(NOW + 86_400 * days).unwrap()
}

#[tokio::test]
async fn each_change_is_one_event_with_what_it_changed() {
    let (_installation, registry) = Installation::with_acme().await;
    let mut events = registry.events();
    let added = registry.add(&act(), key("default", "sk-1")).await.unwrap();
    let id = added.credential.id;
    let created = next(&mut events).unwrap();
    assert_eq!(created.kind, Kind::Changed(CredentialChange::Created));
    assert_eq!(created.at.as_second(), NOW);
    assert_eq!(created.workspace.as_str(), "acme");
    assert_eq!(created.provider.as_deref(), Some("openai"));
    assert_eq!(created.credential.as_ref(), Some(&id));
    assert_eq!(created.version, Some(1));
    assert_eq!(created.label.as_ref().map(Label::as_str), Some("default"));
    assert_eq!(created.environment, Some(Environment::Live));

    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    let rotated = next(&mut events).unwrap();
    assert_eq!(rotated.kind, Kind::Changed(CredentialChange::Rotated));
    assert_eq!(rotated.version, Some(2));
    let renamed = Edit {
        label: "renamed".parse().ok(),
        ..Edit::default()
    };
    // The second changes nothing.
    for _ in 0..2 {
        registry.edit(&act(), &id, renamed.clone()).await.unwrap();
    }
    let edited = next(&mut events).unwrap();
    assert_eq!(edited.kind, Kind::Changed(CredentialChange::Edited));
    assert_eq!(edited.label.as_ref().map(Label::as_str), Some("renamed"));
    let back = registry.roll_back(&act(), &id, Rollback::default()).await;
    back.unwrap();
    for cut in [false, false, true] {
        let revocation = Revocation {
            cut,
            ..Revocation::default()
        };
        registry.revoke(&act(), &id, revocation).await.unwrap();
    }
    let expected = [CredentialChange::RolledBack, CredentialChange::Revoked];
    assert_eq!(kinds(&mut events), expected.map(Kind::Changed));
    let acme = "acme".parse().unwrap();
    registry.erase_workspace(&act(), &acme, None).await.unwrap();
    let erased = next(&mut events).unwrap();
    assert_eq!(erased.kind, Kind::WorkspaceErased);
    assert_eq!((erased.workspace, erased.credential), (acme, None));
    assert_eq!(next(&mut events), None);
}

#[tokio::test]
async fn a_change_that_is_not_stored_is_no_event() {
    let (installation, registry, id) = one_key().await;
    drop(registry);
    let (faulty, registry) = installation.open_faulty().await;
    let mut events = registry.events();
    faulty.fail(1, usize::MAX, Fault::Refused);
    let refused = registry.rotate(&act(), &id, to("sk-2")).await;
    assert!(refused.is_err());
    assert_eq!(next(&mut events), None);
}

#[tokio::test]
async fn an_end_that_comes_near_is_announced_once_by_one_process() {
    let (installation, registry, id) = one_key().await;
    registry
        .edit(&act(), &id, ending(in_days(60)))
        .await
        .unwrap();
    // Nobody listens, so it is announced later.
    installation.clock.set(in_days(31).as_second());
    registry.announce_expiring().await;
    let other = installation.open().await;
    let (mut events, mut others) = (registry.events(), other.events());
    for registry in [&registry, &other, &registry] {
        registry.announce_expiring().await;
    }
    let announced = next(&mut events).unwrap();
    assert_eq!(announced.kind, Kind::Expiring(in_days(60)));
    assert_eq!(announced.credential.as_ref(), Some(&id));
    assert_eq!(next(&mut events), None);
    assert_eq!(next(&mut others), None);
    drop((registry, other));

    let registry = installation.open().await;
    let mut events = registry.events();
    registry.announce_expiring().await;
    assert_eq!(next(&mut events), None, "after a restart");
    // A later end, which comes near too.
    registry
        .edit(&act(), &id, ending(in_days(90)))
        .await
        .unwrap();
    registry.announce_expiring().await;
    assert_eq!(
        kinds(&mut events),
        [Kind::Changed(CredentialChange::Edited)]
    );
    installation.clock.set(in_days(61).as_second());
    registry.announce_expiring().await;
    assert_eq!(kinds(&mut events), [Kind::Expiring(in_days(90))]);
    // What has expired or is revoked is not about to expire.
    installation.clock.set(in_days(91).as_second());
    registry.announce_expiring().await;
    assert_eq!(next(&mut events), None);
}

#[tokio::test]
async fn what_was_claimed_is_announced_although_the_sync_fails() {
    let (installation, registry, id) = one_key().await;
    registry
        .edit(&act(), &id, ending(in_days(7)))
        .await
        .unwrap();
    drop(registry);
    let notes = Arc::new(FaultyNotes::new(installation.memory.clone()));
    let backend = Backend {
        notes: notes.clone(),
        ..installation.backend()
    };
    let registry = open_without_tasks(installation.options(backend)).await;
    let registry = registry.unwrap();
    let mut events = registry.events();
    notes.fail_writes(1);
    registry.announce_expiring().await;
    assert_eq!(next(&mut events), None, "not claimed");
    notes.fail_syncs(true);
    registry.announce_expiring().await;
    assert_eq!(kinds(&mut events), [Kind::Expiring(in_days(7))]);
    registry.announce_expiring().await;
    assert_eq!(next(&mut events), None, "once");
}

#[tokio::test]
async fn a_running_registry_announces_as_soon_as_somebody_subscribes() {
    let (installation, registry, id) = one_key().await;
    registry
        .edit(&act(), &id, ending(in_days(7)))
        .await
        .unwrap();
    drop(registry);
    let registry = installation.open_running().await;
    let mut events = registry.events();
    let announced = events.recv().await.unwrap();
    assert_eq!(announced.kind, Kind::Expiring(in_days(7)));
    registry
        .edit(&act(), &id, ending(in_days(6)))
        .await
        .unwrap();
    let edited = events.recv().await.unwrap();
    assert_eq!(edited.kind, Kind::Changed(CredentialChange::Edited));
    let announced = events.recv().await.unwrap();
    assert_eq!(announced.kind, Kind::Expiring(in_days(6)));
}

#[tokio::test]
async fn a_verdict_is_an_event_if_the_provider_has_begun_to_reject_the_key() {
    let (_installation, registry, id) = one_key().await;
    let mut events = registry.events();
    for (before, verdict, count) in [
        (None, Verification::Accepted, 0),
        (None, Verification::Rejected, 1),
        (Some(Verification::Accepted), Verification::Rejected, 1),
        (Some(Verification::Rejected), Verification::Rejected, 0),
        (Some(Verification::Accepted), Verification::Unreachable, 0),
        (Some(Verification::Accepted), Verification::Limited, 0),
    ] {
        let finding = Finding::of_verdict(verdict, None);
        registry.publish_finding(&id, before, &finding);
        let expected = vec![Kind::CheckFailed(None); count];
        assert_eq!(kinds(&mut events), expected, "{before:?} {verdict:?}");
    }
}

#[tokio::test]
async fn a_failed_smoke_check_is_an_event_with_a_credential_or_without() {
    let (_installation, registry, id) = one_key().await;
    let mut events = registry.events();
    let (acme, openai) = ("acme".parse().unwrap(), "openai".parse().unwrap());
    registry.publish_smoke_failure(&acme, &openai, Some(&id), "rejected", 2);
    let failed = next(&mut events).unwrap();
    let kind = Kind::SmokeFailed {
        verdict: "rejected",
        consecutive: 2,
    };
    assert_eq!((failed.kind, failed.credential), (kind, Some(id)));
    registry.publish_smoke_failure(&acme, &openai, None, "missing", 1);
    let missing = next(&mut events).unwrap();
    assert_eq!((missing.provider, missing.label), (Some(openai), None));
}
