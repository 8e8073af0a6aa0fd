//! Anchors: copies of the last acknowledged heads in files outside the store, which reveal a store
//! that was truncated or put back to an older state.
//!
//! An anchor is a copy of a signed head, so it needs no key of its own. It is synced before it is
//! renamed into place, and written after the head: after a power cut it may be behind, but never
//! ahead or torn. It may be missing until the workspace's registration says that its chain has
//! begun (`first_read.rs`).

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use keyside_store::{
    StorageError,
    chain::{ChainName, Damage, Head, Link, LoadError, State},
    file::{self, FileError},
};
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use crate::{keyring::Keyring, model::WorkspaceId};

pub(crate) struct Anchors(Arc<Written>);

struct Written {
    folder: PathBuf,
    /// Epoch and sequence number of each anchor. Locked while a file is replaced.
    held: Mutex<HashMap<String, (u64, u64)>>,
    /// Chains whose anchor could not be written: a store that is put back to the state in the anchor
    /// would be accepted. Never locked while a file is written: a disk that hangs must not stop those
    /// who only ask.
    behind: Mutex<BTreeSet<ChainName>>,
}

impl Anchors {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(Arc::new(Written {
            folder: folder.to_owned(),
            held: Mutex::default(),
            behind: Mutex::default(),
        }))
    }

    pub(crate) fn path(folder: &Path, chain: &ChainName) -> PathBuf {
        // Workspace ids are slugs, so no two chains share a file name.
        folder.join(file_name(chain))
    }

    pub(crate) fn path_of(&self, chain: &ChainName) -> PathBuf {
        Self::path(&self.0.folder, chain)
    }

    /// The path of a chain's anchor within the data folder; the whole folder if that is missing.
    pub(crate) fn shown(&self, chain: &ChainName) -> String {
        match self.0.folder.exists() {
            true => format!("{HEADS}/{}", file_name(chain)),
            false => HEADS.to_owned(),
        }
    }

    /// The workspaces that have an anchor, each with its file. Empty if the folder cannot be read.
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

    /// The last acknowledged state of a chain, if there is an anchor.
    pub(crate) fn read(
        &self,
        chain: &ChainName,
        keyring: &Keyring,
    ) -> Result<Option<Link>, LoadError> {
        let path = Self::path(&self.0.folder, chain);
        let read = file::read_if_exists(&path).map_err(|error| Damage::AnchorUnreadable {
            file: self.shown(chain),
            error: error.to_string(),
        });
        let Some(bytes) = read? else {
            return Ok(None);
        };
        let installation = keyring.installation().installation();
        let head = Head::verify_under(&bytes, chain, installation, &keyring.trust());
        let (head, _) = head.map_err(|damage| {
            tracing::error!(file = %path.display(), %damage, "the anchor of a chain is damaged");
            Damage::AnchorDamaged {
                file: self.shown(chain),
            }
        })?;
        Ok(Some(head.link()))
    }

    /// The chains whose anchor could not be written and is behind.
    pub(crate) fn behind(&self) -> Vec<ChainName> {
        self.0.behind.lock().iter().cloned().collect()
    }

    /// Writes the anchor for a state. A failure is logged and counted: the change itself is on disk.
    pub(crate) async fn write_or_warn(&self, chain: &ChainName, state: &Arc<State>) {
        if let Err(error) = self.write(chain, state).await {
            tracing::warn!(%error, "the anchor of a chain could not be written");
        }
    }

    /// Writes the anchor for a state, and reports a failure.
    pub(crate) async fn write(
        &self,
        chain: &ChainName,
        state: &Arc<State>,
    ) -> Result<(), StorageError> {
        let (written, chain, state) = (self.0.clone(), chain.clone(), state.clone());
        let replaced = spawn_blocking(move || written.update(&chain, &state)).await;
        let replaced = replaced.map_err(StorageError::unavailable)?;
        replaced.map_err(StorageError::unavailable)
    }

    /// Syncs the folder, so that all anchors survive a power cut.
    pub(crate) async fn sync(&self) -> Result<(), StorageError> {
        let folder = self.0.folder.clone();
        let synced = spawn_blocking(move || file::sync_folder(&folder)).await;
        let synced = synced.map_err(StorageError::unavailable)?;
        synced.map_err(StorageError::unavailable)
    }

    pub(crate) fn restore(folder: &Path, chain: &ChainName, head: &[u8]) -> Result<(), FileError> {
        file::create_folder(folder)?;
        file::replace(&Self::path(folder, chain), head, file::owner_only())
    }
}

impl Written {
    fn update(&self, chain: &ChainName, state: &State) -> Result<(), FileError> {
        let replaced = self.replace(chain, state);
        let mut behind = self.behind.lock();
        match replaced {
            Ok(()) => behind.remove(chain),
            Err(_) => behind.insert(chain.clone()),
        };
        replaced
    }

    fn replace(&self, chain: &ChainName, state: &State) -> Result<(), FileError> {
        let mut held = self.held.lock();
        let now = (state.head.epoch, state.head.seq);
        // Concurrent changes finish in any order; the latest head must win.
        if held.get(chain.as_str()).is_some_and(|held| *held >= now) {
            return Ok(());
        }
        if held.is_empty() {
            file::create_folder(&self.folder)?;
        }
        let path = Anchors::path(&self.folder, chain);
        // Other processes on this machine use the same temporary file.
        let _lock = file::lock(&self.folder.join(".lock"))?;
        let existing =
            file::read_if_exists(&path)?.and_then(|bytes| Head::parse_unverified(&bytes).ok());
        if existing.is_some_and(|existing| (existing.epoch, existing.seq) > now) {
            // The chain has moved on, perhaps under another signing key that will be the only
            // trusted one: keep the newer anchor.
            return Ok(());
        }
        match path.exists() {
            true => file::replace_soon(&path, state.bytes(), file::owner_only())?,
            // Once an anchor exists, a missing file is damage, so its first version must survive a
            // power cut.
            false => file::replace(&path, state.bytes(), file::owner_only())?,
        }
        held.insert(chain.as_str().to_owned(), now);
        Ok(())
    }
}

fn file_name(chain: &ChainName) -> String {
    chain.as_str().replace('/', ".")
}

/// The folder of anchors, beside the keyring.
pub(crate) const HEADS: &str = "heads";
