//! The embedded backend: sled 0.34, made durable, and beside it files of our own for the runs.
//!
//! sled writes ahead in one log, in order, but does not fsync it on Linux (sled #1351, #1452), nor the files beside it that
//! hold what is large (`blobs.rs`); we do. What it keeps it keeps in memory too, which runs are too many for. All calls
//! block, so each runs on the blocking pool.

mod blobs;
mod folder;
mod store;
mod sync;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;

pub use self::folder::StoreOpenError;
use self::store::Store;
use super::{
    Document, Edit, Effect, Log, Storage, StorageError,
    room::{Floors, Room},
    segments::Segments,
    unavailable,
};

/// Documents and logs in a folder of this machine, which one process owns.
pub struct SledStorage(Arc<Opened>);

struct Opened {
    runs: Segments,
    /// Declared last: with it goes the lock on the folder.
    store: Store,
}

/// In the store's folder.
const RUNS: &str = "runs";

impl SledStorage {
    /// Opens a store, or makes it where there is none.
    ///
    /// # Errors
    /// Each names its remedy.
    pub async fn open(folder: &Path) -> Result<Self, StoreOpenError> {
        Self::open_with_room(folder, Floors::USUAL).await
    }

    /// The same, writing only while so many bytes of the disk are free.
    pub(crate) async fn open_with_room(
        folder: &Path,
        floors: Floors,
    ) -> Result<Self, StoreOpenError> {
        let room = Room {
            folder: folder.to_owned(),
            floors,
        };
        let opening = tokio::task::spawn_blocking(move || Opened::open(room)).await;
        // sled asserts what it reads; a folder that breaks an assertion is a damaged one.
        let opened =
            opening.unwrap_or_else(|_| Err(StoreOpenError::damaged(folder, "it cannot be read")));
        Ok(Self(Arc::new(opened?)))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Opened) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let opened = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&opened)).await;
        done.unwrap_or_else(|_| Err(unavailable("the store could not read what it had written")))
    }
}

impl Opened {
    fn open(room: Room) -> Result<Self, StoreOpenError> {
        // First, because with it comes the lock on the folder.
        let store = Store::open(room.clone())?;
        let runs = Segments::open(&room.folder.join(RUNS), room)?;
        Ok(Self { runs, store })
    }
}

#[async_trait]
impl Storage for SledStorage {
    async fn read(&self, key: &str) -> Result<Option<Document>, StorageError> {
        let key = key.to_owned();
        self.run(move |opened| opened.store.read(&key)).await
    }

    async fn put(&self, key: &str, expected: u64, body: Vec<u8>) -> Result<u64, StorageError> {
        let key = key.to_owned();
        self.run(move |opened| opened.store.put(&key, expected, &body))
            .await
    }

    async fn remove(&self, key: &str, expected: u64) -> Result<(), StorageError> {
        let key = key.to_owned();
        self.run(move |opened| opened.store.remove(&key, expected))
            .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Document)>, StorageError> {
        let prefix = prefix.to_owned();
        self.run(move |opened| opened.store.list(&prefix)).await
    }

    async fn append(&self, log: Log, position: u64, entry: Vec<u8>) -> Result<(), StorageError> {
        self.run(move |opened| match log {
            Log::Audit => opened.store.append(position, &entry),
            Log::Runs => opened.runs.append(position, &entry),
        })
        .await
    }

    async fn entries(
        &self,
        log: Log,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        self.run(move |opened| match log {
            Log::Audit => opened.store.records(from, limit),
            Log::Runs => opened.runs.entries(from, limit),
        })
        .await
    }

    async fn last(&self, log: Log) -> Result<u64, StorageError> {
        self.run(move |opened| match log {
            Log::Audit => opened.store.last(),
            Log::Runs => Ok(opened.runs.last()),
        })
        .await
    }

    async fn edit_runs(&self, edit: Edit) -> Result<(), StorageError> {
        self.run(move |opened| opened.runs.edit(edit)).await
    }

    async fn forget_runs(&self, position: u64) -> Result<(), StorageError> {
        self.run(move |opened| opened.runs.forget(position)).await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        let to_disk = || self.run(|opened| opened.store.to_disk());
        self.0.store.flush.share(to_disk).await
    }

    /// Files of their own, which decide nothing: what the disk does to one side does not stop the other.
    async fn sync_runs(&self) -> Result<(), StorageError> {
        let to_disk = || self.run(|opened| opened.runs.sync());
        self.0.runs.flush.share(to_disk).await
    }

    async fn expect_room(&self, effect: Effect) -> Result<(), StorageError> {
        self.run(move |opened| opened.store.expect_room(effect))
            .await
    }

    fn failure(&self) -> Option<String> {
        self.0.store.failure()
    }

    async fn generation(&self) -> Result<u64, StorageError> {
        Ok(self.0.store.flush.written() + self.0.runs.flush.written())
    }
}

/// What a restore writes into a store that nobody else has: revisions and positions as they were.
impl SledStorage {
    pub(crate) async fn import_document(
        &self,
        key: String,
        revision: u64,
        body: Vec<u8>,
    ) -> Result<(), StorageError> {
        self.run(move |opened| opened.store.import_document(&key, revision, &body))
            .await
    }

    pub(crate) async fn import_entry(
        &self,
        log: Log,
        position: u64,
        entry: Vec<u8>,
    ) -> Result<(), StorageError> {
        self.run(move |opened| match log {
            Log::Audit => opened.store.import_record(position, &entry),
            Log::Runs => opened.runs.import(position, &entry),
        })
        .await
    }
}

#[cfg(test)]
mod tests;
