//! The keyring file, with a local master key.

mod service;
mod shared;
mod successor;

use jiff::SignedDuration;
use keyside_config::{LocalKms, MasterKeySource};
use keyside_store::Signer;
use tempfile::TempDir;

use super::*;
use crate::{KmsSource, MasterKey, sealing::SealContext};

fn kms(byte: u8) -> Kms {
    Kms::local(MasterKey::parse(&[byte; 32], "a test").unwrap())
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

/// A new keyring, and its file.
async fn created() -> (TempDir, PathBuf, Keyring) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let keyring = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    (folder, path, keyring)
}

/// Two processes with one keyring and the same generated master key, and the id of acme's key.
async fn two_with_generated_master_key() -> (TempDir, [Keyring; 2], String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let source = KmsSource::Local(LocalKms {
        master_key: MasterKeySource::Generated(folder.path().join("master-key")),
        previous_master_key: None,
    });
    let opened = || Keyring::open_or_create(&path, Kms::open(&source, &path).unwrap(), T0);
    let one = opened().await.unwrap();
    let id = one.add(&acme()).await.unwrap().id().to_owned();
    let other = opened().await.unwrap();
    (folder, [one, other], id)
}

const T0: Timestamp = Timestamp::UNIX_EPOCH;
const CONTEXT: SealContext<'_> = SealContext::Document { key: "a" };

#[tokio::test]
async fn an_added_key_decrypts_its_secrets_after_a_restart() {
    let (_folder, path, keyring) = created().await;
    let key = keyring.add(&acme()).await.unwrap();
    let (blob, id) = (key.seal(&CONTEXT, b"x"), key.id().to_owned());
    drop((keyring, key));

    let keyring = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    let key = keyring.last(&acme()).unwrap();
    assert_eq!(key.id(), id);
    assert_eq!(&**key.open(&CONTEXT, &blob).unwrap(), b"x");
    assert!(keyring.key(&acme(), "wk_other").is_none());
}

#[tokio::test]
async fn a_wrong_master_key_is_reported_on_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    let error = Keyring::open_or_create(&path, kms(2), T0)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, KeyringError::Kms(KmsError::WrongMasterKey { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_key_moved_to_another_workspace_is_refused() {
    let (_folder, path, keyring) = created().await;
    keyring.add(&acme()).await.unwrap();
    drop(keyring);
    let moved = std::fs::read_to_string(&path)
        .unwrap()
        .replace("\"acme\"", "\"globex\"");
    std::fs::write(&path, moved).unwrap();
    let keyring = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    assert!(keyring.last(&"globex".parse().unwrap()).is_none());
}

#[tokio::test]
async fn the_file_contains_no_usable_key_without_the_master_key() {
    let (_folder, path, keyring) = created().await;
    let one = keyring.add(&acme()).await.unwrap();
    let two = keyring.add(&"globex".parse().unwrap()).await.unwrap();
    assert!(two.open(&CONTEXT, &one.seal(&CONTEXT, b"x")).is_err());
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn damage_a_later_format_and_a_development_format_are_different_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let refused = async |contents: &str| {
        std::fs::write(&path, contents).unwrap();
        let error = Keyring::open_or_create(&path, kms(1), T0)
            .await
            .err()
            .unwrap();
        // Whatever the file contains, it is not replaced.
        assert_eq!(std::fs::read_to_string(&path).unwrap(), contents);
        error
    };
    let error = refused("{\"format\": 2, \"installat").await;
    assert!(matches!(error, KeyringError::Damaged { .. }), "{error}");
    let error = refused("{\"format\": 2}").await;
    assert!(matches!(error, KeyringError::Damaged { .. }), "{error}");
    let error = refused("{\"format\": 3}").await;
    assert!(
        matches!(error, KeyringError::Newer { found: 3, .. }),
        "{error}"
    );
    let before = r#"{"format": 1, "installation": "ins_a", "workspaces": {}}"#;
    let error = refused(before).await;
    assert!(matches!(error, KeyringError::Development { .. }), "{error}");
    assert!(error.to_string().contains("empty data folder"), "{error}");
}

#[tokio::test]
async fn the_signing_key_survives_a_restart() {
    let (_folder, path, keyring) = created().await;
    let public = keyring.public_key();
    drop(keyring);
    let keyring = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    assert_eq!(keyring.public_key(), public);
    let signature = keyring.signer().unwrap().sign(b"head");
    assert!(public.verify(b"head", &signature));
    let json = std::fs::read_to_string(&path).unwrap();
    assert!(json.contains(&public.to_string()), "for people to read");
}

/// An attacker who can write every file but cannot use the master key must not be able to sign the
/// store again.
#[tokio::test]
async fn no_key_unwraps_if_the_public_key_was_replaced() {
    let (_folder, path, keyring) = created().await;
    keyring.add(&acme()).await.unwrap();
    keyring.add_next(&acme()).await.unwrap();
    drop(keyring);
    let kept = std::fs::read(&path).unwrap();
    let mut file = KeyringFile::read(&path).unwrap().unwrap();
    file.public_key = SigningKey::from_seed(&[5; 32]).public();
    file.replace(&path).unwrap();
    let error = Keyring::open_or_create(&path, kms(1), T0)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, KeyringError::Kms(KmsError::NotAuthentic { .. })),
        "{error}"
    );
    // Every key is bound to the public key, not only the first one that is unwrapped.
    let memory = LockedMemory::default();
    let keys = open::unwrap_all(&kms(1).service(), &file, &memory).await;
    assert!(keys.unwrap().values().all(Vec::is_empty));
    std::fs::write(&path, kept).unwrap();
    let keyring = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    assert!(keyring.last(&acme()).is_some());
}

