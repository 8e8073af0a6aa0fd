//! The store itself: sled's calls, which block, and what they lack.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sled::{Db, IVec, Tree};

use super::{
    blobs::Blobs,
    folder::{self, FolderLock, OpenedFolder, StoreOpenError},
    sync::SyncError,
};
use crate::storage::{
    Document, Effect, Log, StorageError, failure::Failure, flush::Flush, room::Room, unavailable,
};

/// An open store.
pub(super) struct Store {
    documents: Tree,
    audit: Tree,
    pub(super) flush: Flush,
    room: Room,
    failure: Failure,
    /// Its lock is held while sled writes, to memory or to its log.
    blobs: Mutex<Blobs>,
    db: Db,
    /// Held as long as the store is open. Declared last: it is let go after sled has closed its files.
    _lock: FolderLock,
}

impl Store {
    pub(super) fn open(room: Room) -> Result<Self, StoreOpenError> {
        let folder = &room.folder;
        let OpenedFolder { db, blobs, lock } = folder::open(folder)?;
        let tree = |name: &str| {
            db.open_tree(name)
                .map_err(|error| StoreOpenError::sled(folder, &error))
        };
        Ok(Self {
            documents: tree("documents")?,
            audit: tree("audit")?,
            flush: Flush::default(),
            room,
            failure: Failure::default(),
            blobs: Mutex::new(blobs),
            db,
            _lock: lock,
        })
    }

