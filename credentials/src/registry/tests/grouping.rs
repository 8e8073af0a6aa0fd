//! Changes of one workspace that come at the same time share commits, and each gets its own answer.

use keyside_store::{Effect, Hash, faulty::Fault};
use tokio::task::JoinHandle;

use super::{erasing::acme, *};
use crate::chains::{Priority, Turn};

type Adding = JoinHandle<Result<Saved, ChangeError>>;

fn adding(registry: &Arc<Registry>, new: NewCredential) -> Adding {
    let registry = registry.clone();
    tokio::spawn(async move { registry.add(&act(), new).await })
}

pub(super) fn tagging(registry: &Arc<Registry>, id: &CredentialId, tag: &str) -> Adding {
    let (registry, id) = (registry.clone(), id.clone());
    let edit = Edit {
        usage_tag: Some(Some(tag.parse().unwrap())),
        ..Edit::default()
    };
    tokio::spawn(async move { registry.edit(&act(), &id, edit).await })
}

fn rotating(registry: &Arc<Registry>, id: &CredentialId, text: &str) -> Adding {
    let (registry, id, rotation) = (registry.clone(), id.clone(), to(text));
    tokio::spawn(async move { registry.rotate(&act(), &id, rotation).await })
}

fn revoking(registry: &Arc<Registry>, id: &CredentialId) -> JoinHandle<Result<(), ChangeError>> {
    let (registry, id) = (registry.clone(), id.clone());
    tokio::spawn(async move {
        let revoked = registry.revoke(&act(), &id, Revocation::default()).await;
        revoked.map(drop)
    })
}

/// Gets the lock of acme's chain in its turn.
fn locking(registry: &Registry) -> JoinHandle<Turn> {
    let tracked = registry.chains.of(&acme());
    tokio::spawn(async move { tracked.lock(Priority::Normal).await })
}

/// The lock, once the changes that `begin` starts have been decided. They are in the open group and
/// cannot be committed before the lock is dropped.
pub(super) async fn after_deciding<T>(registry: &Registry, begin: impl FnOnce() -> T) -> (T, Turn) {
    let lock = locking(registry).await.unwrap();
    let begun = begin();
    let_all_wait().await;
    let next = locking(registry);
    let_all_wait().await;
    drop(lock);
    let lock = next.await.unwrap();
    (begun, lock)
}

/// Commits and records in acme's chain.
fn length(registry: &Registry) -> (u64, u64) {
    let state = registry.chains.of(&acme()).state().unwrap();
    (state.head.seq, state.head.records)
}

/// The commit of each record of acme's chain after the first `records`.
async fn commits_since(registry: &Registry, records: u64) -> Vec<u64> {
    let tracked = registry.chains.of(&acme());
    let head = tracked.state().unwrap().head.clone();
    let found = tracked.chain.records(&head, records + 1, 1_000).await;
    found.unwrap().iter().map(|record| record.seq).collect()
}

/// The labels of acme's credentials, and whether any is damaged.
fn labels(registry: &Registry) -> (Vec<String>, bool) {
    let snapshot = registry.snapshot.load();
    let workspace = snapshot.workspaces.get(&acme()).unwrap();
    let mut credentials = workspace.credentials.values();
    let is_damaged = workspace.damage.is_some()
        || workspace.lost.len() != 0
        || credentials.any(|entry| entry.damage().is_some());
    let credentials = workspace.credentials.values();
    let mut labels: Vec<_> = credentials
        .map(|entry| entry.document.label.as_str().to_owned())
        .collect();
    labels.sort();
    (labels, is_damaged)
}

fn is_full<T>(outcome: &Result<T, ChangeError>) -> bool {
    matches!(
        outcome,
        Err(ChangeError::StoreUnavailable(StorageError::Full { .. }))
    )
}

