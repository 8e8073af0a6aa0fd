//! Successors of the signing key: who trusts them, and that none can be added without the KMS.

use super::*;

/// The only master key of [`kms`].
fn master_key() -> String {
    kms(1).service().name("")
}

fn both(one: PublicKey, other: PublicKey) -> TrustedKeys {
    [one, other].into_iter().collect()
}

/// Adds a successor and makes it the signing key.
async fn rotated(keyring: &Keyring) -> PublicKey {
    let next = keyring.add_successor().await.unwrap();
    keyring
        .rewrap(&master_key(), Some(&next), T0)
        .await
        .unwrap();
    next
}

#[tokio::test]
async fn a_successor_is_trusted_at_once_and_replaces_the_signing_key_when_all_keys_are_rewrapped() {
    let (_folder, path, keyring) = created().await;
    let key = keyring.add(&acme()).await.unwrap();
    let (blob, old) = (key.seal(&CONTEXT, b"x"), keyring.public_key());
    let next = keyring.add_successor().await.unwrap();
    for opened in [
        &keyring,
        &Keyring::open_or_create(&path, kms(1), T0).await.unwrap(),
    ] {
        assert_eq!(
            (opened.public_key(), opened.trust()),
            (old, both(old, next))
        );
        let signature = opened.signing().signer(&next).unwrap().sign(b"head");
        assert!(next.verify(b"head", &signature));
    }
    let rewrapped = keyring
        .rewrap(&master_key(), Some(&next), T0)
        .await
        .unwrap();
    // The new signing key, the installation's own key, and that of acme.
    assert_eq!((rewrapped.keys, rewrapped.warning), (3, None));
    for opened in [
        &keyring,
        &Keyring::open_or_create(&path, kms(1), T0).await.unwrap(),
    ] {
        assert_eq!(opened.trust(), TrustedKeys::from(next));
        assert_eq!(opened.signer().unwrap().public(), next);
        assert!(opened.signing().signer(&old).is_none());
        let key = opened.last(&acme()).unwrap();
        assert_eq!(&**key.open(&CONTEXT, &blob).unwrap(), b"x");
    }
    let again = keyring
        .rewrap(&master_key(), Some(&next), T0)
        .await
        .unwrap();
    assert_eq!(again.keys, 0, "repeating it does no harm");
}

#[tokio::test]
async fn a_read_only_keyring_follows_a_rotation_even_if_it_never_saw_the_successor() {
    let (_folder, path, keyring) = created().await;
    keyring.add(&acme()).await.unwrap();
    let old = keyring.public_key();
    let looks = Keyring::open_to_read(&path, kms(1)).await.unwrap();
    let sleeps = Keyring::open_to_read(&path, kms(1)).await.unwrap();
    let next = keyring.add_successor().await.unwrap();
    looks.catch_up().await.unwrap();
    assert_eq!(looks.trust(), both(old, next));
    keyring
        .rewrap(&master_key(), Some(&next), T0)
        .await
        .unwrap();
    for reader in [&looks, &sleeps] {
        reader.catch_up().await.unwrap();
        assert_eq!(reader.trust(), TrustedKeys::from(next));
        assert!(reader.signer().is_none() && reader.last(&acme()).is_some());
    }
}

/// A stolen former signing key, in each form in which it was once stored.
#[tokio::test]
async fn no_former_or_forged_key_is_accepted_as_a_successor() {
    let (_folder, path, keyring) = created().await;
    let first = KeyringFile::read(&path).unwrap().unwrap();
    let stolen = keyring.add_successor().await.unwrap();
    let file = KeyringFile::read(&path).unwrap().unwrap();
    let as_successor = file.successors[0].clone();
    keyring
        .rewrap(&master_key(), Some(&stolen), T0)
        .await
        .unwrap();
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
        let opened = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
        assert_eq!(opened.trust(), TrustedKeys::from(now));
        let reader = Keyring::open_to_read(&path, kms(1)).await.unwrap();
        assert_eq!(reader.trust(), TrustedKeys::from(now));
    }
    // A current successor is not accepted under another public key, either.
    good.replace(&path).unwrap();
    let keyring = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    keyring.add_successor().await.unwrap();
    let mut file = KeyringFile::read(&path).unwrap().unwrap();
    file.successors[0].public_key = stolen;
    file.replace(&path).unwrap();
    for opened in [
        Keyring::open_or_create(&path, kms(1), T0).await.unwrap(),
        Keyring::open_to_read(&path, kms(1)).await.unwrap(),
    ] {
        assert_eq!(opened.trust(), TrustedKeys::from(now));
    }
}

/// The process that has not rotated has no master key that unwraps the file now, but has the
/// successor in memory.
#[tokio::test]
async fn a_process_without_the_new_master_key_switches_to_a_successor_that_it_has_loaded() {
    let (_folder, [one, other], id) = two_with_generated_master_key().await;
    let to = one.next_master_key().await.unwrap();
    let next = one.add_successor().await.unwrap();
    other.catch_up().await.unwrap();
    one.rewrap(&to, Some(&next), T0).await.unwrap();
    other.catch_up().await.unwrap();
    assert_eq!(other.trust(), TrustedKeys::from(next));
    assert_eq!(other.signer().unwrap().public(), next);
    assert_eq!(other.last(&acme()).unwrap().id(), id);
}
