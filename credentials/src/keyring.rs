//! The keyring: a small file of wrapped keys, and the unwrapped keys in locked memory.
//!
//! The file is replaced as a whole, and is not in sled, which does not erase deleted data: removing
//! a workspace's key from this file is what erases the workspace.

mod error;
mod open;
mod restore;
mod rewrap;
mod signing;
mod stored;

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use keyside_store::{
    PublicKey, SigningKey, TrustedKeys,
    file::{self, FileContents, FileVersion, with_suffix},
};
use parking_lot::RwLock;
use tokio::{sync::Mutex, task::spawn_blocking};
use zeroize::Zeroizing;

use self::stored::{KeyBinding, WrappedKey};
pub use self::{error::KeyringError, rewrap::Rewrapped};
pub(crate) use self::{
    signing::{LockedSigningKey, SigningKeys},
    stored::KeyringFile,
};
use crate::{
    entropy,
    kms::{KeyService, Kms, KmsError, Wrapping},
    locked::LockedMemory,
    model::{WorkspaceId, random_id},
    sealing::SealingKey,
};

pub(crate) struct Keyring {
    path: PathBuf,
    memory: LockedMemory,
    installation: Arc<SealingKey>,
    /// Whether this process signs heads, or only reads.
    signs: bool,
    signing: ArcSwap<SigningKeys>,
    /// Since when the master key is in use; `None` if the file does not say.
    master_key_since: ArcSwapOption<Timestamp>,
    /// Held while this process rotates the installation's keys: one rotation at a time.
    pub(crate) rotating: Mutex<()>,
    /// By workspace, in the file's order.
    workspaces: RwLock<Keys>,
    /// Locked while the file is replaced.
    stored: Mutex<Stored>,
}

type Keys = HashMap<WorkspaceId, Vec<Arc<SealingKey>>>;

/// The file's content, and the key service that wraps it: always changed together.
struct Stored {
    file: KeyringFile,
    kms: Kms,
    /// The file when all of it was last loaded: reading and parsing it again for each workspace
    /// would take most of the time of a start with 1,000 of them.
    caught_up: FileContents,
}

impl Keyring {
    /// Opens the file at `path` and unwraps its keys, or creates one for a new installation.
    pub(crate) async fn open_or_create(
        path: &Path,
        kms: Kms,
        now: Timestamp,
    ) -> Result<Self, KeyringError> {
        match KeyringFile::read(path)? {
            Some(file) => Self::unwrap(path, kms, file, true).await,
            None => Self::create(path, kms, now).await,
        }
    }

    /// Opens the file at `path` and unwraps its keys. Never creates one.
    pub(crate) async fn open_existing(path: &Path, kms: Kms) -> Result<Self, KeyringError> {
        Self::unwrap(path, kms, existing(path)?, true).await
    }

    /// Like [`Self::open_existing`] for a read-only process: the signing key stays wrapped.
    pub(crate) async fn open_to_read(path: &Path, kms: Kms) -> Result<Self, KeyringError> {
        Self::unwrap(path, kms, existing(path)?, false).await
    }

    async fn create(path: &Path, kms: Kms, now: Timestamp) -> Result<Self, KeyringError> {
        let service = kms.service();
        if !service.can_make_new() {
            return Err(KmsError::CannotMakeNew.into());
        }
        let installation = random_id("ins_");
        let (seed, signing) =
            new_key(&*service, &installation, &KeyBinding::default(), "sk_").await?;
        let public = SigningKey::from_seed(&seed).public();
        let own = KeyBinding(String::new(), public.to_string());
        let key = new_key(&*service, &installation, &own, "ik_").await?.1;
        let mut file = KeyringFile::new(installation, key, signing, public);
        file.master_key_since = Some(now);
        file.replace(path)?;
        Self::unwrap(path, kms, file, true).await
    }

    /// Fails if the installation's own key does not unwrap, which is how a wrong master key is
    /// detected.
    async fn unwrap(
        path: &Path,
        kms: Kms,
        file: KeyringFile,
        signs: bool,
    ) -> Result<Self, KeyringError> {
        let memory = LockedMemory::default();
        let service = kms.service();
        let own = open_installation_key(&*service, &memory, &file).await?;
        let signing = SigningKeys::unwrap(&*service, &file, &memory, signs, None, path).await?;
        let workspaces = open::unwrap_all(&service, &file, &memory).await?;
        Ok(Self {
            path: path.to_owned(),
            memory,
            installation: own,
            signs,
            signing: ArcSwap::from_pointee(signing),
            master_key_since: ArcSwapOption::new(file.master_key_since.map(Arc::new)),
            rotating: Mutex::default(),
            workspaces: RwLock::new(workspaces),
            stored: Mutex::new(Stored {
                file,
                kms,
                caught_up: FileContents::default(),
            }),
        })
    }

