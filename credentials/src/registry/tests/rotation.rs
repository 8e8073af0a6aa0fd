use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::model::Fingerprint;

#[tokio::test]
async fn a_rotation_is_used_at_once_and_requests_in_flight_keep_the_old_key() {
    let (installation, registry, id) = one_key().await;
    let in_flight = registry.resolver().resolve(&ask("acme")).unwrap();
    installation.clock.set(NOW + 60);
    let saved = registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    let credential = saved.credential;
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-2"
    );
    assert_eq!(
        (
            opened(Ok(in_flight.clone())).unwrap().as_str(),
            in_flight.version()
        ),
        ("sk-1", 1)
    );
    assert_eq!(
        states(&credential),
        [VersionState::Grace, VersionState::Current]
    );
    let end = Timestamp::from_second(NOW + 60 + DAY).unwrap();
    assert_eq!(
        credential.versions[0].grace_until,
        Some(end),
        "a day by default"
    );
    assert_eq!(
        credential.last_rotated_at,
        Some(Timestamp::from_second(NOW + 60).unwrap())
    );
    assert_eq!(
        (credential.revision, credential.hint.unwrap().as_str()),
        (2, "sk-…")
    );
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-2"
    );
}

#[tokio::test]
async fn a_rotation_to_a_refused_kind_of_key_keeps_the_old_one_in_use() {
    let (_installation, registry, id) = one_key().await;
    let from = seen(&registry).await;
    let refused = registry.rotate(&act(), &id, to("sk-admin-1")).await;
    assert!(matches!(
        refused,
        Err(ChangeError::SecretOfOtherKind { .. })
    ));
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-1"
    );
    assert!(events(&registry, &from).await.is_empty());
}

#[tokio::test]
async fn without_grace_the_old_version_is_destroyed_in_the_same_commit() {
    let (installation, registry, id) = one_key().await;
    let from = seen(&registry).await;
    let rotation = Rotation {
        grace: Duration::ZERO,
        ..to("sk-2")
    };
    let saved = registry.rotate(&act(), &id, rotation).await.unwrap();
    assert_eq!(
        states(&saved.credential),
        [VersionState::Destroyed, VersionState::Current]
    );
    assert_eq!(sealed_versions(&installation), 1);
    assert_eq!(events(&registry, &from).await, [Event::CredentialRotated]);
    let back = registry.roll_back(&act(), &id, Rollback::default()).await;
    assert!(matches!(back, Err(ChangeError::NothingInGrace)));
}

#[tokio::test]
async fn a_grace_of_more_than_ninety_days_is_refused() {
    let (_installation, registry, id) = one_key().await;
    let longest = Rotation {
        grace: Duration::from_secs(90 * 86_400),
        ..to("sk-2")
    };
    registry.rotate(&act(), &id, longest).await.unwrap();
    let longer = Rotation {
        grace: Duration::from_secs(90 * 86_400 + 1),
        ..to("sk-3")
    };
    assert!(matches!(
        registry.rotate(&act(), &id, longer).await,
        Err(ChangeError::GraceTooLong)
    ));
}

#[tokio::test]
async fn a_damaged_workspace_does_not_keep_the_sweep_from_the_others() {
    for damaged in ["acme", "globex"] {
        let (installation, registry, _) = super::erasing::two_workspaces().await;
        for credential in registry.list(&Filter::default()) {
            let rotated = registry.rotate(&act(), &credential.id, to("sk-2")).await;
            rotated.unwrap();
        }
        installation.tamper(&format!("workspace/{damaged}/head"), |head| head[60] ^= 1);
        registry.catch_up().await.unwrap();
        assert!(
            registry
                .workspace(&damaged.parse().unwrap())
                .unwrap()
                .damaged
        );
        assert_eq!(sealed_versions(&installation), 4);
        installation.clock.set(NOW + DAY);
        registry.sweep().await;
        assert_eq!(sealed_versions(&installation), 3, "{damaged} is damaged");
    }
}

