//! The keys that sign heads: the one in use, and those that were made to take its place.
//!
//! A successor is trusted because the KMS vouches for it: its seed, and a copy of its public key for processes that only read,
//! are wrapped together with the public key that it succeeds. So nobody adds one to the file who cannot use the KMS, and a
//! retired key does not become a successor again.

use std::{path::Path, sync::Arc};

use keyside_store::{PublicKey, Signature, Signer, SigningKey, Trust};

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
    /// Only the first half is used.
    seed: LockedKeys,
}

/// The signing keys that a keyring's file holds.
pub(crate) struct SigningKeys {
    current: KeyPair,
    successors: Vec<KeyPair>,
}

#[derive(Clone)]
struct KeyPair {
    public: PublicKey,
    /// None in a process that only reads.
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

    /// Some 50 microseconds, most of them for the key pair: little beside the fsync that follows. The copy of the seed is wiped;
    /// what ring 0.17 derives from it (the scalar and the prefix, 64 bytes) is not, and stays on the stack until something
    /// overwrites it.
    fn sign(&self, message: &[u8]) -> Signature {
        SigningKey::from_seed(&self.seed.read(Half::Seal)).sign(message)
    }
}

impl SigningKeys {
    /// The keys in `file`. What is `known` already is not unwrapped again: the master key that has wrapped it since may not be
    /// at hand. A successor that is not what the KMS has wrapped is left out.
    ///
    /// # Errors
    /// When the key in use does not belong to the file's public key, or the KMS does not answer.
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
                unwrapped.ok_or_else(|| KeyringError::Damaged {
                    path: path.to_owned(),
                })?
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
                    tracing::error!(key = key.key.id, error, "a new signing key is not trusted");
                }
            }
        }
        Ok(Self {
            current,
            successors,
        })
    }

    /// The public key in use.
    pub(crate) fn current(&self) -> PublicKey {
        self.current.public
    }

    /// Whether this key was made to take the place of the current one.
    pub(crate) fn is_successor(&self, key: &PublicKey) -> bool {
        self.successors.iter().any(|it| it.public == *key)
    }

    /// Whether there is any such key.
    pub(crate) fn has_successors(&self) -> bool {
        !self.successors.is_empty()
    }

    /// What a head may be signed with.
    pub(crate) fn trust(&self) -> Trust {
        self.pairs().map(|pair| pair.public).collect()
    }

    /// The private key of one of these; none in a process that only reads.
    pub(crate) fn signer(&self, public: &PublicKey) -> Option<Arc<LockedSigningKey>> {
        self.find(public)?.private.clone()
    }

    /// The same of the key in use.
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

/// Makes a key that may take the place of the one in the file.
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

/// None where the private key is another one's than the file says.
async fn unwrap_current(
    service: &dyn KeyService,
    file: &KeyringFile,
    memory: &LockedMemory,
    signs: bool,
) -> Result<Option<KeyPair>, KmsError> {
    if !signs {
        // The installation's own key, which is wrapped together with it, has been unwrapped.
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

/// The same for a successor. Where nothing is to be signed, its private key stays wrapped.
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
