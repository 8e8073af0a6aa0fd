use std::fs;

use super::*;

async fn opened(folder: &Path) -> SledStorage {
    SledStorage::open(folder).await.unwrap()
}

async fn refused(folder: &Path) -> StoreOpenError {
    SledStorage::open(folder)
        .await
        .err()
        .expect("the store does not open")
}

/// A store with one document in it, closed again.
async fn used(folder: &Path) {
    let storage = opened(folder).await;
    storage.put("a", 0, b"kept".to_vec()).await.unwrap();
    for log in [Log::Audit, Log::Runs] {
        storage.append(log, 1, b"kept".to_vec()).await.unwrap();
    }
    storage.sync().await.unwrap();
}

#[tokio::test]
async fn what_was_synced_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let storage = opened(folder.path()).await;
    assert_eq!(storage.read("a").await.unwrap().unwrap().body, b"kept");
    for log in [Log::Audit, Log::Runs] {
        assert_eq!(
            storage.entries(log, 1, 9).await.unwrap(),
            [(1, b"kept".to_vec())]
        );
    }
}

#[tokio::test]
async fn a_folder_in_use_says_so_and_opens_once_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let first = opened(folder.path()).await;
    let error = refused(folder.path()).await;
    assert!(matches!(error, StoreOpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("stop it"), "{error}");
    drop(first);
    opened(folder.path()).await;
}

#[tokio::test]
async fn a_damaged_conf_file_is_mended_and_loses_nothing() {
    for damage in [b"".as_slice(), b"short", &[0xff; 200]] {
        let folder = tempfile::tempdir().unwrap();
        used(folder.path()).await;
        fs::write(folder.path().join("conf"), damage).unwrap();
        let storage = opened(folder.path()).await;
        assert_eq!(storage.read("a").await.unwrap().unwrap().body, b"kept");
    }
}

#[tokio::test]
async fn a_store_whose_files_were_emptied_or_taken_is_damaged_not_new() {
    for file in ["db", "conf.kept"] {
        for gone in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            used(folder.path()).await;
            let path = folder.path().join(file);
            if gone {
                fs::remove_file(&path).unwrap();
            } else if file == "db" {
                fs::write(&path, "").unwrap();
            } else {
                continue;
            }
            for snapshot in fs::read_dir(folder.path()).unwrap().flatten() {
                if snapshot.file_name().to_string_lossy().starts_with("snap.") {
                    fs::remove_file(snapshot.path()).unwrap();
                }
            }
            let error = refused(folder.path()).await;
            assert!(
                matches!(error, StoreOpenError::Damaged { .. }),
                "{file} {gone}: {error}"
            );
            assert!(error.to_string().contains("Restore"), "{error}");
        }
    }
}

#[tokio::test]
async fn an_unfinished_snapshot_of_a_crash_does_not_keep_it_from_opening() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    fs::write(
        folder.path().join("snap.00000000000012AB.generating"),
        "half",
    )
    .unwrap();
    let storage = opened(folder.path()).await;
    assert!(storage.read("a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_crash_while_a_store_was_made_leaves_one_that_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    fs::write(folder.path().join("making"), "").unwrap();
    fs::write(folder.path().join("conf"), "half").unwrap();
    let storage = opened(folder.path()).await;
    assert!(storage.read("a").await.unwrap().is_none());
    assert_eq!(storage.last(Log::Runs).await.unwrap(), 0);
    drop(storage);
    opened(folder.path()).await;
}

#[tokio::test]
async fn a_nearly_full_disk_refuses_writes_and_still_reads() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let nothing = Floors {
        finishes: u64::MAX,
        ..Floors::above(u64::MAX)
    };
    let storage = SledStorage::open_with_room(folder.path(), nothing)
        .await
        .unwrap();
    for effect in [Effect::Adds, Effect::EndsSooner, Effect::EndsUse] {
        assert!(is_full(storage.expect_room(effect).await), "{effect:?}");
    }
    assert!(is_full(storage.put("b", 0, vec![]).await));
    assert!(is_full(storage.remove("a", 1).await));
    for log in [Log::Audit, Log::Runs] {
        assert!(is_full(storage.append(log, 2, vec![]).await));
    }
    assert_eq!(storage.read("a").await.unwrap().unwrap().body, b"kept");
    assert_eq!(storage.failure(), None, "nothing was written that failed");
}

