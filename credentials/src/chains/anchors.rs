//! Anchors: copies of the last acknowledged heads in files outside the store, which reveal a store
//! that was truncated or put back to an older state.
//!
//! An anchor is a copy of a signed head, so it needs no key of its own. It is synced under a
//! temporary name while its head is, and renamed into place once that is on disk: after a power cut
//! it may be behind, but never ahead or torn. `first_read.rs` says when it may be missing.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
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

use crate::{entropy, keyring::Keyring, model::WorkspaceId};

pub(crate) struct Anchors(Arc<Written>);

struct Written {
    folder: PathBuf,
    /// The latest anchor of each chain that this process has written. On disk with its name. Like
    /// `behind`, never locked while a file is written: a disk that hangs must not stop those who only
    /// ask.
    held: Mutex<HashMap<ChainName, Order>>,
    /// The latest anchor of each chain that could not be written: a store that is put back to the
    /// state in the anchor before it would be accepted.
    behind: Mutex<BTreeMap<ChainName, Order>>,
}

/// Epoch and sequence number.
type Order = (u64, u64);

/// The next anchor of a chain, on disk under a temporary name.
pub(crate) struct Staged {
    state: Arc<State>,
    /// Why it could not be written, if so.
    file: Result<PathBuf, StorageError>,
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

    /// Whether the chain has an anchor that survives a power cut. Only this process's own counts: an
    /// earlier one may have ended, or failed, between the rename and the sync of the folder.
    pub(crate) fn is_on_disk(&self, chain: &ChainName) -> bool {
        let is_held = self.0.held.lock().contains_key(chain);
        is_held && self.has(chain)
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
        self.0.behind.lock().keys().cloned().collect()
    }

    /// Like [`Self::publish`]. A failure is logged and counted: the change itself is on disk.
    pub(crate) async fn publish_or_warn(&self, chain: &ChainName, staged: Staged) {
        if let Err(error) = self.publish(chain, staged).await {
            tracing::warn!(%error, "the anchor of a chain could not be written");
        }
    }

    /// Writes the anchor for a state that is on disk.
    pub(crate) async fn write(
        &self,
        chain: &ChainName,
        state: &Arc<State>,
    ) -> Result<(), StorageError> {
        let staged = self.stage(chain, state).await;
        self.publish(chain, staged).await
    }

    /// Writes the anchor for a state under a temporary name. The state need not be on disk yet.
    pub(crate) async fn stage(&self, chain: &ChainName, state: &Arc<State>) -> Staged {
        let (written, of) = (self.0.clone(), state.clone());
        let file = self.0.temporary(chain);
        Staged {
            state: state.clone(),
            file: in_background(move || written.stage(file, &of)).await,
        }
    }

    /// Renames a staged anchor into place. Its state is on disk.
    async fn publish(&self, chain: &ChainName, staged: Staged) -> Result<(), StorageError> {
        let Staged { state, file } = staged;
        let order = super::order(&state);
        let (written, name) = (self.0.clone(), chain.clone());
        let published = match file {
            Ok(file) => in_background(move || written.publish(&name, &state, &file)).await,
            Err(error) => Err(error),
        };
        let mut behind = self.0.behind.lock();
        let latest = behind.entry(chain.clone()).or_default();
        *latest = (*latest).max(order);
        // An older one may be written after a newer one has failed.
        if published.is_ok() && *latest == order {
            behind.remove(chain);
        }
        published
    }

    /// Deletes an anchor that is not published, because its state was not committed.
    pub(crate) async fn discard(&self, staged: Staged) {
        if let Ok(file) = staged.file {
            // What stays is deleted by the next start.
            let _ = in_background(move || delete(&file)).await;
        }
    }

