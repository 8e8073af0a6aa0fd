//! The embedded backend: sled 0.34, made durable.
//!
//! sled writes ahead in one log, in order, but does not fsync it on Linux (sled #1351, #1452); `sync` does, once for all
//! who wait. Its calls block, so each runs on the blocking pool.

mod flush;
mod folder;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use sled::{Db, Tree};

use self::flush::Flush;
pub use self::folder::StoreOpenError;
use super::{Document, Log, Storage, StorageError};

/// Documents and logs in a folder of this machine, which one process owns.
pub struct SledStorage(Arc<Store>);

struct Store {
    documents: Tree,
    audit: Tree,
    runs: Tree,
    flush: Flush,
    generation: AtomicU64,
    folder: PathBuf,
    /// Bytes of the disk below which nothing is written.
    reserve: u64,
    db: Db,
    /// Held as long as the store is open. Declared last: it is let go after sled has closed its files.
    _lock: folder::FolderLock,
}

/// Enough for what is in flight, a few of sled's segments, and a person to log in and clean up.
const RESERVE: u64 = 16 << 20;

impl SledStorage {
    /// Opens a store, or makes it where there is none.
    ///
    /// # Errors
    /// Each names its remedy.
    pub async fn open(folder: &Path) -> Result<Self, StoreOpenError> {
        Self::open_with_reserve(folder, RESERVE).await
    }

    /// The same, writing only while `reserve` bytes of the disk are free.
    ///
    /// # Errors
    /// Each names its remedy.
    pub async fn open_with_reserve(folder: &Path, reserve: u64) -> Result<Self, StoreOpenError> {
        let owned = folder.to_owned();
        let opening = tokio::task::spawn_blocking(move || open(&owned, reserve)).await;
        // sled asserts what it reads; a folder that breaks an assertion is a damaged one.
        opening.unwrap_or_else(|_| Err(StoreOpenError::damaged(folder, "it cannot be read")))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let store = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|_| Err(unavailable("sled could not read what it had written")))
    }
}

fn open(folder: &Path, reserve: u64) -> Result<SledStorage, StoreOpenError> {
    let (db, lock) = folder::open(folder)?;
    let tree = |name: &str| {
        db.open_tree(name)
            .map_err(|error| StoreOpenError::sled(folder, &error))
    };
    let (documents, audit, runs) = (tree("documents")?, tree("audit")?, tree("runs")?);
    let store = Store {
        documents,
        audit,
        runs,
        flush: Flush::default(),
        generation: AtomicU64::new(0),
        folder: folder.to_owned(),
        reserve,
        db,
        _lock: lock,
    };
    Ok(SledStorage(Arc::new(store)))
}

impl Store {
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

    fn put(&self, key: &str, expected: u64, body: &[u8]) -> Result<u64, StorageError> {
        let old = self.expect(key, expected)?;
        self.before_write()?;
        let revision = expected + 1;
        let new = [&revision.to_be_bytes(), body].concat();
        self.swap(key, old, Some(new))?;
        Ok(revision)
    }

    fn remove(&self, key: &str, expected: u64) -> Result<(), StorageError> {
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
    fn expect(&self, key: &str, expected: u64) -> Result<Option<sled::IVec>, StorageError> {
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

    fn swap(
        &self,
        key: &str,
        old: Option<sled::IVec>,
        new: Option<Vec<u8>>,
    ) -> Result<(), StorageError> {
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

    fn list(&self, prefix: &str) -> Result<Vec<(String, Document)>, StorageError> {
        let entry = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, bytes) = entry.map_err(|error| failed(&error))?;
            Ok((
                String::from_utf8_lossy(&key).into_owned(),
                document(&bytes)?,
            ))
        };
        self.documents.scan_prefix(prefix).map(entry).collect()
    }

    fn append(&self, log: Log, position: u64, entry: &[u8]) -> Result<(), StorageError> {
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

    fn entries(
        &self,
        log: Log,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        let entry = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, bytes) = entry.map_err(|error| failed(&error))?;
            Ok((position(&key)?, bytes.to_vec()))
        };
        self.tree(log)
            .range(from.to_be_bytes()..)
            .take(limit)
            .map(entry)
            .collect()
    }

    fn last(&self, log: Log) -> Result<u64, StorageError> {
        let last = self.tree(log).last().map_err(|error| failed(&error))?;
        last.map_or(Ok(0), |(key, _)| position(&key))
    }

    fn forget(&self, log: Log, before: u64) -> Result<(), StorageError> {
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

fn unavailable(reason: &str) -> StorageError {
    StorageError::Unavailable {
        reason: reason.to_owned(),
    }
}

#[async_trait]
impl Storage for SledStorage {
    async fn read(&self, key: &str) -> Result<Option<Document>, StorageError> {
        let key = key.to_owned();
        self.run(move |store| {
            let stored = store.documents.get(key).map_err(|error| failed(&error))?;
            stored.as_deref().map(document).transpose()
        })
        .await
    }

    async fn put(&self, key: &str, expected: u64, body: Vec<u8>) -> Result<u64, StorageError> {
        let key = key.to_owned();
        self.run(move |store| store.put(&key, expected, &body))
            .await
    }

    async fn remove(&self, key: &str, expected: u64) -> Result<(), StorageError> {
        let key = key.to_owned();
        self.run(move |store| store.remove(&key, expected)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Document)>, StorageError> {
        let prefix = prefix.to_owned();
        self.run(move |store| store.list(&prefix)).await
    }

    async fn append(&self, log: Log, position: u64, entry: Vec<u8>) -> Result<(), StorageError> {
        self.run(move |store| store.append(log, position, &entry))
            .await
    }

    async fn entries(
        &self,
        log: Log,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        self.run(move |store| store.entries(log, from, limit)).await
    }

    async fn last(&self, log: Log) -> Result<u64, StorageError> {
        self.run(move |store| store.last(log)).await
    }

    async fn forget(&self, log: Log, position: u64) -> Result<(), StorageError> {
        self.run(move |store| store.forget(log, position)).await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        self.0.flush.share(|| self.to_disk()).await
    }

    async fn generation(&self) -> Result<u64, StorageError> {
        Ok(self.0.generation.load(Ordering::Relaxed))
    }
}

impl SledStorage {
    async fn to_disk(&self) -> Result<(), StorageError> {
        self.0
            .db
            .flush_async()
            .await
            .map_err(|error| failed(&error))?;
        self.run(|store| {
            folder::sync_db(&store.folder).map_err(|error| unavailable(&error.to_string()))
        })
        .await
    }
}

#[cfg(test)]
mod tests;
