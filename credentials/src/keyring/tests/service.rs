//! A keyring whose keys are wrapped by a remote service.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::sync::Barrier;

use super::*;
use crate::kms::tests::RemoteService;

fn remote() -> RemoteService {
    RemoteService::of(&kms(1))
}

async fn open(path: &Path, service: &Arc<RemoteService>) -> Result<Keyring, KeyringError> {
    let kms = Kms::open(&KmsSource::Service(service.clone()), path)?;
    Keyring::open_or_create(path, kms, T0).await
}

/// A new keyring, its file, and its service.
async fn created_with_service() -> (TempDir, PathBuf, Arc<RemoteService>, Keyring) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let service = Arc::new(remote());
    let keyring = open(&path, &service).await.unwrap();
    (folder, path, service, keyring)
}

fn away() -> KmsError {
    KmsError::Unavailable {
        reason: "connection refused".to_owned(),
        transient: true,
    }
}

fn refused() -> KmsError {
    KmsError::Refused {
        wrapping_key: "transit/keyside-acme".to_owned(),
        reason: "permission denied".to_owned(),
    }
}

#[tokio::test]
async fn keys_are_unwrapped_sixteen_at_a_time_and_keep_their_order() {
    let (_folder, path, _, keyring) = created_with_service().await;
    let ids = |n: usize| format!("w{n}").parse::<WorkspaceId>().unwrap();
    for workspace in (0..16).map(ids) {
        keyring.add(&workspace).await.unwrap();
        keyring.add_next(&workspace).await.unwrap();
    }
    // With fewer calls at a time this would never return.
    let service = Arc::new(RemoteService {
        together: Some(Barrier::new(16)),
        ..remote()
    });
    let again = open(&path, &service).await.unwrap();
    assert_eq!(service.most.load(Ordering::SeqCst), 16);
    for workspace in (0..16).map(ids) {
        assert_eq!(again.ids(&workspace).await, keyring.ids(&workspace).await);
        let seals = |keyring: &Keyring| keyring.last(&workspace).unwrap().id().to_owned();
        assert_eq!(seals(&again), seals(&keyring));
    }
}

