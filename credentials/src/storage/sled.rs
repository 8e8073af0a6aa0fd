//! The embedded backend: sled 0.34, made durable.
//!
//! sled writes ahead in one log, in order, but does not fsync it on Linux (sled #1351, #1452); `sync` does, once for all
//! who wait. Its calls block, so each runs on the blocking pool.

mod flush;
mod folder;
mod store;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;

pub use self::folder::StoreOpenError;
use self::store::{Store, unavailable};
use super::{Document, Log, Storage, StorageError};

/// Documents and logs in a folder of this machine, which one process owns.
pub struct SledStorage(Arc<Store>);

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
        let opening = tokio::task::spawn_blocking(move || Store::open(&owned, reserve)).await;
        // sled asserts what it reads; a folder that breaks an assertion is a damaged one.
        let opened =
            opening.unwrap_or_else(|_| Err(StoreOpenError::damaged(folder, "it cannot be read")));
        Ok(Self(Arc::new(opened?)))
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

#[async_trait]
impl Storage for SledStorage {
    async fn read(&self, key: &str) -> Result<Option<Document>, StorageError> {
        let key = key.to_owned();
        self.run(move |store| store.read(&key)).await
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

    async fn overwrite(&self, log: Log, position: u64, entry: Vec<u8>) -> Result<(), StorageError> {
        self.run(move |store| store.overwrite(log, position, &entry))
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
        Ok(self.0.generation())
    }
}

impl SledStorage {
    async fn to_disk(&self) -> Result<(), StorageError> {
        self.0.flush_log().await?;
        self.run(Store::sync_file).await
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
        self.run(move |store| store.import_document(&key, revision, &body))
            .await
    }

    pub(crate) async fn import_entry(
        &self,
        log: Log,
        position: u64,
        entry: Vec<u8>,
    ) -> Result<(), StorageError> {
        self.run(move |store| store.import_entry(log, position, &entry))
            .await
    }
}

#[cfg(test)]
mod tests;
