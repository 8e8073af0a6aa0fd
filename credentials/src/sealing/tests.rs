use proptest::prelude::*;

use super::{context::fields, *};
use crate::{ActorId, CredentialId, WorkspaceId, encoding::hex};

fn key(id: &str, installation: &str, root: u8) -> SealingKey {
    let root: [u8; 32] = std::array::from_fn(|index| root.wrapping_add(index as u8));
    SealingKey::new(id, &installation.into(), &root, &LockedMemory::default())
}

/// Everything that a sealed secret is bound to.
#[derive(Clone)]
struct Bound {
    key: &'static str,
    installation: &'static str,
    root: u8,
    workspace: WorkspaceId,
    credential: CredentialId,
    version: u32,
    provider: &'static str,
    endpoint: &'static str,
}

fn bound() -> Bound {
    Bound {
        key: "k-1",
        installation: "ins_test",
        root: 0,
        workspace: "acme".parse().unwrap(),
        credential: format!("cred_{}", "a".repeat(26)).parse().unwrap(),
        version: 3,
        provider: "azure-openai",
        endpoint: "https://acme.openai.azure.com",
    }
}

impl Bound {
    fn key(&self) -> SealingKey {
        key(self.key, self.installation, self.root)
    }

    fn context(&self) -> SealContext<'_> {
        SealContext::Secret {
            workspace: &self.workspace,
            credential: &self.credential,
            version: self.version,
            provider: self.provider,
            endpoint: self.endpoint,
        }
    }

    fn open(&self, blob: &[u8]) -> Result<Vec<u8>, SealError> {
        self.key()
            .open(&self.context(), blob)
            .map(|plaintext| plaintext.to_vec())
    }
}

/// Computed without this crate: HKDF and HMAC with Python's `hmac`, XChaCha20-Poly1305 from the
/// draft's text, checked against the draft's own vector (A.3.1).
#[test]
fn a_secret_is_sealed_as_specified() {
    let nonce: [u8; 24] = std::array::from_fn(|index| 0x40 + index as u8);
    let bound = bound();
    let associated_data = bound.context().associated_data("ins_test");
    assert_eq!(
        hex(&associated_data),
        "0000000101000000125843686143686132302d506f6c793133303500000008696e735f746573740000000461\
         636d650000001f637265645f6161616161616161616161616161616161616161616161616161000000040000\
         00030000000c617a7572652d6f70656e61690000001d68747470733a2f2f61636d652e6f70656e61692e617a\
         7572652e636f6d"
    );
    let blob = bound
        .key()
        .seal_with(&nonce.into(), &associated_data, b"sk-known-answer");
    assert_eq!(
        hex(&blob),
        "01036b2d31404142434445464748494a4b4c4d4e4f505152535455565776bed0b876cdd703cef8219b8fbcf7\
         2fd44a066f8dcbd72c5128b6ef7f7af4"
    );
    assert_eq!(
        bound.open(&blob).as_deref(),
        Ok(b"sk-known-answer".as_slice())
    );
}

#[test]
fn a_document_is_authenticated_as_specified() {
    let mac = key("k-1", "ins_test", 0).mac(
        &SealContext::Document {
            key: "credentials/acme/x",
        },
        br#"{"status":"active"}"#,
    );
    assert_eq!(
        hex(&mac),
        "9e953293a3ab84b886a0be8cd2d4db61d79f5fbcd462a034f306c93ce723769b"
    );
}

#[test]
fn a_sealed_secret_does_not_decrypt_in_any_other_context() {
    let here = bound();
    let blob = here.key().seal(&here.context(), b"sk-canary");
    let elsewhere = [
        Bound {
            installation: "ins_other",
            ..here.clone()
        },
        Bound {
            root: 1,
            ..here.clone()
        },
        Bound {
            workspace: "globex".parse().unwrap(),
            ..here.clone()
        },
        Bound {
            credential: format!("cred_{}", "b".repeat(26)).parse().unwrap(),
            ..here.clone()
        },
        Bound {
            version: 4,
            ..here.clone()
        },
        Bound {
            provider: "openai",
            ..here.clone()
        },
        Bound {
            endpoint: "https://evil.openai.azure.com",
            ..here.clone()
        },
        Bound {
            endpoint: "",
            ..here.clone()
        },
    ];
    for there in elsewhere {
        assert_eq!(there.open(&blob), Err(SealError::NotAuthentic));
    }
    let other_key = Bound {
        key: "k-2",
        ..here.clone()
    };
    assert_eq!(other_key.open(&blob), Err(SealError::OtherKey));
}