#[tokio::test]
async fn concurrent_changes_take_far_fewer_commits_and_each_is_made_and_recorded() {
    let (installation, registry, id) = one_key().await;
    let seen = seen(&registry).await;
    let (commits, recorded) = length(&registry);
    let lock = locking(&registry).await.unwrap();
    let added: Vec<_> = (0..30)
        .map(|number| {
            let label = format!("n{number}");
            let new = NewCredential {
                // Its workspace's document is then written too.
                default: number % 3 == 0,
                ..key(&label, &format!("sk-{label}"))
            };
            (label, adding(&registry, new))
        })
        .collect();
    let tagged: Vec<_> = (0..10)
        .map(|number| tagging(&registry, &id, &format!("tag {number}")))
        .collect();
    let rotated: Vec<_> = (0..10)
        .map(|number| rotating(&registry, &id, &format!("sk-r{number}")))
        .collect();
    let_all_wait().await;
    drop(lock);
    for (label, added) in added {
        let added = added.await.unwrap().unwrap().credential;
        assert_eq!(added.label.as_str(), label);
    }
    for changed in tagged.into_iter().chain(rotated) {
        changed.await.unwrap().unwrap();
    }
    let (now_commits, now_recorded) = length(&registry);
    assert_eq!(now_recorded - recorded, 50, "one record a change");
    assert!(
        now_commits - commits <= 6,
        "{} commits",
        now_commits - commits
    );
    let mut expected = vec![Event::CredentialCreated; 30];
    expected.extend([Event::CredentialEdited; 10]);
    expected.extend([Event::CredentialRotated; 10]);
    assert_eq!(events(&registry, &seen).await, expected);
    for registry in [&registry, &installation.open().await] {
        let changed = registry.credential(&id).unwrap();
        assert_eq!(changed.revision, 21);
        assert_eq!(changed.usage_tag, Some("tag 9".parse().unwrap()));
        let (labels, is_damaged) = labels(registry);
        assert_eq!((labels.len(), is_damaged), (31, false));
        registry.audit().verify().await.unwrap();
    }
}

#[tokio::test]
async fn a_lone_change_is_committed_at_once() {
    let (_installation, registry, id) = one_key().await;
    let (commits, _) = length(&registry);
    for number in 1..=3 {
        let tagged = tagging(&registry, &id, &format!("tag {number}"));
        tagged.await.unwrap().unwrap();
        assert_eq!(length(&registry).0, commits + number);
    }
}

#[tokio::test]
async fn a_revocation_is_in_the_next_commit_although_a_hundred_changes_wait() {
    let (_installation, registry, id) = one_key().await;
    let seen = seen(&registry).await;
    let (commits, recorded) = length(&registry);
    let begin = || adding(&registry, key("open", "sk-open"));
    let (open, lock) = after_deciding(&registry, begin).await;
    let added: Vec<_> = (0..100)
        .map(|number| adding(&registry, key(&format!("n{number}"), "sk-n")))
        .collect();
    let_all_wait().await;
    let revoked = revoking(&registry, &id);
    let_all_wait().await;
    assert_eq!(length(&registry), (commits, recorded));
    drop(lock);
    revoked.await.unwrap().unwrap();
    open.await.unwrap().unwrap();
    for added in added {
        added.await.unwrap().unwrap();
    }
    let events = events(&registry, &seen).await;
    assert_eq!(
        events[..2],
        [Event::CredentialCreated, Event::CredentialRevoked]
    );
    let commits_since = commits_since(&registry, recorded).await;
    assert_eq!(commits_since.len(), 102);
    assert_eq!(commits_since[..2], [commits + 1; 2]);
    assert_eq!(commits_since[2], commits + 2);
    assert!(length(&registry).0 <= commits + 11);
}

#[tokio::test]
async fn changes_that_lose_a_race_together_are_all_decided_again() {
    let (installation, registry, _) = one_key().await;
    let other = installation.open().await;
    let (_, recorded) = length(&registry);
    let begin = || ["a", "b", "c"].map(|label| adding(&registry, key(label, "sk-here")));
    let ([a, b, c], lock) = after_deciding(&registry, begin).await;
    other.add(&act(), key("b", "sk-there")).await.unwrap();
    drop(lock);
    a.await.unwrap().unwrap();
    let b = b.await.unwrap();
    assert!(matches!(b, Err(ChangeError::LabelTaken { .. })), "{b:?}");
    c.await.unwrap().unwrap();
    for registry in [registry, installation.open().await] {
        let expected = ["a", "b", "c", "default"].map(str::to_owned);
        assert_eq!(labels(&registry), (expected.to_vec(), false));
        assert_eq!(length(&registry).1, recorded + 3);
        registry.audit().verify().await.unwrap();
    }
}

#[tokio::test]
async fn changes_whose_shared_commit_fails_are_made_each_in_a_commit_of_its_own() {
    let (installation, registry, _) = one_key().await;
    drop(registry);
    let (storage, registry) = installation.open_faulty().await;
    let (_, recorded) = length(&registry);
    let begin = || ["a", "b", "c"].map(|label| adding(&registry, key(label, "sk")));
    let (added, lock) = after_deciding(&registry, begin).await;
    storage.fail(1, 1, Fault::Refused);
    drop(lock);
    for added in added {
        added.await.unwrap().unwrap();
    }
    assert!(storage.heal());
    let mut commits = commits_since(&registry, recorded).await;
    commits.dedup();
    assert_eq!(commits.len(), 3);
}

