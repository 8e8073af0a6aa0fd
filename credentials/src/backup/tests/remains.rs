//! What a restore does with existing files.

use super::*;

#[tokio::test]
async fn a_restore_never_overwrites_an_existing_store() {
    let (machine, registry, file) = Machine::backed_up().await;
    let error = machine.restore_as(&file, true, true).await.unwrap_err();
    assert!(matches!(error, RestoreError::StoreThere { .. }), "{error}");
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

#[tokio::test]
async fn a_store_that_cannot_be_created_leaves_nothing() {
    let (machine, _registry, file) = Machine::backed_up().await;
    let there = Machine::with_key_of(&machine);
    let open = |folder: &Path| -> OpeningStore {
        fs::create_dir(folder).unwrap();
        Box::pin(async { Err::<Backend, _>(RestoreError::Store("a full disk".into())) })
    };
    let restore = Restore {
        open: &open,
        store: &there.path("store"),
        keyring: &there.path("keyring"),
        kms: &there.kms(),
        other_installation: false,
        older: false,
    };
    restore.run(&file).await.unwrap_err();
    for left in ["store", "store.restoring", "heads.restoring", "keyring"] {
        assert!(!there.path(left).exists(), "{left}");
    }
}

#[tokio::test]
async fn a_wrong_master_key_names_the_required_one_and_none_is_generated() {
    let (machine, registry) = Machine::running().await;
    let file = machine.path("backup");
    let header = backup(&registry, &file).await;
    let there = Machine::new();
    let error = there.restore(&file).await.unwrap_err();
    assert!(
        matches!(error, RestoreError::Kms(KmsError::NotThere { .. })),
        "{error}"
    );
    assert!(!there.master_key().exists());
    fs::write(there.master_key(), crate::MasterKey::generate().as_bytes()).unwrap();
    let error = there.restore(&file).await.unwrap_err();
    assert!(error.to_string().contains(&header.master_key), "{error}");
    assert!(!there.path("store").exists() && !there.path("keyring").exists());
}

#[tokio::test]
async fn later_changes_are_only_discarded_with_confirmation() {
    let (machine, registry) = Machine::running().await;
    let (old, new) = (machine.path("old"), machine.path("new"));
    backup(&registry, &old).await;
    let id = registry.list(&Filter::default())[0].id.clone();
    registry
        .revoke(&act(), &id, Revocation::default())
        .await
        .unwrap();
    linked(&registry, "acme").await;
    backup(&registry, &new).await;
    machine.close_and_lose_the_store(registry).await;
    let error = machine.restore(&old).await.unwrap_err();
    assert!(matches!(error, RestoreError::Older { .. }), "{error}");
    assert!(error.to_string().contains("--older"), "{error}");
    machine.restore(&new).await.unwrap();
    let registry = machine.open().await;
    assert!(opened(&registry, "a").is_err());
    machine.close_and_lose_the_store(registry).await;
    let restored = machine.restore_as(&old, false, true).await.unwrap();
    assert_eq!(restored.epoch, 2);
    let registry = machine.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
    close(&machine, registry).await;
    // The newer state is of the previous epoch, although its log is longer.
    machine.lose_the_store();
    let error = machine.restore(&new).await.unwrap_err();
    assert!(error.to_string().contains("epoch"), "{error}");
}

/// The installation's chain links to the change an hour later.
#[tokio::test]
async fn a_key_added_since_the_backup_counts_as_a_later_change() {
    let (machine, registry, file) = Machine::backed_up().await;
    registry.add(&act(), key("b")).await.unwrap();
    machine.close_and_lose_the_store(registry).await;
    let error = machine.restore(&file).await.unwrap_err();
    assert!(matches!(error, RestoreError::Older { .. }), "{error}");
    assert!(error.to_string().contains("workspace/acme"), "{error}");
    for left in ["store", "store.restoring", "heads.restoring"] {
        assert!(!machine.path(left).exists(), "{left}");
    }
    machine.restore_as(&file, false, true).await.unwrap();
    let registry = machine.open().await;
    assert!(opened(&registry, "a").is_ok() && opened(&registry, "b").is_err());
}

#[tokio::test]
async fn a_clean_stop_after_a_backup_is_no_later_change() {
    let (machine, registry) = Machine::running().await;
    let file = machine.path("backup");
    // The key of `running` is not linked yet: a clean stop writes links that are not due.
    backup(&registry, &file).await;
    registry.flush().await;
    machine.close_and_lose_the_store(registry).await;
    machine.restore(&file).await.unwrap();
    let registry = machine.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
    registry.audit().verify().await.unwrap();
}

#[tokio::test]
async fn a_backup_has_the_keys_that_an_older_keyring_put_in_place_lacks() {
    let machine = Machine::new();
    let registry = machine.open().await;
    let older = fs::read(machine.path("keyring")).unwrap();
    let created = registry.create_workspace(&act(), workspace("acme")).await;
    created.unwrap();
    registry.add(&act(), key("a")).await.unwrap();
    fs::write(machine.path("keyring"), older).unwrap();
    let refused = registry.create_workspace(&act(), workspace("b")).await;
    assert!(refused.is_err());
    let file = machine.path("backup");
    backup(&registry, &file).await;
    machine.close_and_lose_the_store(registry).await;
    machine.restore(&file).await.unwrap();
    let registry = machine.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
    registry.audit().verify().await.unwrap();
}

#[tokio::test]
async fn another_installation_is_replaced_only_with_confirmation_and_its_keyring_is_kept() {
    let (machine, _registry, file) = Machine::backed_up().await;
    let other = Machine::with_key_of(&machine);
    let theirs = other.open().await;
    other.close_and_lose_the_store(theirs).await;
    let keyring = fs::read(other.path("keyring")).unwrap();
    let error = other.restore(&file).await.unwrap_err();
    assert!(
        matches!(error, RestoreError::OtherInstallation { .. }),
        "{error}"
    );
    // Only the anchors of its chains remain.
    fs::rename(other.path("keyring"), other.path("aside")).unwrap();
    for (is_other, is_older) in [(false, false), (true, false), (false, true)] {
        let error = other.restore_as(&file, is_other, is_older).await;
        let error = error.unwrap_err();
        assert!(matches!(error, RestoreError::UnknownHead { .. }), "{error}");
    }
    fs::rename(other.path("aside"), other.path("keyring")).unwrap();
    other.restore_as(&file, true, false).await.unwrap();
    assert_eq!(
        fs::read(other.path("keyring.before-restore-0")).unwrap(),
        keyring
    );
    assert_eq!(opened(&*other.open().await, "a").unwrap(), "sk-a");
}

#[tokio::test]
async fn an_interrupted_restore_has_restored_nothing_and_can_be_repeated() {
    let (machine, _registry, file) = Machine::backed_up().await;
    let there = Machine::with_key_of(&machine);
    there.restore(&file).await.unwrap();
    // All but the last step.
    fs::rename(there.path("store"), there.path("store.restoring")).unwrap();
    assert!(there.try_open().await.is_err());
    there.lose_the_store();
    there.restore(&file).await.unwrap();
    assert!(!there.path("store.restoring").exists());
    assert_eq!(opened(&*there.open().await, "a").unwrap(), "sk-a");
}

#[tokio::test]
async fn the_remains_of_a_killed_restore_are_reported_and_removed_by_the_next_one() {
    let (machine, _registry, file) = Machine::backed_up().await;
    let there = Machine::with_key_of(&machine);
    let check = || expect_none_interrupted(&there.path("store"), &there.path("keyring"));
    check().unwrap();
    let left = ["store.restoring", "heads.restoring"].map(|name| there.path(name));
    for folder in &left {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("db"), "half a file").unwrap();
        let said = check().unwrap_err().to_string();
        assert!(said.contains("`keyside restore` again"), "{said}");
        assert!(said.contains(".restoring remains"), "{said}");
    }
    there.restore(&file).await.unwrap();
    check().unwrap();
    assert_eq!(opened(&*there.open().await, "a").unwrap(), "sk-a");
}