#[test]
fn a_blob_sealed_for_one_purpose_does_not_decrypt_for_another() {
    let bound = bound();
    let key = bound.key();
    let (workspace, credential) = (&bound.workspace, &bound.credential);
    let places = [
        bound.context(),
        SealContext::SecretMetadata {
            workspace,
            credential,
            version: 3,
        },
        SealContext::Document {
            key: "credentials/acme",
        },
        SealContext::RecordDetail {
            workspace,
            record: 3,
        },
        SealContext::CredentialId {
            workspace,
            actor: &ActorId::system(),
        },
        SealContext::WrappedKey {
            installation: "inst",
            workspace: workspace.as_str(),
            key: "k-1",
            signer: "",
        },
        SealContext::WrappedKey {
            installation: "inst",
            workspace: workspace.as_str(),
            key: "k-1",
            signer: "00",
        },
        SealContext::CachedSecret {
            address: "https://vault.internal:8200",
            namespace: "",
            mount: "kv",
            path: "kv/acme",
            field: "api_key",
            pinned: None,
            credential,
        },
        SealContext::CachedSecret {
            address: "https://vault.internal:8200",
            namespace: "",
            mount: "kv",
            path: "kv/acme",
            field: "api_key",
            pinned: Some(3),
            credential,
        },
    ];
    for (one, sealed_for) in places.iter().enumerate() {
        let blob = key.seal(sealed_for, b"x");
        for (other, opened_as) in places.iter().enumerate() {
            assert_eq!(
                key.open(opened_as, &blob).is_ok(),
                one == other,
                "{sealed_for:?} as {opened_as:?}"
            );
        }
    }
}

#[test]
fn a_flip_of_any_bit_of_a_blob_is_detected() {
    let bound = bound();
    let blob = bound.key().seal(&bound.context(), b"sk-canary");
    for bit in 0..blob.len() * 8 {
        let mut edited = blob.clone();
        edited[bit / 8] ^= 1 << (bit % 8);
        assert!(bound.open(&edited).is_err(), "bit {bit}");
    }
    for len in 0..blob.len() {
        assert!(bound.open(&blob[..len]).is_err(), "cut to {len}");
    }
}

#[test]
fn sealing_the_same_secret_twice_gives_unrelated_blobs() {
    let bound = bound();
    let key = bound.key();
    let (one, two) = (
        key.seal(&bound.context(), b"sk-same"),
        key.seal(&bound.context(), b"sk-same"),
    );
    assert_ne!(one[5..29], two[5..29], "nonces");
    assert_ne!(one[29..], two[29..], "ciphertexts");
}

#[test]
fn the_debug_output_of_a_key_hides_it() {
    let shown = format!("{:?}", key("k-1", "ins_test", 0));
    assert_eq!(shown, r#"SealingKey { id: "k-1", .. }"#);
}

proptest! {
    #[test]
    fn any_sealed_secret_decrypts_again(secret in proptest::collection::vec(any::<u8>(), 0..9000)) {
        let bound = bound();
        let key = bound.key();
        let blob = key.seal(&bound.context(), &secret);
        prop_assert_eq!(&*key.open(&bound.context(), &blob).unwrap(), &secret);
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bound = bound();
        prop_assert!(bound.open(&noise).is_err());
        prop_assert!(bound.open(&[&[FORMAT, 3], b"k-1".as_slice(), &noise].concat()).is_err());
    }

    #[test]
    fn different_lists_of_fields_encode_to_different_bytes(
        one in proptest::collection::vec("[a-c\0]{0,3}", 0..4),
        two in proptest::collection::vec("[a-c\0]{0,3}", 0..4),
    ) {
        let joined = |list: &[String]| fields(list.iter().map(String::as_bytes));
        prop_assert_eq!(joined(&one) == joined(&two), one == two);
    }
}
