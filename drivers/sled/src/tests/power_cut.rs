//! What a power cut leaves, played on a copy of the store's files.

use keyside_store::Hash;

use super::{damage::copy, *};

const VALUES: usize = 800;

/// In random order, as objects are: their keys contain hashes.
fn key(number: usize) -> String {
    format!("key/{}", Hash::of(&number.to_be_bytes()))
}

fn is_kept(number: usize) -> bool {
    number.is_multiple_of(50)
}

/// A file's length comes to disk with the next sync of it, or seconds later. What was written to the
/// part that is lost may have been moved there by sled, from a segment that it has overwritten since.
#[tokio::test]
async fn a_power_cut_after_many_deletions_without_a_sync_loses_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path()).await;
    for number in 0..VALUES {
        put(&store, &key(number), &[7; 4_000]).await.unwrap();
        if number % 10 == 9 {
            sync_to_disk(&store).await.unwrap();
        }
    }
    let db = folder.path().join("db");
    let len = || fs::metadata(&db).unwrap().len();
    let mut len_on_disk = len();
    for number in (0..VALUES).filter(|number| !is_kept(*number)) {
        let unsynced = store.0.tree.unsynced();
        store.delete(&key(number)).await.unwrap();
        if store.0.tree.unsynced() < unsynced {
            len_on_disk = len();
        }
        if number % 100 == 99 {
            check_kept_after_a_cut(folder.path(), len_on_disk, number).await;
        }
    }
}

async fn check_kept_after_a_cut(folder: &Path, len_on_disk: u64, deleted: usize) {
    let after = tempfile::tempdir().unwrap();
    copy(folder, after.path());
    let db = fs::File::options()
        .write(true)
        .open(after.path().join("db"))
        .unwrap();
    let len = db.metadata().unwrap().len();
    db.set_len(len.min(len_on_disk)).unwrap();
    let store = opened(after.path()).await;
    for number in (0..VALUES).filter(|number| is_kept(*number)) {
        let found = get(&store, &key(number)).await;
        assert!(
            found.is_some_and(|value| value == [7; 4_000]),
            "value {number} is lost after {deleted} deletions"
        );
    }
}
