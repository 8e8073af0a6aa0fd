//! Calls sled, and adds what it lacks: sled writes to its log in order, but does not fsync it on
//! Linux (sled #1351, #1452).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

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
    recent::Recent,
    reserve::ReserveFile,
    sync::SyncError,
};

/// An open tree of small values.
pub(super) struct Tree {
    values: sled::Tree,
    pub(super) flush: Flush,
    page_cache: PageCache,
    pub(super) recent: Recent,
    /// Bytes that were written to memory, and perhaps to the log, since the last sync: values that
    /// were put or deleted, with [`OVERHEAD`] for each.
    unsynced: AtomicU64,
    disk_space: DiskSpace,
    reserve: ReserveFile,
    pub(super) failure: Arc<Failure>,
    /// Locked while sled writes, so that there is one write at a time.
    writing: Mutex<()>,
    /// Locked during a sync, so that there is one sync at a time: the next one begins once a failure
    /// of this one is latched, although its caller may have stopped waiting. Locked before `writing`.
    syncing: Mutex<()>,
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
        let failure = Failure::marked_in(&disk_space.folder);
        let tree = Self::of(opened, disk_space, failure)?;
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
        Self::of(opened, disk_space, Failure::default())
    }

    fn of(
        OpenedFolder { db, held }: OpenedFolder,
        disk_space: DiskSpace,
        failure: Failure,
    ) -> Result<Self, StoreOpenError> {
        let values = db
            .open_tree(VALUES)
            .map_err(|error| StoreOpenError::sled(&disk_space.folder, &error))?;
        Ok(Self {
            values,
            flush: Flush::default(),
            page_cache: PageCache::default(),
            recent: Recent::default(),
            unsynced: AtomicU64::default(),
            reserve: ReserveFile::in_folder(&disk_space.folder),
            disk_space,
            failure: Arc::new(failure),
            writing: Mutex::default(),
            syncing: Mutex::default(),
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

    pub(super) fn unsynced(&self) -> u64 {
        self.unsynced.load(Ordering::Acquire)
    }

    /// Whether so much is not on disk that the next write has to wait for a sync.
    ///
    /// sled reuses a segment of its log as soon as everything in it was written again and two more
    /// segments, 1 MiB, have followed (0.34.7, `pagecache/segment.rs`, `stabilize`). It does not
    /// know whether those are on disk. If not, a power cut would lose the old values with the new
    /// ones, also of pages that only share a segment with them, and the store would not open.
    fn must_sync(&self) -> bool {
        self.unsynced() >= MAX_UNSYNCED
    }

    /// Syncs everything written so far.
    pub(super) fn sync_to_disk(&self) -> Result<(), StorageError> {
        let _syncing = self.syncing.lock();
        self.sync_while_locked()
    }

    /// Syncs unless another caller has done it by now.
    fn sync_if_needed(&self) -> Result<(), StorageError> {
        let _syncing = self.syncing.lock();
        match self.must_sync() {
            true => self.sync_while_locked(),
            false => Ok(()),
        }
    }

    fn sync_while_locked(&self) -> Result<(), StorageError> {
        let covered = self.unsynced();
        {
            let _writing = self.begin()?;
            let written = self.db.flush();
            written.map_err(|error| self.failure.latch("db", error))?;
        }
        folder::sync_db(&self.disk_space.folder).map_err(|error| match error {
            SyncError::NotAttempted(error) => StorageError::unavailable(format!("db: {error}")),
            SyncError::Failed(error) => self.failure.latch("db", error),
        })?;
        self.unsynced.fetch_sub(covered, Ordering::AcqRel);
        Ok(())
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
        self.write(value.len(), || {
            let _writing = self.recent.begin_write(key);
            self.values.insert(key, value)
        })?;
        Ok(())
    }

    pub(super) fn swap(
        &self,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> Result<(), StorageError> {
        self.disk_space.check(Effect::Finishes)?;
        let swap = || {
            let writing = self.recent.begin_write(key);
            let swapped = self.values.compare_and_swap(key, expected, Some(&*value))?;
            if swapped.is_ok() {
                writing.keep(&value);
            }
            Ok(swapped)
        };
        let swapped = self.write(value.len(), swap)?;
        swapped.map_err(|_| StorageError::Conflict {
            what: key.to_owned(),
        })
    }

    /// Deletes a value, if it exists and there is disk space for a change of this effect: sled's log
    /// grows by a deletion, too.
    pub(super) fn delete(&self, key: &str, effect: Effect) -> Result<(), StorageError> {
        let stored = self.values.get(key);
        if let Some(value) = stored.map_err(|error| self.unreadable(&error))? {
            self.disk_space.check(effect)?;
            self.write(value.len(), || {
                let _writing = self.recent.begin_write(key);
                self.values.remove(key)
            })?;
        }
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

    /// Lets sled write a value of `len` bytes to memory, and later to its log. Syncs first if it must.
    fn write<T>(
        &self,
        len: usize,
        write: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, StorageError> {
        let mut writing = self.begin()?;
        // Under the lock: many may have waited for it.
        while self.must_sync() {
            drop(writing);
            self.sync_if_needed()?;
            writing = self.begin()?;
        }
        let written = write().map_err(|error| self.failure.latch("db", error))?;
        self.unsynced
            .fetch_add(len as u64 + OVERHEAD, Ordering::AcqRel);
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
/// Bytes. sled's log grows by about twice as much, and by four times as much if many pages change at
/// once: sled writes a page of up to 16 values again after ten changes to it, and moves pages to free
/// their segment.
const MAX_UNSYNCED: u64 = 128 << 10;
/// Bytes that each write counts in addition to its value: small values share pages with large ones.
const OVERHEAD: u64 = 1 << 10;

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

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
    #[test]
    fn no_more_than_the_limit_and_one_write_is_ever_unsynced() {
        let folder = tempfile::tempdir().unwrap();
        let tree = open(folder.path());
        let value = [7_u8; 4 << 10];
        let limit = MAX_UNSYNCED + value.len() as u64 + OVERHEAD;
        for number in 0..64 {
            let key = format!("key/{number}");
            tree.put(&key, &value).unwrap();
            assert!(tree.unsynced() < limit, "{number} put");
            tree.swap(&key, Some(value.to_vec()), value.to_vec())
                .unwrap();
            assert!(tree.unsynced() < limit, "{number} swapped");
            tree.delete(&key, Effect::Finishes).unwrap();
            assert!(tree.unsynced() < limit, "{number} deleted");
        }
    }

    /// A caller that stops waiting for its sync does not end it, and the next one may follow at once.
    #[test]
    fn concurrent_syncs_count_each_write_once() {
        let folder = tempfile::tempdir().unwrap();
        let tree = &open(folder.path());
        for _ in 0..8 {
            tree.put("key", b"value").unwrap();
            thread::scope(|threads| {
                let writing = tree.writing.lock();
                let (begins, begun) = mpsc::channel();
                for _ in 0..4 {
                    let begins = begins.clone();
                    threads.spawn(move || {
                        begins.send(()).unwrap();
                        tree.sync_to_disk().unwrap();
                    });
                }
                assert_eq!(begun.iter().take(4).count(), 4);
                drop(writing);
            });
            assert_eq!(tree.unsynced(), 0);
        }
    }
}
