//! The heads that were last acknowledged, kept in files outside the store: a store that was cut or put back to an older state
//! shows.
//!
//! A file is a copy of the signed head, so it needs no key of its own. It is on disk before it has its name, and written
//! after the head itself: after a power cut it may be behind, never ahead, and never torn. Until the installation's chain
//! says that a workspace has begun, its file may be missing (see `first_look.rs`).

use std::{
    collections::HashMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use keyside_store::{
    StorageError,
    chain::{ChainName, Damage, Head, Link, LoadError, State},
    file::{self, FileError},
};

use crate::{keyring::Keyring, model::WorkspaceId};

/// A folder of heads.
pub(crate) struct Anchors(Arc<Written>);

struct Written {
    folder: PathBuf,
    /// The sequence number that each file holds. Locked while a file is replaced.
    held: Mutex<HashMap<String, (u64, u64)>>,
}

impl Anchors {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(Arc::new(Written {
            folder: folder.to_owned(),
            held: Mutex::default(),
        }))
    }

    pub(crate) fn path(folder: &Path, chain: &ChainName) -> PathBuf {
        // Workspace ids are slugs, so no two chains meet.
        folder.join(file_name(chain))
    }

    /// The file of a chain as the data folder has it; the whole folder where that is missing.
    pub(crate) fn shown(&self, chain: &ChainName) -> String {
        match self.0.folder.exists() {
            true => format!("{HEADS}/{}", file_name(chain)),
            false => HEADS.to_owned(),
        }
    }

    /// The workspaces that there are files of, each with its file. A folder that cannot be read has none.
    pub(crate) fn workspaces(&self) -> Vec<(WorkspaceId, PathBuf)> {
        let entries = fs::read_dir(&self.0.folder).into_iter().flatten().flatten();
        let of_workspaces = entries.filter_map(|entry| {
            let name = entry.file_name();
            let id = name.to_str()?.strip_prefix("workspace.")?;
            Some((id.parse::<WorkspaceId>().ok()?, entry.path()))
        });
        of_workspaces.collect()
    }

    pub(crate) fn has(&self, chain: &ChainName) -> bool {
        Self::path(&self.0.folder, chain).exists()
    }

    /// The state of a chain that was last acknowledged, as far as is known here.
    pub(crate) fn read(
        &self,
        chain: &ChainName,
        keyring: &Keyring,
    ) -> Result<Option<Link>, LoadError> {
        let path = Self::path(&self.0.folder, chain);
        let read = file::read_if_exists(&path).map_err(StorageError::unavailable)?;
        let Some(bytes) = read else {
            return Ok(None);
        };
        let installation = keyring.installation().installation();
        let head = Head::verify_under(&bytes, chain, installation, &keyring.trust());
        let (head, _) = head.map_err(|damage| {
            tracing::error!(file = %path.display(), %damage, "the copy of a chain's head is damaged");
            Damage::AnchorDamaged {
                file: self.shown(chain),
            }
        })?;
        Ok(Some(head.link()))
    }

    /// Keeps the head of a state. Waited for, and a failure is no failure of the change: that is on disk.
    pub(crate) async fn write(&self, chain: &ChainName, state: &Arc<State>) {
        if let Err(error) = self.keep(chain, state).await {
            tracing::warn!(%error, "the head of a chain could not be kept beside the store");
        }
    }

    /// The same where a failure matters.
    pub(crate) async fn keep(
        &self,
        chain: &ChainName,
        state: &Arc<State>,
    ) -> Result<(), StorageError> {
        let (written, chain, state) = (self.0.clone(), chain.clone(), state.clone());
        let replaced = tokio::task::spawn_blocking(move || written.replace(&chain, &state)).await;
        let replaced = replaced.map_err(StorageError::unavailable)?;
        replaced.map_err(StorageError::unavailable)
    }

    /// Waits until all that was kept is there after a power cut too.
    pub(crate) async fn sync(&self) -> Result<(), StorageError> {
        let folder = self.0.folder.clone();
        let synced = tokio::task::spawn_blocking(move || file::sync_folder(&folder)).await;
        let synced = synced.map_err(StorageError::unavailable)?;
        synced.map_err(StorageError::unavailable)
    }

    /// Puts a head in its place that was restored.
    pub(crate) fn restore(folder: &Path, chain: &ChainName, head: &[u8]) -> Result<(), FileError> {
        file::create_folder(folder)?;
        file::replace(&Self::path(folder, chain), head, owner_only())
    }
}

impl Written {
    fn replace(&self, chain: &ChainName, state: &State) -> Result<(), FileError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (state.head.epoch, state.head.seq);
        // Of several changes that share a moment, the last one's head is the one to keep.
        if held.get(chain.as_str()).is_some_and(|held| *held >= now) {
            return Ok(());
        }
        if held.is_empty() {
            file::create_folder(&self.folder)?;
        }
        let path = Anchors::path(&self.folder, chain);
        // Another process on this machine replaces it by way of the same temporary file.
        let _lock = file::lock(&self.folder.join(".lock"))?;
        let there =
            file::read_if_exists(&path)?.and_then(|bytes| Head::parse_unverified(&bytes).ok());
        if there.is_some_and(|there| (there.epoch, there.seq) > now) {
            // It has gone on since, perhaps under another signing key: this head would be refused one day.
            return Ok(());
        }
        match path.exists() {
            true => file::replace_soon(&path, state.bytes(), owner_only())?,
            // From the first time on, a file that is missing is damage: a power cut must not take it away again.
            false => file::replace(&path, state.bytes(), owner_only())?,
        }
        held.insert(chain.as_str().to_owned(), now);
        Ok(())
    }
}

fn file_name(chain: &ChainName) -> String {
    chain.as_str().replace('/', ".")
}

fn owner_only() -> Permissions {
    Permissions::from_mode(0o600)
}

/// Beside the keyring: the folder of the heads that were acknowledged last.
pub(crate) const HEADS: &str = "heads";
