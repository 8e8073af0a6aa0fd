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
    let storage = SledStorage::open_with_reserve(folder.path(), u64::MAX)
        .await
        .unwrap();
    let full = |error: StorageError| matches!(error, StorageError::Full { .. });
    assert!(full(storage.put("b", 0, vec![]).await.unwrap_err()));
    assert!(full(storage.remove("a", 1).await.unwrap_err()));
    for log in [Log::Audit, Log::Runs] {
        assert!(full(storage.append(log, 2, vec![]).await.unwrap_err()));
    }
    assert_eq!(storage.read("a").await.unwrap().unwrap().body, b"kept");
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
