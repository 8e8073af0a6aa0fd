//! The contract suites that every backend has to pass. A driver's tests call each with a new, empty
//! backend.

use std::sync::Arc;

use crate::{
    backend::{Archive, CommitStep, Notes, RunLog, Storage, StoredCommit},
    error::{Effect, MAX_NOTE, StorageError},
};

/// The contract of [`Storage`].
pub async fn storage(storage: Arc<dyn Storage>) {
    a_write_is_read_back(&*storage).await;
    swaps_only_what_was_expected(&*storage).await;
    list_returns_existing_keys_in_order(&*storage).await;
    a_commit_is_written_as_a_whole_or_names_the_step_that_failed(&*storage).await;
    of_concurrent_swaps_exactly_one_succeeds(storage.clone()).await;
    concurrent_commits_do_not_disturb_each_other(storage).await;
}

async fn a_write_is_read_back(storage: &dyn Storage) {
    assert_eq!(storage.get("a/object/1").await.unwrap(), None);
    for len in [0, 1, 7 << 10, (7 << 10) + 1, 300_000] {
        let (key, bytes) = (format!("a/object/{len}"), vec![7; len]);
        storage.put_new(&key, &bytes).await.unwrap();
        assert_eq!(storage.get(&key).await.unwrap().as_ref(), Some(&bytes));
        storage.put_new(&key, &bytes).await.unwrap();
        storage.sync().await.unwrap();
        let keys = ["a/none".to_owned(), key.clone()];
        let found = storage.get_all(&keys).await.unwrap();
        assert_eq!(found, [None, Some(bytes)]);
        storage.delete(&key).await.unwrap();
        assert_eq!(storage.get(&key).await.unwrap(), None);
        storage.delete(&key).await.unwrap();
    }
}

async fn swaps_only_what_was_expected(storage: &dyn Storage) {
    let conflict = |swapped: Result<(), StorageError>| {
        assert!(matches!(swapped, Err(StorageError::Conflict { .. })));
    };
    conflict(storage.swap("b/head", Some(b"1"), b"2").await);
    storage.swap("b/head", None, b"1").await.unwrap();
    conflict(storage.swap("b/head", None, b"2").await);
    conflict(storage.swap("b/head", Some(b"2"), b"3").await);
    storage.swap("b/head", Some(b"1"), b"2").await.unwrap();
    assert_eq!(
        storage.get("b/head").await.unwrap().as_deref(),
        Some(&b"2"[..])
    );
}

/// A commit of `objects` objects, of which some are large.
fn commit(chain: &str, objects: usize, expected: Option<&[u8]>, bytes: &[u8]) -> StoredCommit {
    let object = |number: usize| {
        let len = if number == 7 { 300_000 } else { 2_000 };
        (
            format!("{chain}/object/{number:04}"),
            vec![number as u8; len],
        )
    };
    StoredCommit {
        effect: Effect::Adds,
        objects: (0..objects).map(object).collect(),
        head: format!("{chain}/head"),
        expected: expected.map(<[u8]>::to_vec),
        bytes: bytes.to_vec(),
    }
}

async fn is_stored(storage: &dyn Storage, commit: &StoredCommit) -> bool {
    let keys: Vec<_> = commit.objects.iter().map(|(key, _)| key.clone()).collect();
    let found = storage.get_all(&keys).await.unwrap();
    let objects = commit.objects.iter().map(|(_, bytes)| Some(bytes.clone()));
    found.into_iter().eq(objects)
        && storage.get(&commit.head).await.unwrap().as_ref() == Some(&commit.bytes)
}

async fn a_commit_is_written_as_a_whole_or_names_the_step_that_failed(storage: &dyn Storage) {
    let first = commit("f", 2, None, b"1");
    storage.commit(&first).await.unwrap();
    assert!(is_stored(storage, &first).await);
    let late = storage.commit(&commit("f", 0, None, b"2")).await;
    assert!(matches!(
        late,
        Err((CommitStep::Swap, StorageError::Conflict { .. }))
    ));
    assert!(is_stored(storage, &first).await);
    // More than a backend may keep in memory at once.
    let second = commit("f", 500, Some(b"1"), b"2");
    storage.commit(&second).await.unwrap();
    assert!(is_stored(storage, &second).await);
    let keys: Vec<_> = second.objects.iter().map(|(key, _)| key.clone()).collect();
    storage.delete_all(&keys).await.unwrap();
    assert_eq!(
        storage.list("f/object/").await.unwrap(),
        Vec::<String>::new()
    );
}

async fn concurrent_commits_do_not_disturb_each_other(storage: Arc<dyn Storage>) {
    let committing = (0..16).map(|number| {
        let storage = storage.clone();
        tokio::spawn(async move {
            let commit = commit(&format!("g{number}"), 1 + number * 4, None, b"1");
            storage.commit(&commit).await.unwrap();
            assert!(is_stored(&*storage, &commit).await);
        })
    });
    for committed in committing.collect::<Vec<_>>() {
        committed.await.unwrap();
    }
}

