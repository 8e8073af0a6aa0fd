//! The embedded store: a folder on this machine, owned by one process.
//!
//! Small objects and heads are in sled 0.34; large objects, segments and run records in files
//! beside it. Acknowledged data survives a power cut; `tree.rs` adds what sled lacks for that. All
//! calls block, so each runs on the blocking pool.

#![deny(missing_docs)]

mod conf;
mod disk_space;
mod error;
mod failure;
mod files;
mod flush;
mod folder;
mod lock;
mod opened;
mod page_cache;
mod recent;
mod reserve;
mod run_log;
mod sync;
mod tree;

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{Arc, Once},
};

use async_trait::async_trait;
use keyside_store::{
    Archive, Backend, CommitStep, Edit, Effect, Notes, RunLog, Storage, StorageError, StoredCommit,
};
use tokio::task::spawn_blocking;

use self::{
    disk_space::DiskSpace,
    opened::{MAX_TREE_VALUE, NOTE, Opened},
};
pub use self::{disk_space::Floors, error::StoreOpenError};

/// An open store.
pub struct EmbeddedStore(Arc<Opened>);

impl EmbeddedStore {
    /// Opens the store in a folder, or creates it. If the disk is full, uses the disk space that
    /// the store keeps in reserve for this.
    ///
    /// # Errors
    /// Each error names its remedy.
    pub async fn open(folder: &Path) -> Result<Arc<Self>, StoreOpenError> {
        Self::open_with_floors(folder, Floors::USUAL).await
    }

    /// Like [`Self::open`], with other minimums of free disk space than [`Floors::USUAL`].
    ///
    /// # Errors
    /// As with [`Self::open`].
    pub async fn open_with_floors(
        folder: &Path,
        floors: Floors,
    ) -> Result<Arc<Self>, StoreOpenError> {
        let disk_space = DiskSpace {
            folder: folder.to_owned(),
            floors,
        };
        Self::opened(folder, move || Opened::open(disk_space)).await
    }

    /// Opens the store in a folder for reading only. Changes nothing in the folder: sled writes
    /// while it opens, so it gets a copy of its files.
    ///
    /// # Errors
    /// As with [`Self::open`], and if there is no store.
    pub async fn open_read_only(folder: &Path) -> Result<Arc<Self>, StoreOpenError> {
        let owned = folder.to_owned();
        Self::opened(folder, move || Opened::open_read_only(&owned)).await
    }

    /// Whether a folder holds a store, which [`Self::open`] would open instead of creating one.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn exists_in(folder: &Path) -> Result<bool, StoreOpenError> {
        Ok(!folder::is_new(folder)?)
    }

    /// Deletes a store to which nothing was ever committed, such as one left by a start that failed
    /// for another reason. Returns whether it did: a store that is in use, damaged, or not empty
    /// stays.
    ///
    /// # Errors
    /// The store could not be deleted.
    pub async fn remove_unused(folder: &Path) -> Result<bool, StoreOpenError> {
        let folder = folder.to_owned();
        let removed = spawn_blocking(move || {
            if let Some(_lock) = folder::lock_unfinished(&folder) {
                return folder::remove_atomically(&folder).map(|()| true);
            }
            let Some(Ok(opened)) = catch_panic(|| Opened::open_read_only(&folder)) else {
                return Ok(false);
            };
            match opened.is_unused(&folder) {
                // `opened` holds the lock until the folder is deleted.
                Ok(true) => folder::remove_atomically(&folder).map(|()| true),
                _ => Ok(false),
            }
        });
        Ok(removed.await.unwrap_or(Ok(false))?)
    }

    async fn opened(
        folder: &Path,
        open: impl FnOnce() -> Result<Opened, StoreOpenError> + Send + 'static,
    ) -> Result<Arc<Self>, StoreOpenError> {
        // sled 0.34.7 panics on inconsistent files (`pagecache/logger.rs`,
        // `pagecache/snapshot.rs`). That means damage, and the panic's text would only tell sled's
        // authors anything.
        let opened = spawn_blocking(move || catch_panic(open)).await;
        let damaged = || StoreOpenError::damaged(folder, "sled cannot read it");
        Ok(Arc::new(Self(Arc::new(
            opened.ok().flatten().ok_or_else(damaged)??,
        ))))
    }

    /// The four stores of this backend.
    pub fn backend(self: &Arc<Self>) -> Backend {
        Backend::of(self.clone())
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Opened) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let opened = self.0.clone();
        match spawn_blocking(move || catch_panic(|| work(&opened))).await {
            Ok(Some(done)) => done,
            // sled 0.34.7 panics on inconsistent files, also after it has opened them.
            Ok(None) => Err(self.0.tree.damaged("sled cannot read it")),
            // Not a panic, because those are caught: the runtime is being shut down.
            Err(_) => Err(StorageError::unavailable("the process is stopping")),
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Opened) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        match self.0.read_only {
            true => Err(StorageError::ReadOnly),
            false => self.read(work).await,
        }
    }
}

