//! The keys that sign heads: the one in use, and its possible successors.
//!
//! The KMS vouches for a successor: its seed, and a copy of its public key for read-only processes,
//! are wrapped together with the public key that it succeeds. Adding one to the file therefore
//! requires the KMS, and a retired key cannot become a successor again.

use std::{path::Path, sync::Arc};

use keyside_store::{PublicKey, Signature, Signer, SigningKey, TrustedKeys};

use super::{
    KeyringError, KeyringFile, new_key,
    stored::{KeyBinding, SuccessorKey, WrappedKey},
};
use crate::{
    kms::{KeyService, KmsError, Wrapping},
    locked::{Half, LockedKeys, LockedMemory},
};

/// A signing key whose seed is in locked memory.
pub(crate) struct LockedSigningKey {
    public: PublicKey,
    /// The seed is in the first half; the second half is unused.
    seed: LockedKeys,
}

pub(crate) struct SigningKeys {
    current: KeyPair,
    successors: Vec<KeyPair>,
}

#[derive(Clone)]
struct KeyPair {
    public: PublicKey,
    /// `None` in a read-only process.
    private: Option<Arc<LockedSigningKey>>,
}

impl LockedSigningKey {
    fn new(seed: &[u8; 32], memory: &LockedMemory) -> Self {
        Self {
            public: SigningKey::from_seed(seed).public(),
            seed: memory.hold(seed, &[0; 32]),
        }
    }
}

impl Signer for LockedSigningKey {
    fn public(&self) -> PublicKey {
        self.public
    }

    /// Takes about 50 microseconds, mostly for deriving the key pair, which is little beside the
    /// fsync that follows. The copy of the seed is wiped. What ring 0.17 derives from it (scalar
    /// and prefix, 64 bytes) is not, and stays on the stack until overwritten.
    fn sign(&self, message: &[u8]) -> Signature {
        SigningKey::from_seed(&self.seed.read(Half::Seal)).sign(message)
    }
}

impl SigningKeys {
    /// Unwraps the signing keys in `file`, except those in `known`: their master key may not be
    /// available any more. A successor that the KMS does not vouch for is left out.
    ///
    /// # Errors
    /// The key in use does not match the file's public key, or the KMS is unavailable.
    pub(super) async fn unwrap(
        service: &dyn KeyService,
        file: &KeyringFile,
        memory: &LockedMemory,
        signs: bool,
        known: Option<&Self>,
        path: &Path,
    ) -> Result<Self, KeyringError> {
        let current = match known.and_then(|known| known.find(&file.public_key)) {
            Some(known) => known.clone(),
            None => {
                let unwrapped = unwrap_current(service, file, memory, signs).await?;
                unwrapped.ok_or_else(|| KeyringError::Damaged(path.to_owned()))?
            }
        };
        let mut successors = Vec::new();
        for key in &file.successors {
            if let Some(known) = known.and_then(|known| known.find(&key.public_key)) {
                successors.push(known.clone());
                continue;
            }
            match unwrap_successor(service, file, key, memory, signs).await {
                Ok(Some(unwrapped)) => successors.push(unwrapped),
                Err(error @ KmsError::Unavailable { .. }) => return Err(error.into()),
                found => {
                    let error = found.err().map(|error| error.to_string());
                    tracing::error!(
                        key = key.key.id,
                        error,
                        "a successor of the signing key is not trusted"
                    );
                }
            }
        }
        Ok(Self {
            current,
            successors,
        })
    }

    pub(crate) fn current(&self) -> PublicKey {
        self.current.public
    }

    pub(crate) fn is_successor(&self, key: &PublicKey) -> bool {
        self.successors.iter().any(|it| it.public == *key)
    }

    pub(crate) fn has_successors(&self) -> bool {
        !self.successors.is_empty()
    }

    /// The keys that a head may be signed with.
    pub(crate) fn trust(&self) -> TrustedKeys {
        self.pairs().map(|pair| pair.public).collect()
    }

    /// The private key for a public key; `None` in a read-only process.
    pub(crate) fn signer(&self, public: &PublicKey) -> Option<Arc<LockedSigningKey>> {
        self.find(public)?.private.clone()
    }

    /// The private key in use; `None` in a read-only process.
    pub(crate) fn current_signer(&self) -> Option<Arc<LockedSigningKey>> {
        self.current.private.clone()
    }

    fn find(&self, public: &PublicKey) -> Option<&KeyPair> {
        self.pairs().find(|pair| pair.public == *public)
    }

    fn pairs(&self) -> impl Iterator<Item = &KeyPair> {
        std::iter::once(&self.current).chain(&self.successors)
    }
}

impl KeyPair {
    fn of(key: LockedSigningKey) -> Self {
        Self {
            public: key.public,
            private: Some(Arc::new(key)),
        }
    }
}

/// Creates a possible successor of the file's signing key.
pub(super) async fn new_successor(
    service: &dyn KeyService,
    file: &KeyringFile,
) -> Result<SuccessorKey, KmsError> {
    let bound = KeyBinding(String::new(), file.public_key.to_string());
    let (seed, key) = new_key(service, &file.installation, &bound, "sk_").await?;
    let public_key = SigningKey::from_seed(&seed).public();
    let id = format!("{}/public", key.id);
    let wrapping = Wrapping::of_installation(&file.installation, &id, &bound.1);
    let wrapped = service.wrap(&wrapping, public_key.as_bytes()).await?;
    Ok(SuccessorKey {
        key,
        public_key,
        wrapped_public: WrappedKey { id, wrapped },
    })
}

/// `None` if the private key does not match the file's public key.
async fn unwrap_current(
    service: &dyn KeyService,
    file: &KeyringFile,
    memory: &LockedMemory,
    signs: bool,
) -> Result<Option<KeyPair>, KmsError> {
    if !signs {
        // The installation's own key, which is wrapped together with the public key, has been
        // unwrapped.
        return Ok(Some(KeyPair {
            public: file.public_key,
            private: None,
        }));
    }
    let wrapping = Wrapping::of_installation(&file.installation, &file.signing_key.id, "");
    let seed = service.unwrap(&wrapping, &file.signing_key.wrapped).await?;
    let key = LockedSigningKey::new(&seed, memory);
    Ok((key.public == file.public_key).then(|| KeyPair::of(key)))
}

/// `None` if the successor does not match its public key. If this process does not sign, the
/// private key stays wrapped.
async fn unwrap_successor(
    service: &dyn KeyService,
    file: &KeyringFile,
    successor: &SuccessorKey,
    memory: &LockedMemory,
    signs: bool,
) -> Result<Option<KeyPair>, KmsError> {
    let wrapped = match signs {
        true => &successor.key,
        false => &successor.wrapped_public,
    };
    let signer = file.public_key.to_string();
    let wrapping = Wrapping::of_installation(&file.installation, &wrapped.id, &signer);
    let unwrapped = service.unwrap(&wrapping, &wrapped.wrapped).await?;
    let pair = match signs {
        true => KeyPair::of(LockedSigningKey::new(&unwrapped, memory)),
        false => KeyPair {
            public: PublicKey::from(*unwrapped),
            private: None,
        },
    };
    Ok((pair.public == successor.public_key).then_some(pair))
}
