//! A disk with no space but the reserve: access can be ended, but nothing can be added.

use keyside_store::{Effect, chain::CommitError, faulty::Fault};

use super::{
    erasing::{acme, erase, two_workspaces},
    *,
};
use crate::{
    access::{NewToken, Role},
    model::Status,
};

/// `acme` with the keys `a`, rotated once, and `b`, and a token, on a disk that is otherwise full.
struct FullDisk {
    installation: Installation,
    storage: Arc<Faulty>,
    registry: Arc<Registry>,
    a: CredentialId,
    b: CredentialId,
    token: ActorId,
}

async fn with_full_disk() -> FullDisk {
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
    storage.reserve_disk_space_for(Effect::EndsSooner);
    FullDisk {
        installation,
        storage,
        registry,
        a,
        b: b.credential.id,
        token: made.token.id,
    }
}

fn new_token() -> NewToken {
    NewToken {
        name: "Robin".parse().unwrap(),
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
async fn changes_that_add_or_extend_access_do_not_use_the_reserve() {
    let FullDisk {
        installation,
        storage,
        registry,
        a,
        b,
        ..
    } = with_full_disk().await;
    let head = seen(&registry).await;
    let writes = storage.writes();
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
    let keyring_before = fs::read_to_string(installation.keyring()).unwrap();
    let made = registry.create_workspace(by, workspace("globex")).await;
    check_full("make a workspace", made);
    let keys = registry.keyring.ids(&"globex".parse().unwrap()).await;
    assert!(keys.is_empty(), "a key is left in the keyring");
    let keyring = fs::read_to_string(installation.keyring()).unwrap();
    assert_eq!(keyring, keyring_before, "no key was made");
    check_full("add a key", registry.add(by, key("c", "sk-c")).await);
    check_full("rotate", registry.rotate(by, &a, to("sk-3")).await);
    check_full("rotate at once", registry.rotate(by, &a, at_once).await);
    let back = Rollback::default();
    check_full("roll back", registry.roll_back(by, &a, back).await);
    // An earlier expiry does not turn it into a change that only ends access.
    check_full("rename", registry.edit(by, &b, renamed).await);
    let made = registry.create_token(by, all, new_token()).await;
    check_full("make a token", made);
    let resealed = registry.rotate_workspace_key(by, &acme).await;
    check_full("rotate the workspace's key", resealed);
    check_full("export", registry.export_workspace(by, &acme).await);
    check_full("back up", registry.backup(by).await);
    let noted = registry.audit().refused(by, "wrong-token").await;
    let full = matches!(noted, Err(CommitError::NotBegun(StorageError::Full { .. })));
    assert!(full, "{noted:?}");
    assert_eq!(storage.writes(), writes, "nothing was begun");
    assert_eq!(seen(&registry).await, head);
}

#[tokio::test]
async fn only_an_expiry_moved_to_an_earlier_time_may_use_the_reserve() {
    let full_disk = with_full_disk().await;
    let edit = async |edit: Edit| full_disk.registry.edit(&act(), &full_disk.b, edit).await;
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
async fn repeatedly_moving_an_expiry_earlier_leaves_space_for_a_revocation() {
    let FullDisk {
        installation: _installation,
        storage,
        registry,
        b,
        ..
    } = with_full_disk().await;
    let edit = async |second| registry.edit(&act(), &b, ending(second)).await;
    edit(NOW + 9 * DAY).await.unwrap();
    storage.reserve_disk_space_for(Effect::EndsUse);
    check_full("a second nearer", edit(NOW + 9 * DAY - 1).await);
    let revoked = registry.revoke(&act(), &b, Revocation::default()).await;
    assert_eq!(revoked.unwrap().status, Status::Revoked);
}

#[tokio::test]
async fn changes_that_end_access_use_the_reserve() {
    let FullDisk {
        installation,
        registry,
        a,
        b,
        token,
        ..
    } = with_full_disk().await;
    let cut = Revocation {
        cut: true,
        ..Revocation::default()
    };
    for revocation in [Revocation::default(), cut] {
        let revoked = registry.revoke(&act(), &b, revocation).await.unwrap();
        assert_eq!(revoked.status, Status::Revoked);
    }
    assert!(opened(registry.resolver().resolve(&ask("acme"))).is_ok());
    // The version in grace is destroyed with its sealed bytes.
    assert_eq!(sealed_versions(&installation), 2);
    installation.clock.set(NOW + 2 * DAY);
    registry.sweep().await;
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
async fn a_start_without_space_for_its_audit_records_serves_and_a_later_one_writes_them() {
    let (installation, registry) = Installation::with_acme().await;
    let added = registry.add(&act(), key("a", "sk-a")).await.unwrap();
    let b = registry.add(&act(), key("b", "sk-b")).await.unwrap();
    let head = seen(&registry).await;
    drop(registry);
    let of_a = installation.stored_credential(&added.credential.id);
    let of_owner = installation.stored_at("{\"id\":\"tok_");
    for at in [of_a, of_owner] {
        installation.tamper(&at, |document| document[9] ^= 1);
    }
    let storage = Arc::new(Faulty::new(installation.backend()));
    storage.reserve_disk_space_for(Effect::EndsSooner);
    let registry = open_without_tasks(installation.options(storage.backend())).await;
    let registry = registry.unwrap();
    assert_eq!(seen(&registry).await, head);
    let found = registry.credential(&b.credential.id).unwrap();
    assert_eq!((found.status, found.damaged), (Status::Active, false));
    assert_eq!(registry.access().tokens(&Scope::All).len(), 0);
    drop(registry);
    let registry = installation.open().await;
    let recorded = events(&registry, &head).await;
    let damaged = recorded.iter().filter(|it| **it == Event::DocumentDamaged);
    assert_eq!(damaged.count(), 2);
    // Who damages the owner's token does not get another one.
    assert!(!recorded.contains(&Event::TokenCreated));
    assert_eq!(registry.access().tokens(&Scope::All).len(), 0);
}

#[tokio::test]
async fn a_revocation_that_the_reserve_has_no_space_for_is_refused() {
    let FullDisk {
        installation, b, ..
    } = with_full_disk().await;
    let (storage, registry) = installation.open_faulty().await;
    let head = seen(&registry).await;
    storage.fail(1, usize::MAX, Fault::Refused);
    let refused = registry.revoke(&act(), &b, Revocation::default()).await;
    assert!(matches!(refused, Err(ChangeError::StoreUnavailable(_))));
    let status = registry.credential(&b).unwrap().status;
    assert_eq!((status, seen(&registry).await), (Status::Active, head));
}

#[tokio::test]
async fn a_damaged_workspace_can_be_erased_although_the_damage_cannot_be_recorded() {
    let (installation, registry, _) = two_workspaces().await;
    registry.link(true).await;
    drop(registry);
    fs::remove_file(installation.heads().join("workspace.acme")).unwrap();
    let storage = Arc::new(Faulty::new(installation.backend()));
    storage.reserve_disk_space_for(Effect::EndsUse);
    let registry = open_without_tasks(installation.options(storage.backend())).await;
    let registry = registry.unwrap();
    assert!(registry.workspace(&acme()).unwrap().damaged);
    erase(&registry).await;
    assert!(registry.workspace(&acme()).is_none());
}
