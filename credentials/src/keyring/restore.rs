//! The keyring in a backup, and the existing keyring that a restore replaces.

use std::path::Path;

use keyside_store::PublicKey;

use super::{Keyring, KeyringError, KeyringFile, SigningKeys};
use crate::{
    entropy,
    kms::{Kms, KmsError, Wrapping},
    locked::LockedMemory,
    model::random_id,
    sealing::SealingKey,
};

/// A keyring file that is inspected without unwrapping keys.
pub(crate) struct ExistingKeyring(KeyringFile);

/// A wrapped key that is not part of a keyring.
pub(crate) struct WrappedStandaloneKey {
    /// The id of the master key that wrapped it.
    pub(crate) by: String,
    pub(crate) bytes: Vec<u8>,
}

impl ExistingKeyring {
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, KeyringError> {
        Ok(KeyringFile::read(path)?.map(Self))
    }

    pub(crate) fn installation(&self) -> &str {
        &self.0.installation
    }

    /// Whether it has workspace keys, usable or not.
    pub(crate) fn has_workspaces(&self) -> bool {
        !self.0.workspaces.is_empty()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// The keys that may have signed the anchors beside it. Not authenticated.
    pub(crate) fn public_keys(&self) -> impl Iterator<Item = PublicKey> {
        let successors = self.0.successors.iter().map(|key| key.public_key);
        std::iter::once(self.0.public_key).chain(successors)
    }

    /// The id of the backup that was restored last.
    pub(crate) fn restored_from(&self) -> Option<&str> {
        self.0.restored_from.as_deref()
    }
}

impl Keyring {
    /// How often the installation was restored, and the id of the last backup.
    pub(crate) async fn restored(&self) -> Option<(u64, String)> {
        let stored = self.stored.lock().await;
        Some((stored.file.epoch, stored.file.restored_from.clone()?))
    }

    pub(crate) async fn epoch(&self) -> u64 {
        self.stored.lock().await.file.epoch
    }

    /// The file's content.
    pub(crate) async fn to_json(&self) -> Vec<u8> {
        self.stored.lock().await.file.to_json()
    }

    /// Creates a key that is not part of the keyring. The caller keeps it, wrapped.
    pub(crate) async fn new_standalone_key(
        &self,
        prefix: &str,
    ) -> Result<(SealingKey, WrappedStandaloneKey), KeyringError> {
        let (root, id) = (entropy::secret(), random_id(prefix));
        let installation = self.installation.installation();
        let wrapping = Wrapping::of_installation(installation, &id, "");
        let stored = self.stored.lock().await;
        let service = stored.kms.service();
        let wrapped = WrappedStandaloneKey {
            by: service.name(""),
            bytes: service.wrap(&wrapping, &root).await?,
        };
        let key = SealingKey::new(&id, &installation.into(), &root, &self.memory);
        Ok((key, wrapped))
    }

    pub(crate) async fn unwrap_standalone_key(
        kms: &Kms,
        installation: &str,
        id: &str,
        wrapped: &[u8],
    ) -> Result<SealingKey, KmsError> {
        let wrapping = Wrapping::of_installation(installation, id, "");
        let root = kms.service().unwrap(&wrapping, wrapped).await?;
        let memory = LockedMemory::default();
        Ok(SealingKey::new(id, &installation.into(), &root, &memory))
    }

    /// The signing keys in a backed up keyring.
    pub(crate) async fn signing_of(
        json: &[u8],
        path: &Path,
        kms: &Kms,
    ) -> Result<SigningKeys, KeyringError> {
        let file = KeyringFile::parse(json, path)?;
        let (service, memory) = (kms.service(), LockedMemory::default());
        SigningKeys::unwrap(&*service, &file, &memory, true, None, path).await
    }

    /// Writes a backed up keyring to `path`.
    pub(crate) fn restore(
        json: &[u8],
        path: &Path,
        epoch: u64,
        backup: &str,
    ) -> Result<(), KeyringError> {
        let mut file = KeyringFile::parse(json, path)?;
        file.epoch = epoch;
        file.restored_from = Some(backup.to_owned());
        file.replace(path)
    }
}
