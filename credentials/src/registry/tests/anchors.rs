//! Anchors that cannot be written, and what they leave behind.

use std::time::Duration;

use keyside_store::{Effect, SigningKey, chain::Head};

use super::{erasing::acme, repetition::once, *};
use crate::chains::Anchors;

/// Puts a folder in the place of the file that is locked while an anchor is replaced. Returns its path.
fn let_anchors_fail(installation: &Installation) -> PathBuf {
    let lock = installation.heads().join(".lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    lock
}

#[tokio::test(start_paused = true)]
async fn an_anchor_that_could_not_be_written_is_counted_and_written_again() {
    let (installation, registry) = Installation::with_acme().await;
    assert_eq!(registry.anchors_behind(), 0);
    let anchor = installation.heads().join("workspace.acme");
    let before = fs::read(&anchor).unwrap();
    let lock = let_anchors_fail(&installation);
    registry.add(&act(), key("a", "sk-acme-a")).await.unwrap();
    assert_eq!(registry.anchors_behind(), 1);
    registry.chains.write_anchors_behind().await;
    assert_eq!(registry.anchors_behind(), 1);
    assert_eq!(fs::read(&anchor).unwrap(), before);
    fs::remove_dir(&lock).unwrap();
    registry.chains.write_anchors_behind().await;
    assert_eq!(registry.anchors_behind(), 0);
    assert_ne!(fs::read(&anchor).unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn an_anchor_that_can_never_be_written_keeps_no_other_one_behind() {
    let (installation, registry) = Installation::with_acme().await;
    let made = registry.create_workspace(&act(), workspace("globex")).await;
    made.unwrap();
    let lock = let_anchors_fail(&installation);
    for id in ["acme", "globex"] {
        let new = NewCredential {
            workspace: id.parse().unwrap(),
            ..key("a", "sk-a")
        };
        registry.add(&act(), new).await.unwrap();
    }
    assert_eq!(registry.anchors_behind(), 2);
    fs::remove_dir(&lock).unwrap();
    let [first, other] = ["acme", "globex"].map(|id| format!("workspace.{id}"));
    let first = installation.heads().join(first);
    fs::remove_file(&first).unwrap();
    fs::create_dir(&first).unwrap();
    registry.chains.write_anchors_behind().await;
    assert_eq!(registry.anchors_behind(), 1);
    let globex = registry.chains.of(&"globex".parse().unwrap());
    let written = fs::read(installation.heads().join(other)).unwrap();
    assert_eq!(written, globex.state().unwrap().bytes());
}

/// Such a head may be lost: the store would then look as if it had been put back.
#[tokio::test]
async fn a_head_that_may_be_in_memory_only_gets_no_anchor() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let (faulty, registry) = installation.open_faulty().await;
    let anchor = installation.heads().join("workspace.acme");
    let before = fs::read(&anchor).unwrap();
    let lock = let_anchors_fail(&installation);
    registry.add(&act(), key("a", "sk-acme-a")).await.unwrap();
    fs::remove_dir(&lock).unwrap();
    let acme = registry.chains.of(&erasing::acme());
    let on_disk = acme.state().unwrap().head.seq;
    faulty.fail_syncs(true);
    registry
        .add(&act(), key("b", "sk-acme-b"))
        .await
        .unwrap_err();
    registry.chains.refresh(&acme).await.unwrap();
    assert_eq!(acme.state().unwrap().head.seq, on_disk + 1);
    registry.chains.write_anchors_behind().await;
    assert_eq!(fs::read(&anchor).unwrap(), before);
    assert_eq!(registry.anchors_behind(), 1);
    faulty.fail_syncs(false);
    registry.chains.write_anchors_behind().await;
    assert_eq!(fs::read(&anchor).unwrap(), acme.state().unwrap().bytes());
    assert_eq!(registry.anchors_behind(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_older_anchor_does_not_hide_that_a_newer_one_could_not_be_written() {
    let (installation, registry) = Installation::with_acme().await;
    let chain = registry.chains.of(&acme());
    let older = chain.state().unwrap();
    let lock = let_anchors_fail(&installation);
    registry.add(&act(), key("a", "sk-acme-a")).await.unwrap();
    assert_eq!(registry.anchors_behind(), 1);
    fs::remove_dir(&lock).unwrap();
    let anchors = &registry.chains.anchors;
    anchors.write(chain.chain.name(), &older).await.unwrap();
    assert_eq!(registry.anchors_behind(), 1);
    registry.chains.write_anchors_behind().await;
    assert_eq!(registry.anchors_behind(), 0);
}

/// The files of the folder that are neither anchors nor its lock.
fn temporary_files(installation: &Installation) -> usize {
    let entries = fs::read_dir(installation.heads()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".new")).count()
}

#[tokio::test]
async fn no_change_leaves_a_temporary_file_whether_it_succeeds_or_not() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let (faulty, registry) = installation.open_faulty().await;
    registry.add(&act(), key("a", "sk-acme-a")).await.unwrap();
    assert_eq!(temporary_files(&installation), 0);
    faulty.fail_syncs(true);
    registry
        .add(&act(), key("b", "sk-acme-b"))
        .await
        .unwrap_err();
    faulty.fail_syncs(false);
    assert_eq!(temporary_files(&installation), 0);
    let_anchors_fail(&installation);
    registry.add(&act(), key("c", "sk-acme-c")).await.unwrap();
    assert_eq!(temporary_files(&installation), 0);
}

#[tokio::test]
async fn a_start_deletes_the_temporary_files_of_a_crash() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    for number in 0..20 {
        let left = |end: &str| installation.heads().join(format!("{number}.{end}"));
        fs::write(left("file.new"), "half a he").unwrap();
        // It cannot be deleted as a file, and keeps no other from it.
        fs::create_dir(left("folder.new")).unwrap();
    }
    let registry = installation.open().await;
    assert_eq!(temporary_files(&installation), 20);
    assert!(registry.chains.has_anchor(registry.chains.installation()));
}

/// Each process knows only which anchors it has written itself.
#[tokio::test]
async fn an_anchor_is_not_replaced_by_an_older_one_of_another_process() {
    let (installation, registry) = Installation::with_acme().await;
    let acme = registry.chains.of(&erasing::acme());
    let name = acme.chain.name();
    let older = acme.state().unwrap();
    registry.add(&act(), key("a", "sk-acme-a")).await.unwrap();
    let newer = acme.state().unwrap();
    let shared = installation.folder.path().join("shared");
    let [one, other] = [(); 2].map(|()| Anchors::in_folder(&shared, registry.keyring.clone()));
    other.write(name, &older).await.unwrap();
    one.record(name, &newer).await;
    other.record(name, &older).await;
    other.sync_unsynced().await;
    assert_eq!(one.read(name).unwrap().unwrap(), newer.head.link());
    one.sync_unsynced().await;
    other.write(name, &older).await.unwrap();
    assert_eq!(
        fs::read(shared.join("workspace.acme")).unwrap(),
        newer.bytes()
    );
    // The anchor and its lock.
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 2);
}

/// Somebody has moved the head of a lost workspace away, as a start asks for, and not what is beside it.
#[tokio::test]
async fn what_is_left_beside_an_anchor_that_was_moved_away_is_not_of_a_new_chain() {
    let (installation, registry) = Installation::with_acme().await;
    let acme = registry.chains.of(&acme());
    let name = acme.chain.name();
    let mut states = vec![acme.state().unwrap()];
    for label in ["a", "b", "c"] {
        let new = key(label, &format!("sk-acme-{label}"));
        registry.add(&act(), new).await.unwrap();
        states.push(acme.state().unwrap());
    }
    let shared = installation.folder.path().join("shared");
    let lost = Anchors::in_folder(&shared, registry.keyring.clone());
    lost.write(name, &states[0]).await.unwrap();
    lost.record(name, &states[2]).await;
    lost.record(name, &states[3]).await;
    drop(lost);
    fs::remove_file(shared.join("workspace.acme")).unwrap();
    let new = Anchors::in_folder(&shared, registry.keyring.clone());
    for state in &states[..2] {
        new.record(name, state).await;
        assert_eq!(new.read(name).unwrap().unwrap(), state.head.link());
    }
}

/// An installation after a `kill -9`: its last two changes are in the unsynced anchor only, as long as
/// no second passes. Returns that file, and the store before each of the two.
async fn killed_after_two_changes() -> (Installation, PathBuf, [Memory; 2]) {
    let (installation, registry) = Installation::with_acme().await;
    registry.link(true).await;
    registry.chains.anchors.sync().await.unwrap();
    let head = || registry.chains.of(&acme()).state().unwrap();
    let anchor = installation.heads().join("workspace.acme");
    let synced = fs::read(&anchor).unwrap();
    assert_eq!(synced, head().bytes());
    let first = installation.memory.copy();
    registry.add(&act(), key("a", "sk-acme-a")).await.unwrap();
    let second = installation.memory.copy();
    registry.add(&act(), key("b", "sk-acme-b")).await.unwrap();
    assert_eq!(fs::read(&anchor).unwrap(), synced);
    let unsynced = installation.heads().join("workspace.acme.unsynced");
    (installation, unsynced, [first, second])
}

async fn is_served(installation: &Installation) -> bool {
    let registry = installation.open().await;
    !registry.workspace(&acme()).unwrap().damaged
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_older_than_an_unsynced_anchor_is_detected() {
    let (installation, unsynced, before) = killed_after_two_changes().await;
    for before in &before {
        installation.put_back("workspace/acme", before);
        assert!(!is_served(&installation).await);
    }
    // The same store, had the anchor been lost in a power cut.
    fs::remove_file(unsynced).unwrap();
    assert!(is_served(&installation).await);
}

#[tokio::test(start_paused = true)]
async fn an_anchor_that_is_torn_by_a_power_cut_is_ignored() {
    let (installation, unsynced, [first, second]) = killed_after_two_changes().await;
    let whole = fs::read(&unsynced).unwrap();
    let newest = whole.len() - 1;
    let torn = |len: usize| fs::write(&unsynced, &whole[..len]).unwrap();
    torn(newest);
    installation.put_back("workspace/acme", &second);
    assert!(is_served(&installation).await, "the one before it is whole");
    installation.put_back("workspace/acme", &first);
    assert!(!is_served(&installation).await);
    for len in [0, 1, 100] {
        torn(len);
        assert!(is_served(&installation).await, "{len} bytes are left");
    }
    // What is left of it does not prevent the next one.
    let registry = installation.open().await;
    registry.add(&act(), key("c", "sk-acme-c")).await.unwrap();
    registry.chains.anchors.sync().await.unwrap();
    assert!(!unsynced.exists());
}

/// Returns once the anchor of `acme` is its current head, and synced. Fails after two seconds.
async fn wait_until_synced(installation: &Installation, registry: &Registry) {
    let state = registry.chains.of(&acme()).state().unwrap();
    let anchor = installation.heads().join("workspace.acme");
    let wait = async {
        while fs::read(&anchor).unwrap() != state.bytes() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let synced = tokio::time::timeout(Duration::from_secs(2), wait);
    synced.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_anchor_is_synced_within_a_second() {
    let (installation, registry) = Installation::with_acme().await;
    for label in ["a", "b"] {
        let new = key(label, &format!("sk-acme-{label}"));
        registry.add(&act(), new).await.unwrap();
        wait_until_synced(&installation, &registry).await;
    }
}

/// Otherwise a power cut, however long after the start, may lose it.
#[tokio::test(start_paused = true)]
async fn an_anchor_that_a_killed_process_left_unsynced_is_synced_within_a_second_of_the_start() {
    let (installation, unsynced, _) = killed_after_two_changes().await;
    let registry = installation.open().await;
    wait_until_synced(&installation, &registry).await;
    registry.chains.anchors.sync_unsynced().await;
    assert!(!unsynced.exists());
}

/// A request that can be repeated.
fn once_added() -> NewCredential {
    NewCredential {
        idempotency: once("my-key", "request"),
        ..key("a", "sk-acme-a")
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_anchor_is_missing_gets_it_before_a_repeated_request_confirms_it() {
    // Whether the change before it has left an unsynced anchor.
    for leaves_unsynced in [false, true] {
        let (installation, registry) = Installation::with_acme().await;
        registry.link(true).await;
        registry.chains.anchors.sync().await.unwrap();
        if leaves_unsynced {
            registry.add(&act(), key("b", "sk-acme-b")).await.unwrap();
        }
        let before = installation.copy();
        let unsynced = before.heads().join("workspace.acme.unsynced");
        assert_eq!(unsynced.exists(), leaves_unsynced);
        registry.add(&act(), once_added()).await.unwrap();
        drop(registry);
        // It was killed as soon as the head was on disk.
        installation.put_back_anchors(&before);
        let registry = installation.open().await;
        let confirmed = registry.add(&act(), once_added()).await.unwrap();
        assert!(confirmed.repeated);
        drop(registry);
        installation.put_back("workspace/acme", &before.memory);
        assert!(!is_served(&installation).await, "{leaves_unsynced}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_synced_late_gets_its_anchor_before_a_repeated_request_confirms_it() {
    let (installation, registry) = Installation::with_acme().await;
    registry.link(true).await;
    drop(registry);
    let before = installation.memory.copy();
    let (faulty, registry) = installation.open_faulty().await;
    faulty.fail_syncs(true);
    let unknown = registry.add(&act(), once_added()).await.err();
    let is_unknown = matches!(unknown, Some(ChangeError::OutcomeUnknown(_)));
    assert!(is_unknown, "{unknown:?}");
    faulty.fail_syncs(false);
    let confirmed = registry.add(&act(), once_added()).await.unwrap();
    assert!(confirmed.repeated);
    drop(registry);
    installation.put_back("workspace/acme", &before);
    assert!(!is_served(&installation).await);
}

/// Only who can write the folder can put them there.
#[tokio::test(start_paused = true)]
async fn a_forged_head_in_an_unsynced_anchor_keeps_no_later_head_out() {
    let (installation, registry) = Installation::with_acme().await;
    registry.link(true).await;
    registry.chains.anchors.sync().await.unwrap();
    let before = installation.memory.copy();
    let acme = registry.chains.of(&acme());
    let name = acme.chain.name();
    let forged = Head {
        seq: u64::MAX,
        ..acme.state().unwrap().head.clone()
    };
    let of = registry.keyring.installation().installation();
    let forged = forged.sign(name, of, &SigningKey::from_seed(&[1; 32]));
    let len = u16::try_from(forged.len()).unwrap().to_le_bytes();
    // Each slot begins with its length.
    let mut slots = [&len[..], &forged].concat();
    slots.resize(8 << 10, 0);
    let slots = slots.repeat(2);
    let unsynced = installation.heads().join("workspace.acme.unsynced");
    let anchors = &registry.chains.anchors;
    for label in ["a", "b"] {
        fs::write(&unsynced, &slots).unwrap();
        let new = key(label, &format!("sk-acme-{label}"));
        registry.add(&act(), new).await.unwrap();
        let changed = acme.state().unwrap().head.link();
        assert_eq!(anchors.read(name).unwrap(), Some(changed));
    }
    fs::write(&unsynced, &slots).unwrap();
    anchors.sync_unsynced().await;
    assert!(!unsynced.exists(), "nothing in it counts");
    drop(registry);
    installation.put_back("workspace/acme", &before);
    assert!(!is_served(&installation).await);
}

/// Otherwise its next start would miss the anchor.
#[tokio::test]
async fn a_new_installation_does_not_start_before_its_first_anchor_can_be_written() {
    let installation = Installation::new();
    let lock = installation.heads().join(".lock");
    fs::create_dir_all(&lock).unwrap();
    for _ in 0..2 {
        let error = installation.try_open().await.err().unwrap();
        let is_named = matches!(&error, OpenError::FirstAnchorNotWritten { heads, .. } if *heads == installation.heads());
        assert!(is_named, "{error}");
    }
    fs::remove_dir(&lock).unwrap();
    let registry = installation.open().await;
    let made = registry.create_workspace(&act(), workspace("acme")).await;
    made.unwrap();
    drop(registry);
    installation.open().await;
}

/// It would have no head, and a later commit no anchor.
#[tokio::test]
async fn a_new_installation_does_not_start_on_a_full_disk() {
    let installation = Installation::new();
    let storage = Arc::new(Faulty::new(installation.backend()));
    storage.reserve_disk_space_for(Effect::EndsUse);
    let refused = open_without_tasks(installation.options(storage.backend())).await;
    let error = refused.err().unwrap();
    let is_full = matches!(error, OpenError::Storage(StorageError::Full { .. }));
    assert!(is_full, "{error}");
    installation.open().await;
}

/// A sync of the folder that fails after the rename leaves such a file.
#[tokio::test]
async fn an_anchor_that_may_not_survive_a_power_cut_does_not_complete_a_workspace() {
    let (installation, registry) = Installation::with_acme().await;
    let lock = let_anchors_fail(&installation);
    let made = registry.create_workspace(&act(), workspace("globex")).await;
    made.unwrap();
    let globex: WorkspaceId = "globex".parse().unwrap();
    let is_pending = |registry: &Registry| {
        let registration = registry.chains.registration(&globex);
        registration.unwrap().pending.is_some()
    };
    let head = registry.chains.of(&globex).state().unwrap();
    fs::write(installation.heads().join("workspace.globex"), head.bytes()).unwrap();
    registry.link(true).await;
    assert!(is_pending(&registry));
    fs::remove_dir(&lock).unwrap();
    drop(registry);
    let registry = installation.open().await;
    let tracked = registry.chains.of(&globex);
    assert!(registry.chains.is_anchored(&tracked), "written again");
    registry.link(true).await;
    assert!(!is_pending(&registry));
}
