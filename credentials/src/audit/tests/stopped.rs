//! Verifies a store that no process serves: everything that a start would refuse is reported, with
//! its location.

use std::{collections::BTreeMap, fs};

use jiff::Timestamp;

use super::*;
use crate::KmsSource;

/// A copy of an installation: its store, and the folder with its keyring and anchors.
struct Stopped {
    folder: TempDir,
    memory: Memory,
}

impl Stopped {
    async fn with_a_key() -> Self {
        let memory = Arc::new(Memory::new());
        let (folder, registry) = open_on(&memory).await;
        add(&registry, "main".to_owned()).await;
        Self::of(memory.copy(), &folder)
    }

    fn of(memory: Memory, original: &TempDir) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_files(original.path(), folder.path());
        Self { folder, memory }
    }

    /// Edits the store, as an attacker with write access could.
    fn tamper(&self, with: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) {
        with(&mut self.memory.contents().objects);
    }

    async fn offline(&self) -> OfflineAudit {
        let backend = Backend::of(Arc::new(self.memory.copy()));
        let kms = KmsSource::Service(kms().service());
        let keyring = self.folder.path().join("keyring");
        OfflineAudit::open(backend, &keyring, &kms).await.unwrap()
    }

    /// All damage found. `verify` reports only the first.
    async fn damage(&self) -> Vec<String> {
        let offline = self.offline().await;
        let damage = offline.inspect().await.unwrap().damage;
        let verified = match offline.verify().await {
            Ok(_) => None,
            Err(VerifyError::Broken(found)) => Some(found),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(verified.as_ref(), damage.first());
        damage.iter().map(ToString::to_string).collect()
    }

    async fn check_finds(&self, parts: &[&str]) {
        let damage = self.damage().await.join("\n");
        for part in parts {
            assert!(damage.contains(part), "no {part:?} in {damage:?}");
        }
    }
}

fn is_credential(object: &[u8]) -> bool {
    String::from_utf8_lossy(object).contains("\"versions\"")
}

#[tokio::test]
async fn an_intact_store_has_no_damage_and_lists_its_destinations() {
    let stopped = Stopped::with_a_key().await;
    let files = || fs::read_dir(stopped.folder.path()).unwrap().count();
    let before = files();
    assert_eq!(stopped.damage().await, Vec::<String>::new());
    let inspected = stopped.offline().await.inspect().await.unwrap();
    let destinations: Vec<_> = inspected.destinations.into_iter().collect();
    let openai = "openai".parse::<keyside_config::ProviderId>().unwrap();
    assert_eq!(destinations, [(openai, None)]);
    assert_eq!(files(), before, "something was made in the data folder");
}

#[tokio::test]
async fn a_missing_or_edited_installation_anchor_is_reported() {
    let stopped = Stopped::with_a_key().await;
    let heads = stopped.folder.path().join("heads");
    let own = heads.join("installation");
    let path = own.display().to_string();
    fs::write(&own, "edited").unwrap();
    let edited = ["the chain installation", path.as_str(), "is damaged"];
    stopped.check_finds(&edited).await;
    let gone = ["the chain installation", path.as_str(), "is gone"];
    fs::remove_file(&own).unwrap();
    stopped.check_finds(&gone).await;
    fs::remove_dir_all(&heads).unwrap();
    stopped.check_finds(&gone).await;
}

#[tokio::test]
async fn an_edited_workspace_anchor_is_reported() {
    let stopped = Stopped::with_a_key().await;
    let head = stopped.folder.path().join("heads/workspace.acme");
    fs::write(&head, "edited").unwrap();
    let path = head.display().to_string();
    stopped
        .check_finds(&["the chain workspace/acme", &path])
        .await;
}

