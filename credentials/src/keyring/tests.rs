//! The keyring over its file, with a local master key.

mod service;

use super::*;
use crate::{MasterKey, sealing::Place};

fn kms(byte: u8) -> Kms {
    Kms::local(MasterKey::parse(&[byte; 32], "a test").unwrap())
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

const PLACE: Place<'_> = Place::Document { key: "a" };

#[tokio::test]
async fn a_key_that_was_added_opens_what_it_sealed_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let keyring = Keyring::open_or_create(&path, kms(1)).await.unwrap();
    let key = keyring.add(&acme()).await.unwrap();
    let (blob, id) = (key.seal(&PLACE, b"x"), key.id().to_owned());
    drop((keyring, key));

    let keyring = Keyring::open_or_create(&path, kms(1)).await.unwrap();
    let key = keyring.current(&acme()).unwrap();
    assert_eq!(key.id(), id);
    assert_eq!(&**key.open(&PLACE, &blob).unwrap(), b"x");
    assert!(keyring.key(&acme(), "wk_other").is_none());
}

#[tokio::test]
async fn a_wrong_master_key_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    Keyring::open_or_create(&path, kms(1)).await.unwrap();
    let error = Keyring::open_or_create(&path, kms(2)).await.err().unwrap();
    assert!(
        matches!(error, KeyringError::Kms(KmsError::WrongMasterKey { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_key_moved_to_another_workspace_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let keyring = Keyring::open_or_create(&path, kms(1)).await.unwrap();
    keyring.add(&acme()).await.unwrap();
    drop(keyring);
    let moved = std::fs::read_to_string(&path)
        .unwrap()
        .replace("\"acme\"", "\"globex\"");
    std::fs::write(&path, moved).unwrap();
    let keyring = Keyring::open_or_create(&path, kms(1)).await.unwrap();
    assert!(keyring.current(&"globex".parse().unwrap()).is_none());
}

#[tokio::test]
async fn the_file_holds_nothing_that_opens_without_the_master_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let keyring = Keyring::open_or_create(&path, kms(1)).await.unwrap();
    let one = keyring.add(&acme()).await.unwrap();
    let two = keyring.add(&"globex".parse().unwrap()).await.unwrap();
    assert!(two.open(&PLACE, &one.seal(&PLACE, b"x")).is_err());
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn damage_and_a_later_format_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    std::fs::write(&path, "{\"format\": 1, \"installat").unwrap();
    assert!(matches!(
        Keyring::open_or_create(&path, kms(1)).await.err(),
        Some(KeyringError::Damaged { .. })
    ));
    std::fs::write(&path, "{\"format\": 2}").unwrap();
    assert!(matches!(
        Keyring::open_or_create(&path, kms(1)).await.err(),
        Some(KeyringError::Newer { found: 2, .. })
    ));
}

#[tokio::test]
async fn a_key_that_a_crash_has_left_is_used_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let keyring = Keyring::open_or_create(&path, kms(1)).await.unwrap();
    let left = keyring.add(&acme()).await.unwrap().id().to_owned();
    drop(keyring);
    let keyring = Keyring::open_or_create(&path, kms(1)).await.unwrap();
    assert_eq!(keyring.add(&acme()).await.unwrap().id(), left);
}
