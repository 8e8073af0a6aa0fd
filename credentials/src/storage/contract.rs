//! What every backend must do, run over each.

use std::{future::Future, sync::Arc};

use super::{Document, Log, MemoryStorage, SledStorage, Storage, StorageError};

/// Runs one clause of the contract over every backend.
macro_rules! contract {
    ($($clause:ident)*) => {
        mod memory { $(
            #[tokio::test]
            async fn $clause() {
                super::$clause(std::sync::Arc::new(super::MemoryStorage::new())).await;
            }
        )* }

        mod sled { $(
            #[tokio::test]
            async fn $clause() {
                super::in_a_folder(super::$clause).await;
            }
        )* }
    };
}

contract! {
    a_document_is_there_once_it_was_put
    a_put_with_another_revision_changes_nothing
    of_two_writers_with_one_revision_exactly_one_wins
    a_removed_document_is_gone_and_can_be_made_anew
    a_list_holds_what_begins_with_the_prefix_in_order
    a_log_gives_back_its_entries_in_order_from_anywhere
    an_entry_is_written_once_and_without_gaps
    of_two_appends_at_one_position_exactly_one_wins
    runs_forget_only_their_oldest_and_never_their_position
    an_edit_sees_every_run_and_replaces_those_it_makes_something_else_of
    logs_do_not_see_each_other
    every_write_changes_the_generation
    bodies_of_any_size_and_content_come_back_as_they_were
}

async fn in_a_folder<F: Future<Output = ()>>(clause: impl FnOnce(Arc<dyn Storage>) -> F) {
    let folder = tempfile::tempdir().unwrap();
    clause(Arc::new(SledStorage::open(folder.path()).await.unwrap())).await;
}

fn is_conflict<T>(result: Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Conflict { .. }))
}

async fn a_document_is_there_once_it_was_put(storage: Arc<dyn Storage>) {
    assert_eq!(storage.read("a").await.unwrap(), None);
    assert_eq!(storage.put("a", 0, b"one".to_vec()).await.unwrap(), 1);
    assert_eq!(storage.put("a", 1, b"two".to_vec()).await.unwrap(), 2);
    storage.sync().await.unwrap();
    assert_eq!(
        storage.read("a").await.unwrap(),
        Some(Document {
            revision: 2,
            body: b"two".to_vec()
        })
    );
}

async fn a_put_with_another_revision_changes_nothing(storage: Arc<dyn Storage>) {
    assert!(is_conflict(storage.put("a", 1, b"x".to_vec()).await));
    storage.put("a", 0, b"one".to_vec()).await.unwrap();
    for expected in [0, 2, u64::MAX] {
        assert!(
            is_conflict(storage.put("a", expected, b"x".to_vec()).await),
            "{expected}"
        );
        assert!(
            is_conflict(storage.remove("a", expected).await),
            "{expected}"
        );
    }
    assert_eq!(storage.read("a").await.unwrap().unwrap().body, b"one");
}

async fn of_two_writers_with_one_revision_exactly_one_wins(storage: Arc<dyn Storage>) {
    for revision in 0..50 {
        let write = |name: &'static [u8]| {
            let storage = storage.clone();
            tokio::spawn(async move { storage.put("a", revision, name.to_vec()).await })
        };
        let (one, two) = (write(b"one"), write(b"two"));
        let (one, two) = (one.await.unwrap(), two.await.unwrap());
        assert_eq!(one.is_ok() as u8 + two.is_ok() as u8, 1);
        let winner: &[u8] = if one.is_ok() { b"one" } else { b"two" };
        assert_eq!(storage.read("a").await.unwrap().unwrap().body, winner);
    }
}

async fn a_removed_document_is_gone_and_can_be_made_anew(storage: Arc<dyn Storage>) {
    assert!(is_conflict(storage.remove("a", 0).await));
    storage.put("a", 0, b"one".to_vec()).await.unwrap();
    storage.remove("a", 1).await.unwrap();
    assert_eq!(storage.read("a").await.unwrap(), None);
    assert_eq!(storage.put("a", 0, b"two".to_vec()).await.unwrap(), 1);
}

async fn a_list_holds_what_begins_with_the_prefix_in_order(storage: Arc<dyn Storage>) {
    for key in ["b/2", "a/1", "b/1", "b", "c/1", "b/10", "bb/1"] {
        storage.put(key, 0, key.as_bytes().to_vec()).await.unwrap();
    }
    let keys =
        |list: Vec<(String, Document)>| list.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(
        keys(storage.list("b/").await.unwrap()),
        ["b/1", "b/10", "b/2"]
    );
    assert_eq!(keys(storage.list("").await.unwrap()).len(), 7);
    assert!(storage.list("z").await.unwrap().is_empty());
}

