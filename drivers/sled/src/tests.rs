mod commits;
mod damage;
mod disk_space;
mod power_cut;

use std::{collections::BTreeMap, fs, path::PathBuf};

use keyside_store::contract;
use tokio::runtime::Runtime;

use super::*;

async fn opened(folder: &Path) -> Arc<EmbeddedStore> {
    EmbeddedStore::open(folder).await.unwrap()
}

async fn refused(folder: &Path) -> StoreOpenError {
    let opened = EmbeddedStore::open(folder).await;
    opened.err().expect("the store does not open")
}

async fn put(store: &EmbeddedStore, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
    Storage::put_new(store, key, bytes).await
}

async fn get(store: &EmbeddedStore, key: &str) -> Option<Vec<u8>> {
    Storage::get(store, key).await.unwrap()
}

async fn sync_to_disk(store: &EmbeddedStore) -> Result<(), StorageError> {
    Storage::sync(store).await
}

/// Creates and closes a store with every kind of data in it.
async fn used(folder: &Path) {
    let store = opened(folder).await;
    put(&store, "a", b"kept").await.unwrap();
    put(&store, "c/large", &[7; 20_000]).await.unwrap();
    store.append(1, b"kept".to_vec()).await.unwrap();
    let segment = Archive::put_new(&*store, "installation", 1, b"kept");
    segment.await.unwrap();
    sync_to_disk(&store).await.unwrap();
}

#[tokio::test]
async fn the_embedded_store_keeps_the_contract() {
    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    contract::storage(opened(folders[0].path()).await).await;
    contract::archive(opened(folders[1].path()).await).await;
    contract::run_log(opened(folders[2].path()).await).await;
    contract::notes(opened(folders[3].path()).await).await;
}

#[tokio::test]
async fn synced_writes_exist_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let store = opened(folder.path()).await;
    assert_eq!(get(&store, "a").await.unwrap(), b"kept");
    assert_eq!(get(&store, "c/large").await.unwrap(), [7; 20_000]);
    let runs = RunLog::read(&*store, 1, 9).await.unwrap();
    assert_eq!(runs, [(1, b"kept".to_vec())]);
    let segment = Archive::get(&*store, "installation", 1).await.unwrap();
    assert_eq!(segment.unwrap(), b"kept");
}

/// All files in a folder, with contents and modification time.
fn contents(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => {
                let modified = path.metadata().unwrap().modified().unwrap();
                found.insert(path.clone(), (fs::read(&path).unwrap(), modified));
            }
        }
    }
    found
}

#[tokio::test]
async fn opening_read_only_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    // The remains of a crash: an unfinished snapshot, and a torn entry.
    fs::write(
        folder.path().join("snap.0000000000001234.generating"),
        "half",
    )
    .unwrap();
    let runs = folder.path().join("runs/00000000000000000001.log");
    let torn = [fs::read(&runs).unwrap(), b"torn".to_vec()].concat();
    fs::write(&runs, torn).unwrap();
    let before = contents(folder.path());
    let store = EmbeddedStore::open_read_only(folder.path()).await.unwrap();
    assert_eq!(get(&store, "a").await.unwrap(), b"kept");
    assert_eq!(get(&store, "c/large").await.unwrap(), [7; 20_000]);
    assert_eq!(store.last().await.unwrap(), 1);
    for refused in [
        put(&store, "b", b"1").await,
        put(&store, "b", &[1; 20_000]).await,
        Storage::swap(&*store, "b", None, b"1").await,
        store.delete("a").await,
        store.append(2, vec![]).await,
        Archive::put_new(&*store, "installation", 2, b"1").await,
    ] {
        assert!(
            matches!(refused, Err(StorageError::ReadOnly)),
            "{refused:?}"
        );
    }
    assert_eq!(contents(folder.path()), before);
    let locked = refused_reading(folder.path()).await;
    assert!(matches!(locked, StoreOpenError::Locked { .. }), "{locked}");
    drop(store);
    opened(folder.path()).await;
}

async fn refused_reading(folder: &Path) -> StoreOpenError {
    let opened = EmbeddedStore::open_read_only(folder).await;
    opened.err().expect("the store does not open")
}

