//! A disk of which nothing but the reserve is left: uses can be ended, and nothing can be added.

use super::*;
use crate::{
    CredentialId, NewToken, Role, Status,
    storage::{Effect, Floors, StorageError, faulty::Fault},
};

/// `acme` with the keys `a`, rotated once, and `b`, and a token, on a disk that holds no more.
struct Crowded {
    installation: Installation,
    storage: Arc<FaultyStorage>,
    registry: Arc<Registry>,
    a: CredentialId,
    b: CredentialId,
    token: ActorId,
}

async fn on_the_reserve() -> Crowded {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let (storage, registry) = installation.open_faulty().await;
    let a = registry.add(&act(), key("a", "sk-a")).await.unwrap();
    let a = a.credential.id;
    registry.rotate(&act(), &a, to("sk-2")).await.unwrap();
    let b = registry.add(&act(), key("b", "sk-b")).await.unwrap();
    let made = registry
        .create_token(&act(), &Scope::All, new_token())
        .await
        .unwrap();
    storage.leave(10 << 20);
    Crowded {
        installation,
        storage,
        registry,
        a,
        b: b.credential.id,
        token: made.token.id,
    }
}

impl Installation {
    /// Opens it on a disk of which so many bytes are free.
    async fn open_with(&self, free: u64) -> (Arc<FaultyStorage>, Arc<Registry>) {
        let storage = Arc::new(FaultyStorage::new(self.memory.clone()));
        storage.leave(free);
        let registry = Registry::open(self.options(storage.clone())).await.unwrap();
        (storage, registry)
    }
}

fn new_token() -> NewToken {
    NewToken {
        name: "Robin".to_owned(),
        role: Role::Editor,
        scope: Scope::All,
        expires_at: None,
    }
}

fn ending(second: i64) -> Edit {
    Edit {
        expires_at: Some(Some(jiff::Timestamp::from_second(second).unwrap())),
        ..Edit::default()
    }
}

fn check_full<T>(name: &str, outcome: Result<T, ChangeError>) {
    let refused = outcome.err().unwrap_or_else(|| panic!("{name} was done"));
    let is_full = matches!(
        refused,
        ChangeError::StoreUnavailable(StorageError::Full { .. })
    );
    assert!(is_full, "{name}: {refused}");
}

#[tokio::test]
async fn what_adds_or_keeps_a_use_leaves_the_reserve_alone() {
    let Crowded {
        installation: _installation,
        storage,
        registry,
        a,
        b,
        ..
    } = on_the_reserve().await;
    let head = seen(&registry).await;
    storage.watch(None);
    let at_once = Rotation {
        grace: std::time::Duration::ZERO,
        ..to("sk-4")
    };
    let renamed = Edit {
        label: Some("renamed".parse().unwrap()),
        ..ending(NOW + DAY)
    };
    let (by, all) = (&act(), &Scope::All);
    let acme = "acme".parse().unwrap();
    let made = registry.create_workspace(by, workspace("globex")).await;
    check_full("make a workspace", made);
    check_full("add a key", registry.add(by, key("c", "sk-c")).await);
    check_full("rotate", registry.rotate(by, &a, to("sk-3")).await);
    check_full("rotate at once", registry.rotate(by, &a, at_once).await);
    let back = Rollback::default();
    check_full("roll back", registry.roll_back(by, &a, back).await);
    // That it ends sooner too does not make it one that only ends something.
    check_full("rename", registry.edit(by, &b, renamed).await);
    let made = registry.create_token(by, all, new_token()).await;
    check_full("make a token", made);
    let resealed = registry.rotate_workspace_key(by, &acme).await;
    check_full("rotate the workspace's key", resealed);
    check_full("export", registry.export_workspace(by, &acme).await);
    check_full("back up", registry.backup(by).await);
    let noted = registry.audit().refused(by, "wrong-token").await;
    assert!(matches!(noted, Err(StorageError::Full { .. })));
    assert!(storage.asked().is_empty(), "nothing was begun");
    assert_eq!(seen(&registry).await, head);
}

#[tokio::test]
async fn an_end_that_moves_away_leaves_the_reserve_alone_and_one_that_comes_nearer_does_not() {
    let crowded = on_the_reserve().await;
    let edit = async |edit: Edit| crowded.registry.edit(&act(), &crowded.b, edit).await;
    edit(ending(NOW + 9 * DAY)).await.unwrap();
    edit(ending(NOW + 2 * DAY)).await.unwrap();
    check_full("later", edit(ending(NOW + 3 * DAY)).await);
    let never = Edit {
        expires_at: Some(None),
        ..Edit::default()
    };
    check_full("never", edit(never).await);
    edit(ending(NOW + DAY)).await.unwrap();
}

