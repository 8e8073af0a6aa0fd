use jiff::Timestamp;

use super::*;
use crate::model::Status;

#[tokio::test]
async fn a_stored_key_serves_its_workspace_and_is_shown_without_its_secret() {
    let (_installation, registry) = Installation::with_acme().await;
    let added = registry
        .add(&act(), key("default", "sk-proj-0123456789abcdefwXyZ"))
        .await
        .unwrap();
    let view = registry.credential(&added.credential.id).unwrap();
    assert_eq!(view, added.credential);
    assert_eq!(view.hint.unwrap().as_str(), "sk-proj-…wXyZ");
    assert_eq!(
        (view.status, view.revision, view.is_default, view.damaged),
        (Status::Active, 1, true, false)
    );
    assert_eq!(
        (view.versions.len(), view.versions[0].state),
        (1, VersionState::Current)
    );
    assert_eq!(view.created_by, act().actor);
    let grant = registry.resolver().resolve(&ask("acme")).unwrap();
    assert_eq!(
        (grant.credential_id(), grant.version()),
        (&added.credential.id, 1)
    );
    assert_eq!(opened(Ok(grant)).unwrap(), "sk-proj-0123456789abcdefwXyZ");
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let (installation, registry) = Installation::with_acme().await;
    for (label, environment) in [
        ("one", Environment::Live),
        ("two", Environment::Sandbox),
        ("three", Environment::Live),
    ] {
        let new = NewCredential {
            environment,
            usage_tag: Some("ci-smoke".parse().unwrap()),
            expires_at: Some(Timestamp::from_second(NOW + 90 * DAY).unwrap()),
            ..key(label, &format!("sk-{label}"))
        };
        registry.add(&act(), new).await.unwrap();
    }
    let before = (
        registry.workspaces(&Scope::All),
        registry.list(&Filter::default()),
    );
    let head = seen(&registry).await;
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(
        (
            registry.workspaces(&Scope::All),
            registry.list(&Filter::default())
        ),
        before
    );
    assert_eq!(seen(&registry).await, head, "opening writes nothing");
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-one"
    );
}

#[tokio::test]
async fn a_creation_with_invalid_fields_is_refused() {
    let (_installation, registry) = Installation::with_acme().await;
    let unknown = NewCredential {
        workspace: "acmee".parse().unwrap(),
        ..key("default", "sk-1")
    };
    assert!(matches!(
        registry.add(&act(), unknown).await,
        Err(ChangeError::WorkspaceUnknown)
    ));
    let unknown = NewCredential {
        provider: "openia".to_owned(),
        ..key("default", "sk-1")
    };
    assert!(matches!(
        registry.add(&act(), unknown).await,
        Err(ChangeError::ProviderUnknown)
    ));
    let past = NewCredential {
        expires_at: Some(Timestamp::from_second(NOW).unwrap()),
        ..key("default", "sk-1")
    };
    assert!(matches!(
        registry.add(&act(), past).await,
        Err(ChangeError::ExpiryPast)
    ));
    let admin = registry.add(&act(), key("default", "sk-admin-1")).await;
    assert!(matches!(
        admin,
        Err(ChangeError::SecretOfOtherKind(why)) if why.contains("a project instead")
    ));
    let host = NewCredential {
        endpoint: Some("https://evil.example".to_owned()),
        ..key("default", "sk-1")
    };
    assert!(matches!(
        registry.add(&act(), host).await,
        Err(ChangeError::EndpointNotTaken)
    ));
    let twice = registry.create_workspace(&act(), workspace("acme")).await;
    assert!(matches!(twice, Err(ChangeError::WorkspaceExists)));
    assert!(registry.list(&Filter::default()).is_empty());
    let on_record = events(&registry, &Seen::new()).await;
    assert_eq!(on_record, [Event::TokenCreated, Event::WorkspaceCreated]);
}

#[tokio::test]
async fn a_label_is_unique_within_workspace_and_provider() {
    let (_installation, registry) = Installation::with_acme().await;
    registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap();
    registry.add(&act(), key("default", "sk-1")).await.unwrap();
    let again = registry.add(&act(), key("default", "sk-2")).await;
    assert!(matches!(again, Err(ChangeError::LabelTaken { .. })));
    let elsewhere = NewCredential {
        provider: "anthropic".to_owned(),
        ..key("default", "sk-3")
    };
    registry.add(&act(), elsewhere).await.unwrap();
    let elsewhere = NewCredential {
        workspace: "globex".parse().unwrap(),
        ..key("default", "sk-4")
    };
    registry.add(&act(), elsewhere).await.unwrap();
}

