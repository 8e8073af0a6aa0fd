//! Chains on the memory backend: commits, races, lost answers and edited storage.

mod archiving;
mod garbage;
mod outcomes;

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::{
    Effect, Memory, SigningKey, StorageError, TrustedKeys,
    faulty::{Fault, Faulty},
};

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn trust() -> TrustedKeys {
    key().public().into()
}

fn chain(backend: &Backend) -> Chain {
    Chain::new(ChainName::workspace("acme"), &"ins_1".into(), backend)
}

fn over(memory: &Arc<Memory>) -> Chain {
    chain(&Backend::of(memory.clone()))
}

fn change(writes: Vec<Write>) -> Change {
    static NOW: AtomicI64 = AtomicI64::new(1_000);
    let at = NOW.fetch_add(1, Ordering::Relaxed);
    Change {
        at,
        epoch: 0,
        incarnation: 1,
        effect: Effect::Adds,
        records: vec![format!("record at {at}").into_bytes()],
        writes,
        decided_on: None,
    }
}

fn put(name: &str, body: &str) -> Vec<Write> {
    vec![Write::put(name, body.into())]
}

async fn commit(chain: &Chain, on: Option<&Arc<State>>, writes: Vec<Write>) -> Arc<State> {
    chain.commit(on, &key(), change(writes)).await.unwrap()
}

/// `count` commits, each of one document.
async fn commits(chain: &Chain, count: usize) -> Arc<State> {
    let mut state = None;
    for number in 0..count {
        let writes = put(&format!("doc/{:02}", number % 20), &number.to_string());
        state = Some(commit(chain, state.as_ref(), writes).await);
    }
    state.unwrap()
}

async fn bodies(chain: &Chain, state: &State) -> BTreeMap<String, String> {
    let entries: Vec<_> = state.documents().collect();
    let bytes = chain.read(entries.iter().copied()).await.unwrap();
    let texts = bytes
        .into_iter()
        .map(|bytes| String::from_utf8(bytes.unwrap()).unwrap());
    let names = entries.iter().map(|entry| entry.name.to_string());
    names.zip(texts).collect()
}

#[tokio::test]
async fn a_committed_state_is_loaded_again() {
    let memory = Arc::new(Memory::new());
    let chain = over(&memory);
    assert!(chain.load(&trust()).await.unwrap().is_none());
    let one = commit(&chain, None, put("a", "1")).await;
    let two = commit(&chain, Some(&one), put("a", "2")).await;
    let three = commit(
        &chain,
        Some(&two),
        vec![
            Write::remove("a"),
            Write::put("b", "3".into()),
            Write::put("c", "4".into()),
        ],
    )
    .await;
    let loaded = over(&memory).load(&trust()).await.unwrap().unwrap();
    assert_eq!(loaded.head, three.head);
    let expected = [("b", "3"), ("c", "4")].map(|(name, body)| (name.into(), body.into()));
    assert_eq!(bodies(&chain, &loaded).await, expected.into());
    assert_eq!(two.document("a").unwrap().revision, 2);
    assert!(loaded.head.seq == 3 && loaded.head.records == 3);
}

#[tokio::test]
async fn records_are_read_from_segments_and_tail_alike() {
    let chain = over(&Arc::new(Memory::new()));
    for count in [1, 32, 33, 64, 65, 200] {
        let chain = over(&Arc::new(Memory::new()));
        let state = commits(&chain, count).await;
        let all = chain.records(&state.head, 1, 10_000).await.unwrap();
        let positions: Vec<_> = all.iter().map(|record| record.position).collect();
        assert_eq!(positions, (1..=count as u64).collect::<Vec<_>>());
        let mut hash = Hash::default();
        for record in &all {
            assert_eq!(record.previous, hash);
            hash = hash.followed_by(Hash::of(&record.bytes));
            assert_eq!(record.hash, hash);
        }
        assert_eq!(hash, state.head.hash);
        for from in 1..=count {
            let some = chain.records(&state.head, from as u64, 3).await.unwrap();
            assert_eq!(some, all[from - 1..(from + 2).min(count)]);
        }
        let verified = chain.verify(&state.head).await.unwrap();
        assert_eq!(verified, Ok(count as u64));
    }
    let state = commits(&chain, 100).await;
    let at = chain.records(&state.head, 50, 1).await.unwrap()[0].at;
    for (at, count) in [(at, 49), (i64::MAX, 100), (0, 0)] {
        let before = chain.records_before(&state.head, |record| record.at < at);
        assert_eq!(before.await.unwrap(), count);
    }
}