    /// Deletes the temporary files that a crash has left. No other process may be writing anchors in
    /// this folder, because its staged ones would be deleted too: the caller has the embedded store
    /// open, which locks the data folder.
    pub(crate) async fn sweep(&self) {
        let folder = self.0.folder.clone();
        let swept = in_background(move || {
            let mut swept = Ok(());
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if name.as_encoded_bytes().ends_with(TEMPORARY.as_bytes()) {
                    swept = swept.and(delete(&entry.path()));
                }
            }
            swept
        });
        if let Err(error) = swept.await {
            tracing::warn!(%error, "a temporary file of an anchor could not be deleted");
        }
    }

    /// Syncs the folder, so that all anchors survive a power cut.
    pub(crate) async fn sync(&self) -> Result<(), StorageError> {
        let folder = self.0.folder.clone();
        in_background(move || file::sync_folder(&folder)).await
    }

    pub(crate) fn restore(folder: &Path, chain: &ChainName, head: &[u8]) -> Result<(), FileError> {
        file::create_folder(folder)?;
        file::replace(&Self::path(folder, chain), head, file::owner_only())
    }
}

impl Written {
    /// A path that no other anchor is staged at. Random, because processes in containers have the
    /// same id.
    fn temporary(&self, chain: &ChainName) -> PathBuf {
        let number = entropy::number();
        let name = format!("{}.{number:016x}{TEMPORARY}", file_name(chain));
        self.folder.join(name)
    }

    fn stage(&self, file: PathBuf, state: &State) -> Result<PathBuf, FileError> {
        if !self.folder.is_dir() {
            file::create_folder(&self.folder)?;
        }
        let written = file::write_new(&file, state.bytes(), file::owner_only());
        delete_if_failed(written, &file)?;
        Ok(file)
    }

    fn publish(&self, chain: &ChainName, state: &State, staged: &Path) -> Result<(), FileError> {
        delete_if_failed(self.replace(chain, state, staged), staged)
    }

    fn replace(&self, chain: &ChainName, state: &State, staged: &Path) -> Result<(), FileError> {
        // Also against other threads: each opens the file for itself.
        let _lock = file::lock(&self.folder.join(".lock"))?;
        let (now, held) = (super::order(state), self.held.lock().get(chain).copied());
        // Concurrent changes finish in any order; the latest head must win.
        if held.is_some_and(|held| held >= now) {
            return delete(staged);
        }
        let path = Anchors::path(&self.folder, chain);
        let is_on_disk = held.is_some() && path.exists();
        let existing =
            file::read_if_exists(&path)?.and_then(|bytes| Head::parse_unverified(&bytes).ok());
        match existing.is_some_and(|existing| (existing.epoch, existing.seq) > now) {
            // The chain has moved on, perhaps under another signing key that will be the only
            // trusted one: keep the newer anchor.
            true => delete(staged)?,
            false => fs::rename(staged, &path).map_err(FileError::at(&path))?,
        }
        if !is_on_disk {
            // Once an anchor exists, a missing file is damage, so its first version must survive a
            // power cut, and with it the folder. An earlier process, or an earlier attempt, may have
            // ended before it synced them.
            file::create_folder(&self.folder)?;
            file::sync_folder(&self.folder).map_err(FileError::at(&self.folder))?;
        }
        self.held.lock().insert(chain.clone(), now);
        Ok(())
    }
}

async fn in_background<T: Send + 'static, E: Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, StorageError> {
    let done = spawn_blocking(work).await;
    done.map_err(StorageError::unavailable)?
        .map_err(StorageError::unavailable)
}

/// Deletes a temporary file if what was done with it has failed.
fn delete_if_failed(done: Result<(), FileError>, file: &Path) -> Result<(), FileError> {
    if done.is_err() {
        let _ = delete(file);
    }
    done
}

fn delete(file: &Path) -> Result<(), FileError> {
    fs::remove_file(file).map_err(FileError::at(file))
}

fn file_name(chain: &ChainName) -> String {
    chain.as_str().replace('/', ".")
}

/// The folder of anchors, beside the keyring.
pub(crate) const HEADS: &str = "heads";
/// The end of the names of temporary files: no chain's name has a dot in it.
const TEMPORARY: &str = ".new";