/// Runs `work`. A panic is only logged, and not as an error: the caller reports the damage.
fn catch_panic<T>(work: impl FnOnce() -> T) -> Option<T> {
    QUIET.with(|quiet| quiet.set(true));
    static HOOK: Once = Once::new();
    // The default hook would print the panic to stderr, so it is skipped on threads that catch it.
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !QUIET.with(std::cell::Cell::get) {
                before(panic);
            }
        }));
    });
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.with(|quiet| quiet.set(false));
    done.inspect_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        tracing::debug!(said, "sled panicked while it read its files");
    })
    .ok()
}

thread_local! {
    static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[async_trait]
impl Storage for EmbeddedStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let recent = &self.0.tree.recent;
        if let Some(value) = recent.get(key) {
            return Ok(Some(value));
        }
        let now = recent.now();
        let owned = key.to_owned();
        let value = self.read(move |opened| opened.get(&owned)).await?;
        if let Some(value) = &value {
            recent.keep(key, value, now);
        }
        Ok(value)
    }

    async fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let keys = keys.to_vec();
        self.read(move |opened| keys.iter().map(|key| opened.get(key)).collect())
            .await
    }

    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let (key, bytes) = (key.to_owned(), bytes.to_vec());
        self.write(move |opened| opened.put_new(&key, &bytes)).await
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let (key, bytes) = (key.to_owned(), bytes.to_vec());
        let expected = expected.map(<[u8]>::to_vec);
        self.write(move |opened| opened.tree.swap(&key, expected, bytes))
            .await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.delete_all(&[key.to_owned()]).await
    }

    async fn delete_all(&self, keys: &[String]) -> Result<(), StorageError> {
        let keys = keys.to_vec();
        self.write(move |opened| keys.iter().try_for_each(|key| opened.delete(key)))
            .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let prefix = prefix.to_owned();
        self.read(move |opened| opened.list(&prefix)).await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        let sync_to_disk = || self.write(|opened| opened.tree.sync_to_disk());
        self.0.tree.flush.share(sync_to_disk).await
    }

    async fn check_disk_space(&self, effect: Effect) -> Result<(), StorageError> {
        self.write(move |opened| opened.tree.check_disk_space(effect))
            .await
    }

    async fn commit(&self, commit: &StoredCommit) -> Result<(), (CommitStep, StorageError)> {
        let step = |step| move |error| (step, error);
        if self.0.read_only {
            return Err((CommitStep::Begin, StorageError::ReadOnly));
        }
        let commit = commit.clone();
        let committed = self.write(move |opened| Ok(opened.commit(&commit)));
        // sled may have panicked in any step: the head may be swapped, and must not be swapped again,
        // because objects that it names may be missing.
        let is_synced = committed.await.map_err(step(CommitStep::Sync))??;
        if !is_synced {
            let synced = Storage::sync(self).await;
            synced.map_err(step(CommitStep::Sync))?;
        }
        Ok(())
    }

    fn failure(&self) -> Option<String> {
        self.0.tree.failure()
    }
}

#[async_trait]
impl Archive for EmbeddedStore {
    async fn put_new(&self, chain: &str, number: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let (name, bytes) = (segment(chain, number), bytes.to_vec());
        self.write(move |opened| opened.archive.put(&name, &bytes))
            .await
    }

    async fn get(&self, chain: &str, number: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let name = segment(chain, number);
        self.read(move |opened| opened.archive.get(&name)).await
    }
}

#[async_trait]
impl RunLog for EmbeddedStore {
    async fn append(&self, position: u64, block: Vec<u8>) -> Result<(), StorageError> {
        self.write(move |opened| opened.runs.append(position, &block))
            .await
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        Self::read(self, move |opened| opened.runs.entries(from, limit)).await
    }

    async fn last(&self) -> Result<u64, StorageError> {
        Self::read(self, |opened| Ok(opened.runs.last())).await
    }

    async fn edit(&self, edit: Edit) -> Result<(), StorageError> {
        self.write(move |opened| opened.runs.edit(edit)).await
    }

    async fn forget(&self, position: u64) -> Result<(), StorageError> {
        self.write(move |opened| opened.runs.forget(position)).await
    }

    /// Run records are in files of their own, and no decision depends on them: a failed sync here
    /// does not latch a failure of the store, nor the reverse.
    async fn sync(&self) -> Result<(), StorageError> {
        let runs = &self.0.runs;
        let sync_to_disk = || self.write(|opened| opened.runs.sync());
        let synced = runs.flush.share(sync_to_disk).await;
        synced.inspect_err(|_| runs.note_reported())
    }
}

#[async_trait]
impl Notes for EmbeddedStore {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let name = note(name);
        Self::read(self, move |opened| opened.tree.get(&name)).await
    }

    async fn swap(
        &self,
        name: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        if bytes.len() > MAX_TREE_VALUE {
            return Err(StorageError::note_too_large(name, bytes.len()));
        }
        Storage::swap(self, &note(name), expected, bytes).await
    }

    async fn under(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let prefix = note(prefix);
        Self::read(self, move |opened| opened.notes(&prefix)).await
    }

    async fn remove(&self, name: &str) -> Result<(), StorageError> {
        let name = note(name);
        self.write(move |opened| opened.tree.delete(&name, Effect::Finishes))
            .await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        Storage::sync(self).await
    }
}

fn segment(chain: &str, number: u64) -> String {
    format!("{chain}/{number:012}")
}

fn note(name: &str) -> String {
    format!("{NOTE}{name}")
}

#[cfg(test)]
mod tests;