#[tokio::test]
async fn a_lost_race_changes_nothing_and_shows_the_state_of_the_winner() {
    let memory = Arc::new(Memory::new());
    let (mine, yours) = (over(&memory), over(&memory));
    let one = commit(&mine, None, put("a", "1")).await;
    let seen = yours.load(&trust()).await.unwrap().unwrap();
    let two = commit(&mine, Some(&one), put("a", "mine")).await;
    let before = memory.copy();
    let raced = yours
        .commit(Some(&seen), &key(), change(put("a", "yours")))
        .await;
    assert!(matches!(raced, Err(CommitError::Raced)));
    assert_eq!(memory.contents().objects, before.contents().objects);
    let now = yours.refresh(&seen, &trust()).await.unwrap().unwrap();
    assert_eq!(now.head, two.head);
    assert!(yours.refresh(&now, &trust()).await.unwrap().is_none());
}

#[tokio::test]
async fn concurrent_changes_are_each_made_once() {
    let memory = Arc::new(Memory::new());
    commit(&over(&memory), None, put("count", "0")).await;
    let counting = (0..8).map(|_| {
        let memory = memory.clone();
        tokio::spawn(async move {
            let chain = over(&memory);
            for _ in 0..50 {
                loop {
                    let state = chain.load(&trust()).await.unwrap().unwrap();
                    let Some(count) = bodies_of(&chain, &state).await else {
                        continue;
                    };
                    let writes = put("count", &(count + 1).to_string());
                    match chain.commit(Some(&state), &key(), change(writes)).await {
                        Ok(_) => break,
                        Err(CommitError::Raced | CommitError::Damaged(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    for done in counting.collect::<Vec<_>>() {
        done.await.unwrap();
    }
    let chain = over(&memory);
    let state = chain.load(&trust()).await.unwrap().unwrap();
    assert_eq!(bodies(&chain, &state).await["count"], "400");
    chain.verify(&state.head).await.unwrap().unwrap();
    assert_eq!(state.head.records, 401);
    chain.sweep(&state).await.unwrap();
    let stored = memory.contents().objects.len();
    assert!(stored <= 35, "{stored}");
}

/// `None` if the document was replaced while it was read.
async fn bodies_of(chain: &Chain, state: &State) -> Option<u32> {
    let bytes = chain.read(state.documents()).await.unwrap().pop()??;
    String::from_utf8(bytes).unwrap().parse().ok()
}

/// Fails every write of a commit in turn, with and without its effect: the commit either happened,
/// or had no effect and returned an error.
#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_at_any_write_is_complete_or_has_changed_nothing() {
    for fault in [Fault::Refused, Fault::AnswerLost] {
        for (number, count) in (1..40).flat_map(|number| [(number, 1), (number, 100)]) {
            let memory = Arc::new(Memory::new());
            let faulty = Arc::new(Faulty::new(Backend::of(memory.clone())));
            let chain = chain(&faulty.backend());
            // The tail is full, so the next commit writes a segment.
            let before = commits(&chain, 32).await;
            faulty.fail(number, count, fault);
            let writes = [put("a", "1"), put("doc/01", "changed")].concat();
            let outcome = chain.commit(Some(&before), &key(), change(writes)).await;
            let came = faulty.heal();
            let now = chain.load(&trust()).await.unwrap().unwrap();
            match &outcome {
                Ok(state) => assert_eq!(now.head, state.head),
                Err(CommitError::NotBegun(_)) => assert_eq!(now.head, before.head),
                Err(CommitError::OutcomeUnknown { seq, .. }) => assert_eq!(*seq, 33),
                Err(error) => panic!("{error}"),
            }
            let next = commit(&chain, Some(&now), put("b", "2")).await;
            chain.verify(&next.head).await.unwrap().unwrap();
            bodies(&chain, &next).await;
            chain.sweep(&next).await.unwrap();
            assert!(memory.contents().objects.len() <= 22 + 1 + 32 + 1);
            assert!(came || outcome.is_ok());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_lost_is_found_below_later_commits() {
    let memory = Arc::new(Memory::new());
    let faulty = Arc::new(Faulty::new(Backend::of(memory.clone())));
    let (one, other) = (chain(&faulty.backend()), over(&memory));
    let before = commits(&one, 3).await;
    // The fourth write is the swap, after a document, a page and the records.
    faulty.fail(4, 1, Fault::AnswerLost);
    let key = key();
    let first = one.commit(Some(&before), &key, change(put("a", "1")));
    // Runs while the first commit waits before its second attempt.
    let second = async {
        let now = other.load(&trust()).await.unwrap().unwrap();
        assert_eq!(now.head.seq, 4);
        commit(&other, Some(&now), put("b", "2")).await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(faulty.heal());
    assert_eq!(first.unwrap().head.seq, 4);
    let bodies = bodies(&other, &second).await;
    assert_eq!((&*bodies["a"], &*bodies["b"]), ("1", "2"));
    other.verify(&second.head).await.unwrap().unwrap();
}

/// Neither of two unanswered swaps was made: the chain continues from another commit.
#[tokio::test(start_paused = true)]
async fn a_refused_swap_is_a_lost_race_although_another_commit_succeeded() {
    let memory = Arc::new(Memory::new());
    let faulty = Arc::new(Faulty::new(Backend::of(memory.clone())));
    let (one, other) = (chain(&faulty.backend()), over(&memory));
    let before = commits(&one, 3).await;
    faulty.fail(4, 1, Fault::Refused);
    let key = key();
    let first = one.commit(Some(&before), &key, change(put("a", "1")));
    let second = commit(&other, Some(&before), put("b", "2"));
    let (first, second) = tokio::join!(first, second);
    assert!(matches!(first, Err(CommitError::Raced)));
    let bodies = bodies(&other, &second).await;
    assert!(!bodies.contains_key("a"));
    assert_eq!(bodies["b"], "2");
}

#[tokio::test]
async fn a_rollback_and_a_fork_are_distinguished_from_a_continuation() {
    let memory = Arc::new(Memory::new());
    let chain = over(&memory);
    let early = commits(&chain, 40).await;
    let before = memory.copy();
    let late = {
        let mut state = early.clone();
        for _ in 0..80 {
            state = commit(&chain, Some(&state), put("a", "1")).await;
        }
        state
    };
    let seen = |contents: &Memory| Arc::new(contents.copy());
    // The whole store was rolled back.
    let older = over(&seen(&before)).refresh(&late, &trust()).await;
    assert!(matches!(
        older,
        Err(LoadError::Damaged(Damage::Older {
            found: (0, 40),
            known: (0, 120)
        }))
    ));
    // The rolled-back store continued differently.
    let forked = seen(&before);
    let fork = over(&forked);
    let mut state = fork.load(&trust()).await.unwrap().unwrap();
    for _ in 0..100 {
        state = commit(&fork, Some(&state), put("a", "2")).await;
    }
    let found = fork.refresh(&late, &trust()).await;
    assert!(matches!(found, Err(LoadError::Damaged(Damage::Forked))));
    // Both continue the common ancestor, over several segments.
    let known = early.head.link();
    fork.check_continues(known, &state.head).await.unwrap();
    over(&memory)
        .check_continues(known, &late.head)
        .await
        .unwrap();
}

#[test]
fn an_older_state_names_epochs_only_where_they_differ() {
    let message = |found, known| Damage::Older { found, known }.to_string();
    let same = message((1, 4), (1, 9));
    assert!(
        same.ends_with("(commit 4, and commit 9 was seen)"),
        "{same}"
    );
    let other = message((0, 9), (1, 4));
    assert!(
        other.ends_with("(commit 9 of epoch 0, and commit 4 of epoch 1 was seen)"),
        "{other}"
    );
}

#[tokio::test]
async fn a_head_is_bound_to_one_chain_one_installation_and_one_key() {
    let memory = Arc::new(Memory::new());
    let backend = Backend::of(memory.clone());
    let state = commits(&over(&memory), 3).await;
    let other_name = Chain::new(ChainName::workspace("other"), &"ins_1".into(), &backend);
    let head_key = other_name.name.head_key();
    memory
        .contents()
        .objects
        .insert(head_key, state.bytes.clone());
    let other_installation = Chain::new(ChainName::workspace("acme"), &"ins_2".into(), &backend);
    let other_key = TrustedKeys::from(SigningKey::from_seed(&[8; 32]).public());
    for loaded in [
        other_name.load(&trust()).await,
        other_installation.load(&trust()).await,
        over(&memory).load(&other_key).await,
    ] {
        assert!(matches!(
            loaded,
            Err(LoadError::Damaged(Damage::HeadForged))
        ));
    }
}

#[tokio::test]
async fn a_chain_can_change_its_signing_key_and_a_reader_must_trust_the_new_one() {
    let memory = Arc::new(Memory::new());
    let chain = over(&memory);
    let one = commit(&chain, None, put("a", "1")).await;
    let next = SigningKey::from_seed(&[8; 32]);
    let two = chain
        .commit(Some(&one), &next, change(put("a", "2")))
        .await
        .unwrap();
    assert_eq!(
        (one.signer(), two.signer()),
        (key().public(), next.public())
    );
    let refused = chain.refresh(&one, &trust()).await;
    assert!(matches!(
        refused,
        Err(LoadError::Damaged(Damage::HeadForged))
    ));
    let both: TrustedKeys = [key().public(), next.public()].into_iter().collect();
    let seen = chain.refresh(&one, &both).await.unwrap().unwrap();
    assert_eq!((&seen.head, seen.signer()), (&two.head, next.public()));
}

/// Edits every byte of everything that is stored.
#[tokio::test]
async fn an_edit_of_any_byte_is_found() {
    let memory = Arc::new(Memory::new());
    let chain = over(&memory);
    let state = {
        let state = commits(&chain, 70).await;
        commit(&chain, Some(&state), vec![Write::put("old", "o".into())]).await
    };
    let pristine = memory.copy();
    let objects: Vec<_> = pristine.contents().objects.keys().cloned().collect();
    for key in objects {
        let len = pristine.contents().objects[&key].len();
        for at in (0..len).step_by(5).chain([len - 1]) {
            let edited = Arc::new(pristine.copy());
            edited.contents().objects.get_mut(&key).unwrap()[at] ^= 1;
            assert!(!is_whole(&edited, &state).await, "byte {at} of {key}");
        }
        let without = Arc::new(pristine.copy());
        without.contents().objects.remove(&key);
        assert!(!is_whole(&without, &state).await, "without {key}");
    }
    let segments: Vec<_> = pristine.contents().segments.keys().cloned().collect();
    assert_eq!(segments.len(), 2);
    for key in segments {
        let len = pristine.contents().segments[&key].len();
        for at in (0..len).step_by(7).chain([len - 1]) {
            let edited = Arc::new(pristine.copy());
            edited.contents().segments.get_mut(&key).unwrap()[at] ^= 1;
            assert!(!is_whole(&edited, &state).await, "byte {at} of {key:?}");
        }
    }
    assert!(is_whole(&Arc::new(pristine), &state).await);
}

async fn is_whole(memory: &Arc<Memory>, known: &Arc<State>) -> bool {
    let chain = over(memory);
    let Ok(Some(state)) = chain.load(&trust()).await else {
        return false;
    };
    let documents = chain.read(state.documents()).await.unwrap();
    let verified = chain.verify(&state.head).await.unwrap();
    let read = chain.records(&state.head, 1, 1_000).await;
    assert_eq!(read.is_ok(), verified.is_ok());
    state.head == known.head && documents.iter().all(Option::is_some) && verified.is_ok()
}

#[tokio::test]
async fn a_head_never_exceeds_its_size_limit() {
    let chain = over(&Arc::new(Memory::new()));
    let writes = (0..5_000).map(|number| Write::put(format!("credential/{number:032}"), vec![1]));
    let mut state = commit(&chain, None, writes.collect()).await;
    assert!(state.head.index.is_some());
    for number in 0..40 {
        let name = format!("credential/{number:032}");
        state = commit(&chain, Some(&state), put(&name, "2")).await;
    }
    assert!(state.bytes.len() <= 4_096, "{}", state.bytes.len());
    let loaded = chain.load(&trust()).await.unwrap().unwrap();
    assert_eq!(loaded.documents().count(), 5_000);
    let writes = (0..4_000).map(|number| Write::remove(format!("credential/{number:032}")));
    let fewer = commit(&chain, Some(&loaded), writes.collect()).await;
    assert!(fewer.head.index.is_none());
    // The largest possible head: a full tail, a segment, and the maximum number of pages.
    let writes = (0..2_048).map(|number| Write::put(format!("other/{number:032}"), vec![1]));
    let mut state = commit(&chain, Some(&fewer), writes.collect()).await;
    for _ in 0..40 {
        state = commit(&chain, Some(&state), put("other", "2")).await;
        assert!(state.bytes.len() <= 4_096, "{}", state.bytes.len());
    }
}

#[tokio::test]
async fn a_missing_page_or_page_list_is_reported_as_damage() {
    let memory = Arc::new(Memory::new());
    let writes = (0..5_000).map(|number| Write::put(format!("credential/{number:032}"), vec![1]));
    let state = commit(&over(&memory), None, writes.collect()).await;
    let pages = &state.map.pages;
    let page = pages[pages.len() / 2].object.unwrap();
    for object in [state.head.index.unwrap(), page] {
        let at = ChainName::workspace("acme").object_key(&object);
        let bytes = memory.contents().objects.remove(&at).unwrap();
        let found = over(&memory).load(&trust()).await;
        assert!(matches!(found, Err(LoadError::Damaged(Damage::PageGone))));
        memory.contents().objects.insert(at, bytes);
        assert!(over(&memory).load(&trust()).await.is_ok());
    }
}

#[tokio::test]
async fn without_disk_space_no_commit_begins() {
    let memory = Arc::new(Memory::new());
    let faulty = Arc::new(Faulty::new(Backend::of(memory.clone())));
    let chain = chain(&faulty.backend());
    let state = commits(&chain, 2).await;
    let before = memory.copy();
    faulty.reserve_disk_space_for(Effect::Finishes);
    let refused = chain
        .commit(Some(&state), &key(), change(put("a", "1")))
        .await;
    assert!(matches!(
        refused,
        Err(CommitError::NotBegun(StorageError::Full { .. }))
    ));
    assert_eq!(memory.contents().objects, before.contents().objects);
}

/// Stored segments must stay readable: their records are written in one piece, and not number by
/// number, which is how serde takes a `Vec<u8>`.
#[test]
fn the_encoding_of_records_is_that_of_lists_of_numbers() {
    let batch = record::Batch {
        seq: 7,
        at: -1,
        before: 6,
        previous: Hash::of(b"before"),
        records: vec![b"one".to_vec(), Vec::new(), vec![200; 300]],
    };
    let fields = (batch.seq, batch.at, batch.before, batch.previous);
    let plain = postcard::to_extend(&(fields, &batch.records), Vec::new()).unwrap();
    assert_eq!(postcard::to_extend(&batch, Vec::new()).unwrap(), plain);
    assert_eq!(
        postcard::from_bytes::<record::Batch>(&plain).unwrap(),
        batch
    );
}
