//! Ed25519 signatures (RFC 8032), by `ring`. Only a holder of the private key can change a chain;
//! anyone with the public key can verify its heads.

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::hash::{as_hex, shown_in_hex, unhex};

/// Signs heads. The implementation decides where the private key is kept.
pub trait Signer: Send + Sync {
    /// The public key that verifies its signatures.
    fn public(&self) -> PublicKey;

    /// Signs `message`.
    fn sign(&self, message: &[u8]) -> Signature;
}

/// A signing key in plain memory, which `ring` has no means to wipe. A long-lived signer keeps the
/// seed elsewhere and builds this key for each signature.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// The public keys that may sign a head: one, or more while the signing key is being rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKeys(Vec<PublicKey>);

/// An Ed25519 public key; in JSON 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublicKey(#[serde(with = "as_hex")] [u8; 32]);

/// An Ed25519 signature; in JSON 128 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature(#[serde(with = "as_hex")] [u8; 64]);

impl SigningKey {
    /// The key pair of a seed: 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        // `ring` accepts every seed of 32 bytes.
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed of 32 bytes");
        let public = pair.public_key().as_ref().try_into();
        Self {
            pair,
            public: PublicKey(public.expect("a public key of 32 bytes")),
        }
    }

    /// The public key that verifies its signatures.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature = self.pair.sign(message).as_ref().try_into();
        Signature(signature.expect("a signature of 64 bytes"))
    }
}

impl Signer for SigningKey {
    fn public(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Signature {
        SigningKey::sign(self, message)
    }
}

impl TrustedKeys {
    /// The trusted key that signed `message`, if one did.
    pub fn signer(&self, message: &[u8], signature: &Signature) -> Option<PublicKey> {
        let mut keys = self.0.iter().copied();
        keys.find(|key| key.verify(message, signature))
    }
}

impl From<PublicKey> for TrustedKeys {
    fn from(key: PublicKey) -> Self {
        Self(vec![key])
    }
}

impl FromIterator<PublicKey> for TrustedKeys {
    fn from_iter<I: IntoIterator<Item = PublicKey>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

impl IntoIterator for TrustedKeys {
    type Item = PublicKey;
    type IntoIter = std::vec::IntoIter<PublicKey>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public).finish()
    }
}

impl PublicKey {
    /// Whether this key's private key signed `message`.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        key.verify(message, &signature.0).is_ok()
    }

    /// Decodes 64 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

shown_in_hex!(PublicKey, 32);
shown_in_hex!(Signature, 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_valid_for_one_message_and_one_key() {
        let (one, other) = (
            SigningKey::from_seed(&[1; 32]),
            SigningKey::from_seed(&[2; 32]),
        );
        let signature = one.sign(b"head");
        assert!(one.public().verify(b"head", &signature));
        assert!(!one.public().verify(b"Head", &signature));
        assert!(!other.public().verify(b"head", &signature));
    }

    #[test]
    fn a_signature_must_be_made_by_a_trusted_key() {
        let [one, two, other] = [1, 2, 3].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let trust: TrustedKeys = [one.public(), two.public()].into_iter().collect();
        for key in [&one, &two] {
            let signature = key.sign(b"head");
            assert_eq!(trust.signer(b"head", &signature), Some(key.public()));
        }
        assert_eq!(trust.signer(b"head", &other.sign(b"head")), None);
        assert_eq!(trust.signer(b"Head", &one.sign(b"head")), None);
    }

    /// The first test vector of RFC 8032, section 7.1.
    #[test]
    fn signatures_match_the_test_vector_of_rfc_8032() {
        let seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let key = SigningKey::from_seed(&seed.unwrap());
        assert_eq!(
            key.public().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert!(
            key.sign(b"")
                .to_string()
                .starts_with("e5564300c360ac729086e2cc806e828a")
        );
    }
}
