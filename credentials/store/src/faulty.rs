//! A backend that fails on demand: at a chosen write, before or after it was done.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;

use crate::{
    backend::{Archive, Backend, Edit, Notes, RunLog, Storage},
    error::{Effect, StorageError},
    memory::Memory,
};

/// What happens to the chosen write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and an error is returned.
    Refused,
    /// It is done, and an error is returned all the same.
    AnswerLost,
}

/// Memory whose writes can be made to fail.
pub struct Faulty {
    memory: Arc<Memory>,
    /// Writes until the first that fails, from 1; 0 while none does.
    left: AtomicUsize,
    /// How many fail from then on.
    failing: AtomicUsize,
    came: AtomicBool,
    lost: AtomicBool,
    full: AtomicBool,
}

impl Faulty {
    /// Over `memory`, without a fault yet.
    pub fn new(memory: Arc<Memory>) -> Self {
        Self {
            memory,
            left: AtomicUsize::new(0),
            failing: AtomicUsize::new(0),
            came: false.into(),
            lost: false.into(),
            full: false.into(),
        }
    }

    /// The `number`th write from now on fails, from 1, and so do those after it, `count` in all.
    pub fn fail(&self, number: usize, count: usize, fault: Fault) {
        self.lost
            .store(fault == Fault::AnswerLost, Ordering::SeqCst);
        self.failing.store(count, Ordering::SeqCst);
        self.left.store(number, Ordering::SeqCst);
    }

    /// No write fails any more. Says whether one has.
    pub fn heal(&self) -> bool {
        self.left.store(0, Ordering::SeqCst);
        self.came.swap(false, Ordering::SeqCst)
    }

    /// There is no room for a change from now on, or there is again.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// As a backend; its run records and notes never fail.
    pub fn backend(self: &Arc<Self>) -> Backend {
        Backend {
            storage: self.clone(),
            archive: self.clone(),
            runs: self.memory.clone() as Arc<dyn RunLog>,
            notes: self.memory.clone() as Arc<dyn Notes>,
        }
    }

    fn fault(&self) -> Option<Fault> {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                (left > 1).then(|| left - 1)
            });
        let is_due = left == Err(1);
        if !is_due {
            return None;
        }
        let fails = self
            .failing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
                count.checked_sub(1)
            });
        if fails.is_err() {
            self.left.store(0, Ordering::SeqCst);
            return None;
        }
        self.came.store(true, Ordering::SeqCst);
        Some(match self.lost.load(Ordering::SeqCst) {
            true => Fault::AnswerLost,
            false => Fault::Refused,
        })
    }

    async fn write<T>(
        &self,
        write: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        match self.fault() {
            None => write.await,
            Some(Fault::Refused) => Err(fault()),
            Some(Fault::AnswerLost) => {
                let _ = write.await;
                Err(fault())
            }
        }
    }
}

fn fault() -> StorageError {
    StorageError::unavailable("a fault")
}

#[async_trait]
impl Storage for Faulty {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Storage::get(&*self.memory, key).await
    }

    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.write(Storage::put_new(&*self.memory, key, bytes))
            .await
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        self.write(Storage::swap(&*self.memory, key, expected, bytes))
            .await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.write(self.memory.delete(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.memory.list(prefix).await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        self.write(Storage::sync(&*self.memory)).await
    }

    async fn expect_room(&self, effect: Effect) -> Result<(), StorageError> {
        match self.full.load(Ordering::SeqCst) && effect != Effect::Finishes {
            true => Err(StorageError::Full {
                available: 0,
                needed: 1,
            }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Archive for Faulty {
    async fn put_new(&self, chain: &str, number: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.write(Archive::put_new(&*self.memory, chain, number, bytes))
            .await
    }

    async fn get(&self, chain: &str, number: u64) -> Result<Option<Vec<u8>>, StorageError> {
        Archive::get(&*self.memory, chain, number).await
    }
}

#[async_trait]
impl RunLog for Faulty {
    async fn append(&self, position: u64, block: Vec<u8>) -> Result<(), StorageError> {
        self.write(self.memory.append(position, block)).await
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        self.memory.read(from, limit).await
    }

    async fn last(&self) -> Result<u64, StorageError> {
        self.memory.last().await
    }

    async fn edit(&self, edit: Edit) -> Result<(), StorageError> {
        self.write(self.memory.edit(edit)).await
    }

    async fn forget(&self, position: u64) -> Result<(), StorageError> {
        self.write(self.memory.forget(position)).await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        RunLog::sync(&*self.memory).await
    }
}