    /// The installation's own key. It authenticates what belongs to no workspace.
    pub(crate) fn installation(&self) -> &Arc<SealingKey> {
        &self.installation
    }

    /// The keys that sign heads, as of the last read of the file.
    pub(crate) fn signing(&self) -> Arc<SigningKeys> {
        self.signing.load_full()
    }

    /// The signing key in use; `None` in a read-only process.
    pub(crate) fn signer(&self) -> Option<Arc<LockedSigningKey>> {
        self.signing.load().current_signer()
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.signing.load().current()
    }

    /// The public keys that a head may be signed with.
    pub(crate) fn trust(&self) -> TrustedKeys {
        self.signing.load().trust()
    }

    /// Since when the master key is in use, as of the last read of the file. The file does not
    /// authenticate it, so it is for display only. `None` for a keyring of an earlier version.
    pub(crate) fn master_key_since(&self) -> Option<Timestamp> {
        self.master_key_since.load().as_deref().copied()
    }

    pub(crate) fn has_workspaces(&self) -> bool {
        !self.workspaces.read().is_empty()
    }

    pub(crate) fn workspaces(&self) -> Vec<WorkspaceId> {
        self.workspaces.read().keys().cloned().collect()
    }

    /// The last key of a workspace in the file. Nothing authenticates the order: the key that seals is
    /// the one that the workspace's document names.
    pub(crate) fn last(&self, workspace: &WorkspaceId) -> Option<Arc<SealingKey>> {
        self.workspaces.read().get(workspace)?.last().cloned()
    }

    pub(crate) fn key(&self, workspace: &WorkspaceId, id: &str) -> Option<Arc<SealingKey>> {
        key_of(&self.workspaces.read(), workspace, id)
    }

    /// The ids of all keys of a workspace, including those that do not unwrap.
    pub(crate) async fn ids(&self, workspace: &WorkspaceId) -> Vec<String> {
        let stored = self.stored.lock().await;
        let keys = stored.file.workspaces.get(workspace).into_iter().flatten();
        keys.map(|key| key.id.clone()).collect()
    }