async fn list_returns_existing_keys_in_order(storage: &dyn Storage) {
    let large = vec![0; 10_000];
    for (key, bytes) in [
        ("c/2", &large[..]),
        ("c/1", b"1"),
        ("c/3", b"3"),
        ("d/1", b"4"),
    ] {
        storage.put_new(key, bytes).await.unwrap();
    }
    storage.delete("c/3").await.unwrap();
    assert_eq!(storage.list("c/").await.unwrap(), ["c/1", "c/2"]);
    assert_eq!(storage.list("none/").await.unwrap(), Vec::<String>::new());
}

async fn of_concurrent_swaps_exactly_one_succeeds(storage: Arc<dyn Storage>) {
    storage.swap("e/head", None, b"0").await.unwrap();
    let racing = (1..=16u8).map(|number| {
        let storage = storage.clone();
        tokio::spawn(async move { storage.swap("e/head", Some(b"0"), &[number]).await.is_ok() })
    });
    let mut won = 0;
    for swapped in racing.collect::<Vec<_>>() {
        won += usize::from(swapped.await.unwrap());
    }
    assert_eq!(won, 1);
}

/// The contract of [`Archive`].
pub async fn archive(archive: Arc<dyn Archive>) {
    let chain = "workspace/acme";
    assert_eq!(archive.get(chain, 1).await.unwrap(), None);
    archive.put_new(chain, 1, b"one").await.unwrap();
    archive.put_new(chain, 1, b"one").await.unwrap();
    archive.put_new("installation", 1, b"other").await.unwrap();
    assert_eq!(
        archive.get(chain, 1).await.unwrap().as_deref(),
        Some(&b"one"[..])
    );
    assert_eq!(archive.get(chain, 2).await.unwrap(), None);
    // An attacker has put something in the place of the next segment.
    archive.put_new(chain, 2, b"planted").await.unwrap();
    archive.put_new(chain, 2, b"two").await.unwrap();
    assert_eq!(
        archive.get(chain, 2).await.unwrap().as_deref(),
        Some(&b"two"[..])
    );
}

/// The contract of [`RunLog`].
pub async fn run_log(runs: Arc<dyn RunLog>) {
    assert_eq!(runs.last().await.unwrap(), 0);
    for position in 1..=5 {
        runs.append(position, vec![position as u8; 10])
            .await
            .unwrap();
    }
    let conflict = runs.append(5, vec![0]).await;
    assert!(matches!(conflict, Err(StorageError::Conflict { .. })));
    runs.sync().await.unwrap();
    let read = runs.read(2, 3).await.unwrap();
    let positions: Vec<_> = read.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, [2, 3, 4]);
    let edit = |position, block: &[u8]| (position == 3).then(|| block[1..].to_vec());
    runs.edit(Box::new(edit)).await.unwrap();
    let read = runs.read(1, 10).await.unwrap();
    assert!(
        read.iter()
            .all(|(at, block)| block.len() == if *at == 3 { 9 } else { 10 })
    );
    runs.forget(5).await.unwrap();
    assert_eq!(runs.last().await.unwrap(), 5);
    runs.append(6, vec![6]).await.unwrap();
}

/// The contract of [`Notes`].
pub async fn notes(notes: Arc<dyn Notes>) {
    assert_eq!(notes.get("one").await.unwrap(), None);
    notes.swap("one", None, b"1").await.unwrap();
    let conflict = notes.swap("one", None, b"2").await;
    assert!(matches!(conflict, Err(StorageError::Conflict { .. })));
    notes.swap("one", Some(b"1"), b"2").await.unwrap();
    notes.sync().await.unwrap();
    assert_eq!(notes.get("one").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(notes.get("other").await.unwrap(), None);

    let note = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    for name in ["kind/b", "kind/a", "kinds", "kin"] {
        notes.swap(name, None, name.as_bytes()).await.unwrap();
    }
    assert_eq!(
        notes.under("kind/").await.unwrap(),
        [note("kind/a", b"kind/a"), note("kind/b", b"kind/b")]
    );
    notes.remove("kind/a").await.unwrap();
    notes.remove("kind/a").await.unwrap();
    assert_eq!(notes.get("kind/a").await.unwrap(), None);
    assert_eq!(
        notes.under("kind/").await.unwrap(),
        [note("kind/b", b"kind/b")]
    );
    notes.swap("kind/a", None, b"again").await.unwrap();

    let largest = vec![7; MAX_NOTE];
    notes.swap("largest", None, &largest).await.unwrap();
    let too_large = notes.swap("too large", None, &[7; MAX_NOTE + 1]).await;
    assert!(matches!(too_large, Err(StorageError::Unavailable { .. })));
    assert_eq!(notes.get("too large").await.unwrap(), None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Backend, Memory,
        faulty::{Faulty, FaultyNotes},
    };

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        storage(Arc::new(Memory::new())).await;
        archive(Arc::new(Memory::new())).await;
        run_log(Arc::new(Memory::new())).await;
        notes(Arc::new(Memory::new())).await;
    }

    #[tokio::test]
    async fn a_faulty_backend_without_a_fault_keeps_the_contract() {
        let faulty = || Arc::new(Faulty::new(Backend::of(Arc::new(Memory::new()))));
        storage(faulty()).await;
        archive(faulty()).await;
        run_log(faulty()).await;
        notes(Arc::new(FaultyNotes::new(Arc::new(Memory::new())))).await;
    }
}