/// A process that is killed leaves nothing in the temporary folder.
#[tokio::test]
async fn the_copy_of_a_store_that_is_read_has_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path()).await;
    let value = folder.path().display().to_string().into_bytes();
    put(&store, "a", &value).await.unwrap();
    sync_to_disk(&store).await.unwrap();
    drop(store);
    let store = EmbeddedStore::open_read_only(folder.path()).await.unwrap();
    let is_copy = |file: PathBuf| {
        let name = fs::read_link(&file).unwrap_or_default();
        name.to_string_lossy().ends_with("/db (deleted)")
            && fs::read(&file).is_ok_and(|log| log.windows(value.len()).any(|part| part == value))
    };
    let mut files = fs::read_dir("/proc/self/fd").unwrap().flatten();
    assert!(files.any(|file| is_copy(file.path())));
    assert_eq!(get(&store, "a").await.unwrap(), value);
}

#[test]
fn a_copy_of_a_file_that_may_only_be_read_can_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (db, copy) = (folder.path().join("db"), folder.path().join("copy"));
    fs::write(&db, "contents").unwrap();
    fs::set_permissions(&db, fs::Permissions::from_mode(0o400)).unwrap();
    folder::copy_contents(&db, &copy).unwrap();
    assert_eq!(fs::read(&copy).unwrap(), b"contents");
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o200, 0o200);
}

#[tokio::test]
async fn opening_read_only_creates_no_store() {
    let folder = tempfile::tempdir().unwrap();
    refused_reading(&folder.path().join("none")).await;
    refused_reading(folder.path()).await;
    assert_eq!(contents(folder.path()).len(), 0);
}

#[tokio::test]
async fn a_store_without_its_lock_file_is_read_without_creating_one() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    fs::remove_file(folder.path().join("lock")).unwrap();
    let before = contents(folder.path());
    let store = EmbeddedStore::open_read_only(folder.path()).await.unwrap();
    assert_eq!(get(&store, "a").await.unwrap(), b"kept");
    drop(store);
    assert_eq!(contents(folder.path()), before);
    let serving = opened(folder.path()).await;
    fs::remove_file(folder.path().join("lock")).unwrap();
    let locked = refused_reading(folder.path()).await;
    assert!(matches!(locked, StoreOpenError::Locked { .. }), "{locked}");
    drop(serving);
}

#[tokio::test]
async fn errors_of_a_read_only_store_name_its_folder_and_not_the_copy() {
    for (file, damage) in [
        ("conf.kept", None),
        ("db", Some(b"".as_slice())),
        ("db", Some([0xff; 5_000].as_slice())),
        ("conf.kept", Some(b"short".as_slice())),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("of-the-test");
        used(&store).await;
        match damage {
            None => fs::remove_file(store.join(file)).unwrap(),
            Some(bytes) => fs::write(store.join(file), bytes).unwrap(),
        }
        for snapshot in fs::read_dir(&store).unwrap().flatten() {
            if snapshot.file_name().to_string_lossy().starts_with("snap.") {
                fs::remove_file(snapshot.path()).unwrap();
            }
        }
        let Err(error) = EmbeddedStore::open_read_only(&store).await else {
            continue;
        };
        let message = error.to_string();
        let temporary = std::env::temp_dir().display().to_string();
        let elsewhere = message.replace(&store.display().to_string(), "");
        assert!(message.contains("of-the-test"), "{file}: {message}");
        assert!(!elsewhere.contains(&temporary), "{file}: {message}");
    }
}

