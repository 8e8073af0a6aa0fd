//! Objects that no head names: deleted, but not while a power cut could bring back a head that does.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::faulty::Incident;

#[tokio::test]
async fn a_commit_leaves_no_garbage_behind() {
    let memory = Arc::new(Memory::new());
    let chain = over(&memory);
    let state = commits(&chain, 100).await;
    let stored = memory.contents().objects.len();
    // 20 documents, one page, a tail of at most 32 commits, the head.
    assert!(stored <= 20 + 1 + 32 + 1, "{stored}");
    assert_eq!(chain.sweep(&state).await.unwrap(), 0);
    let stray = ObjectRef {
        seq: state.head.seq,
        hash: Hash::of(b"stray"),
    };
    let under_way = ObjectRef {
        seq: state.head.seq + 1,
        hash: Hash::of(b"under way"),
    };
    for object in [stray, under_way] {
        let key = chain.name.object_key(&object);
        memory.contents().objects.insert(key, Vec::new());
    }
    assert_eq!(chain.sweep(&state).await.unwrap(), 1);
}

#[tokio::test]
async fn nothing_is_swept_before_the_head_is_on_disk() {
    let memory = Arc::new(Memory::new());
    let faulty = Arc::new(Faulty::new(Backend::of(memory.clone())));
    let chain = chain(&faulty.backend());
    let before = commits(&chain, 2).await;
    faulty.fail_syncs(true);
    let unknown = chain
        .commit(Some(&before), &key(), change(put("doc/00", "2")))
        .await;
    assert!(matches!(unknown, Err(CommitError::OutcomeUnknown { .. })));
    let now = chain.load(&trust()).await.unwrap().unwrap();
    assert_eq!(now.head.seq, 3);
    chain.sweep(&now).await.unwrap_err();
    for key in before.object_keys(&chain.name) {
        assert!(memory.contents().objects.contains_key(&key), "{key}");
    }
    faulty.fail_syncs(false);
    assert_eq!(chain.sweep(&now).await.unwrap(), 2);
}

/// As when the runtime shuts down: nothing runs after the step that was reached.
#[tokio::test(start_paused = true)]
async fn a_commit_that_is_dropped_is_complete_from_the_swap_on_and_leaves_only_garbage() {
    const STEP: Duration = Duration::from_millis(10);
    // Three objects, the swap, the sync, and the deletion of a page.
    for steps in 0..=6 {
        let memory = Arc::new(Memory::new());
        let faulty = Arc::new(Faulty::new(Backend::of(memory.clone())));
        let chain = chain(&faulty.backend());
        let before = commits(&chain, 2).await;
        faulty.draw(|| Incident {
            delay: STEP,
            ..Incident::default()
        });
        let key = key();
        let committed = chain.commit(Some(&before), &key, change(put("a", "1")));
        let finished = timeout(STEP * steps + STEP / 2, committed).await.is_ok();
        assert_eq!(finished, steps == 6, "{steps} steps");
        faulty.heal();
        let now = chain.load(&trust()).await.unwrap().unwrap();
        let is_made = steps >= 4;
        assert_eq!(now.head.seq, 2 + u64::from(is_made), "{steps} steps");
        let next = commit(&chain, Some(&now), put("b", "2")).await;
        assert_eq!(bodies(&chain, &next).await.contains_key("a"), is_made);
        chain.verify(&next.head).await.unwrap().unwrap();
        chain.sweep(&next).await.unwrap();
        let named = next.object_keys(&chain.name).len();
        assert_eq!(memory.contents().objects.len(), named + 1, "{steps} steps");
    }
}
