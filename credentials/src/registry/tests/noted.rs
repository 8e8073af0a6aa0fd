//! Notes: one for each credential, gone with its workspace, and no start depends on them.

use keyside_config::Verification;
use keyside_store::{MAX_NOTE, faulty::FaultyNotes};

use super::{
    access::{made, new_token},
    erasing::{acme, erase},
    *,
};
use crate::{
    access::{CreatedToken, Role},
    live_check::Finding,
    model::RejectionCause,
};

/// Notes a check and a rejection of a credential.
fn note_all(registry: &Registry, id: &CredentialId) {
    let finding = Finding::of_verdict(Verification::Accepted, Some(200));
    registry.keep_check(id, (1, None), finding, registry.now());
    let snapshot = registry.snapshot.load();
    let (_, entry) = snapshot.credential(id).unwrap();
    crate::snapshot::traffic::rejected(entry, RejectionCause::Quota);
}

/// The names of the notes that contain a text.
fn names(memory: &Memory, text: &str) -> Vec<String> {
    let contents = memory.contents();
    let names = contents.notes.keys();
    names.filter(|name| name.contains(text)).cloned().collect()
}

#[tokio::test]
async fn notes_that_cannot_be_read_do_not_prevent_a_start() {
    let (installation, registry, id) = one_key().await;
    drop(registry);
    let notes = Arc::new(FaultyNotes::new(installation.memory.clone()));
    notes.fail_reads(true);
    let backend = Backend {
        notes,
        ..installation.backend()
    };
    let registry = open_without_tasks(installation.options(backend)).await;
    let registry = registry.unwrap();
    note_all(&registry, &id);
    registry.flush().await;
    assert!(registry.last_check(&id).is_some(), "kept in memory");
}

#[tokio::test]
async fn each_credential_has_its_own_small_notes_which_survive_a_restart() {
    let (installation, registry) = Installation::with_acme().await;
    let mut ids = Vec::new();
    for number in 0..100 {
        let label = format!("key-{number}");
        let new = key(&label, &format!("sk-{number}"));
        let added = registry.add(&act(), new).await.unwrap();
        note_all(&registry, &added.credential.id);
        ids.push(added.credential.id);
    }
    registry.flush().await;
    {
        let contents = installation.memory.contents();
        assert!(contents.notes.len() >= 200);
        let sizes = contents.notes.values().map(Vec::len);
        assert!(sizes.max().unwrap() < MAX_NOTE);
    }
    drop(registry);
    let registry = installation.open().await;
    for id in &ids {
        assert!(registry.last_check(id).is_some());
    }
    assert_eq!(registry.rejected_in_traffic().len(), ids.len());
}

#[tokio::test]
async fn what_was_noted_while_the_clock_was_ahead_hides_nothing_that_came_after_it() {
    let (installation, registry, id) = one_key().await;
    let CreatedToken { token, text, .. } = made(&registry, new_token(Role::Viewer)).await;
    installation.clock.set(NOW + 10 * DAY);
    note_all(&registry, &id);
    registry.access().authenticate(&text).unwrap();
    registry.store_checks().await;
    registry.store_last_used().await;
    drop(registry);
    installation.clock.set(NOW + 60);
    let registry = installation.open().await;
    let finding = Finding::of_verdict(Verification::Rejected, Some(401));
    registry.keep_check(&id, (1, None), finding, registry.now());
    registry.access().authenticate(&text).unwrap();
    registry.store_checks().await;
    registry.store_last_used().await;
    for registry in [registry, installation.open().await] {
        assert_eq!(registry.last_check(&id).unwrap().finding, finding);
        let used = registry.access().find(&token.id).unwrap().last_used_at;
        assert_eq!(used.map(|at| at.as_second()), Some(NOW + 60));
    }
}

#[tokio::test]
async fn a_use_of_a_token_in_another_process_is_shown_once_it_is_stored() {
    let (installation, registry) = Installation::with_acme().await;
    let CreatedToken { token, text, .. } = made(&registry, new_token(Role::Viewer)).await;
    let other = installation.open().await;
    installation.clock.set(NOW + 60);
    other.access().authenticate(&text).unwrap();
    for process in [&other, &registry] {
        process.store_last_used().await;
    }
    let used = registry.access().find(&token.id).unwrap().last_used_at;
    assert_eq!(used.map(|at| at.as_second()), Some(NOW + 60));
}

#[tokio::test]
async fn an_erased_workspace_leaves_no_note_and_others_keep_theirs() {
    let (installation, registry, id) = super::erasing::two_workspaces().await;
    let globex: WorkspaceId = "globex".parse().unwrap();
    let other = {
        let snapshot = registry.snapshot.load();
        let workspace = snapshot.workspaces.get(&globex).unwrap();
        let first = workspace.credentials.values().next().unwrap();
        first.document.id.clone()
    };
    note_all(&registry, &id);
    note_all(&registry, &other);
    registry.flush().await;
    let memory = &installation.memory;
    assert_eq!(names(memory, "/acme/").len(), 2);
    assert_eq!(names(memory, id.as_str()).len(), 2);
    erase(&registry).await;
    assert_eq!(names(memory, "/acme/"), [""; 0]);
    registry.flush().await;
    assert_eq!(names(memory, id.as_str()), [""; 0], "not written again");
    assert_eq!(names(memory, "/globex/").len(), 2);
    assert_eq!(registry.workspace(&acme()), None);
}

#[tokio::test]
async fn a_start_removes_the_notes_that_a_crash_left_of_an_erased_workspace() {
    let (installation, registry, id) = super::erasing::two_workspaces().await;
    note_all(&registry, &id);
    registry.flush().await;
    let before = installation.memory.contents().notes.clone();
    erase(&registry).await;
    drop(registry);
    installation.memory.contents().notes = before;
    installation.open().await;
    assert_eq!(names(&installation.memory, "/acme/"), [""; 0]);
}
