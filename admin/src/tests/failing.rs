//! Storage whose audit log stops taking records when a test says so.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use keyside_credentials::storage::{Document, Edit, Log, MemoryStorage, Storage, StorageError};

#[derive(Default)]
pub(super) struct FailingLog {
    inner: MemoryStorage,
    failing: AtomicBool,
}

impl FailingLog {
    pub(super) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }
}

#[async_trait]
impl Storage for FailingLog {
    async fn read(&self, key: &str) -> Result<Option<Document>, StorageError> {
        self.inner.read(key).await
    }

    async fn put(&self, key: &str, expected: u64, body: Vec<u8>) -> Result<u64, StorageError> {
        self.inner.put(key, expected, body).await
    }

    async fn remove(&self, key: &str, expected: u64) -> Result<(), StorageError> {
        self.inner.remove(key, expected).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Document)>, StorageError> {
        self.inner.list(prefix).await
    }

    async fn append(&self, log: Log, position: u64, entry: Vec<u8>) -> Result<(), StorageError> {
        match log == Log::Audit && self.failing.load(Ordering::SeqCst) {
            true => Err(StorageError::Full {
                available: 0,
                needed: 1,
            }),
            false => self.inner.append(log, position, entry).await,
        }
    }

    async fn entries(
        &self,
        log: Log,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        self.inner.entries(log, from, limit).await
    }

    async fn last(&self, log: Log) -> Result<u64, StorageError> {
        self.inner.last(log).await
    }

    async fn edit_runs(&self, edit: Edit) -> Result<(), StorageError> {
        self.inner.edit_runs(edit).await
    }

    async fn forget_runs(&self, position: u64) -> Result<(), StorageError> {
        self.inner.forget_runs(position).await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        self.inner.sync().await
    }

    async fn generation(&self) -> Result<u64, StorageError> {
        self.inner.generation().await
    }
}
