//! Interrupts each change at each of its writes: storage fails once, fails permanently, or loses
//! its answers. A power cut leaves the same store as a permanent failure.

use std::pin::Pin;

use keyside_store::{chain::CommitError, faulty::Fault};

use super::*;
use crate::{
    access::{NewToken, Role},
    model::Status,
};

type Outcome = Pin<Box<dyn Future<Output = Result<(), ChangeError>> + Send>>;
type Change = fn(Arc<Registry>, CredentialId) -> Outcome;

/// The changes, each applied to [`before`].
const CHANGES: [(&str, Change); 14] = [
    ("make a workspace", |registry, _| {
        Box::pin(async move {
            let made = registry
                .create_workspace(&act(), workspace("umbrella"))
                .await;
            made.map(drop)
        })
    }),
    ("make a workspace again", |registry, _| {
        Box::pin(async move {
            let made = registry
                .create_workspace(&act(), workspace("initech"))
                .await;
            made.map(drop)
        })
    }),
    ("erase a workspace", |registry, _| {
        Box::pin(async move {
            let erased = registry.erase_workspace(&act(), &id_of("acme"), None).await;
            erased.map(drop)
        })
    }),
    ("rotate its key", |registry, _| {
        Box::pin(async move {
            let rotated = registry.rotate_workspace_key(&act(), &id_of("acme")).await;
            rotated.map(drop)
        })
    }),
    ("make a token", |registry, _| {
        Box::pin(async move {
            let made = registry
                .create_token(&act(), &Scope::All, for_acme(Role::Editor))
                .await;
            made.map(drop)
        })
    }),
    ("revoke a token", |registry, _| {
        Box::pin(async move {
            let all = registry.access().tokens(&Scope::All);
            let token = all.iter().find(|token| token.role == Role::Viewer).unwrap();
            let revoked = registry
                .revoke_token(&act(), &Scope::All, &token.id, None)
                .await;
            revoked.map(drop)
        })
    }),
    ("add a key", |registry, _| {
        Box::pin(async move { registry.add(&act(), key("b", "sk-b")).await.map(drop) })
    }),
    ("add a default key", |registry, _| {
        let new = NewCredential {
            default: true,
            ..key("b", "sk-b")
        };
        Box::pin(async move { registry.add(&act(), new).await.map(drop) })
    }),
    ("rotate", |registry, id| {
        Box::pin(async move { registry.rotate(&act(), &id, to("sk-3")).await.map(drop) })
    }),
    ("rotate without grace", |registry, id| {
        let rotation = Rotation {
            grace: std::time::Duration::ZERO,
            ..to("sk-3")
        };
        Box::pin(async move { registry.rotate(&act(), &id, rotation).await.map(drop) })
    }),
    ("roll back", |registry, id| {
        Box::pin(async move {
            let back = registry.roll_back(&act(), &id, Rollback::default()).await;
            back.map(drop)
        })
    }),
    ("rename", |registry, id| {
        let edit = Edit {
            label: Some("renamed".parse().unwrap()),
            ..Edit::default()
        };
        Box::pin(async move { registry.edit(&act(), &id, edit).await.map(drop) })
    }),
    ("make default", |registry, _| {
        let edit = Edit {
            default: Some(true),
            ..Edit::default()
        };
        Box::pin(async move {
            let keys = registry.list(&Filter::default());
            let z = keys.iter().find(|key| key.label.as_str() == "z").unwrap();
            registry.edit(&act(), &z.id, edit).await.map(drop)
        })
    }),
    ("revoke", |registry, id| {
        let revocation = Revocation::default();
        Box::pin(async move { registry.revoke(&act(), &id, revocation).await.map(drop) })
    }),
];

/// Fewer writes than any of them needs: a document, a page, a record, the head, and the sync.
const WRITES: usize = 5;

fn id_of(workspace: &str) -> WorkspaceId {
    workspace.parse().unwrap()
}

fn for_acme(role: Role) -> NewToken {
    NewToken {
        name: "Robin".parse().unwrap(),
        role,
        scope: Scope::Only(Arc::new([id_of("acme")].into())),
        expires_at: None,
    }
}

/// `acme` with the keys `a`, rotated once, and `z`, and a token for it; `globex`; and `initech`,
/// which was erased.
async fn before() -> (Installation, CredentialId) {
    let (installation, registry) = Installation::with_acme().await;
    for id in ["globex", "initech"] {
        let made = registry.create_workspace(&act(), workspace(id)).await;
        made.unwrap();
    }
    let a = registry.add(&act(), key("a", "sk-a")).await.unwrap();
    let id = a.credential.id;
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    registry.add(&act(), key("z", "sk-z")).await.unwrap();
    let token = registry
        .create_token(&act(), &Scope::All, for_acme(Role::Viewer))
        .await;
    token.unwrap();
    let erased = registry
        .erase_workspace(&act(), &id_of("initech"), None)
        .await;
    erased.unwrap();
    (installation, id)
}

/// Everything in which a change is visible, except `globex`, which [`check_continues`] checks.
fn shown(registry: &Registry) -> String {
    let mut keys = registry.list(&Filter::default());
    keys.retain(|key| key.workspace != id_of("globex"));
    let keys: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let state = (key.status, key.is_default, key.revision, key.damaged);
            let versions = states(&key);
            (key.label, state, versions)
        })
        .collect();
    let mut workspaces = registry.workspaces(&Scope::All);
    workspaces.retain(|workspace| workspace.id != id_of("globex"));
    let workspaces: Vec<_> = workspaces
        .into_iter()
        .map(|it| (it.id, it.incarnation, it.revision, it.damaged))
        .collect();
    let tokens = registry.access().tokens(&Scope::All).into_iter();
    let mut tokens: Vec<_> = tokens
        .map(|token| format!("{:?} {:?} {}", token.role, token.status, token.revision))
        .collect();
    tokens.sort();
    let answer = registry
        .resolver()
        .resolve(&ask("acme"))
        .map(|grant| (grant.label().clone(), opened(Ok(grant))));
    format!("{workspaces:?} {keys:?} {tokens:?} {answer:?}")
}

