//! A disk with little or no free space.

use super::*;

#[tokio::test]
async fn disk_space_for_a_start_is_reserved_while_there_is_plenty() {
    let folder = tempfile::tempdir().unwrap();
    let reserve = folder.path().join("spare");
    let scarce = EmbeddedStore::open_with_floors(folder.path(), Floors::above(u64::MAX)).await;
    drop(scarce.unwrap());
    assert!(!reserve.exists());
    let plenty = || EmbeddedStore::open_with_floors(folder.path(), Floors::above(0));
    let store = plenty().await.unwrap();
    let len = fs::metadata(&reserve).unwrap().len();
    assert!(len >= 1 << 20, "{len}");
    drop(store);
    // A start has used a part of the reserve.
    fs::write(&reserve, "less").unwrap();
    drop(plenty().await.unwrap());
    assert_eq!(fs::metadata(&reserve).unwrap().len(), len);
}

#[tokio::test]
async fn a_nearly_full_disk_refuses_writes_and_still_reads() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let nothing = Floors {
        finishes: u64::MAX,
        ..Floors::above(u64::MAX)
    };
    let store = EmbeddedStore::open_with_floors(folder.path(), nothing)
        .await
        .unwrap();
    for effect in [Effect::Adds, Effect::EndsSooner, Effect::EndsUse] {
        assert!(is_full(store.check_disk_space(effect).await), "{effect:?}");
    }
    for len in [1, 20_000] {
        assert!(is_full(put(&store, "b", &vec![1; len]).await));
    }
    assert!(is_full(Storage::swap(&*store, "b", None, b"1").await));
    assert!(is_full(store.append(2, vec![]).await));
    // These take no disk space.
    store.delete("none").await.unwrap();
    store.delete("c/large").await.unwrap();
    assert_eq!(get(&store, "a").await.unwrap(), b"kept");
    assert_eq!(store.failure(), None, "nothing was written that failed");
}

#[tokio::test]
async fn deletions_use_no_disk_space_that_is_kept_for_changes() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let store = EmbeddedStore::open_with_floors(folder.path(), Floors::above(u64::MAX))
        .await
        .unwrap();
    assert!(is_full(store.delete("a").await));
    assert_eq!(get(&store, "a").await.unwrap(), b"kept");
    Notes::swap(&*store, "note", None, b"1").await.unwrap();
    Notes::remove(&*store, "note").await.unwrap();
}

#[tokio::test]
async fn a_change_that_has_begun_can_finish_on_a_nearly_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let store = EmbeddedStore::open_with_floors(folder.path(), Floors::above(u64::MAX))
        .await
        .unwrap();
    assert!(is_full(store.check_disk_space(Effect::Adds).await));
    assert!(is_full(store.check_disk_space(Effect::EndsUse).await));
    store.check_disk_space(Effect::Finishes).await.unwrap();
    put(&store, "b", b"1").await.unwrap();
    Storage::swap(&*store, "head", None, b"1").await.unwrap();
    sync_to_disk(&store).await.unwrap();
    // A full disk refuses new runs but does not drop old ones.
    assert!(is_full(store.append(2, vec![]).await));
    let forget = |_: u64, _: &[u8]| Some(Vec::new());
    store.edit(Box::new(forget)).await.unwrap();
    RunLog::sync(&*store).await.unwrap();
}

fn is_full<T>(result: Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Full { .. }))
}
