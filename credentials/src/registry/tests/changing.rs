//! Edits, revocations, and changes with an outdated revision.

use jiff::Timestamp;

use super::*;
use crate::model::{Fingerprint, Status};

fn labelled(label: &'static str) -> CredentialQuery<'static> {
    CredentialQuery {
        label: Some(label),
        ..ask("acme")
    }
}

#[tokio::test]
async fn an_edit_changes_everything_but_the_secret_and_audits_field_names_without_values() {
    let (installation, registry, id) = one_key().await;
    let from = seen(&registry).await;
    let end = Some(Timestamp::from_second(NOW + DAY).unwrap());
    let edit = Edit {
        label: Some("QA Sandbox".parse().unwrap()),
        usage_tag: Some(Some("ci-smoke".parse().unwrap())),
        expires_at: Some(end),
        default: Some(true),
        expected: Some(1),
        ..Edit::default()
    };
    let edited = registry
        .edit(&act(), &id, edit.clone())
        .await
        .unwrap()
        .credential;
    assert_eq!(
        (
            edited.label.as_str(),
            edited.expires_at,
            edited.status,
            edited.revision
        ),
        ("QA Sandbox", end, Status::Expiring, 2)
    );
    let resolver = registry.resolver();
    assert_eq!(
        opened(resolver.resolve(&labelled("QA Sandbox"))).unwrap(),
        "sk-1"
    );
    assert_eq!(
        opened(resolver.resolve(&ask("acme"))).unwrap(),
        "sk-1",
        "still the default"
    );
    assert_eq!(
        resolver.resolve(&labelled("default")).unwrap_err(),
        Refusal::LabelUnknown
    );
    let head = seen(&registry).await;
    let record = &since(&registry, &from).await[0];
    assert_eq!(
        (record.event, record.note.as_deref()),
        (Event::CredentialEdited, Some("label, usageTag, expiresAt"))
    );
    let again = Edit {
        expected: Some(2),
        ..edit
    };
    registry.edit(&act(), &id, again).await.unwrap();
    assert_eq!(
        seen(&registry).await,
        head,
        "nothing changed, nothing to record"
    );
    registry.add(&act(), key("default", "sk-9")).await.unwrap();
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(registry.credential(&id).unwrap(), edited);
}

#[tokio::test]
async fn an_edit_to_a_taken_label_a_past_expiry_or_without_any_default_is_refused() {
    let (_installation, registry, id) = one_key().await;
    registry.add(&act(), key("other", "sk-2")).await.unwrap();
    let edit = async |edit: Edit| registry.edit(&act(), &id, edit).await.map(drop);
    let taken = Edit {
        label: Some("other".parse().unwrap()),
        ..Edit::default()
    };
    assert!(matches!(
        edit(taken).await,
        Err(ChangeError::LabelTaken { .. })
    ));
    let now = Some(Timestamp::from_second(NOW).unwrap());
    let past = Edit {
        expires_at: Some(now),
        ..Edit::default()
    };
    assert!(matches!(edit(past).await, Err(ChangeError::ExpiryPast)));
    let no_default = Edit {
        default: Some(false),
        ..Edit::default()
    };
    assert!(matches!(
        edit(no_default).await,
        Err(ChangeError::DefaultNeeded)
    ));
    assert_eq!(registry.credential(&id).unwrap().revision, 1);
}

#[tokio::test]
async fn creating_a_key_reports_the_kept_or_replaced_default() {
    let (_installation, registry, first) = one_key().await;
    let default = || Some("default".parse().unwrap());
    let saved = registry.add(&act(), key("b", "sk-2")).await.unwrap();
    let stays = Warning::OtherIsDefault {
        label: default().unwrap(),
    };
    assert!(saved.warnings.contains(&stays), "{:?}", saved.warnings);
    let new = NewCredential {
        default: true,
        ..key("c", "sk-3")
    };
    let saved = registry.add(&act(), new).await.unwrap();
    let gives_way = Warning::DefaultReplaced {
        label: default().unwrap(),
    };
    assert!(saved.warnings.contains(&gives_way), "{:?}", saved.warnings);
    let edit = Edit {
        default: Some(true),
        ..Edit::default()
    };
    let edited = registry.edit(&act(), &first, edit.clone()).await.unwrap();
    assert_eq!(
        edited.warnings,
        [Warning::DefaultReplaced {
            label: "c".parse().unwrap()
        }]
    );
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-1"
    );
    assert_eq!(
        registry.edit(&act(), &first, edit).await.unwrap().warnings,
        []
    );
}

