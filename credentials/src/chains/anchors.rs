//! Anchors: copies of the last acknowledged heads in files outside the store, which reveal a store
//! that was truncated or put back to an older state.
//!
//! An anchor is a copy of a signed head, so it needs no key of its own. A chain has up to two:
//!
//! - the *synced* one, which is written under a temporary name, synced, and renamed into place;
//! - a newer one that is not synced yet (`unsynced.rs`), written when a commit is on disk and before
//!   it is acknowledged. It survives a `kill -9`. A power cut may lose it, or leave a part of it, which
//!   has no valid signature and is ignored.
//!
//! About a second later the newer one replaces the synced one; if its process is killed before, a second
//! after the next start. So after a power cut an anchor may be behind its chain, but it is never ahead or
//! torn. `first_read.rs` says when it may be missing.

mod unsynced;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use keyside_store::{
    StorageError, TrustedKeys,
    chain::{ChainName, Damage, Head, Link, LoadError, State},
    file::{self, FileError},
};
use parking_lot::Mutex;
use tokio::{task::spawn_blocking, time::sleep};

use crate::{entropy, keyring::Keyring, model::WorkspaceId};

pub(crate) struct Anchors(Arc<Folder>);

/// Only `syncing` is locked while a file is written: a disk that hangs must not stop those who read
/// the other fields.
struct Folder {
    path: PathBuf,
    /// For the keys that sign heads.
    keyring: Arc<Keyring>,
    /// The latest anchor of each chain that this process has written and synced, with its name.
    synced: Mutex<HashMap<ChainName, Order>>,
    /// The states whose anchors are not synced yet.
    unsynced: Mutex<BTreeMap<ChainName, Arc<State>>>,
    /// Held while they are synced, so that a second caller waits for those that the first one has
    /// taken.
    syncing: tokio::sync::Mutex<()>,
    /// The latest anchor of each chain that could not be written: a store that is put back to the
    /// state in the anchor before it would be accepted.
    behind: Mutex<BTreeMap<ChainName, Order>>,
}

/// Epoch and sequence number.
type Order = (u64, u64);

impl Anchors {
    pub(crate) fn in_folder(folder: &Path, keyring: Arc<Keyring>) -> Self {
        Self(Arc::new(Folder {
            path: folder.to_owned(),
            keyring,
            synced: Mutex::default(),
            unsynced: Mutex::default(),
            syncing: tokio::sync::Mutex::default(),
            behind: Mutex::default(),
        }))
    }

    /// The path of a chain's synced anchor.
    pub(crate) fn path(folder: &Path, chain: &ChainName) -> PathBuf {
        // Workspace ids are slugs, so no two chains share a file name.
        folder.join(file_name(chain))
    }

    pub(crate) fn path_of(&self, chain: &ChainName) -> PathBuf {
        Self::path(&self.0.path, chain)
    }

    /// The path of a chain's anchor within the data folder; the whole folder if that is missing.
    pub(crate) fn shown(&self, chain: &ChainName) -> String {
        match self.0.path.exists() {
            true => format!("{HEADS}/{}", file_name(chain)),
            false => HEADS.to_owned(),
        }
    }

    /// The workspaces that have an anchor, each with its file. Empty if the folder cannot be read.
    pub(crate) fn workspaces(&self) -> Vec<(WorkspaceId, PathBuf)> {
        let entries = fs::read_dir(&self.0.path).into_iter().flatten().flatten();
        let of_workspaces = entries.filter_map(|entry| {
            let name = entry.file_name();
            let id = name.to_str()?.strip_prefix("workspace.")?;
            Some((id.parse::<WorkspaceId>().ok()?, entry.path()))
        });
        of_workspaces.collect()
    }

    pub(crate) fn has(&self, chain: &ChainName) -> bool {
        Self::path(&self.0.path, chain).exists()
    }

    /// Whether the chain has an anchor that survives a power cut. Only one that this process has
    /// written counts: an earlier process may have ended, or failed, between the rename and the sync of
    /// the folder.
    pub(crate) fn is_on_disk(&self, chain: &ChainName) -> bool {
        let is_synced = self.0.synced.lock().contains_key(chain);
        is_synced && self.has(chain)
    }

    /// The last acknowledged state of a chain, if there is an anchor.
    pub(crate) fn read(&self, chain: &ChainName) -> Result<Option<Link>, LoadError> {
        let keyring = &self.0.keyring;
        let installation = keyring.installation().installation();
        let newest = Self::newest(&self.0.path, chain, installation, &keyring.trust());
        let newest = newest.map_err(|error| Damage::AnchorUnreadable {
            file: self.shown(chain),
            error: error.to_string(),
        })?;
        let head = newest.transpose().map_err(|damage| {
            let path = self.path_of(chain);
            tracing::error!(file = %path.display(), %damage, "the anchor of a chain is damaged");
            Damage::AnchorDamaged {
                file: self.shown(chain),
            }
        })?;
        Ok(head.map(|head| head.link()))
    }