#[tokio::test]
async fn what_has_begun_is_finished_where_no_change_may_begin() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let storage = SledStorage::open_with_room(folder.path(), Floors::above(u64::MAX))
        .await
        .unwrap();
    assert!(is_full(storage.expect_room(Effect::Adds).await));
    assert!(is_full(storage.expect_room(Effect::EndsUse).await));
    storage.expect_room(Effect::Finishes).await.unwrap();
    storage.put("a", 1, b"revoked".to_vec()).await.unwrap();
    storage.append(Log::Audit, 2, vec![]).await.unwrap();
    storage.sync().await.unwrap();
    // Runs are not forgotten by adding any.
    assert!(is_full(storage.append(Log::Runs, 2, vec![]).await));
    let forget = |_: u64, _: &[u8]| Some(Vec::new());
    storage.edit_runs(Box::new(forget)).await.unwrap();
    storage.sync_runs().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_failed_a_write_takes_none_before_a_restart_and_is_read_as_before() {
    for gone in ["db", "blobs"] {
        let folder = tempfile::tempdir().unwrap();
        used(folder.path()).await;
        let storage = opened(folder.path()).await;
        storage.put("b", 0, b"in doubt".to_vec()).await.unwrap();
        let (path, away) = (folder.path().join(gone), folder.path().join("away"));
        fs::rename(&path, &away).unwrap();
        // It opens, and an fsync of it fails: EINVAL.
        let unsyncable = match gone {
            "db" => path.clone(),
            _ => path.join("unsyncable"),
        };
        if gone == "blobs" {
            fs::create_dir(&path).unwrap();
        }
        std::os::unix::fs::symlink("/dev/null", &unsyncable).unwrap();
        assert!(has_failed(storage.sync().await), "{gone}");
        fs::remove_file(&unsyncable).unwrap();
        fs::rename(&away, &path).unwrap();
        // It would succeed now, and say nothing of what was to be on disk before.
        assert!(has_failed(storage.sync().await), "{gone}");
        assert!(has_failed(storage.put("c", 0, vec![]).await), "{gone}");
        assert!(has_failed(storage.remove("a", 1).await), "{gone}");
        assert!(has_failed(storage.append(Log::Audit, 2, vec![]).await));
        assert!(storage.failure().unwrap().starts_with(gone), "{gone}");
        assert_eq!(storage.read("a").await.unwrap().unwrap().body, b"kept");
        assert_eq!(storage.entries(Log::Audit, 1, 9).await.unwrap().len(), 1);
        storage.append(Log::Runs, 2, vec![]).await.unwrap();
        storage.sync_runs().await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_opened_for_a_moment_refuses_changes_for_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let storage = opened(folder.path()).await;
    let away = folder.path().join("away");
    for gone in ["db", "blobs"] {
        let path = folder.path().join(gone);
        storage.put(gone, 0, b"kept".to_vec()).await.unwrap();
        fs::rename(&path, &away).unwrap();
        let refused = storage.sync().await.unwrap_err();
        let is_passing = matches!(refused, StorageError::Unavailable { .. });
        assert!(is_passing, "{gone}: {refused}");
        if gone == "blobs" {
            // What is behind is made good before anything else is written.
            storage.put("more", 0, vec![]).await.unwrap_err();
            assert!(storage.read("more").await.unwrap().is_none());
        }
        fs::rename(&away, &path).unwrap();
        storage.sync().await.unwrap();
        assert_eq!(storage.failure(), None);
    }
    storage.put("more", 0, b"kept".to_vec()).await.unwrap();
    storage.sync().await.unwrap();
    drop(storage);
    let storage = opened(folder.path()).await;
    for key in ["db", "blobs", "more"] {
        let kept = storage.read(key).await.unwrap();
        assert_eq!(kept.unwrap().body, b"kept", "{key}");
    }
}

#[tokio::test]
async fn what_is_too_large_for_the_log_comes_back_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let large = |n: u8| vec![n; 300 << 10];
    let storage = opened(folder.path()).await;
    for n in 0..40 {
        let revision = u64::from(n / 4);
        let key = format!("large/{}", n % 4);
        storage.put(&key, revision, large(n)).await.unwrap();
    }
    storage.sync().await.unwrap();
    let blobs = || fs::read_dir(folder.path().join("blobs")).unwrap().count();
    assert!(blobs() > 0, "sled keeps them beside its log");
    drop(storage);
    let storage = opened(folder.path()).await;
    for n in 36..40 {
        let key = format!("large/{}", n % 4);
        assert_eq!(storage.read(&key).await.unwrap().unwrap().body, large(n));
    }
}

fn is_full<T>(result: Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Full { .. }))
}

fn has_failed<T>(result: Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Failed { .. }))
}

#[tokio::test]
async fn the_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data").join("store");
    used(&folder).await;
    assert_eq!(
        folder.metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[tokio::test]
async fn a_path_that_cannot_be_a_folder_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("file");
    fs::write(&path, "").unwrap();
    let error = refused(&path.join("store")).await;
    assert!(
        error.to_string().contains(&path.display().to_string()),
        "{error}"
    );
}
