//! Commits that fail, and the step that they name.

use super::*;

fn commit(objects: &[(&str, usize)]) -> StoredCommit {
    let object = |(key, len): &(&str, usize)| ((*key).to_owned(), vec![7; *len]);
    StoredCommit {
        effect: Effect::Adds,
        objects: objects.iter().map(object).collect(),
        head: "head".to_owned(),
        expected: None,
        bytes: b"1".to_vec(),
    }
}

/// Puts a file in the place of sled's log whose fsync fails with EINVAL, as for all of /proc.
fn let_fsync_fail(folder: &Path) {
    let db = folder.join("db");
    fs::rename(&db, folder.join("away")).unwrap();
    std::os::unix::fs::symlink("/proc/version", &db).unwrap();
}

/// A step that may be tried again would swap the head, which names the object that is missing. An
/// assertion of debug builds refuses the path, in place of any other panic.
#[cfg(debug_assertions)]
#[tokio::test]
async fn after_a_panic_it_is_not_known_which_step_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path()).await;
    let panics = commit(&[("a/object/1", 10), ("a/../1", 20_000)]);
    let (step, error) = store.commit(&panics).await.unwrap_err();
    assert_eq!(step, CommitStep::Sync, "{error}");
    assert_eq!(get(&store, "head").await, None);
}

#[tokio::test]
async fn a_read_only_store_begins_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let store = EmbeddedStore::open_read_only(folder.path()).await.unwrap();
    let refused = store.commit(&commit(&[("a/object/1", 10)])).await;
    assert!(
        matches!(refused, Err((CommitStep::Begin, StorageError::ReadOnly))),
        "{refused:?}"
    );
}

/// Its head is swapped in memory, and its sync has failed: nothing says whether it is on the disk.
#[tokio::test]
async fn a_commit_whose_fsync_fails_names_the_sync_and_the_next_does_not_begin() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let store = opened(folder.path()).await;
    let_fsync_fail(folder.path());
    let first = store.commit(&commit(&[("a/object/1", 10)])).await;
    assert!(
        matches!(first, Err((CommitStep::Sync, StorageError::Failed { .. }))),
        "{first:?}"
    );
    let next = StoredCommit {
        expected: Some(b"1".to_vec()),
        ..commit(&[("a/object/2", 10)])
    };
    let next = store.commit(&next).await;
    assert!(
        matches!(next, Err((CommitStep::Begin, StorageError::Failed { .. }))),
        "{next:?}"
    );
}

#[tokio::test]
async fn of_concurrent_commits_whose_fsync_fails_none_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let store = opened(folder.path()).await;
    let_fsync_fail(folder.path());
    let committing = (0..16).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let key = format!("{number}/object/1");
            let commit = StoredCommit {
                head: format!("{number}/head"),
                ..commit(&[(key.as_str(), 10)])
            };
            store.commit(&commit).await
        })
    });
    for committed in committing.collect::<Vec<_>>() {
        let (_, error) = committed.await.unwrap().unwrap_err();
        assert!(matches!(error, StorageError::Failed { .. }), "{error}");
    }
}
