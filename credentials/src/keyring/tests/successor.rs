//! Successors of the signing key: who trusts them, and that nobody adds one who cannot use the KMS.

use super::*;

/// The one master key that [`kms`] has.
fn master_key() -> String {
    kms(1).service().name("")
}

fn both(one: PublicKey, other: PublicKey) -> TrustedKeys {
    [one, other].into_iter().collect()
}

/// Has a successor take over.
async fn rotated(keyring: &Keyring) -> PublicKey {
    let next = keyring.add_successor().await.unwrap();
    keyring.rewrap(&master_key(), Some(&next)).await.unwrap();
    next
}

#[tokio::test]
async fn a_successor_is_trusted_at_once_and_takes_over_with_every_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let keyring = Keyring::open_or_create(&path, kms(1)).await.unwrap();
    let key = keyring.add(&acme()).await.unwrap();
    let (blob, old) = (key.seal(&CONTEXT, b"x"), keyring.public_key());
    let next = keyring.add_successor().await.unwrap();
    for opened in [
        &keyring,
        &Keyring::open_or_create(&path, kms(1)).await.unwrap(),
    ] {
        assert_eq!(
            (opened.public_key(), opened.trust()),
            (old, both(old, next))
        );
        let signature = opened.signing().signer(&next).unwrap().sign(b"head");
        assert!(next.verify(b"head", &signature));
    }
    let rewrapped = keyring.rewrap(&master_key(), Some(&next)).await.unwrap();
    // The new signing key, the installation's own, and that of acme.
    assert_eq!((rewrapped.keys, rewrapped.warning), (3, None));
    for opened in [
        &keyring,
        &Keyring::open_or_create(&path, kms(1)).await.unwrap(),
    ] {
        assert_eq!(opened.trust(), TrustedKeys::from(next));
        assert_eq!(opened.signer().unwrap().public(), next);
        assert!(opened.signing().signer(&old).is_none());
        let key = opened.current(&acme()).unwrap();
        assert_eq!(&**key.open(&CONTEXT, &blob).unwrap(), b"x");
    }
    let again = keyring.rewrap(&master_key(), Some(&next)).await.unwrap();
    assert_eq!(again.keys, 0, "repeating it does no harm");
}

#[tokio::test]
async fn who_only_reads_follows_whether_or_not_it_has_seen_the_successor_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let keyring = Keyring::open_or_create(&path, kms(1)).await.unwrap();
    keyring.add(&acme()).await.unwrap();
    let old = keyring.public_key();
    let looks = Keyring::open_to_read(&path, kms(1)).await.unwrap();
    let sleeps = Keyring::open_to_read(&path, kms(1)).await.unwrap();
    let next = keyring.add_successor().await.unwrap();
    looks.catch_up().await.unwrap();
    assert_eq!(looks.trust(), both(old, next));
    keyring.rewrap(&master_key(), Some(&next)).await.unwrap();
    for reader in [&looks, &sleeps] {
        reader.catch_up().await.unwrap();
        assert_eq!(reader.trust(), TrustedKeys::from(next));
        assert!(reader.signer().is_none() && reader.current(&acme()).is_some());
    }
}

/// One that was the signing key itself, and was stolen then.
#[tokio::test]
async fn no_key_becomes_a_successor_again_or_without_the_kms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let keyring = Keyring::open_or_create(&path, kms(1)).await.unwrap();
    let first = KeyringFile::read(&path).unwrap().unwrap();
    let stolen = keyring.add_successor().await.unwrap();
    let file = KeyringFile::read(&path).unwrap().unwrap();
    let as_successor = file.successors[0].clone();
    keyring.rewrap(&master_key(), Some(&stolen)).await.unwrap();
    let second = KeyringFile::read(&path).unwrap().unwrap();
    let now = rotated(&keyring).await;
    drop(keyring);
    let good = KeyringFile::read(&path).unwrap().unwrap();
    let of_signing = |file: &KeyringFile| stored::SuccessorKey {
        key: file.signing_key.clone(),
        public_key: file.public_key,
        wrapped_public: as_successor.wrapped_public.clone(),
    };
    let forged = stored::SuccessorKey {
        public_key: SigningKey::from_seed(&[5; 32]).public(),
        ..as_successor.clone()
    };
    for successor in [
        as_successor.clone(),
        of_signing(&first),
        of_signing(&second),
        forged,
    ] {
        let mut file = good.clone();
        file.successors.push(successor);
        file.replace(&path).unwrap();
        let opened = Keyring::open_or_create(&path, kms(1)).await.unwrap();
        assert_eq!(opened.trust(), TrustedKeys::from(now));
        let reader = Keyring::open_to_read(&path, kms(1)).await.unwrap();
        assert_eq!(reader.trust(), TrustedKeys::from(now));
    }
    // Nor does a successor of now pass under another public key.
    good.replace(&path).unwrap();
    let keyring = Keyring::open_or_create(&path, kms(1)).await.unwrap();
    keyring.add_successor().await.unwrap();
    let mut file = KeyringFile::read(&path).unwrap().unwrap();
    file.successors[0].public_key = stolen;
    file.replace(&path).unwrap();
    for opened in [
        Keyring::open_or_create(&path, kms(1)).await.unwrap(),
        Keyring::open_to_read(&path, kms(1)).await.unwrap(),
    ] {
        assert_eq!(opened.trust(), TrustedKeys::from(now));
    }
}

/// The one that has not rotated knows no key that the file is wrapped with now, and has the successor in memory.
#[tokio::test]
async fn a_process_without_the_new_master_key_goes_over_to_a_successor_that_it_has_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let local = crate::KmsSource::Local(keyside_config::LocalKms {
        master_key: keyside_config::MasterKeySource::Generated(folder.path().join("master-key")),
        previous_master_key: None,
    });
    let opened = || Kms::open(&local, &path).unwrap();
    let one = Keyring::open_or_create(&path, opened()).await.unwrap();
    let key = one.add(&acme()).await.unwrap();
    let other = Keyring::open_or_create(&path, opened()).await.unwrap();
    let to = one.next_master_key().await.unwrap();
    let next = one.add_successor().await.unwrap();
    other.catch_up().await.unwrap();
    one.rewrap(&to, Some(&next)).await.unwrap();
    other.catch_up().await.unwrap();
    assert_eq!(other.trust(), TrustedKeys::from(next));
    assert_eq!(other.signer().unwrap().public(), next);
    assert_eq!(other.current(&acme()).unwrap().id(), key.id());
}
