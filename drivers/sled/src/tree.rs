//! Calls sled, and adds what it lacks: sled writes to its log in order, but does not fsync it on
//! Linux (sled #1351, #1452).

use std::sync::Arc;

use keyside_store::{Effect, StorageError};
use parking_lot::{Mutex, MutexGuard};
use sled::{Db, IVec};

use crate::{
    disk_space::{DiskSpace, Floors},
    error::{self, StoreOpenError},
    failure::Failure,
    flush::Flush,
    folder::{self, OpenedFolder, StoreLock},
    page_cache::PageCache,
    reserve::ReserveFile,
    sync::SyncError,
};

/// An open tree of small values.
pub(super) struct Tree {
    values: sled::Tree,
    pub(super) flush: Flush,
    page_cache: PageCache,
    disk_space: DiskSpace,
    reserve: ReserveFile,
    pub(super) failure: Arc<Failure>,
    /// Locked while sled writes, so that there is one write at a time.
    writing: Mutex<()>,
    db: Db,
    /// Declared last: the lock is released after sled has closed its files.
    _held: StoreLock,
}

impl Tree {
    pub(super) fn open(disk_space: DiskSpace) -> Result<Self, StoreOpenError> {
        let opened = folder::open(
            &disk_space.folder,
            &ReserveFile::in_folder(&disk_space.folder),
        )?;
        let tree = Self::of(opened, disk_space)?;
        tree.reserve.refill(&tree.disk_space);
        Ok(tree)
    }

    /// Opens a temporary copy of the store in `folder`.
    pub(super) fn open_copy(folder: &std::path::Path) -> Result<Self, StoreOpenError> {
        let opened = folder::open_copy(folder)?;
        let disk_space = DiskSpace {
            folder: folder.to_owned(),
            floors: Floors::USUAL,
        };
        Self::of(opened, disk_space)
    }

    fn of(
        OpenedFolder { db, held }: OpenedFolder,
        disk_space: DiskSpace,
    ) -> Result<Self, StoreOpenError> {
        let values = db
            .open_tree(VALUES)
            .map_err(|error| StoreOpenError::sled(&disk_space.folder, &error))?;
        Ok(Self {
            values,
            flush: Flush::default(),
            page_cache: PageCache::default(),
            reserve: ReserveFile::in_folder(&disk_space.folder),
            disk_space,
            failure: Arc::default(),
            writing: Mutex::default(),
            db,
            _held: held,
        })
    }

    /// The error of the first failed disk write, if there was one.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.reason()
    }

    pub(super) fn check_disk_space(&self, effect: Effect) -> Result<(), StorageError> {
        self.failure.check()?;
        self.disk_space.check(effect)?;
        if effect == Effect::Adds {
            // A start may have used the reserve, and the disk may have space again.
            self.reserve.refill(&self.disk_space);
        }
        Ok(())
    }

    pub(super) fn check_writable(&self) -> Result<(), StorageError> {
        self.failure.check()
    }

    /// Syncs everything written so far.
    pub(super) fn sync_to_disk(&self) -> Result<(), StorageError> {
        {
            let _writing = self.begin()?;
            let written = self.db.flush();
            written.map_err(|error| self.failure.latch("db", error))?;
        }
        folder::sync_db(&self.disk_space.folder).map_err(|error| match error {
            SyncError::NotAttempted(error) => StorageError::unavailable(format!("db: {error}")),
            SyncError::Failed(error) => self.failure.latch("db", error),
        })
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let stored = self
            .values
            .get(key)
            .map_err(|error| self.unreadable(&error))?;
        self.evict_pages(key);
        Ok(stored.map(|value| value.to_vec()))
    }

    /// Lets sled evict pages. Call it after each read.
    fn evict_pages(&self, key: &str) {
        // If this fails, a read that needs the value reports it.
        self.page_cache.after_read(|| drop(self.values.get(key)));
    }

    pub(super) fn put(&self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        self.disk_space.check(Effect::Finishes)?;
        self.write(|| self.values.insert(key, value))?;
        Ok(())
    }

    pub(super) fn swap(
        &self,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> Result<(), StorageError> {
        self.disk_space.check(Effect::Finishes)?;
        let swap = || self.values.compare_and_swap(key, expected, Some(value));
        self.write(swap)?.map_err(|_| StorageError::Conflict {
            what: key.to_owned(),
        })
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.write(|| self.values.remove(key))?;
        Ok(())
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let key = |key: sled::Result<IVec>| {
            let key = key.map_err(|error| self.unreadable(&error))?;
            let key = String::from_utf8_lossy(&key).into_owned();
            self.evict_pages(&key);
            Ok(key)
        };
        self.values.scan_prefix(prefix).keys().map(key).collect()
    }

    fn unreadable(&self, error: &sled::Error) -> StorageError {
        self.damaged(&error::finding(error))
    }

    /// An error for data that cannot be read.
    pub(super) fn damaged(&self, finding: &str) -> StorageError {
        let damaged = StoreOpenError::damaged(&self.disk_space.folder, finding);
        StorageError::unavailable(damaged)
    }

    /// Lets sled write to memory, and later to its log.
    fn write<T>(&self, write: impl FnOnce() -> sled::Result<T>) -> Result<T, StorageError> {
        let _writing = self.begin()?;
        let written = write().map_err(|error| self.failure.latch("db", error))?;
        self.flush.wrote();
        Ok(written)
    }

    fn begin(&self) -> Result<MutexGuard<'_, ()>, StorageError> {
        let writing = self.writing.lock();
        self.failure.check()?;
        Ok(writing)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // sled's drop would flush again and wait for a disk that has failed (0.34.7,
        // `pagecache/logger.rs`, `Log::drop`), so a handle is leaked.
        if self.failure.reason().is_some() {
            std::mem::forget(self.db.clone());
        }
    }
}

const VALUES: &str = "values";

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &std::path::Path) -> Tree {
        let disk_space = DiskSpace {
            folder: folder.to_owned(),
            floors: Floors::USUAL,
        };
        Tree::open(disk_space).unwrap()
    }

    /// Reads all values. Returns how many of the values that were in memory before still are: a value
    /// that is read again is the same allocation unless its page was evicted.
    fn kept_in_memory(
        folder: &std::path::Path,
        keys: &[String],
        read: impl Fn(&Tree, &String),
    ) -> usize {
        let tree = open(folder);
        let sample = || {
            keys.iter()
                .step_by(4)
                .map(|key| tree.values.get(key).unwrap().unwrap())
        };
        let held: Vec<_> = sample().collect();
        keys.iter().for_each(|key| read(&tree, key));
        let again = sample().zip(&held);
        again
            .filter(|(now, held)| now.as_ptr() == held.as_ptr())
            .count()
    }

    #[test]
    fn few_of_the_pages_that_were_read_stay_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<_> = (0..6_000).map(|n| format!("key/{n:06}")).collect();
        let tree = open(folder.path());
        for key in &keys {
            tree.put(key, &[7; 1_024]).unwrap();
        }
        drop(tree);
        let sled_alone = |tree: &Tree, key: &String| drop(tree.values.get(key).unwrap());
        let without = kept_in_memory(folder.path(), &keys, sled_alone);
        let evicting = |tree: &Tree, key: &String| drop(tree.get(key).unwrap());
        let with = kept_in_memory(folder.path(), &keys, evicting);
        assert!(with * 2 < without, "{with} kept, {without} by sled alone");
    }
}