/// Checks what holds after any failure: nothing is damaged, the log verifies, and changes work.
async fn check_continues(registry: &Arc<Registry>, context: &str) {
    let keys = registry.list(&Filter::default());
    assert!(keys.iter().all(|key| !key.damaged), "{context}");
    let workspaces = registry.workspaces(&Scope::All);
    assert!(workspaces.iter().all(|it| !it.damaged), "{context}");
    let verified = registry.audit().verify().await;
    verified.unwrap_or_else(|error| panic!("{context}: {error}"));
    let next = NewCredential {
        workspace: id_of("globex"),
        ..key("next", "sk-next")
    };
    let next = registry.add(&act(), next).await;
    let next = next.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(next.credential.status, Status::Active, "{context}");
}

/// What an error claims about the outcome.
fn may_have_happened(error: &ChangeError, context: &str) -> bool {
    match error {
        ChangeError::OutcomeUnknown(_) | ChangeError::ErasingUnfinished(_) => true,
        ChangeError::StoreUnavailable(_) => false,
        other => panic!("{context}: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_complete_or_not_begun_at_whichever_write_storage_fails_permanently() {
    for (name, change) in CHANGES {
        fails_at_each_write(name, change, usize::MAX, Fault::Refused).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_complete_or_not_begun_at_whichever_write_answers_are_lost_permanently() {
    for (name, change) in CHANGES {
        fails_at_each_write(name, change, usize::MAX, Fault::AnswerLost).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_storage_failure_at_any_write_is_recovered_from_without_a_restart() {
    for (name, change) in CHANGES {
        fails_at_each_write(name, change, 1, Fault::Refused).await;
        fails_at_each_write(name, change, 1, Fault::AnswerLost).await;
    }
}

async fn fails_at_each_write(name: &str, change: Change, count: usize, fault: Fault) {
    let (prepared, id) = before().await;
    let new = {
        let installation = prepared.copy();
        let registry = installation.open().await;
        let old = shown(&registry);
        change(registry.clone(), id.clone()).await.unwrap();
        assert_ne!(old, shown(&registry), "{name}");
        shown(&registry)
    };
    for at in 1.. {
        let context = format!("{name}, write {at}, {count} of them: {fault:?}");
        let installation = prepared.copy();
        let (storage, registry) = installation.open_faulty().await;
        let old = shown(&registry);
        storage.fail(at, count, fault);
        let outcome = change(registry.clone(), id.clone()).await;
        let reached = storage.heal();
        if count == 1 {
            check_continues(&registry, &context).await;
        }
        drop(registry);
        // After a power cut the anchors may be behind the store.
        installation.put_back_anchors(&prepared);
        let registry = installation.open().await;
        let found = shown(&registry);
        match &outcome {
            Ok(()) => assert_eq!(found, new, "{context}"),
            Err(error) if may_have_happened(error, &context) => {
                assert!(found == old || found == new, "{context}: {found}");
            }
            Err(_) => assert_eq!(found, old, "{context}"),
        }
        if count > 1 {
            check_continues(&registry, &context).await;
        }
        if !reached {
            outcome.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(at > WRITES, "{context}");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_interrupted_at_any_write_is_completed_by_the_next_one() {
    let (prepared, id) = before().await;
    prepared.clock.set(NOW + DAY);
    for at in 1.. {
        let installation = prepared.copy();
        let (storage, registry) = installation.open_faulty().await;
        storage.fail(at, usize::MAX, Fault::Refused);
        registry.sweep().await;
        let reached = storage.heal();
        drop(registry);
        let registry = installation.open().await;
        registry.sweep().await;
        registry.chains.sweep().await.unwrap();
        assert_eq!(sealed_versions(&installation), 2, "write {at}");
        let recorded = records(&registry).await;
        let swept = recorded
            .iter()
            .filter(|it| it.event == Event::VersionDestroyed);
        let swept: Vec<_> = swept.map(|it| it.credential.clone()).collect();
        assert_eq!(swept, [Some(id.clone())], "write {at}");
        check_continues(&registry, "after a sweep").await;
        if !reached {
            assert!(at > WRITES, "{at}");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_audit_note_whose_answer_was_lost_is_recorded_once_or_twice_and_the_next_follows_it() {
    for fault in [Fault::Refused, Fault::AnswerLost] {
        let (prepared, _) = before().await;
        for at in 1..8 {
            let installation = prepared.copy();
            let (storage, registry) = installation.open_faulty().await;
            let start = seen(&registry).await;
            storage.fail(at, usize::MAX, fault);
            let first = registry.audit().refused(&act(), "unauthenticated").await;
            storage.heal();
            let second = registry.audit().refused(&act(), "unauthenticated").await;
            second.unwrap();
            let recorded = events(&registry, &start).await;
            let may_be = match first {
                Ok(()) => 2..=2,
                Err(CommitError::OutcomeUnknown { .. }) => 1..=2,
                Err(_) => 1..=1,
            };
            assert!(
                may_be.contains(&recorded.len()),
                "{at}, {fault:?}: {recorded:?}"
            );
            assert!(recorded.iter().all(|event| *event == Event::Refused));
            registry.audit().verify().await.unwrap();
        }
    }
}