#[tokio::test]
async fn a_change_with_an_outdated_revision_is_refused_and_changes_nothing() {
    let (_installation, registry, id) = one_key().await;
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    let before = registry.credential(&id).unwrap();
    let expected = Some(1);
    let outcomes = [
        registry
            .rotate(
                &act(),
                &id,
                Rotation {
                    expected,
                    ..to("sk-3")
                },
            )
            .await
            .map(drop),
        registry
            .roll_back(&act(), &id, Rollback { to: None, expected })
            .await
            .map(drop),
        registry
            .edit(
                &act(),
                &id,
                Edit {
                    expected,
                    ..Edit::default()
                },
            )
            .await
            .map(drop),
        registry
            .revoke(
                &act(),
                &id,
                Revocation {
                    cut: false,
                    expected,
                },
            )
            .await
            .map(drop),
    ];
    for outcome in outcomes {
        assert!(
            matches!(outcome, Err(ChangeError::Superseded(2))),
            "{outcome:?}"
        );
    }
    assert_eq!(registry.credential(&id).unwrap(), before);
}

#[tokio::test]
async fn of_many_concurrent_edits_of_one_revision_exactly_one_succeeds() {
    let (_installation, registry, id) = one_key().await;
    let editing: Vec<_> = (0..16)
        .map(|n| {
            let (registry, id) = (registry.clone(), id.clone());
            tokio::spawn(async move {
                let label = Some(format!("label {n}").parse().unwrap());
                registry
                    .edit(
                        &act(),
                        &id,
                        Edit {
                            label,
                            expected: Some(1),
                            ..Edit::default()
                        },
                    )
                    .await
            })
        })
        .collect();
    let mut won = 0;
    for editing in editing {
        match editing.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, ChangeError::Superseded(2))),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_revocation_destroys_every_version_and_keeps_the_record_with_its_fingerprint() {
    let (installation, registry, id) = one_key().await;
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    let before = registry.credential(&id).unwrap();
    let revoked = registry
        .revoke(&act(), &id, Revocation::default())
        .await
        .unwrap();
    assert!(
        revoked
            .versions
            .iter()
            .all(|version| version.state == VersionState::Destroyed)
    );
    assert_eq!(
        (&revoked.fingerprint, &revoked.hint, revoked.damaged),
        (&before.fingerprint, &before.hint, false)
    );
    let at = installation.stored_credential(&id);
    let document = installation.stored(&at);
    let text = String::from_utf8_lossy(&document);
    assert_eq!(text.matches("\"sealed\":\"\"").count(), 2, "{text}");
    for refused in [
        registry.rotate(&act(), &id, to("sk-3")).await.map(drop),
        registry
            .roll_back(&act(), &id, Rollback::default())
            .await
            .map(drop),
        registry.edit(&act(), &id, Edit::default()).await.map(drop),
    ] {
        assert!(matches!(refused, Err(ChangeError::Revoked)), "{refused:?}");
    }
    drop(registry);
    assert_eq!(installation.open().await.credential(&id).unwrap(), revoked);
}

#[tokio::test]
async fn a_revocation_with_cut_notifies_requests_in_flight_with_that_key_only() {
    let (_installation, registry, id) = one_key().await;
    let other = registry
        .add(&act(), key("other", "sk-9"))
        .await
        .unwrap()
        .credential
        .id;
    let old = registry.resolver().resolve(&ask("acme")).unwrap();
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    let new = registry.resolver().resolve(&ask("acme")).unwrap();
    let bystander = registry.resolver().resolve(&labelled("other")).unwrap();
    let waiting = [tokio::spawn(old.cut()), tokio::spawn(new.cut())];
    registry
        .revoke(&act(), &id, Revocation::default())
        .await
        .unwrap();
    tokio::task::yield_now().await;
    assert!(!old.is_cut() && waiting.iter().all(|waiting| !waiting.is_finished()));
    let cut = Revocation {
        cut: true,
        expected: None,
    };
    let head = seen(&registry).await;
    registry.revoke(&act(), &id, cut).await.unwrap();
    for waiting in waiting {
        waiting.await.unwrap();
    }
    old.cut().await;
    assert!(new.is_cut() && !bystander.is_cut());
    let recorded = since(&registry, &head).await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    registry.revoke(&act(), &other, cut).await.unwrap();
    assert!(bystander.is_cut(), "at once, too");
}