#[tokio::test]
async fn an_interrupted_restore_names_the_keyring_that_it_has_replaced() {
    let (machine, registry, file) = Machine::backed_up().await;
    close(&machine, registry).await;
    machine.lose_the_store();
    let before = fs::read(machine.path("keyring")).unwrap();
    machine.restore_as(&file, false, true).await.unwrap();
    // All but the last step.
    fs::rename(machine.path("store"), machine.path("store.restoring")).unwrap();
    let said = || {
        let check = expect_none_interrupted(&machine.path("store"), &machine.path("keyring"));
        check.unwrap_err().to_string()
    };
    let kept = machine.path("keyring.before-restore-0");
    assert_eq!(fs::read(&kept).unwrap(), before);
    let named = said();
    assert!(named.contains(&kept.display().to_string()), "{named}");
    assert!(named.contains("copy it back"), "{named}");
    fs::remove_file(&kept).unwrap();
    assert!(!said().contains("copy it back"), "{}", said());
}

#[tokio::test]
async fn any_keyring_found_by_a_restore_is_kept_and_no_kept_one_is_overwritten() {
    let (machine, registry, file) = Machine::backed_up().await;
    registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap();
    machine.close_and_lose_the_store(registry).await;
    let first = fs::read(machine.path("keyring")).unwrap();
    machine.restore_as(&file, false, true).await.unwrap();
    assert_eq!(
        fs::read(machine.path("keyring.before-restore-0")).unwrap(),
        first
    );
    // As if an operator had put the first one back, and something was created since.
    let second = fs::read(machine.path("keyring")).unwrap();
    fs::write(machine.path("keyring.before-restore-1"), "someone's").unwrap();
    machine.lose_the_store();
    machine.restore_as(&file, false, true).await.unwrap();
    let read = |name: &str| fs::read(machine.path(name)).unwrap();
    assert_eq!(read("keyring.before-restore-0"), first);
    assert_eq!(read("keyring.before-restore-1"), b"someone's");
    assert_eq!(read("keyring.before-restore-1-2"), second);
}