async fn a_log_gives_back_its_entries_in_order_from_anywhere(storage: Arc<dyn Storage>) {
    assert_eq!(storage.last(Log::Audit).await.unwrap(), 0);
    for position in 1..=300u64 {
        storage
            .append(Log::Audit, position, position.to_string().into_bytes())
            .await
            .unwrap();
    }
    assert_eq!(storage.last(Log::Audit).await.unwrap(), 300);
    let entries = storage.entries(Log::Audit, 254, 4).await.unwrap();
    let expected: Vec<_> = (254..258u64)
        .map(|position| (position, position.to_string().into_bytes()))
        .collect();
    assert_eq!(entries, expected);
    assert_eq!(
        storage
            .entries(Log::Audit, 0, usize::MAX)
            .await
            .unwrap()
            .len(),
        300
    );
    assert!(
        storage
            .entries(Log::Audit, 301, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn an_entry_is_written_once_and_without_gaps(storage: Arc<dyn Storage>) {
    storage
        .append(Log::Audit, 1, b"one".to_vec())
        .await
        .unwrap();
    for position in [0, 1, 3] {
        assert!(
            is_conflict(storage.append(Log::Audit, position, b"x".to_vec()).await),
            "{position}"
        );
    }
    assert_eq!(
        storage.entries(Log::Audit, 1, 9).await.unwrap(),
        [(1, b"one".to_vec())]
    );
}

async fn of_two_appends_at_one_position_exactly_one_wins(storage: Arc<dyn Storage>) {
    for position in 1..50 {
        let append = |name: &'static [u8]| {
            let storage = storage.clone();
            tokio::spawn(async move { storage.append(Log::Runs, position, name.to_vec()).await })
        };
        let (one, two) = (append(b"one"), append(b"two"));
        let (one, two) = (one.await.unwrap(), two.await.unwrap());
        assert_eq!(one.is_ok() as u8 + two.is_ok() as u8, 1);
    }
}

async fn runs_forget_only_their_oldest_and_never_their_position(storage: Arc<dyn Storage>) {
    for position in 1..=5 {
        storage
            .append(Log::Runs, position, vec![0; 8])
            .await
            .unwrap();
    }
    for (before, first_kept) in [(4, 4), (100, 5)] {
        storage.forget_runs(before).await.unwrap();
        let left = storage.entries(Log::Runs, 0, 9).await.unwrap();
        let left: Vec<_> = left.into_iter().map(|(position, _)| position).collect();
        assert!(left[0] <= first_kept, "{left:?}");
        assert_eq!(left, (left[0]..=5).collect::<Vec<_>>());
    }
    assert_eq!(storage.last(Log::Runs).await.unwrap(), 5);
    storage.append(Log::Runs, 6, vec![]).await.unwrap();
}

async fn an_edit_sees_every_run_and_replaces_those_it_makes_something_else_of(
    storage: Arc<dyn Storage>,
) {
    storage
        .append(Log::Audit, 1, b"evidence".to_vec())
        .await
        .unwrap();
    for position in 1..=3 {
        storage
            .append(Log::Runs, position, b"old".to_vec())
            .await
            .unwrap();
    }
    let (seen, edited) = std::sync::mpsc::channel();
    let edit = move |position, entry: &[u8]| {
        seen.send((position, entry.to_vec())).unwrap();
        (position == 2).then(|| b"longer than before".to_vec())
    };
    storage.edit_runs(Box::new(edit)).await.unwrap();
    let old = |position| (position, b"old".to_vec());
    assert_eq!(edited.iter().collect::<Vec<_>>(), [old(1), old(2), old(3)]);
    assert_eq!(
        storage.entries(Log::Runs, 0, 9).await.unwrap(),
        [old(1), (2, b"longer than before".to_vec()), old(3)]
    );
    storage.append(Log::Runs, 4, vec![]).await.unwrap();
    assert_eq!(
        storage.entries(Log::Audit, 0, 9).await.unwrap(),
        [(1, b"evidence".to_vec())]
    );
}

async fn logs_do_not_see_each_other(storage: Arc<dyn Storage>) {
    storage
        .append(Log::Audit, 1, b"audit".to_vec())
        .await
        .unwrap();
    storage
        .append(Log::Runs, 1, b"runs".to_vec())
        .await
        .unwrap();
    storage
        .append(Log::Runs, 2, b"runs".to_vec())
        .await
        .unwrap();
    storage.forget_runs(2).await.unwrap();
    assert_eq!(
        storage.entries(Log::Audit, 0, 9).await.unwrap(),
        [(1, b"audit".to_vec())]
    );
    assert!(storage.list("").await.unwrap().is_empty());
}

async fn every_write_changes_the_generation(storage: Arc<dyn Storage>) {
    let mut seen = vec![storage.generation().await.unwrap()];
    storage.put("a", 0, vec![]).await.unwrap();
    seen.push(storage.generation().await.unwrap());
    storage.put("a", 1, vec![]).await.unwrap();
    seen.push(storage.generation().await.unwrap());
    storage.remove("a", 2).await.unwrap();
    seen.push(storage.generation().await.unwrap());
    storage.append(Log::Audit, 1, vec![]).await.unwrap();
    seen.push(storage.generation().await.unwrap());
    let unread = storage.generation().await.unwrap();
    assert_eq!(seen.last(), Some(&unread), "reading is no write");
    seen.dedup();
    assert_eq!(seen.len(), 5);
}

async fn bodies_of_any_size_and_content_come_back_as_they_were(storage: Arc<dyn Storage>) {
    for (index, len) in [0, 1, 7, 8, 9, 4096, 100_000, 1_000_000]
        .into_iter()
        .enumerate()
    {
        let body: Vec<u8> = (0..len).map(|byte| (byte * 31) as u8).collect();
        let key = format!("size/{len}");
        storage.put(&key, 0, body.clone()).await.unwrap();
        storage
            .append(Log::Runs, index as u64 + 1, body.clone())
            .await
            .unwrap();
        assert_eq!(storage.read(&key).await.unwrap().unwrap().body, body);
        assert_eq!(
            storage
                .entries(Log::Runs, index as u64 + 1, 1)
                .await
                .unwrap()[0]
                .1,
            body
        );
    }
    storage.sync().await.unwrap();
}