    /// The head in the newer anchor of a chain, if there is one.
    pub(crate) fn newest(
        folder: &Path,
        chain: &ChainName,
        installation: &str,
        trust: &TrustedKeys,
    ) -> Result<Option<Result<Head, Damage>>, FileError> {
        let verify = |bytes: Vec<u8>| {
            let verified = Head::verify_under(&bytes, chain, installation, trust);
            verified.map(|(head, _)| head)
        };
        let path = Self::path(folder, chain);
        // Read first: it may be replacing the synced one at this moment.
        let unsynced = unsynced::read(&unsynced::path_beside(&path))?;
        let Some(synced) = file::read_if_exists(&path)?.map(verify) else {
            return Ok(None);
        };
        let unsynced = unsynced
            .into_iter()
            .flatten()
            .filter_map(|head| verify(head).ok());
        Ok(Some(synced.map(|synced| {
            let newest = unsynced.chain([synced]).max_by_key(order_of);
            newest.expect("the synced one at least")
        })))
    }

    /// The chains whose anchor could not be written and is behind.
    pub(crate) fn behind(&self) -> Vec<ChainName> {
        self.0.behind.lock().keys().cloned().collect()
    }

    /// Whether this process has written the anchor of a state, or of a later one. It may not be synced
    /// yet.
    pub(crate) fn is_recorded(&self, chain: &ChainName, state: &State) -> bool {
        let order = super::order(state);
        let unsynced = self.0.unsynced.lock().get(chain).cloned();
        unsynced.is_some_and(|unsynced| super::order(&unsynced) >= order)
            || self.0.synced.lock().get(chain) >= Some(&order)
    }

    /// Whether there is an anchor of the chain that is not synced yet.
    pub(crate) fn has_unsynced(&self, chain: &ChainName) -> bool {
        unsynced::path_beside(&self.path_of(chain)).exists()
    }

    /// Writes the anchor for a commit that is on disk, and syncs it soon. A failure is logged and
    /// counted: the commit itself is on disk.
    pub(crate) async fn record(&self, chain: &ChainName, state: &Arc<State>) {
        let (folder, name, of) = (self.0.clone(), chain.clone(), state.clone());
        match in_background(move || folder.record(&name, &of)).await {
            Ok(Recorded::Synced) => self.0.note_written(chain, state),
            Ok(Recorded::Unsynced) => self.sync_soon(chain, state),
            Err(error) => {
                self.0.note_failed(chain, state);
                tracing::warn!(%error, "the anchor of a chain could not be written");
            }
        }
    }

    fn sync_soon(&self, chain: &ChainName, state: &Arc<State>) {
        let mut unsynced = self.0.unsynced.lock();
        let is_under_way = !unsynced.is_empty();
        let latest = unsynced.entry(chain.clone());
        let latest = latest.or_insert_with(|| state.clone());
        // Concurrent changes finish in any order.
        if super::order(latest) < super::order(state) {
            *latest = state.clone();
        }
        if is_under_way {
            return;
        }
        // If this process no longer uses the folder, another may have put it back to an older state.
        let folder = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            sleep(SYNC_DELAY).await;
            if let Some(folder) = folder.upgrade() {
                Self(folder).sync_unsynced().await;
            }
        });
    }

    /// Syncs all anchors that are not. A failure is logged and counted.
    pub(crate) async fn sync_unsynced(&self) {
        let _syncing = self.0.syncing.lock().await;
        let unsynced = std::mem::take(&mut *self.0.unsynced.lock());
        for (chain, state) in unsynced {
            if let Err(error) = self.write(&chain, &state).await {
                tracing::warn!(%error, "the anchor of a chain could not be synced");
            }
        }
    }

    /// Writes and syncs the anchor for a state that is on disk.
    pub(crate) async fn write(
        &self,
        chain: &ChainName,
        state: &Arc<State>,
    ) -> Result<(), StorageError> {
        let (folder, name, of) = (self.0.clone(), chain.clone(), state.clone());
        let written = in_background(move || folder.write(&name, &of)).await;
        match &written {
            Ok(()) => self.0.note_written(chain, state),
            Err(_) => self.0.note_failed(chain, state),
        }
        written
    }

    /// Deletes the temporary files that a crash has left. No other process may be writing anchors in
    /// this folder, because its temporary ones would be deleted too: the caller has the embedded store
    /// open, which locks the data folder.
    pub(crate) async fn sweep(&self) {
        let folder = self.0.path.clone();
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

    /// Brings all anchors to disk, with their names.
    ///
    /// # Errors
    /// An anchor could not be written, or the folder could not be synced.
    pub(crate) async fn sync(&self) -> Result<(), StorageError> {
        self.sync_unsynced().await;
        if let Some(chain) = self.behind().first() {
            let file = self.path_of(chain);
            let behind = format!("{} could not be written", file.display());
            return Err(StorageError::unavailable(behind));
        }
        let folder = self.0.path.clone();
        in_background(move || file::sync_folder(&folder)).await
    }

    pub(crate) fn restore(folder: &Path, chain: &ChainName, head: &[u8]) -> Result<(), FileError> {
        file::create_folder(folder)?;
        file::replace(&Self::path(folder, chain), head, file::owner_only())
    }
}

