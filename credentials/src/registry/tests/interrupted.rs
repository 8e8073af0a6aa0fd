//! Changes whose shared commit is interrupted, and changes of two chains of which only one was
//! committed: a retry completes them, and nothing is done twice.

use std::{
    future::{pending, ready},
    pin::pin,
    time::Duration,
};

use keyside_store::{
    chain::CommitError,
    faulty::{Fault, Incident},
};
use tokio::{runtime::Runtime, sync::Notify};

use super::{
    erasing::{acme, two_workspaces},
    *,
};
use crate::{
    access::{NewToken, Role, TokenStatus},
    chains::Priority,
    model::WorkspaceState,
    record::Draft,
};

fn renamed(label: &str) -> Edit {
    Edit {
        label: Some(label.parse().unwrap()),
        ..Edit::default()
    }
}

#[tokio::test(start_paused = true)]
async fn changes_whose_shared_commit_is_interrupted_are_each_made_once() {
    let (prepared, _, id) = one_key().await;
    // The writes of the commit: the document, page and records, the head, and the sync.
    for at in 1..=5 {
        let installation = prepared.copy();
        let (storage, registry) = installation.open_faulty().await;
        let tracked = registry.chains.of(&acme());
        let lock = tracked.lock(Priority::Normal).await;
        storage.fail(at, 1, Fault::Refused);
        let mut edits = ["first", "second"].map(|label| {
            let (registry, id) = (registry.clone(), id.clone());
            tokio::spawn(async move { registry.edit(&act(), &id, renamed(label)).await })
        });
        let_all_wait().await;
        drop(lock);
        for edited in &mut edits {
            match edited.await.unwrap() {
                Ok(_) => assert!(at < 5, "the sync had failed"),
                Err(ChangeError::OutcomeUnknown(_)) => assert_eq!(at, 5),
                Err(other) => panic!("write {at}: {other}"),
            }
        }
        assert!(storage.heal());
        registry.add(&act(), key("next", "sk-2")).await.unwrap();
        for registry in [registry, installation.open().await] {
            let found = registry.credential(&id).unwrap();
            assert!(!found.damaged, "write {at}");
            assert!(["first", "second"].contains(&found.label.as_str()));
            assert_eq!(found.revision, 3, "write {at}");
            let recorded = records(&registry).await;
            let edited = recorded
                .iter()
                .filter(|it| it.event == Event::CredentialEdited);
            assert_eq!(edited.count(), 2, "write {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn repeating_an_interrupted_workspace_creation_creates_it_once() {
    for count in [1, usize::MAX] {
        for at in 1.. {
            let context = format!("write {at}, {count} of them");
            let installation = Installation::new();
            drop(installation.open().await);
            let (storage, registry) = installation.open_faulty().await;
            storage.fail(at, count, Fault::Refused);
            let first = registry.create_workspace(&act(), workspace("acme")).await;
            let reached = storage.heal();
            let second = registry.create_workspace(&act(), workspace("acme")).await;
            let is_there = matches!(second, Ok(_) | Err(ChangeError::WorkspaceExists));
            assert!(is_there, "{context}: {second:?}");
            registry.add(&act(), key("a", "sk-a")).await.unwrap();
            for registry in [registry, installation.open().await] {
                let made = registry.workspace(&acme()).unwrap();
                assert_eq!((made.incarnation, made.damaged), (1, false), "{context}");
                let answer = opened(registry.resolver().resolve(&ask("acme")));
                assert_eq!(answer.as_deref(), Ok("sk-a"), "{context}");
                let recorded = records(&registry).await;
                let made = recorded
                    .iter()
                    .filter(|it| it.event == Event::WorkspaceCreated);
                assert_eq!(made.count(), 1, "{context}");
                registry.audit().verify().await.unwrap();
            }
            if !reached {
                first.unwrap();
                assert!(at > 8, "{context}");
                break;
            }
        }
    }
}

/// The second one completes what the first one has registered, but did not create it.
#[tokio::test(start_paused = true)]
async fn of_concurrent_creations_of_a_workspace_only_the_first_succeeds() {
    let installation = Installation::new();
    let registry = installation.open().await;
    let tracked = registry.chains.of(&acme());
    let lock = tracked.lock(Priority::Normal).await;
    let creations = ["one", "two", "three"].map(|name| {
        let registry = registry.clone();
        let by = ActorContext {
            request_id: name.to_owned(),
            ..act()
        };
        let new = NewWorkspace {
            name: name.parse().unwrap(),
            ..workspace("acme")
        };
        tokio::spawn(async move { registry.create_workspace(&by, new).await })
    });
    let_all_wait().await;
    drop(lock);
    let mut made = Vec::new();
    for creation in creations {
        match creation.await.unwrap() {
            Ok(workspace) => made.push(workspace.name),
            Err(error) => assert!(matches!(error, ChangeError::WorkspaceExists), "{error}"),
        }
    }
    assert_eq!(made, [registry.workspace(&acme()).unwrap().name]);
}

#[tokio::test(start_paused = true)]
async fn repeating_an_interrupted_erasure_completes_it() {
    for count in [1, usize::MAX] {
        let (prepared, registry, _) = two_workspaces().await;
        let both = [acme(), "globex".parse().unwrap()];
        let new = NewToken {
            name: "Robin".parse().unwrap(),
            role: Role::Viewer,
            scope: Scope::Only(Arc::new(both.into())),
            expires_at: None,
        };
        let made = registry.create_token(&act(), &Scope::All, new).await;
        let token = made.unwrap().token.id;
        drop(registry);
        for at in 1.. {
            let context = format!("write {at}, {count} of them");
            let installation = prepared.copy();
            let (storage, registry) = installation.open_faulty().await;
            storage.fail(at, count, Fault::Refused);
            let first = registry.erase_workspace(&act(), &acme(), None).await;
            let reached = storage.heal();
            if let Err(error) = &first {
                let is_open = registry.resolver().resolve(&ask("acme")).is_ok();
                let says_nothing = matches!(error, ChangeError::StoreUnavailable(_));
                assert!(is_open || !says_nothing, "{context}: {error}");
            }
            // A change in between, which the erasure must not undo for the same token.
            let revoked = registry
                .revoke_token(&act(), &Scope::All, &token, None)
                .await;
            revoked.unwrap();
            let receipt = registry.erase_workspace(&act(), &acme(), None).await;
            let receipt = receipt.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(
                receipt.tokens.as_slice(),
                std::slice::from_ref(&token),
                "{context}"
            );
            registry.audit().confirm(&receipt).await.unwrap();
            drop(registry);
            let registry = installation.open().await;
            assert!(registry.workspace(&acme()).is_none(), "{context}");
            assert!(registry.keyring.ids(&acme()).await.is_empty());
            let found = registry.access().find(&token).unwrap();
            assert_eq!(found.status, TokenStatus::Revoked, "{context}");
            assert!(!found.scope.holds("acme"), "{context}");
            assert_eq!(found.revision, 3, "{context}");
            if !reached {
                assert_eq!(first.unwrap(), receipt);
                assert!(at > 8, "{context}");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_erasure_interrupted_in_one_process_is_completed_once_by_another() {
    for at in 1.. {
        let (installation, other, _) = two_workspaces().await;
        let (storage, registry) = installation.open_faulty().await;
        storage.fail(at, usize::MAX, Fault::Refused);
        let first = registry.erase_workspace(&act(), &acme(), None).await;
        let reached = storage.heal();
        let recreated = {
            let erased = other.erase_workspace(&act(), &acme(), None).await;
            erased.unwrap();
            let made = other.create_workspace(&act(), workspace("acme")).await;
            made.unwrap()
        };
        assert_eq!(recreated.incarnation, 2, "write {at}");
        other.add(&act(), key("new", "sk-new")).await.unwrap();
        // The interrupted process continues with the current state.
        let old = WorkspaceState {
            incarnation: 1,
            revision: 2,
        };
        let late = registry.erase_workspace(&act(), &acme(), Some(old)).await;
        assert!(
            matches!(late, Err(ChangeError::Superseded { .. })),
            "write {at}: {late:?}"
        );
        for registry in [&registry, &other, &installation.open().await] {
            let answer = opened(registry.resolver().resolve(&ask("acme")));
            assert_eq!(answer.as_deref(), Ok("sk-new"), "write {at}");
            registry.audit().verify().await.unwrap();
        }
        if !reached {
            first.unwrap();
            assert!(at > 8, "{at}");
            break;
        }
    }
}

/// What runs on the runtime that is stopped ends at some step, perhaps after its commit.
#[test]
fn what_a_stop_of_the_process_interrupts_has_an_unknown_outcome() {
    let [waiting, stopping] = [(); 2].map(|()| Runtime::new().unwrap());
    waiting.block_on(async move {
        let (installation, _) = Installation::with_acme().await;
        let (storage, registry) = installation.open_faulty().await;
        let begun = Arc::new(Notify::new());
        let begins = begun.clone();
        storage.draw(move || {
            begins.notify_one();
            Incident {
                delay: Duration::from_secs(86_400),
                ..Incident::default()
            }
        });
        let never = |_| pending::<Result<(), ChangeError>>();
        let mut change = pin!(registry.run_to_completion(never));
        let draft = Draft::new(Event::BackupMade, &act());
        let mut record = pin!(registry.chains.append_records(vec![draft]));
        {
            let _spawned_here = stopping.enter();
            tokio::select! {
                biased;
                _ = &mut change => unreachable!("it never ends"),
                _ = &mut record => unreachable!("storage does not answer"),
                () = ready(()) => {}
            }
        }
        begun.notified().await;
        stopping.shutdown_background();
        let changed = change.await;
        let is_unknown = matches!(changed, Err(ChangeError::OutcomeUnknown(_)));
        assert!(is_unknown, "{changed:?}");
        let recorded = record.await;
        let is_unknown = matches!(recorded, Err(CommitError::OutcomeUnknown { .. }));
        assert!(is_unknown, "{recorded:?}");
    });
}
