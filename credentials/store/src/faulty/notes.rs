//! Notes that fail on demand.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;

use super::error;
use crate::{backend::Notes, error::StorageError};

/// Wraps the notes of another backend.
pub struct FaultyNotes {
    inner: Arc<dyn Notes>,
    reads_fail: AtomicBool,
    syncs_fail: AtomicBool,
    /// How many of the next writes fail.
    writes_failing: AtomicUsize,
}

impl FaultyNotes {
    /// Wraps `inner`, without any fault yet.
    pub fn new(inner: Arc<dyn Notes>) -> Self {
        Self {
            inner,
            reads_fail: false.into(),
            syncs_fail: false.into(),
            writes_failing: AtomicUsize::new(0),
        }
    }

    /// Sets whether every read fails.
    pub fn fail_reads(&self, fail: bool) {
        self.reads_fail.store(fail, Ordering::SeqCst);
    }

    /// Sets whether every `sync` fails.
    pub fn fail_syncs(&self, fail: bool) {
        self.syncs_fail.store(fail, Ordering::SeqCst);
    }

    /// Makes the next `count` writes fail.
    pub fn fail_writes(&self, count: usize) {
        self.writes_failing.store(count, Ordering::SeqCst);
    }

    /// Whether writes that were to fail are still to come.
    pub fn will_fail(&self) -> bool {
        self.writes_failing.load(Ordering::SeqCst) > 0
    }

    fn read(&self) -> Result<(), StorageError> {
        succeed_unless(self.reads_fail.load(Ordering::SeqCst))
    }

    fn write(&self) -> Result<(), StorageError> {
        let failing = &self.writes_failing;
        let fails = failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
            count.checked_sub(1)
        });
        succeed_unless(fails.is_ok())
    }
}

fn succeed_unless(fails: bool) -> Result<(), StorageError> {
    match fails {
        true => Err(error()),
        false => Ok(()),
    }
}

#[async_trait]
impl Notes for FaultyNotes {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.read()?;
        self.inner.get(name).await
    }

    async fn under(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        self.read()?;
        self.inner.under(prefix).await
    }

    async fn swap(
        &self,
        name: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        self.write()?;
        self.inner.swap(name, expected, bytes).await
    }

    async fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.write()?;
        self.inner.remove(name).await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        succeed_unless(self.syncs_fail.load(Ordering::SeqCst))?;
        self.inner.sync().await
    }
}
