//! The keyring in a backup.

use std::path::Path;

use super::{Keyring, KeyringError, KeyringFile, SigningKeys};
use crate::{
    entropy,
    kms::{Kms, KmsError, Wrapping},
    locked::LockedMemory,
    model::random_id,
    sealing::SealingKey,
};

/// A wrapped key that is not part of a keyring.
pub(crate) struct WrappedStandaloneKey {
    /// The id of the master key that wrapped it.
    pub(crate) by: String,
    pub(crate) bytes: Vec<u8>,
}

impl Keyring {
    /// The id of the last restored backup. The file does not authenticate it.
    pub(crate) async fn restored_from(&self) -> Option<String> {
        self.stored.lock().await.file.restored_from.clone()
    }

    pub(crate) async fn epoch(&self) -> u64 {
        self.stored.lock().await.file.epoch
    }

    /// The id of the master key that wraps now.
    pub(crate) async fn master_key(&self) -> String {
        self.stored.lock().await.kms.service().name("")
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
