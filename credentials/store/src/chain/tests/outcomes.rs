//! Commits whose swap got no answer before the store was put back: by a restore from a backup, which
//! begins a new epoch, or by hand.

use super::*;

/// Replaces everything by a copy, and signs its head again in this epoch, as a restore does.
fn put_back(memory: &Memory, copy: &Memory, epoch: u64) {
    let name = ChainName::workspace("acme");
    let mut contents = copy.contents().clone();
    let stored = contents.objects.get_mut(&name.head_key()).unwrap();
    let mut head = Head::parse_unverified(stored).unwrap();
    head.epoch = epoch;
    *stored = head.sign(&name, "ins_1", &key());
    *memory.contents() = contents;
}

/// Commits on top of what is stored, as another process.
async fn continue_with(memory: &Arc<Memory>, commits: u64) {
    let chain = over(memory);
    for number in 0..commits {
        let on = chain.load(&trust()).await.unwrap().unwrap();
        let change = Change {
            epoch: on.head.epoch,
            ..change(put("b", &number.to_string()))
        };
        chain.commit(Some(&on), &key(), change).await.unwrap();
    }
}

/// The outcome of a fourth commit. `meanwhile` runs between the first attempt of its swap, which
/// fails, and the second. It gets copies of the store after the second and the third commit.
async fn unanswered(
    fault: Fault,
    meanwhile: impl AsyncFnOnce(&Arc<Memory>, [Memory; 2]),
) -> (Result<Arc<State>, CommitError>, Arc<Memory>) {
    let memory = Arc::new(Memory::new());
    let faulty = Arc::new(Faulty::new(Backend::of(memory.clone())));
    let one = chain(&faulty.backend());
    let second = commits(&one, 2).await;
    let older = memory.copy();
    let third = commit(&one, Some(&second), put("b", "1")).await;
    let copies = [older, memory.copy()];
    // The fourth write is the swap, after a document, a page and the records.
    faulty.fail(4, 1, fault);
    let key = key();
    let fourth = one.commit(Some(&third), &key, change(put("a", "1")));
    let (fourth, ()) = tokio::join!(fourth, meanwhile(&memory, copies));
    assert!(faulty.heal(), "the swap was answered");
    (fourth, memory)
}

fn is_unknown(outcome: &Result<Arc<State>, CommitError>) -> bool {
    matches!(outcome, Err(CommitError::OutcomeUnknown { seq: 4, .. }))
}

/// It may have been made before the restore threw it away.
#[tokio::test(start_paused = true)]
async fn a_commit_that_a_restored_backup_does_not_have_is_reported_neither_as_made_nor_as_refused()
{
    for fault in [Fault::AnswerLost, Fault::Refused] {
        for later in [0, 1, 40] {
            let restored = async |memory: &Arc<Memory>, [_, backup]: [Memory; 2]| {
                put_back(memory, &backup, 1);
                continue_with(memory, later).await;
            };
            let (outcome, _) = unanswered(fault, restored).await;
            assert!(is_unknown(&outcome), "{fault:?}, {later} later");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_a_restored_backup_has_is_reported_as_made() {
    for later in [0, 1, 40] {
        let restored = async |memory: &Arc<Memory>, _: [Memory; 2]| {
            put_back(memory, &memory.copy(), 1);
            continue_with(memory, later).await;
        };
        let (outcome, memory) = unanswered(Fault::AnswerLost, restored).await;
        assert_eq!(outcome.unwrap().head.seq, 4);
        let chain = over(&memory);
        let now = chain.load(&trust()).await.unwrap().unwrap();
        assert_eq!((now.head.epoch, now.head.seq), (1, 4 + later));
        assert_eq!(bodies(&chain, &now).await["a"], "1");
        chain.verify(&now.head).await.unwrap().unwrap();
    }
}

/// The head proves nothing: it does not continue the state that the commit was made on.
#[tokio::test(start_paused = true)]
async fn a_commit_on_a_store_that_was_put_back_is_not_reported_as_a_lost_race() {
    for later in [0, 1, 2, 3] {
        let older = async |memory: &Arc<Memory>, [older, _]: [Memory; 2]| {
            put_back(memory, &older, 0);
            continue_with(memory, later).await;
        };
        let (outcome, _) = unanswered(Fault::AnswerLost, older).await;
        assert!(is_unknown(&outcome), "{later} later");
    }
}