/// Durability depends on this: sled never fsyncs files in `blobs/`, so it must not write any.
#[tokio::test]
async fn sled_writes_no_blob_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path()).await;
    let value = |number: usize| vec![number as u8; MAX_TREE_VALUE - number % 7];
    for number in 0..2_000 {
        let key = format!(
            "workspace/{}/object/{:0>81}",
            "w".repeat(64),
            number * 7 % 500
        );
        put(&store, &key, &value(number)).await.unwrap();
        if number % 3 == 0 {
            let key = format!("workspace/{}/object/{:0>81}", "w".repeat(64), number % 500);
            store.delete(&key).await.unwrap();
        }
        let name = format!("{}/{}", "n".repeat(128), number * 7 % 500);
        let note = value(number);
        let before = Notes::get(&*store, &name).await.unwrap();
        let swap = Notes::swap(&*store, &name, before.as_deref(), &note);
        swap.await.unwrap();
        if number % 100 == 0 {
            sync_to_disk(&store).await.unwrap();
        }
    }
    let too_large = Notes::swap(&*store, "large", None, &[7; MAX_TREE_VALUE + 1]).await;
    let error = too_large.unwrap_err().to_string();
    assert!(error.contains("the note large has 6145 bytes"), "{error}");
    sync_to_disk(&store).await.unwrap();
    let blobs = || fs::read_dir(folder.path().join("blobs")).unwrap().count();
    assert_eq!(blobs(), 0);
    drop(store);
    opened(folder.path()).await;
    assert_eq!(blobs(), 0);
}

#[tokio::test]
async fn a_large_object_that_is_deleted_is_gone_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path()).await;
    put(&store, "workspace/acme/object/1", &[7; 20_000])
        .await
        .unwrap();
    assert_eq!(contents(&folder.path().join("objects")).len(), 1);
    store.delete("workspace/acme/object/1").await.unwrap();
    assert_eq!(contents(&folder.path().join("objects")).len(), 0);
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_opens_once_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let first = opened(folder.path()).await;
    let error = refused(folder.path()).await;
    let message = error.to_string();
    assert!(message.contains("stop that process"), "{message}");
    assert!(!message.contains("Vault"), "{message}");
    let StoreOpenError::Locked { holder, .. } = error else {
        panic!("{error}");
    };
    if let Some(holder) = holder {
        assert_eq!(holder, std::process::id());
        assert!(
            message.contains(&format!("the process {holder}:")),
            "{message}"
        );
    }
    drop(first);
    opened(folder.path()).await;
}

/// After a second start was refused, the lock file that it created is unlocked.
#[tokio::test]
async fn a_store_in_use_is_refused_although_its_lock_file_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let first = opened(folder.path()).await;
    fs::remove_file(folder.path().join("lock")).unwrap();
    for _ in 0..2 {
        let error = refused(folder.path()).await;
        assert!(matches!(error, StoreOpenError::Locked { .. }), "{error}");
        assert!(error.to_string().contains("stop that process"), "{error}");
        assert!(folder.path().join("lock").exists());
        let error = refused_reading(folder.path()).await;
        assert!(matches!(error, StoreOpenError::Locked { .. }), "{error}");
    }
    drop(first);
    drop(EmbeddedStore::open_read_only(folder.path()).await.unwrap());
    opened(folder.path()).await;
}

#[tokio::test]
async fn only_a_store_without_commits_is_removed() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    let removed = || async { EmbeddedStore::remove_unused(&folder).await.unwrap() };
    assert!(!removed().await, "there is none");
    for _ in 0..2 {
        drop(opened(&folder).await);
        drop(opened(&folder).await);
        assert!(removed().await);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
    let store = opened(&folder).await;
    assert!(!removed().await, "it is in use");
    store.append(1, b"a run".to_vec()).await.unwrap();
    drop(store);
    assert!(!removed().await, "it has a run record");
    fs::remove_dir_all(&folder).unwrap();
    used(&folder).await;
    let before = contents(&folder);
    assert!(!removed().await, "it has something of everything");
    assert_eq!(contents(&folder), before);
    fs::write(folder.join("db"), "").unwrap();
    assert!(!removed().await, "it is damaged");
    fs::remove_dir_all(&folder).unwrap();
    let store = opened(&folder).await;
    put(&store, "a", b"kept").await.unwrap();
    sync_to_disk(&store).await.unwrap();
    drop(store);
    assert!(!removed().await, "it has an object");
    fs::write(folder.join("making"), "").unwrap();
    assert!(removed().await, "making it was cut off");
}

