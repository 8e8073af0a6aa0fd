//! The store itself: sled's calls, which block, and what they lack.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use sled::{Db, IVec, Tree};

use super::{
    flush::Flush,
    folder::{self, FolderLock, StoreOpenError},
};
use crate::storage::{Document, Log, StorageError};

/// An open store.
pub(super) struct Store {
    documents: Tree,
    audit: Tree,
    runs: Tree,
    pub(super) flush: Flush,
    generation: AtomicU64,
    folder: PathBuf,
    /// Bytes of the disk below which nothing is written.
    reserve: u64,
    db: Db,
    /// Held as long as the store is open. Declared last: it is let go after sled has closed its files.
    _lock: FolderLock,
}

impl Store {
    pub(super) fn open(folder: &Path, reserve: u64) -> Result<Self, StoreOpenError> {
        let (db, lock) = folder::open(folder)?;
        let tree = |name: &str| {
            db.open_tree(name)
                .map_err(|error| StoreOpenError::sled(folder, &error))
        };
        Ok(Self {
            documents: tree("documents")?,
            audit: tree("audit")?,
            runs: tree("runs")?,
            flush: Flush::default(),
            generation: AtomicU64::new(0),
            folder: folder.to_owned(),
            reserve,
            db,
            _lock: lock,
        })
    }

    /// Has sled write its log, to the system at least.
    pub(super) async fn flush_log(&self) -> Result<(), StorageError> {
        self.db
            .flush_async()
            .await
            .map(drop)
            .map_err(|error| failed(&error))
    }

    /// Has the system bring it to disk, which sled's flush does not.
    pub(super) fn sync_file(&self) -> Result<(), StorageError> {
        folder::sync_db(&self.folder).map_err(|error| unavailable(&error.to_string()))
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(super) fn read(&self, key: &str) -> Result<Option<Document>, StorageError> {
        let stored = self.documents.get(key).map_err(|error| failed(&error))?;
        stored.as_deref().map(document).transpose()
    }

    fn tree(&self, log: Log) -> &Tree {
        match log {
            Log::Audit => &self.audit,
            Log::Runs => &self.runs,
        }
    }

    /// Every write passes here. A full disk would leave sled unable to go on until it is opened again, so it is not let
    /// come to that.
    fn before_write(&self) -> Result<(), StorageError> {
        let disk = nix::sys::statvfs::statvfs(&self.folder)
            .map_err(|error| unavailable(&error.to_string()))?;
        let available = disk.blocks_available() * disk.fragment_size();
        match available < self.reserve {
            true => Err(StorageError::Full {
                available,
                needed: self.reserve,
            }),
            false => Ok(()),
        }
    }

    fn wrote(&self) {
        self.flush.wrote();
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn put(&self, key: &str, expected: u64, body: &[u8]) -> Result<u64, StorageError> {
        let old = self.expect(key, expected)?;
        self.before_write()?;
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
        self.before_write()?;
        self.swap(key, old, None)
    }

    /// The stored bytes, if their revision is the expected one.
    fn expect(&self, key: &str, expected: u64) -> Result<Option<IVec>, StorageError> {
        let old = self.documents.get(key).map_err(|error| failed(&error))?;
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
        let swapped = self
            .documents
            .compare_and_swap(key, old, new)
            .map_err(|error| failed(&error))?;
        swapped.map_err(|_| StorageError::Conflict {
            what: key.to_owned(),
        })?;
        self.wrote();
        Ok(())
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<(String, Document)>, StorageError> {
        let entry = |entry: sled::Result<(IVec, IVec)>| {
            let (key, bytes) = entry.map_err(|error| failed(&error))?;
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

    pub(super) fn import_entry(
        &self,
        log: Log,
        position: u64,
        entry: &[u8],
    ) -> Result<(), StorageError> {
        self.import(self.tree(log), &position.to_be_bytes(), entry.to_vec())
    }

    fn import(&self, into: &Tree, key: &[u8], value: Vec<u8>) -> Result<(), StorageError> {
        self.before_write()?;
        into.insert(key, value).map_err(|error| failed(&error))?;
        self.wrote();
        Ok(())
    }

    pub(super) fn overwrite(
        &self,
        log: Log,
        position: u64,
        entry: &[u8],
    ) -> Result<(), StorageError> {
        let conflict = || StorageError::Conflict {
            what: log.as_str().to_owned(),
        };
        let (tree, key) = (self.tree(log), position.to_be_bytes());
        let old = tree.get(key).map_err(|error| failed(&error))?;
        let old = old.ok_or_else(conflict)?;
        self.before_write()?;
        tree.compare_and_swap(key, Some(old), Some(entry))
            .map_err(|error| failed(&error))?
            .map_err(|_| conflict())?;
        self.wrote();
        Ok(())
    }

    pub(super) fn append(&self, log: Log, position: u64, entry: &[u8]) -> Result<(), StorageError> {
        let conflict = || StorageError::Conflict {
            what: log.as_str().to_owned(),
        };
        if self.last(log)? + 1 != position {
            return Err(conflict());
        }
        self.before_write()?;
        let none: Option<&[u8]> = None;
        let swapped = self
            .tree(log)
            .compare_and_swap(position.to_be_bytes(), none, Some(entry));
        swapped
            .map_err(|error| failed(&error))?
            .map_err(|_| conflict())?;
        self.wrote();
        Ok(())
    }

    pub(super) fn entries(
        &self,
        log: Log,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        let entry = |entry: sled::Result<(IVec, IVec)>| {
            let (key, bytes) = entry.map_err(|error| failed(&error))?;
            Ok((position(&key)?, bytes.to_vec()))
        };
        self.tree(log)
            .range(from.to_be_bytes()..)
            .take(limit)
            .map(entry)
            .collect()
    }

    pub(super) fn last(&self, log: Log) -> Result<u64, StorageError> {
        let last = self.tree(log).last().map_err(|error| failed(&error))?;
        last.map_or(Ok(0), |(key, _)| position(&key))
    }

    pub(super) fn forget(&self, log: Log, before: u64) -> Result<(), StorageError> {
        let before = before.min(self.last(log)?);
        let tree = self.tree(log);
        for key in tree.range(..before.to_be_bytes()).keys() {
            let key = key.map_err(|error| failed(&error))?;
            tree.remove(key).map_err(|error| failed(&error))?;
        }
        self.wrote();
        Ok(())
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

fn failed(error: &sled::Error) -> StorageError {
    unavailable(&error.to_string())
}

pub(super) fn unavailable(reason: &str) -> StorageError {
    StorageError::Unavailable {
        reason: reason.to_owned(),
    }
}
