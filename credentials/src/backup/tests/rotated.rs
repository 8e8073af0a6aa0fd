//! Backups from before, after and during a rotation of the signing key.

use super::*;

#[tokio::test]
async fn backups_from_before_and_after_a_rotation_are_restored_with_their_own_signing_key() {
    let (machine, registry) = Machine::running().await;
    let (old, new) = (machine.path("old"), machine.path("new"));
    backup(&registry, &old).await;
    let old_key = registry.audit().public_key();
    let rotated = registry.rotate_master_key(&act()).await.unwrap();
    let new_key = registry.audit().public_key();
    backup(&registry, &new).await;
    machine.close_and_lose_the_store(registry).await;
    // The existing anchors are signed with a key that the older backup does not know.
    let kept = machine.path("kept-master-key");
    fs::copy(machine.master_key(), &kept).unwrap();
    let retired = machine.path(&format!("master-key.retired-{}", rotated.previous));
    fs::copy(retired, machine.master_key()).unwrap();
    let error = machine.restore(&old).await.unwrap_err();
    assert!(matches!(error, RestoreError::Older { .. }), "{error}");
    machine.restore_as(&old, false, true).await.unwrap();
    let registry = machine.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
    assert_eq!(registry.audit().public_key(), old_key);
    registry.audit().verify().await.unwrap();
    machine.close_and_lose_the_store(registry).await;
    fs::copy(&kept, machine.master_key()).unwrap();
    machine.restore_as(&new, false, true).await.unwrap();
    let registry = machine.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
    assert_eq!(registry.audit().public_key(), new_key);
    registry.audit().verify().await.unwrap();
    registry.rotate_master_key(&act()).await.unwrap();
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

#[tokio::test]
async fn a_rotation_interrupted_by_a_backup_completes_after_the_restore() {
    let (machine, registry) = Machine::running().await;
    let file = machine.path("backup");
    let old_key = registry.audit().public_key();
    let announced = registry.run_to_completion(|registry| async move {
        let to = registry.announce_keys(&act()).await?;
        Ok(to.signing_key)
    });
    let new_key = announced.await.unwrap();
    assert_ne!(old_key, new_key);
    backup(&registry, &file).await;
    machine.close_and_lose_the_store(registry).await;
    machine.restore(&file).await.unwrap();
    let registry = machine.open().await;
    assert_eq!(registry.audit().public_key(), new_key);
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
    registry.audit().verify().await.unwrap();
    close(&machine, registry).await;
    let registry = machine.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

/// It is not reported as another installation, and the flag for that does not allow discarding
/// later changes.
#[tokio::test]
async fn an_anchor_from_after_a_rotation_is_not_mistaken_for_another_installations() {
    let (machine, registry, file) = Machine::backed_up().await;
    let rotated = registry.rotate_master_key(&act()).await.unwrap();
    machine.close_and_lose_the_store(registry).await;
    fs::remove_file(machine.path("keyring")).unwrap();
    let retired = machine.path(&format!("master-key.retired-{}", rotated.previous));
    fs::copy(retired, machine.master_key()).unwrap();
    for (is_other, is_older) in [(false, false), (true, false), (false, true)] {
        let error = machine.restore_as(&file, is_other, is_older).await;
        let error = error.unwrap_err();
        assert!(matches!(error, RestoreError::UnknownHead { .. }), "{error}");
        let head = machine.path("heads/installation").display().to_string();
        for part in [&*head, "after a rotation of its keys", "--older"] {
            assert!(error.to_string().contains(part), "no {part}: {error}");
        }
    }
    machine.restore_as(&file, true, true).await.unwrap();
    assert_eq!(opened(&*machine.open().await, "a").unwrap(), "sk-a");
}