#[tokio::test]
async fn a_store_exists_once_its_creation_is_complete() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    let exists = || EmbeddedStore::exists_in(&folder).unwrap();
    assert!(!exists());
    fs::create_dir(&folder).unwrap();
    assert!(!exists());
    drop(opened(&folder).await);
    assert!(exists());
    fs::write(folder.join("making"), "").unwrap();
    assert!(!exists());
}

#[tokio::test]
async fn a_store_with_an_unfinished_snapshot_opens() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    fs::write(
        folder.path().join("snap.00000000000012AB.generating"),
        "half",
    )
    .unwrap();
    let storage = opened(folder.path()).await;
    assert!(get(&storage, "a").await.is_some());
}

#[tokio::test]
async fn a_store_whose_creation_crashed_is_created_again() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    fs::write(folder.path().join("making"), "").unwrap();
    fs::write(folder.path().join("conf"), "half").unwrap();
    let storage = opened(folder.path()).await;
    assert!(get(&storage, "a").await.is_none());
    assert_eq!(storage.last().await.unwrap(), 0);
    drop(storage);
    opened(folder.path()).await;
}

#[tokio::test]
async fn after_a_failed_write_the_store_is_read_only_until_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let store = opened(folder.path()).await;
    put(&store, "b", b"in doubt").await.unwrap();
    let (db, away) = (folder.path().join("db"), folder.path().join("away"));
    fs::rename(&db, &away).unwrap();
    // An fsync of a file in /proc fails with EINVAL.
    std::os::unix::fs::symlink("/proc/version", &db).unwrap();
    assert!(has_failed(sync_to_disk(&store).await));
    fs::remove_file(&db).unwrap();
    fs::rename(&away, &db).unwrap();
    // An fsync would succeed now, although earlier writes never reached the disk.
    assert!(has_failed(sync_to_disk(&store).await));
    for len in [1, 20_000] {
        assert!(has_failed(put(&store, "c", &vec![1; len]).await));
    }
    assert!(has_failed(store.delete("a").await));
    assert!(has_failed(Storage::swap(&*store, "head", None, b"1").await));
    assert!(has_failed(store.check_disk_space(Effect::EndsUse).await));
    assert!(store.failure().unwrap().starts_with("db"));
    // For the next start.
    assert!(folder.path().join("failed").exists());
    assert_eq!(get(&store, "a").await.unwrap(), b"kept");
    store.append(2, vec![]).await.unwrap();
    RunLog::sync(&*store).await.unwrap();
}

#[tokio::test]
async fn a_start_after_a_failed_write_succeeds_and_is_not_marked() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let marker = folder.path().join("failed");
    fs::write(&marker, "").unwrap();
    let store = opened(folder.path()).await;
    assert_eq!(get(&store, "a").await.unwrap(), b"kept");
    assert!(!marker.exists());
}

#[tokio::test]
async fn a_temporary_open_failure_does_not_latch() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let store = opened(folder.path()).await;
    let (db, away) = (folder.path().join("db"), folder.path().join("away"));
    put(&store, "b", b"kept").await.unwrap();
    fs::rename(&db, &away).unwrap();
    let refused = sync_to_disk(&store).await.unwrap_err();
    assert!(
        matches!(refused, StorageError::Unavailable { .. }),
        "{refused}"
    );
    fs::rename(&away, &db).unwrap();
    sync_to_disk(&store).await.unwrap();
    assert_eq!(store.failure(), None);
    drop(store);
    assert_eq!(
        get(&*opened(folder.path()).await, "b").await.unwrap(),
        b"kept"
    );
}

fn has_failed<T>(result: Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Failed { .. }))
}

#[tokio::test]
async fn only_the_owner_can_open_the_folder() {
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

#[test]
fn a_stop_of_the_process_is_not_reported_as_damage() {
    let [waiting, stopped] = [(); 2].map(|()| Runtime::new().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let store = waiting.block_on(opened(folder.path()));
    let handle = stopped.handle().clone();
    stopped.shutdown_background();
    let read = waiting.block_on(async {
        let _read_there = handle.enter();
        Storage::get(&*store, "a").await
    });
    let error = read.unwrap_err().to_string();
    assert!(error.contains("the process is stopping"), "{error}");
}