#[tokio::test]
async fn a_version_is_unusable_when_its_grace_ends_and_its_bytes_are_deleted_by_the_sweep() {
    let (installation, registry, id) = one_key().await;
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    installation.clock.set(NOW + DAY - 1);
    registry.sweep().await;
    assert_eq!(
        states(&registry.credential(&id).unwrap())[0],
        VersionState::Grace
    );
    installation.clock.set(NOW + DAY);
    assert_eq!(
        states(&registry.credential(&id).unwrap())[0],
        VersionState::Destroyed
    );
    let back = registry
        .roll_back(
            &act(),
            &id,
            Rollback {
                to: Some(1),
                expected: None,
            },
        )
        .await;
    assert!(matches!(back, Err(ChangeError::VersionNotInGrace(1))));
    assert_eq!(sealed_versions(&installation), 2, "nothing has run yet");
    let from = seen(&registry).await;
    registry.sweep().await;
    registry.sweep().await;
    assert_eq!(sealed_versions(&installation), 1);
    assert_eq!(
        events(&registry, &from).await,
        [Event::VersionDestroyed],
        "swept once"
    );
    let record = &since(&registry, &from).await[0];
    assert_eq!(
        (record.actor.as_str(), record.note.as_deref()),
        ("system", Some("version 1"))
    );
    assert_eq!(record.fingerprint, Some(Fingerprint::of(&secret("sk-1"))));
}

#[tokio::test]
async fn a_start_sweeps_versions_whose_grace_has_ended() {
    let (installation, registry, id) = one_key().await;
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    let head = seen(&registry).await;
    drop(registry);
    installation.clock.set(NOW + DAY);
    let registry = installation.open_running().await;
    // The first sweep runs in the background; this waits for its outcome and starts none.
    while seen(&registry).await == head {
        tokio::task::yield_now().await;
    }
    assert_eq!(events(&registry, &head).await, [Event::VersionDestroyed]);
    while sealed_versions(&installation) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-2"
    );
}

#[tokio::test]
async fn any_change_sweeps_its_own_credential() {
    let (installation, registry, id) = one_key().await;
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    installation.clock.set(NOW + DAY);
    let from = seen(&registry).await;
    let seen = registry.credential(&id).unwrap().revision;
    let rotation = Rotation {
        expected: Some(seen),
        ..to("sk-3")
    };
    registry.rotate(&act(), &id, rotation).await.unwrap();
    assert_eq!(
        events(&registry, &from).await,
        [Event::CredentialRotated, Event::VersionDestroyed]
    );
    assert_eq!(sealed_versions(&installation), 2);
}

#[tokio::test]
async fn several_versions_can_be_in_grace_and_any_of_them_can_be_rolled_back_to() {
    let (installation, registry, id) = one_key().await;
    let rotate = async |text: &str, hours: u64| {
        let grace = Duration::from_secs(hours * 3_600);
        registry
            .rotate(&act(), &id, Rotation { grace, ..to(text) })
            .await
            .unwrap();
    };
    let used = || opened(registry.resolver().resolve(&ask("acme"))).unwrap();
    rotate("sk-2", 10).await;
    rotate("sk-3", 2).await;
    let back = registry
        .roll_back(&act(), &id, Rollback::default())
        .await
        .unwrap();
    assert_eq!(used(), "sk-2", "the newest in grace");
    assert_eq!(
        states(&back),
        [
            VersionState::Grace,
            VersionState::Current,
            VersionState::Grace
        ]
    );
    let two_hours = Timestamp::from_second(NOW + 2 * 3_600).unwrap();
    assert_eq!(
        back.versions[2].grace_until,
        Some(two_hours),
        "until the end that the other had"
    );
    let to_the_first = Rollback {
        to: Some(1),
        expected: None,
    };
    let back = registry.roll_back(&act(), &id, to_the_first).await.unwrap();
    assert_eq!(used(), "sk-1");
    let ten_hours = Timestamp::from_second(NOW + 10 * 3_600).unwrap();
    assert_eq!(back.versions[1].grace_until, Some(ten_hours));
    for number in [1, 4] {
        let none = registry
            .roll_back(
                &act(),
                &id,
                Rollback {
                    to: Some(number),
                    expected: None,
                },
            )
            .await;
        assert!(
            matches!(none, Err(ChangeError::VersionNotInGrace { .. })),
            "{number}"
        );
    }
    installation.clock.set(NOW + 2 * 3_600);
    let back = registry
        .roll_back(&act(), &id, Rollback::default())
        .await
        .unwrap();
    assert_eq!(
        (used().as_str(), states(&back)[2]),
        ("sk-2", VersionState::Destroyed)
    );
    rotate("sk-4", 1).await;
    assert_eq!(
        registry.credential(&id).unwrap().versions[3].number,
        4,
        "numbers go on"
    );
}