#[tokio::test]
async fn bringing_an_end_nearer_again_and_again_leaves_room_for_revoking() {
    let Crowded {
        installation: _installation,
        storage,
        registry,
        b,
        ..
    } = on_the_reserve().await;
    let edit = async |second| registry.edit(&act(), &b, ending(second)).await;
    edit(NOW + 9 * DAY).await.unwrap();
    storage.leave(Floors::USUAL.of(Effect::EndsSooner) - 1);
    check_full("a second nearer", edit(NOW + 9 * DAY - 1).await);
    let revoked = registry.revoke(&act(), &b, Revocation::default()).await;
    assert_eq!(revoked.unwrap().status, Status::Revoked);
}

#[tokio::test]
async fn what_ends_a_use_is_done_on_the_reserve() {
    let Crowded {
        installation,
        registry,
        a,
        b,
        token,
        ..
    } = on_the_reserve().await;
    let cut = Revocation {
        cut: true,
        ..Revocation::default()
    };
    for revocation in [Revocation::default(), cut] {
        let revoked = registry.revoke(&act(), &b, revocation).await.unwrap();
        assert_eq!(revoked.status, Status::Revoked);
    }
    assert!(opened(registry.resolver().resolve(&ask("acme"))).is_ok());
    // The version that was in grace is no more to be had, nor are its sealed bytes.
    assert_eq!(sealed_versions(&installation), 2);
    installation.clock.set(NOW + 2 * DAY);
    registry.inner.sweep().await;
    assert_eq!(sealed_versions(&installation), 1);
    let withdrawn = registry
        .revoke_token(&act(), &Scope::All, &token, None)
        .await
        .unwrap();
    assert!(withdrawn.revoked_at.is_some());
    let acme = "acme".parse().unwrap();
    registry.erase_workspace(&act(), &acme, None).await.unwrap();
    assert!(registry.credential(&a).is_none());
}

#[tokio::test]
async fn a_revocation_on_record_counts_after_a_start_without_room_to_finish_it() {
    let Crowded {
        installation,
        storage,
        registry,
        b,
        ..
    } = on_the_reserve().await;
    // Its pending copy, its record and the disk; of its document, nothing.
    storage.watch(Some(Fault {
        at: 3,
        done: false,
        for_good: true,
    }));
    let revoked = registry.revoke(&act(), &b, Revocation::default()).await;
    assert_eq!(revoked.unwrap().status, Status::Revoked);
    drop(registry);
    let (storage, registry) = installation.open_with(0).await;
    let found = registry.credential(&b).unwrap();
    assert_eq!((found.status, found.damaged), (Status::Revoked, false));
    assert!(opened(registry.resolver().resolve(&ask("acme"))).is_ok());
    check_full(
        "a change",
        registry.revoke(&act(), &b, Revocation::default()).await,
    );
    storage.leave(u64::MAX);
    registry.add(&act(), key("c", "sk-c")).await.unwrap();
    drop(registry);
    let found = installation.open().await.credential(&b).unwrap();
    assert_eq!((found.status, found.damaged), (Status::Revoked, false));
}

#[tokio::test]
async fn a_start_without_room_for_what_it_has_to_record_serves_and_a_later_one_records_it() {
    let (installation, registry) = Installation::with_acme().await;
    let added = registry.add(&act(), key("a", "sk-a")).await.unwrap();
    let b = registry.add(&act(), key("b", "sk-b")).await.unwrap();
    let head = seen(&registry).await;
    drop(registry);
    let of_a = added.credential.id.to_string();
    installation.memory.tamper(|documents, _| {
        for (key, document) in documents.iter_mut() {
            if key.ends_with(&of_a) || key.starts_with("tokens/") {
                document.body[9] ^= 1;
            }
        }
    });
    let (_, registry) = installation.open_with(10 << 20).await;
    assert_eq!(seen(&registry).await, head);
    let found = registry.credential(&b.credential.id).unwrap();
    assert_eq!((found.status, found.damaged), (Status::Active, false));
    assert_eq!(registry.access().tokens(&Scope::All).len(), 0);
    drop(registry);
    let registry = installation.open().await;
    assert!(seen(&registry).await.position > head.position + 1);
    assert_eq!(registry.access().tokens(&Scope::All).len(), 1);
}

#[tokio::test]
async fn a_revocation_that_cannot_be_recorded_even_there_does_not_happen() {
    let Crowded {
        installation: _installation,
        storage,
        registry,
        b,
        ..
    } = on_the_reserve().await;
    let head = seen(&registry).await;
    storage.watch(Some(Fault {
        at: 0,
        done: false,
        for_good: true,
    }));
    let refused = registry.revoke(&act(), &b, Revocation::default()).await;
    assert!(matches!(refused, Err(ChangeError::StoreUnavailable(_))));
    let status = registry.credential(&b).unwrap().status;
    assert_eq!(
        (status, seen(&registry).await),
        (Status::Active, head)
    );
}