    /// Creates a key for a new workspace, on disk when this returns. Reuses the key that an earlier
    /// attempt has left, so that failed attempts do not add up. No head names anything that it seals: a
    /// workspace seals only after it is registered, and its keys are destroyed when it is erased.
    pub(crate) async fn add(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Arc<SealingKey>, KeyringError> {
        self.catch_up().await?;
        if let Some(left) = self.last(workspace) {
            return Ok(left);
        }
        if !self.stored.lock().await.kms.service().can_make_new() {
            return Err(KmsError::CannotMakeNew.into());
        }
        self.add_next(workspace).await
    }

    /// Adds a new key to a workspace, which seals once the workspace's document names it. On disk when
    /// this returns.
    pub(crate) async fn add_next(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Arc<SealingKey>, KeyringError> {
        // Wrapped under the lock, so that a concurrent rotation of the master key misses no key.
        let mut stored = self.stored.lock().await;
        let _lock = stored.lock(&self.path, &self.signing()).await?;
        let installation = self.installation.installation();
        let service = stored.kms.service();
        let bound = KeyBinding(workspace.to_string(), stored.file.public_key.to_string());
        let (root, wrapped) = new_key(&*service, installation, &bound, "wk_").await?;
        let key = SealingKey::new(&wrapped.id, &installation.into(), &root, &self.memory);
        let key = Arc::new(key);
        let mut changed = stored.file.clone();
        let keys = changed.workspaces.entry(workspace.clone()).or_default();
        keys.push(wrapped);
        stored.replace(changed, &self.path).await?;
        let mut keys = self.workspaces.write();
        keys.entry(workspace.clone()).or_default().push(key.clone());
        Ok(key)
    }

    /// Destroys keys. They are gone from the file on disk when this returns, and from memory once
    /// no request in progress holds them. Returns how many existed; unknown ids are ignored.
    pub(crate) async fn destroy(&self, ids: &HashSet<String>) -> Result<usize, KeyringError> {
        let mut stored = self.stored.lock().await;
        let _lock = stored.lock(&self.path, &self.signing()).await?;
        let mut changed = stored.file.clone();
        let mut destroyed = 0;
        changed.workspaces.retain(|_, keys| {
            let before = keys.len();
            keys.retain(|key| !ids.contains(&key.id));
            destroyed += before - keys.len();
            !keys.is_empty()
        });
        if destroyed > 0 {
            stored.forget_without(&changed).await?;
            stored.replace(changed, &self.path).await?;
        }
        self.workspaces.write().retain(|_, keys| {
            keys.retain(|key| !ids.contains(key.id()));
            !keys.is_empty()
        });
        Ok(destroyed)
    }

    /// Loads changes that another process made to the file: keys of created or erased workspaces,
    /// and another signing key. Only unknown keys are unwrapped: known keys stay usable even if the
    /// file is wrapped with a master key that this process does not have.
    pub(crate) async fn catch_up(&self) -> Result<(), KeyringError> {
        let mut stored = self.stored.lock().await;
        let Some(read) = read(&self.path, stored.caught_up.version).await? else {
            return Ok(());
        };
        if read.bytes == stored.caught_up.bytes {
            stored.caught_up.version = read.version;
            return Ok(());
        }
        let file = KeyringFile::parse(&read.bytes, &self.path)?;
        let signing = self.signing();
        stored.adopt_file(Some(file), &self.path, &signing).await?;
        self.reload(&stored).await?;
        let known = self.workspaces.read().clone();
        let is_known = |workspace: &WorkspaceId, key: &WrappedKey| {
            key_of(&known, workspace, &key.id).is_some()
        };
        let file = &stored.file;
        let unknown = file.without(is_known);
        let keys_in_file = file.workspaces.values().map(Vec::len).sum::<usize>();
        if unknown.workspaces.is_empty()
            && keys_in_file == known.values().map(Vec::len).sum::<usize>()
        {
            stored.caught_up = read;
            return Ok(());
        }
        let service = stored.kms.service();
        let unwrapped = open::unwrap_all(&service, &unknown, &self.memory).await?;
        // In the file's order, for [`Self::last`].
        let in_file = file.workspaces.iter().map(|(workspace, keys)| {
            let find = |key: &WrappedKey| {
                let known = key_of(&known, workspace, &key.id);
                known.or_else(|| key_of(&unwrapped, workspace, &key.id))
            };
            let keys: Vec<_> = keys.iter().filter_map(find).collect();
            (workspace.clone(), keys)
        });
        let in_file: Keys = in_file.collect();
        // A key that failed to unwrap is retried later.
        if in_file.values().map(Vec::len).sum::<usize>() == keys_in_file {
            stored.caught_up = read;
        }
        *self.workspaces.write() = in_file;
        Ok(())
    }

    /// Loads the signing keys, and since when the master key is in use, from the file.
    async fn reload(&self, stored: &Stored) -> Result<(), KeyringError> {
        let (known, service) = (self.signing(), stored.kms.service());
        let keys = SigningKeys::unwrap(
            &*service,
            &stored.file,
            &self.memory,
            self.signs,
            Some(&known),
            &self.path,
        );
        self.signing.store(Arc::new(keys.await?));
        let since = stored.file.master_key_since;
        self.master_key_since.store(since.map(Arc::new));
        Ok(())
    }
}

/// The current file, unless it is still of the version `known`. It is replaced atomically, so reading
/// needs no lock.
async fn read(
    path: &Path,
    known: Option<FileVersion>,
) -> Result<Option<FileContents>, KeyringError> {
    let path = path.to_owned();
    let read = spawn_blocking(move || file::read_if_changed(&path, known)).await;
    Ok(read.map_err(open::ended)??)
}

impl Stored {
    /// Locks the file against other processes until the lock is dropped, and loads it.
    async fn lock(&mut self, path: &Path, known: &SigningKeys) -> Result<fs::File, KeyringError> {
        let owned = path.to_owned();
        let read = move || {
            let lock = file::lock(&with_suffix(&owned, ".lock"))?;
            let file = KeyringFile::read(&owned)?;
            Ok::<_, KeyringError>((lock, file))
        };
        let read = spawn_blocking(read).await;
        let (lock, file) = read.map_err(open::ended)??;
        self.adopt_file(file, path, known).await?;
        Ok(lock)
    }

    /// Refuses a file of another installation, a file that is older than the last known one, and a
    /// file with a public key that the KMS does not vouch for: nothing may be wrapped together with
    /// that.
    async fn adopt_file(
        &mut self,
        file: Option<KeyringFile>,
        path: &Path,
        known: &SigningKeys,
    ) -> Result<(), KeyringError> {
        let Some(file) = file else {
            return Ok(());
        };
        let damaged = || KeyringError::Damaged(path.to_owned());
        if file.installation != self.file.installation {
            return Err(damaged());
        }
        if file.order() < self.file.order() {
            return Err(KeyringError::Older(path.to_owned()));
        }
        let is_known = file.public_key == self.file.public_key;
        if !is_known && !known.is_successor(&file.public_key) {
            // Another process has replaced the signing key, if this key is wrapped together with
            // the new one.
            let unwrapped = unwrap_installation_key(&*self.kms.service(), &file).await;
            unwrapped.map_err(|error| match error {
                KmsError::NotAuthentic { .. } => damaged(),
                error => error.into(),
            })?;
        }
        self.file = file;
        Ok(())
    }

    async fn replace(&mut self, mut changed: KeyringFile, path: &Path) -> Result<(), KeyringError> {
        changed.generation = changed.generation.saturating_add(1);
        let (written, path) = (changed.clone(), path.to_owned());
        let replaced = spawn_blocking(move || written.replace(&path)).await;
        replaced.map_err(open::ended)??;
        // Another process may make the file what it was when it was loaded.
        self.caught_up = FileContents::default();
        self.file = changed;
        Ok(())
    }

    /// Makes the key service destroy the wrapping keys of workspaces that have no key any more.
    /// Done before the file is replaced: after a crash in between, the next start finds keys that
    /// do not unwrap, and still knows their workspaces.
    async fn forget_without(&self, changed: &KeyringFile) -> Result<(), KmsError> {
        let service = self.kms.service();
        for workspace in self.file.workspaces.keys() {
            if changed.workspaces.contains_key(workspace) {
                continue;
            }
            match service.forget(workspace.as_str()).await {
                Err(error @ KmsError::Unavailable { .. }) => return Err(error),
                // A retry would not help, and the keys must leave the file in any case.
                Err(error) => tracing::error!(
                    %workspace,
                    %error,
                    "an erased workspace's wrapping key is still in the key service: delete it there"
                ),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

fn existing(path: &Path) -> Result<KeyringFile, KeyringError> {
    KeyringFile::read(path)?.ok_or_else(|| KeyringError::Missing(path.to_owned()))
}

fn key_of(keys: &Keys, workspace: &WorkspaceId, id: &str) -> Option<Arc<SealingKey>> {
    let mut of_workspace = keys.get(workspace)?.iter();
    of_workspace.find(|key| key.id() == id).cloned()
}

async fn new_key(
    service: &dyn KeyService,
    installation: &str,
    KeyBinding(workspace, signer): &KeyBinding,
    prefix: &str,
) -> Result<(Zeroizing<[u8; 32]>, WrappedKey), KmsError> {
    let (root, id) = (entropy::secret(), random_id(prefix));
    let wrapping = Wrapping {
        installation,
        workspace,
        key: &id,
        signer,
    };
    let wrapped = service.wrap(&wrapping, &root).await?;
    Ok((root, WrappedKey { id, wrapped }))
}

/// Unwraps the installation's own key.
async fn open_installation_key(
    service: &dyn KeyService,
    memory: &LockedMemory,
    file: &KeyringFile,
) -> Result<Arc<SealingKey>, KmsError> {
    let root = unwrap_installation_key(service, file).await?;
    let installation = file.installation.as_str().into();
    let key = SealingKey::new(&file.installation_key.id, &installation, &root, memory);
    Ok(Arc::new(key))
}

async fn unwrap_installation_key(
    service: &dyn KeyService,
    file: &KeyringFile,
) -> Result<Zeroizing<[u8; 32]>, KmsError> {
    let key = &file.installation_key;
    let signer = file.public_key.to_string();
    let wrapping = Wrapping::of_installation(&file.installation, &key.id, &signer);
    service.unwrap(&wrapping, &key.wrapped).await
}

#[cfg(test)]
mod tests;