#[tokio::test]
async fn of_many_concurrent_creations_with_one_label_exactly_one_succeeds() {
    let (_installation, registry) = Installation::with_acme().await;
    let saving: Vec<_> = (0..16)
        .map(|n| {
            let registry = registry.clone();
            tokio::spawn(async move {
                registry
                    .add(&act(), key("default", &format!("sk-{n}")))
                    .await
                    .is_ok()
            })
        })
        .collect();
    let mut saved = 0;
    for saving in saving {
        saved += usize::from(saving.await.unwrap());
    }
    assert_eq!((saved, registry.list(&Filter::default()).len()), (1, 1));
}

#[tokio::test]
async fn the_first_key_of_each_environment_is_the_default_until_another_is_chosen() {
    let (_installation, registry) = Installation::with_acme().await;
    let defaults = async |new: NewCredential| {
        registry.add(&act(), new).await.unwrap();
        let defaults = registry
            .list(&Filter::default())
            .into_iter()
            .filter(|credential| credential.is_default);
        defaults
            .map(|credential| credential.label.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(defaults(key("a", "sk-1")).await, ["a"]);
    assert_eq!(defaults(key("b", "sk-2")).await, ["a"]);
    assert_eq!(
        defaults(NewCredential {
            environment: Environment::Sandbox,
            ..key("c", "sk-3")
        })
        .await,
        ["a", "c"]
    );
    assert_eq!(
        defaults(NewCredential {
            default: true,
            ..key("d", "sk-4")
        })
        .await,
        ["c", "d"]
    );
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_stays_listed_and_is_no_longer_the_default() {
    let (installation, registry) = Installation::with_acme().await;
    let resolver = registry.resolver();
    let id = registry
        .add(&act(), key("default", "sk-1"))
        .await
        .unwrap()
        .credential
        .id;
    let revoked = registry
        .revoke(&act(), &id, Revocation::default())
        .await
        .unwrap();
    assert_eq!((revoked.status, revoked.revision), (Status::Revoked, 2));
    assert_eq!(
        resolver.resolve(&ask("acme")).unwrap_err(),
        Refusal::CredentialRevoked
    );
    assert_eq!(
        registry
            .revoke(&act(), &id, Revocation::default())
            .await
            .unwrap(),
        revoked,
        "revoking twice changes nothing"
    );
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(
        registry.resolver().resolve(&ask("acme")).unwrap_err(),
        Refusal::CredentialRevoked
    );
    assert_eq!(registry.credential(&id).unwrap(), revoked);
    registry.add(&act(), key("new", "sk-2")).await.unwrap();
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-2"
    );
    let nobody = format!("cred_{}", "a".repeat(26)).parse().unwrap();
    assert!(matches!(
        registry
            .revoke(&act(), &nobody, Revocation::default())
            .await,
        Err(ChangeError::CredentialUnknown)
    ));
}

#[tokio::test]
async fn the_status_follows_the_clock_and_nothing_revives_when_it_is_set_back() {
    let (installation, registry) = Installation::with_acme().await;
    let end = Some(Timestamp::from_second(NOW + 31 * DAY).unwrap());
    let id = registry
        .add(
            &act(),
            NewCredential {
                expires_at: end,
                ..key("default", "sk-1")
            },
        )
        .await
        .unwrap()
        .credential
        .id;
    let status = || registry.credential(&id).unwrap().status;
    assert_eq!(status(), Status::Active);
    installation.clock.set(NOW + DAY);
    assert_eq!(status(), Status::Expiring);
    assert!(registry.resolver().resolve(&ask("acme")).is_ok());
    installation.clock.set(NOW + 31 * DAY);
    assert_eq!(status(), Status::Expired);
    assert_eq!(
        registry.resolver().resolve(&ask("acme")).unwrap_err(),
        Refusal::CredentialExpired
    );
    installation.clock.set(NOW);
    assert_eq!(
        registry.resolver().resolve(&ask("acme")).unwrap_err(),
        Refusal::CredentialExpired
    );
    let of_status = |status| {
        registry
            .list(&Filter {
                status: Some(status),
                ..Filter::default()
            })
            .len()
    };
    assert_eq!(
        (of_status(Status::Expired), of_status(Status::Active)),
        (1, 0)
    );
}

#[tokio::test]
async fn a_required_endpoint_is_checked_and_passed_with_the_grant() {
    let (_installation, registry) = Installation::with_acme().await;
    let azure = |endpoint: Option<&str>| NewCredential {
        provider: "azure-openai".to_owned(),
        endpoint: endpoint.map(str::to_owned),
        ..key("default", "0123456789abcdef0123456789abcdef")
    };
    assert!(matches!(
        registry.add(&act(), azure(None)).await,
        Err(ChangeError::EndpointMissing { .. })
    ));
    let foreign = registry
        .add(&act(), azure(Some("https://evil.example")))
        .await;
    assert!(matches!(foreign, Err(ChangeError::EndpointRefused(_))));
    registry
        .add(&act(), azure(Some("https://acme.openai.azure.com/")))
        .await
        .unwrap();
    let grant = registry
        .resolver()
        .resolve(&CredentialQuery {
            provider: "azure-openai",
            ..ask("acme")
        })
        .unwrap();
    assert_eq!(grant.endpoint(), Some("https://acme.openai.azure.com"));
    assert!(grant.open().is_ok());
}

#[tokio::test]
async fn a_secret_of_an_unusual_form_is_stored_with_a_warning() {
    let (_installation, registry) = Installation::with_acme().await;
    let added = registry.add(&act(), key("odd", "hunter2")).await.unwrap();
    assert_eq!(added.warnings, [Warning::SecretUnusualForm]);
}

#[tokio::test]
async fn a_request_in_flight_keeps_the_version_it_started_with() {
    let (_installation, registry) = Installation::with_acme().await;
    let id = registry
        .add(&act(), key("default", "sk-1"))
        .await
        .unwrap()
        .credential
        .id;
    let grant = registry.resolver().resolve(&ask("acme")).unwrap();
    registry
        .revoke(&act(), &id, Revocation::default())
        .await
        .unwrap();
    assert_eq!(opened(Ok(grant)).unwrap(), "sk-1");
}

#[tokio::test]
async fn each_change_is_audited_with_actor_request_and_fingerprint() {
    let (_installation, registry) = Installation::with_acme().await;
    let added = registry
        .add(&act(), key("default", "abc"))
        .await
        .unwrap()
        .credential;
    registry
        .revoke(&act(), &added.id, Revocation::default())
        .await
        .unwrap();
    registry
        .audit()
        .refused(&act(), "unauthenticated")
        .await
        .unwrap();
    let records = records(&registry).await;
    let recorded: Vec<_> = records.iter().map(|record| record.event).collect();
    // All at the same time, so sorted by chain.
    assert_eq!(
        recorded,
        [
            Event::TokenCreated,
            Event::WorkspaceCreated,
            Event::Refused,
            Event::CredentialCreated,
            Event::CredentialRevoked,
        ]
    );
    for record in &records[3..] {
        assert_eq!(
            (&record.actor, record.request_id.as_str()),
            (&act().actor, "req_1")
        );
        assert_eq!(record.credential.as_ref(), Some(&added.id));
        assert_eq!(
            record.fingerprint.as_ref().unwrap().as_str(),
            "sha256:7549c99e66ce5479"
        );
    }
    // In each chain, each record contains the hash of the previous one.
    let all = all_records(&registry).await;
    for chain in ["installation", "workspace/acme"] {
        let of_chain = all.iter().filter(|it| it.chain.as_str() == chain);
        let of_chain: Vec<_> = of_chain.collect();
        assert!(of_chain.len() > 1, "{chain}");
        for (before, after) in of_chain.iter().zip(&of_chain[1..]) {
            assert_eq!(
                (after.position, after.previous),
                (before.position + 1, before.hash)
            );
        }
    }
    let verified = registry.audit().verify().await.unwrap();
    assert!(verified.records >= all.len() as u64 && verified.heads.len() == 2);
}

#[tokio::test]
async fn a_change_completes_although_its_caller_disconnects() {
    let (installation, registry) = Installation::with_acme().await;
    for n in 0..20 {
        let new = key(&format!("k{n}"), "sk-1");
        let by = act();
        let change = registry.add(&by, new);
        // Dropped after its first poll, like the handler of a connection that closes.
        let _ = tokio::time::timeout(std::time::Duration::ZERO, change).await;
    }
    // Queues behind all of them.
    registry.add(&act(), key("last", "sk-2")).await.unwrap();
    let shown = registry.list(&Filter::default());
    assert_eq!(shown.len(), 21);
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(registry.list(&Filter::default()), shown);
    registry.audit().verify().await.unwrap();
}

#[tokio::test]
async fn an_expired_key_does_not_revive_after_a_restart_with_the_clock_set_back() {
    let (installation, registry) = Installation::with_acme().await;
    let ends = NewCredential {
        expires_at: Some(Timestamp::from_second(NOW + DAY).unwrap()),
        ..key("default", "sk-1")
    };
    registry.add(&act(), ends).await.unwrap();
    installation.clock.set(NOW + 2 * DAY);
    registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap();
    drop(registry);
    installation.clock.set(NOW);
    let registry = installation.open().await;
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))),
        Err(Refusal::CredentialExpired)
    );
}