#[tokio::test]
async fn an_emptied_store_is_not_treated_as_a_new_one() {
    let stopped = Stopped::with_a_key().await;
    stopped.tamper(BTreeMap::clear);
    stopped
        .check_finds(&["installation", "its head is gone"])
        .await;
    fs::remove_dir_all(stopped.folder.path().join("heads")).unwrap();
    stopped
        .check_finds(&["installation", "its head is gone"])
        .await;
}

#[tokio::test]
async fn a_store_older_than_the_anchors_is_reported() {
    let memory = Arc::new(Memory::new());
    let (folder, registry) = open_on(&memory).await;
    let older = memory.copy();
    add(&registry, "later".to_owned()).await;
    let stopped = Stopped::of(older, &folder);
    let head = stopped.folder.path().join("heads/workspace.acme");
    let path = head.display().to_string();
    let older = ["put back to an older state", path.as_str()];
    stopped.check_finds(&older).await;
}

/// No anchor is newer than the store: only the head of the workspace proves the rollback.
#[tokio::test]
async fn a_rollback_of_the_installation_with_its_anchor_is_reported() {
    let memory = Arc::new(Memory::new());
    let (folder, registry) = open_on(&memory).await;
    let older = memory.copy();
    let refused = registry.audit().refused(&act(), "wrong-token").await;
    refused.unwrap();
    add(&registry, "later".to_owned()).await;
    registry.flush().await;
    let stopped = Stopped::of(memory.copy(), &folder);
    let older = older.contents().objects.clone();
    let head = &older["installation/head"];
    fs::write(stopped.folder.path().join("heads/installation"), head).unwrap();
    let own = older
        .iter()
        .filter(|(key, _)| key.starts_with("installation/"));
    stopped.tamper(|objects| objects.extend(own.map(|(key, bytes)| (key.clone(), bytes.clone()))));
    stopped
        .check_finds(&[
            "the chain installation",
            "put back to an older state",
            "the head of workspace/acme shows that",
        ])
        .await;
}

#[tokio::test]
async fn a_missing_workspace_head_or_map_page_is_reported() {
    let stopped = Stopped::with_a_key().await;
    let whole = stopped.memory.copy();
    stopped.tamper(|objects| drop(objects.remove("workspace/acme/head")));
    let gone = ["the chain workspace/acme", "its head is gone"];
    stopped.check_finds(&gone).await;
    let stopped = Stopped {
        memory: whole,
        ..stopped
    };
    stopped.tamper(|objects| objects.retain(|key, _| !key.starts_with("workspace/acme/object/")));
    let gone = ["the chain workspace/acme", "a page of its map"];
    stopped.check_finds(&gone).await;
}

#[tokio::test]
async fn a_missing_or_edited_credential_is_reported_and_adds_no_destination() {
    let stopped = Stopped::with_a_key().await;
    stopped.tamper(|objects| {
        let credentials = objects.values_mut();
        let credentials = credentials.filter(|object| is_credential(object));
        credentials.for_each(|object| object.push(b' '));
    });
    stopped
        .check_finds(&["workspace/acme/credential/", "edited"])
        .await;
    stopped.tamper(|objects| objects.retain(|_, object| !is_credential(object)));
    stopped
        .check_finds(&["workspace/acme/credential/", "it is gone"])
        .await;
    let inspected = stopped.offline().await.inspect().await.unwrap();
    assert!(inspected.destinations.is_empty(), "{inspected:?}");
}

#[tokio::test]
async fn accepting_the_clock_does_not_recreate_a_missing_anchor() {
    let stopped = Stopped::with_a_key().await;
    let head = stopped.folder.path().join("heads/installation");
    fs::remove_file(&head).unwrap();
    let behind = ClockBehind {
        clock: Timestamp::UNIX_EPOCH,
        log: Timestamp::UNIX_EPOCH,
    };
    let accepted = stopped.offline().await.accept_clock(behind).await;
    assert!(
        matches!(accepted, Err(VerifyError::Broken(_))),
        "{accepted:?}"
    );
    assert!(!head.exists(), "the head was written");
}
