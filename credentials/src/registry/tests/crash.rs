//! Each change, cut off at each of its steps: by a power cut, by storage that fails once, by storage that fails for good.

use std::pin::Pin;

use super::*;
use crate::{
    CredentialId, Status,
    storage::faulty::{Asked, Fault},
};

type Outcome = Pin<Box<dyn Future<Output = Result<(), ChangeError>> + Send>>;
type Change = fn(Arc<Registry>, CredentialId) -> Outcome;

/// The changes, each starting from `acme` with the keys `a`, rotated once, and `z`.
const CHANGES: [(&str, Change); 9] = [
    ("make a workspace", |registry, _| {
        Box::pin(async move {
            let made = registry.create_workspace(&act(), workspace("globex")).await;
            made.map(drop)
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

/// Once a grace has ended. A start does it too, so what a restart shows does not tell whether it was recovered from.
const SWEEP: (&str, Change) = ("sweep", |registry, _| {
    Box::pin(async move {
        registry.inner.sweep().await;
        Ok(())
    })
});

/// Everything a change can be seen by.
fn shown(registry: &Registry) -> String {
    let keys = registry.list(&Filter::default()).into_iter();
    let keys: Vec<_> = keys
        .map(|key| {
            let versions: Vec<_> = key.versions.iter().map(|it| it.state).collect();
            let state = (key.status, key.is_default, key.revision, key.damaged);
            (key.label, state, versions)
        })
        .collect();
    let workspaces: Vec<_> = registry
        .workspaces(&Scope::All)
        .into_iter()
        .map(|it| (it.id, it.revision, it.damaged))
        .collect();
    let answer = registry
        .resolver()
        .resolve(&ask("acme"))
        .map(|grant| (grant.label().clone(), opened(Ok(grant))));
    format!("{workspaces:?} {keys:?} {answer:?}")
}

async fn before() -> (Installation, CredentialId) {
    let (installation, registry) = Installation::with_acme().await;
    let id = registry
        .add(&act(), key("a", "sk-a"))
        .await
        .unwrap()
        .credential
        .id;
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    registry.add(&act(), key("z", "sk-z")).await.unwrap();
    (installation, id)
}

/// What holds whatever happened: nothing is damaged, the log is whole, and changes go on.
async fn goes_on(registry: &Arc<Registry>, context: &str) {
    assert!(
        registry
            .list(&Filter::default())
            .iter()
            .all(|key| !key.damaged),
        "{context}"
    );
    registry
        .audit()
        .verify()
        .await
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let next = registry.add(&act(), key("next", "sk-next")).await.unwrap();
    assert_eq!(next.credential.status, Status::Active, "{context}");
}

#[tokio::test]
async fn a_power_cut_at_any_moment_leaves_a_change_whole_or_not_begun() {
    for (name, change) in CHANGES.into_iter().chain([SWEEP]) {
        let (installation, id) = before().await;
        let start = installation.memory.copy();
        let anchor = std::fs::read(installation.anchor()).unwrap();
        let (storage, registry) = installation.open_faulty().await;
        if name == SWEEP.0 {
            installation.clock.set(NOW + DAY);
        }
        let old = shown(&registry);
        storage.watch(None);
        change(registry.clone(), id).await.unwrap();
        let (new, asked) = (shown(&registry), storage.asked());
        assert_ne!(old, new, "{name}");
        let acknowledged = asked
            .iter()
            .position(|asked| matches!(asked, Asked::Sync))
            .unwrap()
            + 1;
        drop(registry);
        for survived in 0..=asked.len() {
            let context = format!(
                "{name}, cut after {survived} of {asked:?}",
                asked = asked.len()
            );
            let memory = start.copy();
            for asked in &asked[..survived] {
                asked.replay(&memory).await.unwrap();
            }
            // It may be behind after a power cut.
            std::fs::write(installation.anchor(), &anchor).unwrap();
            let registry = Arc::new(installation.open_still(Arc::new(memory)).await);
            let found = shown(&registry);
            assert!(found == old || found == new, "{context}: {found}");
            if survived >= acknowledged {
                assert_eq!(found, new, "{context}: acknowledged and lost");
            }
            goes_on(&registry, &context).await;
        }
    }
}

#[tokio::test]
async fn storage_that_fails_for_good_at_any_step_leaves_a_change_whole_or_not_begun() {
    fails_at_each_step(true).await;
}

#[tokio::test]
async fn storage_that_fails_once_at_any_step_is_recovered_from_without_a_restart() {
    fails_at_each_step(false).await;
}

async fn fails_at_each_step(for_good: bool) {
    for (name, change) in CHANGES {
        for at in 0.. {
            let mut reached = false;
            for done in [false, true] {
                let fault = Fault { at, done, for_good };
                let context = format!("{name}, {fault:?}");
                let (installation, id) = before().await;
                let (storage, registry) = installation.open_faulty().await;
                let old = shown(&registry);
                storage.watch(Some(fault));
                let outcome = change(registry.clone(), id).await;
                reached |= storage.asked().len() > at;
                if !reached {
                    break;
                }
                match &outcome {
                    Ok(()) => assert_ne!(shown(&registry), old, "{context}"),
                    Err(ChangeError::StoreUnavailable(_)) => {
                        assert_eq!(shown(&registry), old, "{context}")
                    }
                    Err(other) => panic!("{context}: {other}"),
                }
                let confirmed = outcome.is_ok().then(|| shown(&registry));
                if for_good {
                    let again = registry.add(&act(), key("c", "sk-c")).await;
                    assert!(
                        matches!(again, Err(ChangeError::StoreUnavailable(_))),
                        "{context}"
                    );
                    drop(registry);
                    let registry = installation.open().await;
                    let found = shown(&registry);
                    assert!(
                        confirmed.is_none_or(|confirmed| confirmed == found),
                        "{context}: confirmed and lost"
                    );
                    goes_on(&registry, &context).await;
                } else {
                    goes_on(&registry, &context).await;
                    let running = shown(&registry);
                    drop(registry);
                    assert_eq!(
                        shown(&*installation.open().await),
                        running,
                        "{context}: after a restart"
                    );
                }
            }
            if !reached {
                assert!(at >= 4, "{name} takes at least four steps, not {at}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_record_whose_answer_was_lost_is_found_by_the_next_one() {
    for done in [false, true] {
        let (installation, _) = before().await;
        let (storage, registry) = installation.open_faulty().await;
        let start = registry.audit().head().await.position;
        storage.watch(Some(Fault {
            at: 0,
            done,
            for_good: false,
        }));
        registry
            .audit()
            .refused(&act(), "unauthenticated")
            .await
            .unwrap_err();
        registry
            .audit()
            .refused(&act(), "unauthenticated")
            .await
            .unwrap();
        let head = registry.audit().verify().await.unwrap();
        assert_eq!(head.position, start + 1 + u64::from(done));
    }
}
