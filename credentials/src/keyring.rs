//! The keyring: one small file of wrapped keys, and the unwrapped ones in locked memory.
//!
//! It is replaced whole and not kept in sled, which does not erase: taking a workspace's key out of this file is what
//! erasing the workspace means.

mod error;
mod file;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::Mutex;
use zeroize::Zeroizing;

pub use self::error::KeyringError;
use self::file::{KeyringFile, WrappedKey};
use crate::{
    WorkspaceId, entropy,
    kms::{Kms, KmsError, Wrapping},
    locked::LockedMemory,
    model::random_id,
    sealing::SealingKey,
};

/// All keys of an installation.
pub(crate) struct Keyring {
    path: PathBuf,
    kms: Kms,
    memory: LockedMemory,
    installation: Arc<SealingKey>,
    /// By workspace, oldest first; the last one seals.
    workspaces: RwLock<HashMap<WorkspaceId, Vec<Arc<SealingKey>>>>,
    /// What the file holds. Its lock is held while the file is replaced.
    file: Mutex<KeyringFile>,
}

impl Keyring {
    /// Opens the file at `path` and unwraps what is in it, or makes one for a new installation where there is none.
    pub(crate) async fn open_or_create(path: &Path, kms: Kms) -> Result<Self, KeyringError> {
        match KeyringFile::read(path)? {
            Some(file) => Self::unwrap(path, kms, file).await,
            None => Self::create(path, kms).await,
        }
    }

    async fn create(path: &Path, kms: Kms) -> Result<Self, KeyringError> {
        let installation = random_id("ins_");
        let key = new_key(&kms, &installation, "", "ik_").await?.1;
        let file = KeyringFile::new(installation, key);
        file.replace(path)?;
        Self::unwrap(path, kms, file).await
    }

    /// A workspace key that does not unwrap is left out, so that only its workspace suffers. The installation's own must
    /// unwrap: that is where a wrong master key shows.
    async fn unwrap(path: &Path, kms: Kms, file: KeyringFile) -> Result<Self, KeyringError> {
        let memory = LockedMemory::default();
        let installation: Arc<str> = file.installation.as_str().into();
        let own = unwrap(&kms, &memory, &installation, "", &file.installation_key).await?;
        let mut workspaces = HashMap::new();
        for (workspace, wrapped) in &file.workspaces {
            let mut keys = Vec::new();
            for wrapped in wrapped {
                match unwrap(&kms, &memory, &installation, workspace.as_str(), wrapped).await {
                    Ok(key) => keys.push(key),
                    Err(KmsError::NotAuthentic { key }) => {
                        tracing::error!(%workspace, key, "a wrapped workspace key failed authentication");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            workspaces.insert(workspace.clone(), keys);
        }
        Ok(Self {
            path: path.to_owned(),
            kms,
            memory,
            installation: own,
            workspaces: RwLock::new(workspaces),
            file: Mutex::new(file),
        })
    }

    /// The installation's own key: it authenticates what belongs to no workspace.
    pub(crate) fn installation(&self) -> &Arc<SealingKey> {
        &self.installation
    }

    pub(crate) fn has_workspaces(&self) -> bool {
        !self
            .workspaces
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// The key that seals for a workspace now.
    pub(crate) fn current(&self, workspace: &WorkspaceId) -> Option<Arc<SealingKey>> {
        let workspaces = self
            .workspaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        workspaces.get(workspace)?.last().cloned()
    }

    /// The key of a workspace with this id.
    pub(crate) fn key(&self, workspace: &WorkspaceId, id: &str) -> Option<Arc<SealingKey>> {
        let workspaces = self
            .workspaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        workspaces
            .get(workspace)?
            .iter()
            .find(|key| key.id() == id)
            .cloned()
    }

    /// Makes a key for a new workspace. It is on disk when this returns. One that a crash has left for a workspace that
    /// never came to be is used: something that is still on its way may have been authenticated with it.
    pub(crate) async fn add(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Arc<SealingKey>, KeyringError> {
        if let Some(left) = self.current(workspace) {
            return Ok(left);
        }
        let installation = self.installation.installation();
        let (root, wrapped) = new_key(&self.kms, installation, workspace.as_str(), "wk_").await?;
        let mut file = self.file.lock().await;
        let mut changed = file.clone();
        let key = SealingKey::new(&wrapped.id, &installation.into(), &root, &self.memory);
        changed.workspaces.insert(workspace.clone(), vec![wrapped]);
        changed.clone().replace_blocking(&self.path).await?;
        *file = changed;
        let key = Arc::new(key);
        let mut workspaces = self
            .workspaces
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        workspaces.insert(workspace.clone(), vec![key.clone()]);
        Ok(key)
    }
}

async fn new_key(
    kms: &Kms,
    installation: &str,
    workspace: &str,
    prefix: &str,
) -> Result<(Zeroizing<[u8; 32]>, WrappedKey), KmsError> {
    let mut root = Zeroizing::new([0; 32]);
    entropy::fill(&mut *root);
    let id = random_id(prefix);
    let wrapped = kms
        .wrap(
            &Wrapping {
                installation,
                workspace,
                key: &id,
            },
            &root,
        )
        .await?;
    Ok((root, WrappedKey { id, wrapped }))
}

async fn unwrap(
    kms: &Kms,
    memory: &LockedMemory,
    installation: &Arc<str>,
    workspace: &str,
    key: &WrappedKey,
) -> Result<Arc<SealingKey>, KmsError> {
    let wrapping = Wrapping {
        installation,
        workspace,
        key: &key.id,
    };
    let root = kms.unwrap(&wrapping, &key.wrapped).await?;
    Ok(Arc::new(SealingKey::new(
        &key.id,
        installation,
        &root,
        memory,
    )))
}

#[cfg(test)]
mod tests;