enum Recorded {
    Synced,
    Unsynced,
}

impl Folder {
    fn note_written(&self, chain: &ChainName, state: &State) {
        let mut behind = self.behind.lock();
        // An older one may be written after a newer one has failed.
        if behind.get(chain) <= Some(&super::order(state)) {
            behind.remove(chain);
        }
    }

    fn note_failed(&self, chain: &ChainName, state: &State) {
        let mut behind = self.behind.lock();
        let latest = behind.entry(chain.clone()).or_default();
        *latest = super::order(state).max(*latest);
    }

    /// A path that no other anchor is written at. Random, because processes in containers have the
    /// same id.
    fn temporary(&self, chain: &ChainName) -> PathBuf {
        let number = entropy::number();
        let name = format!("{}.{number:016x}{TEMPORARY}", file_name(chain));
        self.path.join(name)
    }

    /// Held while an anchor is replaced. Also against other threads: each opens the file for itself.
    fn lock(&self) -> Result<fs::File, FileError> {
        file::lock(&self.path.join(".lock"))
    }

    fn record(&self, chain: &ChainName, state: &State) -> Result<Recorded, FileError> {
        let path = Anchors::path(&self.path, chain);
        if !path.exists() {
            // Without a synced one, the chain has no anchor.
            return self.write(chain, state).map(|()| Recorded::Synced);
        }
        let _lock = self.lock()?;
        let unsynced = unsynced::path_beside(&path);
        let is_genuine = |head: &[u8]| self.is_genuine(chain, head);
        unsynced::write(&unsynced, state.bytes(), super::order(state), is_genuine)?;
        Ok(Recorded::Unsynced)
    }

    /// Whether a head is signed with a key of this installation, for this chain.
    fn is_genuine(&self, chain: &ChainName, head: &[u8]) -> bool {
        let installation = self.keyring.installation().installation();
        Head::verify_under(head, chain, installation, &self.keyring.trust()).is_ok()
    }

    fn write(&self, chain: &ChainName, state: &State) -> Result<(), FileError> {
        let now = super::order(state);
        if self.synced.lock().get(chain) >= Some(&now) {
            return Ok(());
        }
        if !self.path.is_dir() {
            file::create_folder(&self.path)?;
        }
        let temporary = self.temporary(chain);
        let written = file::write_new(&temporary, state.bytes(), file::owner_only());
        let replaced = written.and_then(|()| self.replace(chain, now, &temporary));
        if replaced.is_err() {
            let _ = delete(&temporary);
        }
        replaced
    }

    fn replace(&self, chain: &ChainName, now: Order, temporary: &Path) -> Result<(), FileError> {
        let _lock = self.lock()?;
        let path = Anchors::path(&self.path, chain);
        let is_on_disk = self.synced.lock().contains_key(chain) && path.exists();
        let unsynced = unsynced::path_beside(&path);
        let existing = file::read_if_exists(&path)?;
        if existing.is_none() && unsynced.exists() {
            // Beside none it was of no effect. It may be of an earlier chain with this name, and newer
            // than all that this one will have.
            delete(&unsynced)?;
        }
        let existing = existing.and_then(|bytes| Head::parse_unverified(&bytes).ok());
        match existing.is_some_and(|existing| order_of(&existing) > now) {
            // Concurrent changes finish in any order, and the chain may have moved on in another
            // process, perhaps under another signing key that will be the only trusted one.
            true => delete(temporary)?,
            false => fs::rename(temporary, &path).map_err(FileError::at(&path))?,
        }
        if !is_on_disk {
            // Once an anchor exists, a missing file is damage, so its first version must survive a
            // power cut, and with it the folder. An earlier process, or an earlier attempt, may have
            // ended before it synced them.
            file::create_folder(&self.path)?;
            file::sync_folder(&self.path).map_err(FileError::at(&self.path))?;
        }
        let is_genuine = |head: &[u8]| self.is_genuine(chain, head);
        if unsynced.exists() && !unsynced::has_newer(&unsynced, now, is_genuine)? {
            delete(&unsynced)?;
        }
        let mut synced = self.synced.lock();
        let latest = synced.entry(chain.clone()).or_default();
        *latest = now.max(*latest);
        Ok(())
    }
}

fn order_of(head: &Head) -> Order {
    (head.epoch, head.seq)
}

async fn in_background<T: Send + 'static, E: Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, StorageError> {
    let done = spawn_blocking(work).await;
    done.map_err(StorageError::unavailable)?
        .map_err(StorageError::unavailable)
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
/// How long a change may wait until its anchor is synced. After a power cut the anchor may be behind by
/// this and by the time that the file system takes to commit a rename.
const SYNC_DELAY: Duration = Duration::from_secs(1);
