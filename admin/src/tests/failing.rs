//! Storage whose audit log stops taking records, or has its readers wait, when a test says so.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use keyside_credentials::storage::{Document, Edit, Log, MemoryStorage, Storage, StorageError};
use tokio::sync::watch;

#[derive(Default)]
pub(super) struct FailingLog {
    inner: MemoryStorage,
    failing: AtomicBool,
    pub(super) gate: Gate,
}

/// Where those who read the audit log wait while a test holds it.
#[derive(Default)]
pub(super) struct Gate {
    held: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

/// Holds a gate until it is dropped.
pub(super) struct Held<'a>(&'a Gate);

impl Gate {
    pub(super) fn hold(&self) -> Held<'_> {
        self.held.send_replace(true);
        Held(self)
    }

    /// Waits until so many have come to the gate while it was held.
    pub(super) async fn arrived(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        arrived.wait_for(|some| *some >= count).await.unwrap();
    }

    /// How many have come to the gate while it was held.
    pub(super) fn arrivals(&self) -> usize {
        *self.arrived.borrow()
    }

    pub(super) async fn pass(&self) {
        let mut held = self.held.subscribe();
        let is_held = *held.borrow();
        if is_held {
            self.arrived.send_modify(|some| *some += 1);
        }
        held.wait_for(|held| !held).await.unwrap();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.send_replace(false);
    }
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
        if log == Log::Audit {
            self.gate.pass().await;
        }
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