#[tokio::test]
async fn permission_to_replace_another_installation_does_not_allow_a_rollback_of_the_same_one() {
    let (machine, registry) = Machine::running().await;
    let (old, new) = (machine.path("old"), machine.path("new"));
    backup(&registry, &old).await;
    registry.add(&act(), key("b")).await.unwrap();
    backup(&registry, &new).await;
    machine.close_and_lose_the_store(registry).await;
    let error = machine.restore_as(&old, true, false).await.unwrap_err();
    assert!(matches!(error, RestoreError::Older { .. }), "{error}");
    machine.restore_as(&new, true, false).await.unwrap();
    machine.lose_the_store();
    fs::remove_dir_all(machine.path("heads")).unwrap();
    let error = machine.restore_as(&old, true, false).await.unwrap_err();
    assert!(error.to_string().contains("epoch"), "{error}");
}

#[tokio::test]
async fn the_owner_token_after_a_restore_is_that_of_the_backup() {
    let (machine, registry, file) = Machine::backed_up().await;
    let token = fs::read_to_string(machine.path("admin-token")).unwrap();
    let other = Machine::with_key_of(&machine);
    let theirs = other.open().await;
    other.close_and_lose_the_store(theirs).await;
    let their_token = fs::read_to_string(other.path("admin-token")).unwrap();
    other.restore_as(&file, true, false).await.unwrap();
    let read = |name: &str| fs::read_to_string(other.path(name)).unwrap();
    assert_eq!(read("admin-token"), token);
    assert_eq!(read("admin-token.before-restore-0"), their_token);
    fs::remove_file(machine.path("admin-token")).unwrap();
    let without = machine.path("without");
    backup(&registry, &without).await;
    other.lose_the_store();
    other.restore_as(&without, false, true).await.unwrap();
    assert!(!other.path("admin-token").exists(), "the backup had none");
    let registry = other.open().await;
    assert!(registry.access().authenticate(token.trim()).is_some());
}