    /// What the disk said when it failed a write, if it ever did.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.reason()
    }

    pub(super) fn expect_room(&self, effect: Effect) -> Result<(), StorageError> {
        self.room.check(effect)
    }

    /// Brings everything that was written to disk: what the log points at, then the log.
    pub(super) fn to_disk(&self) -> Result<(), StorageError> {
        self.write_log()?;
        let synced = folder::sync_db(&self.room.folder);
        self.judge("db", synced)
    }

    /// What a sync says is final only if the disk has said it.
    fn judge(&self, what: &str, synced: Result<(), SyncError>) -> Result<(), StorageError> {
        synced.map_err(|error| match error {
            SyncError::NotAsked(error) => unavailable(format!("{what}: {error}")),
            SyncError::Failed(error) => self.failure.latch(what, error),
        })
    }

    /// Has sled hand its log to the system, with nothing in it that points at a blob which is not on disk.
    fn write_log(&self) -> Result<(), StorageError> {
        let mut blobs = self.blobs()?;
        self.judge("blobs", blobs.sync())?;
        let written = self.db.flush();
        written.map_err(|error| self.failure.latch("db", error))?;
        Ok(())
    }

    /// Has sled write something, in memory and sooner or later to its log: one write at a time, with the blobs that it made
    /// on disk before the next one begins. So whatever is cut off, no later write survives an earlier one.
    fn write<T>(&self, write: impl FnOnce() -> sled::Result<T>) -> Result<T, StorageError> {
        let mut blobs = self.blobs()?;
        self.judge("blobs", blobs.catch_up())?;
        let written = write().map_err(|error| self.failure.latch("db", error))?;
        // Also where the blobs are behind: the write is there, for the next sync.
        self.flush.wrote();
        self.judge("blobs", blobs.sync())?;
        Ok(written)
    }

    fn blobs(&self) -> Result<MutexGuard<'_, Blobs>, StorageError> {
        // What is known of the blobs changes in one step, so a panic of sled's leaves it whole.
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        self.failure.check()?;
        Ok(blobs)
    }

    pub(super) fn read(&self, key: &str) -> Result<Option<Document>, StorageError> {
        let stored = self.documents.get(key).map_err(unavailable)?;
        stored.as_deref().map(document).transpose()
    }

    pub(super) fn put(&self, key: &str, expected: u64, body: &[u8]) -> Result<u64, StorageError> {
        let old = self.expect(key, expected)?;
        self.room.check(Effect::Finishes)?;
        let revision = expected + 1;
        let new = [&revision.to_be_bytes(), body].concat();
        self.swap(key, old, Some(new))?;
        Ok(revision)
    }

    pub(super) fn remove(&self, key: &str, expected: u64) -> Result<(), StorageError> {
        let old = self.expect(key, expected)?;
        if old.is_none() {
            return Err(StorageError::Conflict {
                what: key.to_owned(),
            });
        }
        self.room.check(Effect::Finishes)?;
        self.swap(key, old, None)
    }

    /// The stored bytes, if their revision is the expected one.
    fn expect(&self, key: &str, expected: u64) -> Result<Option<IVec>, StorageError> {
        let old = self.documents.get(key).map_err(unavailable)?;
        let revision = old
            .as_deref()
            .map(document)
            .transpose()?
            .map_or(0, |document| document.revision);
        match revision == expected {
            true => Ok(old),
            false => Err(StorageError::Conflict {
                what: key.to_owned(),
            }),
        }
    }

    fn swap(&self, key: &str, old: Option<IVec>, new: Option<Vec<u8>>) -> Result<(), StorageError> {
        let swapped = self.write(|| self.documents.compare_and_swap(key, old, new))?;
        swapped.map_err(|_| StorageError::Conflict {
            what: key.to_owned(),
        })?;
        Ok(())
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<(String, Document)>, StorageError> {
        let entry = |entry: sled::Result<(IVec, IVec)>| {
            let (key, bytes) = entry.map_err(unavailable)?;
            Ok((
                String::from_utf8_lossy(&key).into_owned(),
                document(&bytes)?,
            ))
        };
        self.documents.scan_prefix(prefix).map(entry).collect()
    }

    pub(super) fn import_document(
        &self,
        key: &str,
        revision: u64,
        body: &[u8],
    ) -> Result<(), StorageError> {
        let stored = [&revision.to_be_bytes(), body].concat();
        self.import(&self.documents, key.as_bytes(), stored)
    }

    pub(super) fn import_record(&self, position: u64, record: &[u8]) -> Result<(), StorageError> {
        self.import(&self.audit, &position.to_be_bytes(), record.to_vec())
    }

    fn import(&self, into: &Tree, key: &[u8], value: Vec<u8>) -> Result<(), StorageError> {
        self.room.check(Effect::Adds)?;
        self.write(|| into.insert(key, value))?;
        Ok(())
    }

    /// Writes the next record of the audit log.
    pub(super) fn append(&self, position: u64, record: &[u8]) -> Result<(), StorageError> {
        let conflict = || StorageError::Conflict {
            what: Log::Audit.as_str().to_owned(),
        };
        if self.last()? + 1 != position {
            return Err(conflict());
        }
        self.room.check(Effect::Finishes)?;
        let none: Option<&[u8]> = None;
        let key = position.to_be_bytes();
        let swapped = self.write(|| self.audit.compare_and_swap(key, none, Some(record)))?;
        swapped.map_err(|_| conflict())?;
        Ok(())
    }

    pub(super) fn records(
        &self,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        let record = |entry: sled::Result<(IVec, IVec)>| {
            let (key, bytes) = entry.map_err(unavailable)?;
            Ok((position(&key)?, bytes.to_vec()))
        };
        let records = self.audit.range(from.to_be_bytes()..).take(limit);
        records.map(record).collect()
    }

    /// The position of the last record.
    pub(super) fn last(&self) -> Result<u64, StorageError> {
        let last = self.audit.last().map_err(unavailable)?;
        last.map_or(Ok(0), |(key, _)| position(&key))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // sled would write and wait once more, for a disk that has failed (`pagecache/logger.rs`, `Log::drop`).
        if self.failure.reason().is_some() {
            std::mem::forget(self.db.clone());
        }
    }
}

/// Stored is the revision (64 bits, big-endian), then the body.
fn document(stored: &[u8]) -> Result<Document, StorageError> {
    let (revision, body) = stored
        .split_first_chunk()
        .ok_or_else(|| unavailable("a stored document is cut short"))?;
    Ok(Document {
        revision: u64::from_be_bytes(*revision),
        body: body.to_vec(),
    })
}

fn position(key: &[u8]) -> Result<u64, StorageError> {
    let bytes = key
        .try_into()
        .map_err(|_| unavailable("a log holds something that is no entry"))?;
    Ok(u64::from_be_bytes(bytes))
}
