//! Segments: written in the background, before a commit needs them; and what works without them.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{task::yield_now, time::timeout};

use super::*;
use crate::faulty::Gate;

/// Counts the segments that are written, and holds them up while the gate is closed.
#[derive(Default)]
struct Gated {
    inner: Memory,
    gate: Gate,
    refuses: AtomicBool,
    written: AtomicUsize,
}

#[async_trait]
impl Archive for Gated {
    async fn put_new(&self, chain: &str, number: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.written.fetch_add(1, Ordering::SeqCst);
        self.gate.pass().await;
        if self.refuses.load(Ordering::SeqCst) {
            return Err(StorageError::unavailable("permission denied"));
        }
        Archive::put_new(&self.inner, chain, number, bytes).await
    }

    async fn get(&self, chain: &str, number: u64) -> Result<Option<Vec<u8>>, StorageError> {
        Archive::get(&self.inner, chain, number).await
    }
}

impl Gated {
    fn written(&self) -> usize {
        self.written.load(Ordering::SeqCst)
    }
}

fn over_gated() -> (Chain, Arc<Gated>) {
    let archive = Arc::new(Gated::default());
    let backend = Backend {
        archive: archive.clone(),
        ..Backend::of(Arc::new(Memory::new()))
    };
    (chain(&backend), archive)
}

/// A segment costs two fsyncs, which no change may wait for.
#[tokio::test]
async fn no_commit_writes_a_segment_itself_if_there_is_time_between_commits() {
    let (chain, archive) = over_gated();
    let mut state = None;
    for number in 0..200 {
        let before = archive.written();
        state = Some(commit(&chain, state.as_ref(), put("a", &number.to_string())).await);
        assert_eq!(archive.written(), before, "commit {number}");
        for _ in 0..10 {
            yield_now().await;
        }
    }
    let head = &state.unwrap().head;
    assert_eq!((archive.written(), head.segment.unwrap().number), (8, 8));
    assert_eq!(chain.verify(head).await.unwrap(), Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_commit_waits_for_a_segment_only_if_the_tail_is_full() {
    let (chain, archive) = over_gated();
    let held = archive.gate.hold();
    let mut state = commits(&chain, 24).await;
    archive.gate.arrived(1).await;
    for _ in 24..32 {
        let commit = commit(&chain, Some(&state), put("a", "1"));
        state = timeout(Duration::from_secs(1), commit).await.unwrap();
    }
    assert_eq!((state.head.tail.len(), state.head.segment), (32, None));
    let next = async { commit(&chain, Some(&state), put("a", "2")).await };
    tokio::pin!(next);
    let waited = timeout(Duration::from_secs(1), &mut next).await;
    assert!(
        waited.is_err(),
        "a head names a segment that is not on disk"
    );
    drop(held);
    let next = next.await;
    let segment = next.head.segment.unwrap();
    assert_eq!((next.head.tail.len(), segment.number), (9, 1));
    assert_eq!(archive.written(), 1);
    chain.verify(&next.head).await.unwrap().unwrap();
}

/// As after a restart: the segment that was written ahead is unknown, and written again.
#[tokio::test]
async fn a_segment_written_ahead_of_a_restart_is_written_again() {
    let memory = Arc::new(Memory::new());
    let mut state = commits(&over(&memory), 30).await;
    for _ in 0..10 {
        yield_now().await;
    }
    let ahead = memory.contents().segments.clone();
    assert_eq!(ahead.len(), 1);
    assert_eq!(state.head.segment, None);
    let chain = over(&memory);
    for _ in 0..3 {
        state = commit(&chain, Some(&state), put("a", "1")).await;
    }
    assert_eq!(state.head.segment.unwrap().number, 1);
    assert_eq!(memory.contents().segments, ahead, "the same bytes");
    chain.verify(&state.head).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_could_not_be_written_ahead_is_written_again() {
    let memory = Arc::new(Memory::new());
    let faulty = Arc::new(Faulty::new(Backend::of(memory.clone())));
    let chain = super::chain(&faulty.backend());
    let mut state = commits(&chain, 24).await;
    faulty.fail(1, 1, Fault::Refused);
    for _ in 0..10 {
        yield_now().await;
    }
    assert!(faulty.heal(), "the segment was refused");
    for _ in 0..9 {
        state = commit(&chain, Some(&state), put("a", "1")).await;
    }
    assert_eq!(state.head.segment.unwrap().number, 1);
    chain.verify(&state.head).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_change_that_ends_a_use_needs_no_segment() {
    let (chain, archive) = over_gated();
    archive.refuses.store(true, Ordering::SeqCst);
    let mut state = commits(&chain, 32).await;
    for number in 0..100 {
        let adding = change(put("a", "1"));
        let added = chain.commit(Some(&state), &key(), adding).await;
        let refused = added.err().unwrap();
        assert!(matches!(refused, CommitError::NotBegun(_)), "{refused}");
        let ending = Change {
            effect: Effect::EndsUse,
            ..change(put("b", &number.to_string()))
        };
        state = chain.commit(Some(&state), &key(), ending).await.unwrap();
        assert_eq!((state.head.tail.len(), state.head.segment), (32, None));
    }
    assert_eq!(chain.verify(&state.head).await.unwrap(), Ok(132));
    assert_eq!(chain.sweep(&state).await.unwrap(), 0);
    let loaded = chain.load(&trust()).await.unwrap().unwrap();
    assert_eq!(loaded.head, state.head);
    archive.refuses.store(false, Ordering::SeqCst);
    for _ in 0..40 {
        state = commit(&chain, Some(&state), put("a", "1")).await;
    }
    let last = state.head.segment.unwrap();
    for number in 1..=last.number {
        let bytes = archive.get(chain.name().as_str(), number).await.unwrap();
        let segment = record::Segment::parse(&bytes.unwrap()).unwrap();
        assert_eq!(segment.batches.len(), 24, "segment {number}");
    }
    assert_eq!(chain.verify(&state.head).await.unwrap(), Ok(172));
    let read = chain.records(&state.head, 1, 1_000).await.unwrap();
    let seqs: Vec<_> = read.iter().map(|record| record.seq).collect();
    assert_eq!(seqs, (1..=172).collect::<Vec<u64>>(), "one record each");
}

/// 31 objects of 24 commits, and the last commit.
#[tokio::test]
async fn a_tail_of_full_objects_waits_for_its_segment() {
    let (chain, archive) = over_gated();
    archive.refuses.store(true, Ordering::SeqCst);
    let mut state = commits(&chain, 32).await;
    let end = async |state: &Arc<State>| {
        let ending = Change {
            effect: Effect::EndsUse,
            ..change(put("b", "1"))
        };
        chain.commit(Some(state), &key(), ending).await
    };
    while let Ok(next) = end(&state).await {
        state = next;
    }
    assert_eq!((state.head.seq, state.head.tail.len()), (31 * 24 + 1, 32));
    assert_eq!(chain.verify(&state.head).await.unwrap(), Ok(31 * 24 + 1));
    archive.refuses.store(false, Ordering::SeqCst);
    state = end(&state).await.unwrap();
    assert_eq!(chain.verify(&state.head).await.unwrap(), Ok(31 * 24 + 2));
}