#[tokio::test]
async fn a_revocation_may_use_the_reserve_although_it_was_grouped_with_an_addition() {
    let (installation, registry, id) = one_key().await;
    drop(registry);
    let (storage, registry) = installation.open_faulty().await;
    let begin = || adding(&registry, key("a", "sk-a"));
    let (added, lock) = after_deciding(&registry, begin).await;
    storage.reserve_disk_space_for(Effect::EndsSooner);
    let revoked = revoking(&registry, &id);
    let_all_wait().await;
    drop(lock);
    revoked.await.unwrap().unwrap();
    let added = added.await.unwrap();
    assert!(is_full(&added), "{added:?}");
    assert_eq!(labels(&registry).0, ["default"]);
}

#[tokio::test]
async fn a_shared_commit_without_an_answer_has_an_unknown_outcome_for_each_change_in_it() {
    let (installation, registry, _) = one_key().await;
    drop(registry);
    let (storage, registry) = installation.open_faulty().await;
    let begin = || {
        let added = ["a", "b"].map(|label| adding(&registry, key(label, "sk")));
        // Decided on the others: an answer that changes nothing.
        (added, adding(&registry, key("a", "sk-other")))
    };
    let ((added, refused), lock) = after_deciding(&registry, begin).await;
    storage.fail_syncs(true);
    drop(lock);
    for added in added {
        let added = added.await.unwrap();
        assert!(
            matches!(added, Err(ChangeError::OutcomeUnknown(_))),
            "{added:?}"
        );
    }
    storage.fail_syncs(false);
    let refused = refused.await.unwrap();
    assert!(
        matches!(refused, Err(ChangeError::LabelTaken { .. })),
        "{refused:?}"
    );
    for registry in [registry, installation.open().await] {
        let expected = ["a", "b", "default"].map(str::to_owned);
        assert_eq!(labels(&registry), (expected.to_vec(), false));
        registry.audit().verify().await.unwrap();
    }
}

#[tokio::test]
async fn a_conflict_with_a_change_that_then_fails_is_not_the_answer() {
    let (installation, registry, _) = one_key().await;
    drop(registry);
    let (storage, registry) = installation.open_faulty().await;
    let begin = || ["sk-1", "sk-2"].map(|text| adding(&registry, key("a", text)));
    let ([first, second], lock) = after_deciding(&registry, begin).await;
    storage.fail(1, 1, Fault::Refused);
    drop(lock);
    let first = first.await.unwrap();
    assert!(
        matches!(first, Err(ChangeError::StoreUnavailable(_))),
        "{first:?}"
    );
    second.await.unwrap().unwrap();
    assert_eq!(labels(&registry).0, ["a", "default"]);
}

#[tokio::test]
async fn a_repeated_request_in_the_same_group_creates_one_credential() {
    let (_installation, registry, _) = one_key().await;
    let (commits, recorded) = length(&registry);
    let new = || NewCredential {
        idempotency: Some(Idempotency {
            key: "once".to_owned(),
            request: Hash::of(b"a request"),
        }),
        ..key("a", "sk-a")
    };
    let begin = || [new(), new()].map(|new| adding(&registry, new));
    let ([first, second], lock) = after_deciding(&registry, begin).await;
    assert_eq!(labels(&registry).0, ["default"], "nothing is shown yet");
    drop(lock);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.credential.id, second.credential.id);
    assert!(!first.repeated && second.repeated);
    assert_eq!(length(&registry), (commits + 1, recorded + 1));
}

#[tokio::test]
async fn a_change_whose_caller_has_gone_stays_in_its_group() {
    let (_installation, registry, _) = one_key().await;
    let begin = || ["a", "b"].map(|label| adding(&registry, key(label, "sk")));
    let ([gone, other], lock) = after_deciding(&registry, begin).await;
    gone.abort();
    let_all_wait().await;
    drop(lock);
    other.await.unwrap().unwrap();
    assert_eq!(labels(&registry).0, ["a", "b", "default"]);
}

#[tokio::test]
async fn an_export_has_the_changes_that_were_decided_before_it() {
    let (_installation, registry, _) = one_key().await;
    let lock = locking(&registry).await.unwrap();
    let added = ["a", "b"].map(|label| adding(&registry, key(label, "sk")));
    let_all_wait().await;
    let of = registry.clone();
    let exported = tokio::spawn(async move { of.export_workspace(&act(), &acme()).await });
    let_all_wait().await;
    drop(lock);
    let archive = exported.await.unwrap().unwrap();
    let archive = String::from_utf8_lossy(&archive).into_owned();
    for label in ["\"a\"", "\"b\""] {
        assert!(archive.contains(label), "{label}");
    }
    for added in added {
        added.await.unwrap().unwrap();
    }
}