#[tokio::test]
async fn duplicates_of_a_secret_are_found_in_every_workspace() {
    let (_installation, registry, id) = one_key().await;
    registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap();
    let duplicate = NewCredential {
        workspace: "globex".parse().unwrap(),
        ..key("duplicate", "sk-1")
    };
    let duplicate = registry.add(&act(), duplicate).await.unwrap().credential;
    registry.add(&act(), key("other", "sk-2")).await.unwrap();
    assert_eq!(registry.duplicates(&id), std::slice::from_ref(&duplicate));
    assert_eq!(registry.duplicates(&duplicate.id)[0].id, id);
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    assert!(registry.duplicates(&duplicate.id).is_empty());
    assert_eq!(registry.duplicates(&id)[0].label.as_str(), "other");
    let back = registry.roll_back(&act(), &id, Rollback::default()).await;
    let duplicates_of_back = registry.duplicates(&back.unwrap().id);
    assert_eq!(duplicates_of_back, std::slice::from_ref(&duplicate));
    let gone = registry
        .revoke(&act(), &duplicate.id, Revocation::default())
        .await;
    assert_eq!(
        registry.duplicates(&id),
        [gone.unwrap()],
        "still worth knowing"
    );
}

#[tokio::test]
async fn refused_uses_are_audited_at_most_once_an_hour_per_credential_and_kind() {
    let (installation, registry, revoked) = one_key().await;
    drop(registry);
    let registry = installation.open_running().await;
    let end = Some(Timestamp::from_second(NOW + 60).unwrap());
    let expiring = NewCredential {
        expires_at: end,
        ..key("expiring", "sk-2")
    };
    let expired = registry.add(&act(), expiring).await.unwrap().credential.id;
    registry
        .revoke(&act(), &revoked, Revocation::default())
        .await
        .unwrap();
    installation.clock.set(NOW + 60);
    let from = seen(&registry).await;
    let attempt_both = || {
        for label in ["default", "expiring"] {
            assert!(registry.resolver().resolve(&labelled(label)).is_err());
        }
    };
    let recorded = async |count: usize| {
        loop {
            let records = since(&registry, &from).await;
            if records.len() >= count {
                return records;
            }
            tokio::task::yield_now().await;
        }
    };
    (0..100).for_each(|_| attempt_both());
    let records = recorded(2).await;
    let found: Vec<_> = records
        .iter()
        .map(|record| (record.event, record.credential.clone()))
        .collect();
    assert_eq!(
        found,
        [
            (Event::RevokedUseAttempted, Some(revoked)),
            (Event::ExpiredUseAttempted, Some(expired))
        ]
    );
    assert_eq!(
        records[0].fingerprint,
        Some(Fingerprint::of(&secret("sk-1")))
    );
    installation.clock.set(NOW + 60 + 3_599);
    attempt_both();
    installation.clock.set(NOW + 60 + 3_600);
    attempt_both();
    let again: Vec<_> = recorded(4).await[2..].iter().map(|it| it.at).collect();
    let hour_later = Timestamp::from_second(NOW + 60 + 3_600).unwrap();
    assert_eq!(again, [hour_later; 2], "not a second sooner");
    registry.audit().verify().await.unwrap();
}

/// A rollback without the anchor would restore the later expiry.
#[tokio::test(start_paused = true)]
async fn an_expiry_moved_to_an_earlier_time_is_linked_at_once() {
    let (_installation, registry, id) = one_key().await;
    registry.link(true).await;
    let nearer = Edit {
        label: Some("renamed".parse().unwrap()),
        expires_at: Some(Some(jiff::Timestamp::from_second(NOW + DAY).unwrap())),
        ..Edit::default()
    };
    registry.edit(&act(), &id, nearer).await.unwrap();
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    registry.link(false).await;
    let acme = "acme".parse().unwrap();
    let link = registry.chains.registration(&acme).unwrap().link;
    let state = registry.chains.of(&acme).state().unwrap();
    assert_eq!(link, Some(state.head.link()));
}

#[tokio::test]
async fn a_credential_is_found_by_its_id_whatever_location_was_noted() {
    let (_installation, registry, id) = one_key().await;
    for noted in ["acme", "nowhere"] {
        let noted = noted.parse().unwrap();
        registry.snapshot.load().locate(&id, &noted);
        assert_eq!(registry.credential(&id).unwrap().id, id, "{noted}");
    }
    super::erasing::erase(&registry).await;
    assert!(registry.credential(&id).is_none());
}