#[tokio::test]
async fn a_rotation_warns_about_an_unusual_secret() {
    let (installation, registry, id) = one_key().await;
    let warnings = async |text: &str| {
        let saved = registry.rotate(&act(), &id, to(text)).await.unwrap();
        saved.warnings
    };
    let long = "sk-proj-0123456789abcdef0123456789abcdef0123456789abcdef";
    assert_eq!(warnings(long).await, []);
    assert_eq!(warnings(long).await, [Warning::SecretKnown { version: 2 }]);
    assert_eq!(
        warnings("sk-1").await,
        [
            Warning::SecretUnusualForm,
            Warning::SecretKnown { version: 1 }
        ]
    );
    let end = Some(Timestamp::from_second(NOW + 60).unwrap());
    let edit = Edit {
        expires_at: Some(end),
        ..Edit::default()
    };
    registry.edit(&act(), &id, edit).await.unwrap();
    installation.clock.set(NOW + 60);
    assert_eq!(
        warnings(&long[1..]).await,
        [Warning::SecretUnusualForm, Warning::Expired]
    );
    let rotation = Rotation {
        expires_at: Some(None),
        ..to(&format!("{long}x"))
    };
    assert_eq!(
        registry
            .rotate(&act(), &id, rotation)
            .await
            .unwrap()
            .warnings,
        []
    );
    assert!(
        registry.resolver().resolve(&ask("acme")).is_ok(),
        "a new end revives it"
    );
}

#[tokio::test]
async fn the_oldest_destroyed_of_very_many_versions_are_dropped() {
    let (_installation, registry, id) = one_key().await;
    for n in 2..=120 {
        let rotation = Rotation {
            grace: Duration::ZERO,
            ..to(&format!("sk-{n}"))
        };
        registry.rotate(&act(), &id, rotation).await.unwrap();
    }
    let versions = registry.credential(&id).unwrap().versions;
    let numbers: Vec<_> = versions.iter().map(|version| version.number).collect();
    assert_eq!(
        (numbers.len(), numbers[0], numbers[1], numbers[99]),
        (100, 1, 22, 120)
    );
    assert_eq!(*registry.rotations().get("openai").unwrap(), 119);
}

#[tokio::test]
async fn a_rolled_back_version_keeps_its_own_expiry() {
    let (installation, registry) = Installation::with_acme().await;
    let at = |days| Some(jiff::Timestamp::from_second(NOW + days * DAY).unwrap());
    let new = NewCredential {
        expires_at: at(10),
        ..key("default", "sk-1")
    };
    let id = registry.add(&act(), new).await.unwrap().credential.id;
    let rotation = Rotation {
        expires_at: Some(None),
        ..to("sk-2")
    };
    registry.rotate(&act(), &id, rotation).await.unwrap();
    let edit = Edit {
        expires_at: Some(at(90)),
        ..Edit::default()
    };
    registry.edit(&act(), &id, edit).await.unwrap();
    let mut registry = registry;
    for end in [at(10), at(90), at(10)] {
        let back = registry
            .roll_back(&act(), &id, Rollback::default())
            .await
            .unwrap();
        assert_eq!(back.expires_at, end);
        drop(registry);
        registry = installation.open().await;
    }
}

#[tokio::test]
async fn at_most_fifty_versions_are_in_grace_and_a_rotation_without_grace_always_works() {
    let (_installation, registry, id) = one_key().await;
    for number in 2..=51 {
        let rotated = registry
            .rotate(&act(), &id, to(&format!("sk-{number}")))
            .await;
        rotated.unwrap();
    }
    let refused = registry.rotate(&act(), &id, to("sk-52")).await;
    assert!(matches!(refused, Err(ChangeError::TooManyInGrace)));
    let at_once = Rotation {
        grace: Duration::ZERO,
        ..to("sk-52")
    };
    registry.rotate(&act(), &id, at_once).await.unwrap();
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-52"
    );
}