#[tokio::test]
async fn a_refused_key_leaves_out_its_workspace_and_an_unreachable_service_is_an_error() {
    let (_folder, path, service, keyring) = created_with_service().await;
    let globex: WorkspaceId = "globex".parse().unwrap();
    keyring.add(&acme()).await.unwrap();
    keyring.add(&globex).await.unwrap();
    service.fail_for("acme", refused);
    let keyring = open(&path, &service).await.unwrap();
    assert!(keyring.last(&acme()).is_none());
    assert!(keyring.last(&globex).is_some());
    assert_eq!(keyring.ids(&acme()).await.len(), 1, "it is kept");
    service.fail_for("acme", away);
    let error = open(&path, &service).await.err().unwrap();
    assert!(
        matches!(error, KeyringError::Kms(KmsError::Unavailable { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn the_service_forgets_a_workspace_before_its_last_key_is_destroyed() {
    let (_folder, _, service, keyring) = created_with_service().await;
    keyring.add(&acme()).await.unwrap();
    keyring.add_next(&acme()).await.unwrap();
    let ids = keyring.ids(&acme()).await;
    let first = HashSet::from([ids[0].clone()]);
    assert_eq!(keyring.destroy(&first).await.unwrap(), 1);
    assert!(service.forgotten.lock().is_empty(), "one is left");
    let all: HashSet<String> = ids.into_iter().collect();
    service.fail_for("acme", away);
    assert!(keyring.destroy(&all).await.is_err());
    assert_eq!(keyring.ids(&acme()).await.len(), 1, "to be tried again");
    service.fails.lock().clear();
    assert_eq!(keyring.destroy(&all).await.unwrap(), 1);
    assert_eq!(*service.forgotten.lock(), ["acme"]);
    // Refused permanently: the keys are deleted from the file nevertheless.
    keyring.add(&acme()).await.unwrap();
    service.fail_for("acme", refused);
    let all = keyring.ids(&acme()).await.into_iter().collect();
    assert_eq!(keyring.destroy(&all).await.unwrap(), 1);
    assert!(keyring.ids(&acme()).await.is_empty());
}

#[tokio::test]
async fn a_rotation_rewraps_every_key_when_the_service_rotates_its_own_key() {
    let (_folder, path, service, keyring) = created_with_service().await;
    keyring.add(&acme()).await.unwrap();
    let before = keyring.to_json().await;
    let to = keyring.next_master_key().await.unwrap();
    assert_eq!(to, service.name(""));
    let rewrapped = keyring.rewrap(&to, None, T0).await.unwrap();
    // The installation's own key, the signing key, and that of acme.
    assert_eq!((rewrapped.keys, rewrapped.previous), (3, to.clone()));
    assert_ne!(keyring.to_json().await, before);
    // Every later start repeats this for a recorded rotation; nothing is left to do.
    let after = keyring.to_json().await;
    keyring.settle(Some(&to), None, T0).await.unwrap();
    assert_eq!(keyring.to_json().await, after);
    assert!(open(&path, &service).await.unwrap().last(&acme()).is_some());
}

/// If it were wrapped together with the old signing key, it would never unwrap again.
#[tokio::test]
async fn the_old_signing_key_is_kept_while_the_service_refuses_a_workspace_key() {
    let (_folder, path, service, keyring) = created_with_service().await;
    let id = keyring.add(&acme()).await.unwrap().id().to_owned();
    let (to, old) = (service.name(""), keyring.public_key());
    let next = keyring.add_successor().await.unwrap();
    service.fail_for("acme", refused);
    let rewrapped = keyring.rewrap(&to, Some(&next), T0).await.unwrap();
    assert!(rewrapped.warning.unwrap().contains(&id));
    assert_eq!(keyring.public_key(), old);
    assert_eq!(
        keyring.trust(),
        [old, next].into_iter().collect::<TrustedKeys>()
    );
    service.fails.lock().clear();
    let rewrapped = keyring.rewrap(&to, Some(&next), T0).await.unwrap();
    assert_eq!((rewrapped.keys, rewrapped.warning), (3, None));
    let keyring = open(&path, &service).await.unwrap();
    assert_eq!(keyring.trust(), TrustedKeys::from(next));
    assert_eq!(keyring.last(&acme()).unwrap().id(), id);
}

#[tokio::test]
async fn a_read_only_process_creates_no_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let reader = Arc::new(RemoteService {
        can_make_new: false,
        ..remote()
    });
    assert!(open(&path, &reader).await.is_err());
    assert!(!path.exists());
    let keyring = open(&path, &Arc::new(remote())).await.unwrap();
    keyring.add(&acme()).await.unwrap();
    let keyring = open(&path, &reader).await.unwrap();
    assert!(keyring.last(&acme()).is_some());
    let error = keyring.add(&"globex".parse().unwrap()).await.err().unwrap();
    assert!(
        matches!(error, KeyringError::Kms(KmsError::CannotMakeNew)),
        "{error}"
    );
}

#[tokio::test]
async fn the_keyring_can_be_read_and_changed_while_a_rotation_waits_for_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let service = Arc::new(RemoteService {
        together: Some(Barrier::new(2)),
        ..remote()
    });
    let keyring = Arc::new(open(&path, &service).await.unwrap());
    keyring.add(&acme()).await.unwrap();
    let next = keyring.add_successor().await.unwrap();
    let (of, to) = (keyring.clone(), service.name(""));
    let rotation = tokio::spawn(async move { of.rewrap(&to, Some(&next), T0).await });
    while service.running.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let globex: WorkspaceId = "globex".parse().unwrap();
    let meanwhile = async {
        keyring.catch_up().await.unwrap();
        keyring.add(&globex).await.unwrap();
    };
    let meanwhile = tokio::time::timeout(Duration::from_secs(20), meanwhile).await;
    assert!(meanwhile.is_ok(), "it waits for the rotation");
    let together = service.together.as_ref().unwrap();
    // Each key is unwrapped once, the new one too.
    for _ in 0..2 {
        together.wait().await;
    }
    let rewrapped = rotation.await.unwrap().unwrap();
    assert_eq!((rewrapped.keys, rewrapped.warning), (4, None));
    let keyring = open(&path, &Arc::new(remote())).await.unwrap();
    assert_eq!(keyring.trust(), TrustedKeys::from(next));
    for workspace in [acme(), globex] {
        assert!(keyring.last(&workspace).is_some(), "{workspace}");
    }
}
