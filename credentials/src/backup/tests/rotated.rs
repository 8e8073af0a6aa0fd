//! Backups from before a rotation of the signing key, from after it, and from the middle of it.

use super::*;

#[tokio::test]
async fn a_backup_from_before_a_rotation_and_one_from_after_it_are_restored_each_with_its_key() {
    let (place, registry) = Place::begun().await;
    let (old, new) = (place.path("old"), place.path("new"));
    backup(&registry, &old).await;
    let old_key = registry.audit().public_key();
    let rotated = registry.rotate_master_key(&act()).await.unwrap();
    let new_key = registry.audit().public_key();
    backup(&registry, &new).await;
    close(&place, registry).await;
    place.lose_the_store();
    // The heads that are here are signed with a key that the older backup does not know.
    let kept = place.path("kept-master-key");
    fs::copy(place.master_key(), &kept).unwrap();
    let retired = place.path(&format!("master-key.retired-{}", rotated.previous));
    fs::copy(retired, place.master_key()).unwrap();
    let error = place.restore(&old).await.unwrap_err();
    assert!(matches!(error, RestoreError::Older { .. }), "{error}");
    place.restore_as(&old, false, true).await.unwrap();
    let registry = place.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
    assert_eq!(registry.audit().public_key(), old_key);
    registry.audit().verify().await.unwrap();
    close(&place, registry).await;
    place.lose_the_store();
    fs::copy(&kept, place.master_key()).unwrap();
    place.restore_as(&new, false, true).await.unwrap();
    let registry = place.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
    assert_eq!(registry.audit().public_key(), new_key);
    registry.audit().verify().await.unwrap();
    registry.rotate_master_key(&act()).await.unwrap();
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

#[tokio::test]
async fn a_backup_from_the_middle_of_a_rotation_is_finished_where_it_is_restored() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    let old_key = registry.audit().public_key();
    let announced = registry.run_to_completion(|registry| async move {
        let to = registry.announce_keys(&act()).await?;
        Ok(to.signing_key)
    });
    let new_key = announced.await.unwrap();
    assert_ne!(old_key, new_key);
    backup(&registry, &file).await;
    close(&place, registry).await;
    place.lose_the_store();
    place.restore(&file).await.unwrap();
    let registry = place.open().await;
    assert_eq!(registry.audit().public_key(), new_key);
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
    registry.audit().verify().await.unwrap();
    close(&place, registry).await;
    let registry = place.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

/// It is not said to be of another installation, and that flag alone does not undo what happened since.
#[tokio::test]
async fn a_head_from_after_a_rotation_without_its_keyring_is_not_taken_for_another_installations() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    let rotated = registry.rotate_master_key(&act()).await.unwrap();
    close(&place, registry).await;
    place.lose_the_store();
    fs::remove_file(place.path("keyring")).unwrap();
    let retired = place.path(&format!("master-key.retired-{}", rotated.previous));
    fs::copy(retired, place.master_key()).unwrap();
    for (is_other, is_older) in [(false, false), (true, false), (false, true)] {
        let error = place.restore_as(&file, is_other, is_older).await;
        let error = error.unwrap_err();
        assert!(matches!(error, RestoreError::UnknownHead { .. }), "{error}");
        let head = place.path("heads/installation").display().to_string();
        for part in [&*head, "after a rotation of its keys", "--older"] {
            assert!(error.to_string().contains(part), "no {part}: {error}");
        }
    }
    place.restore_as(&file, true, true).await.unwrap();
    assert_eq!(opened(&*place.open().await, "a").unwrap(), "sk-a");
}
