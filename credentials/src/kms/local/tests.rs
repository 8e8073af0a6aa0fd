use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::kms::{
    Kms,
    contract::{self, HERE},
};

fn master_key(byte: u8) -> MasterKey {
    MasterKey::parse(&[byte; 32], "a test").unwrap()
}

#[test]
fn a_generated_key_parses_with_and_without_its_newline_and_padding() {
    let text = MasterKey::generate();
    let id = MasterKey::parse(text.as_bytes(), "a test")
        .unwrap()
        .id()
        .to_owned();
    for form in [
        format!("{}\n", *text),
        format!("  {}\r\n", *text),
        text.trim_end_matches('=').to_owned(),
    ] {
        assert_eq!(
            MasterKey::parse(form.as_bytes(), "a test").unwrap().id(),
            id
        );
    }
    assert_ne!(*MasterKey::generate(), *text);
}

#[test]
fn an_invalid_key_is_refused_by_its_source_without_its_content() {
    for wrong in ["", "hunter2", "c2hvcnQ=", &"A".repeat(64), &"A".repeat(100)] {
        let error = MasterKey::parse(wrong.as_bytes(), "/etc/keyside/key")
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("/etc/keyside/key does not hold a master key"),
            "{error}"
        );
        assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
    }
}

#[test]
fn a_wrong_master_key_and_damage_are_different_errors() {
    let wrapped = master_key(7).wrap(&HERE, &[42; 32]);
    let error = master_key(8).unwrap(&HERE, &wrapped).unwrap_err();
    let KmsError::WrongMasterKey { expected, given } = &error else {
        panic!("{error}");
    };
    assert_eq!(
        (expected.as_str(), given.as_str()),
        (master_key(7).id(), master_key(8).id())
    );
    assert!(error.to_string().contains("KMS_MASTER_KEY_FILE"));
}

#[test]
fn without_settings_a_key_is_generated_once_and_only_its_owner_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.master-key");
    let source = MasterKeySource::Generated(path.clone());
    let keyring = folder.path().join("keyring");
    let made = MasterKey::find(&source, &keyring).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(MasterKey::find(&source, &keyring).unwrap().id(), made.id());
}

#[test]
fn no_key_is_generated_if_a_keyring_exists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.master-key");
    let keyring = folder.path().join("keyring");
    std::fs::write(&keyring, "{}").unwrap();
    let error = MasterKey::find(&MasterKeySource::Generated(path.clone()), &keyring)
        .err()
        .unwrap();
    assert!(matches!(error, KmsError::GeneratedGone { .. }), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_configured_key_file_that_is_missing_is_never_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let error = MasterKey::find(
        &MasterKeySource::File(path.clone()),
        &folder.path().join("keyring"),
    )
    .err()
    .unwrap();
    assert!(
        error.to_string().contains("keyside master-key generate"),
        "{error}"
    );
    assert!(!path.exists());
}

#[tokio::test]
async fn the_local_driver_keeps_the_contract_of_a_key_service() {
    let service = |byte| Kms::local(master_key(byte)).service();
    contract::upheld_by(service(7), service(8)).await;
}

#[test]
fn a_key_wrapped_by_another_driver_names_that_driver() {
    let wrapped = [b"\x02".as_slice(), &[7; 60]].concat();
    let error = master_key(7).unwrap(&HERE, &wrapped).unwrap_err();
    assert!(
        matches!(
            error,
            KmsError::OtherDriver {
                driver: "vault",
                ..
            }
        ),
        "{error}"
    );
}
