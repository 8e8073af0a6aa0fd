//! Objects that no head names: deleted, but not while a power cut could bring back a head that does.

use super::*;

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