/// Nothing is wrapped together with the replaced public key, either.
#[tokio::test]
async fn a_public_key_replaced_at_run_time_is_not_trusted() {
    let (_folder, path, keyring) = created().await;
    let key = keyring.add(&acme()).await.unwrap();
    let mut file = KeyringFile::read(&path).unwrap().unwrap();
    file.public_key = SigningKey::from_seed(&[5; 32]).public();
    file.replace(&path).unwrap();
    let swapped = std::fs::read(&path).unwrap();
    let globex = "globex".parse().unwrap();
    for error in [
        keyring.add(&globex).await.err().unwrap(),
        keyring.add_next(&acme()).await.err().unwrap(),
        keyring.catch_up().await.unwrap_err(),
    ] {
        assert!(matches!(error, KeyringError::Damaged { .. }), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), swapped);
    assert_eq!(keyring.last(&acme()).unwrap().id(), key.id());
}

#[tokio::test]
async fn a_read_only_keyring_decrypts_and_cannot_sign() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    for error in [
        Keyring::open_to_read(&path, kms(1)).await.err().unwrap(),
        Keyring::open_existing(&path, kms(1)).await.err().unwrap(),
    ] {
        assert!(matches!(error, KeyringError::Missing { .. }), "{error}");
        assert!(!path.exists());
    }
    let keyring = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    let key = keyring.add(&acme()).await.unwrap();
    let blob = key.seal(&CONTEXT, b"x");
    let before = std::fs::read(&path).unwrap();
    let reader = Keyring::open_to_read(&path, kms(1)).await.unwrap();
    let opened = reader.last(&acme()).unwrap().open(&CONTEXT, &blob);
    assert_eq!(&**opened.unwrap(), b"x");
    assert_eq!(reader.public_key(), keyring.public_key());
    assert!(reader.signer().is_none());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// The header of a backup shows one to everyone.
#[tokio::test]
async fn a_key_wrapped_for_another_purpose_does_not_sign() {
    let (_folder, path, keyring) = created().await;
    let (key, alone) = keyring.new_standalone_key("bk_").await.unwrap();
    drop(keyring);
    let mut file = KeyringFile::read(&path).unwrap().unwrap();
    file.signing_key = WrappedKey {
        id: key.id().to_owned(),
        wrapped: alone.bytes,
    };
    file.replace(&path).unwrap();
    let error = Keyring::open_or_create(&path, kms(1), T0)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, KeyringError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_key_left_by_a_crash_is_used_and_not_replaced() {
    let (_folder, path, keyring) = created().await;
    let left = keyring.add(&acme()).await.unwrap().id().to_owned();
    drop(keyring);
    let keyring = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    assert_eq!(keyring.add(&acme()).await.unwrap().id(), left);
}

/// A day after `T0`.
fn next_day() -> Timestamp {
    T0 + SignedDuration::from_hours(24)
}

#[tokio::test]
async fn a_keyring_remembers_since_when_its_master_key_is_in_use() {
    let (_folder, path, keyring) = created().await;
    assert_eq!(keyring.master_key_since(), Some(T0));
    keyring.add(&acme()).await.unwrap();
    drop(keyring);
    let reopened = Keyring::open_or_create(&path, kms(1), next_day()).await;
    assert_eq!(reopened.unwrap().master_key_since(), Some(T0));
}

#[tokio::test]
async fn a_new_master_key_is_in_use_since_its_rotation_in_every_process() {
    let (_folder, [one, other], _) = two_with_generated_master_key().await;
    let to = one.next_master_key().await.unwrap();
    one.rewrap(&to, None, next_day()).await.unwrap();
    assert_eq!(one.master_key_since(), Some(next_day()));
    assert_eq!(other.master_key_since(), Some(T0));
    other.catch_up().await.unwrap();
    assert_eq!(other.master_key_since(), Some(next_day()));
}

#[tokio::test]
async fn a_new_signing_key_does_not_make_the_master_key_younger() {
    let (_folder, _path, keyring) = created().await;
    let next = keyring.add_successor().await.unwrap();
    let same = keyring.stored.lock().await.kms.service().name("");
    let rewrapped = keyring.rewrap(&same, Some(&next), next_day());
    assert!(rewrapped.await.unwrap().keys > 0);
    assert_eq!(keyring.master_key_since(), Some(T0));
}

#[tokio::test]
async fn a_keyring_of_an_earlier_version_does_not_say_since_when() {
    let (_folder, path, keyring) = created().await;
    drop(keyring);
    let mut file = KeyringFile::read(&path).unwrap().unwrap();
    file.master_key_since = None;
    file.replace(&path).unwrap();
    let keyring = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    assert_eq!(keyring.master_key_since(), None);
}
