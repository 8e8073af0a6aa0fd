//! Storage that fails where a test says, and that remembers the order of its writes, so that a test can see what a power
//! cut at any moment would have left.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;

use super::{Document, Edit, Effect, Floors, Log, MemoryStorage, Storage, StorageError};

/// Storage in memory under a test's control.
pub(crate) struct FaultyStorage {
    inner: Arc<MemoryStorage>,
    state: Mutex<State>,
    /// Bytes that are free.
    free: AtomicU64,
}

#[derive(Default)]
struct State {
    /// What was asked for since the last `watch`, in order.
    asked: Vec<Asked>,
    fault: Option<Fault>,
}

/// A write, or a wait for the disk.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Put(String, u64, Vec<u8>),
    Remove(String, u64),
    Append(Log, u64, Vec<u8>),
    EditRun(u64, Vec<u8>),
    Sync,
}

/// What goes wrong, at which write counted from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    /// Whether that write is done all the same: a network that swallows the answer.
    pub(crate) done: bool,
    /// Whether everything after it fails too.
    pub(crate) for_good: bool,
}

impl FaultyStorage {
    pub(crate) fn new(inner: Arc<MemoryStorage>) -> Self {
        Self {
            inner,
            state: Mutex::default(),
            free: AtomicU64::new(u64::MAX),
        }
    }

    /// Counts from here on, and fails as told.
    pub(crate) fn watch(&self, fault: Option<Fault>) {
        *self.state.lock().unwrap() = State {
            asked: Vec::new(),
            fault,
        };
    }

    /// From now on, so many bytes of the disk are free.
    pub(crate) fn leave(&self, bytes: u64) {
        self.free.store(bytes, Ordering::SeqCst);
    }

    fn check(&self, effect: Effect) -> Result<(), StorageError> {
        let (available, needed) = (self.free.load(Ordering::SeqCst), Floors::USUAL.of(effect));
        match available < needed {
            true => Err(StorageError::Full { available, needed }),
            false => Ok(()),
        }
    }

    /// What was asked for since the last `watch`.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    async fn write(&self, asked: Asked) -> Result<(), StorageError> {
        if !matches!(asked, Asked::Sync) {
            self.check(Effect::Finishes)?;
        }
        let (fails, done) = {
            let mut state = self.state.lock().unwrap();
            let at = state.asked.len();
            state.asked.push(asked.clone());
            let hit = state
                .fault
                .filter(|fault| fault.at == at || (fault.for_good && fault.at < at));
            (
                hit.is_some(),
                hit.is_none_or(|fault| fault.done && fault.at == at),
            )
        };
        if done {
            asked.replay(&*self.inner).await?;
        }
        match fails {
            true => Err(StorageError::Unavailable {
                reason: "a test pulled the plug".to_owned(),
            }),
            false => Ok(()),
        }
    }
}

impl Asked {
    pub(crate) async fn replay(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        match self.clone() {
            Self::Put(key, expected, body) => storage.put(&key, expected, body).await.map(drop),
            Self::Remove(key, expected) => storage.remove(&key, expected).await,
            Self::Append(log, position, entry) => storage.append(log, position, entry).await,
            Self::EditRun(edited, entry) => {
                let edit = move |position, _: &[u8]| (position == edited).then(|| entry.clone());
                storage.edit_runs(Box::new(edit)).await
            }
            Self::Sync => storage.sync().await,
        }
    }
}

#[async_trait]
impl Storage for FaultyStorage {
    async fn read(&self, key: &str) -> Result<Option<Document>, StorageError> {
        self.inner.read(key).await
    }

    async fn put(&self, key: &str, expected: u64, body: Vec<u8>) -> Result<u64, StorageError> {
        self.write(Asked::Put(key.to_owned(), expected, body))
            .await
            .map(|()| expected + 1)
    }

    async fn remove(&self, key: &str, expected: u64) -> Result<(), StorageError> {
        self.write(Asked::Remove(key.to_owned(), expected)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Document)>, StorageError> {
        self.inner.list(prefix).await
    }

    async fn append(&self, log: Log, position: u64, entry: Vec<u8>) -> Result<(), StorageError> {
        self.write(Asked::Append(log, position, entry)).await
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

    async fn edit_runs(&self, mut edit: Edit) -> Result<(), StorageError> {
        for (position, entry) in self.inner.entries(Log::Runs, 1, usize::MAX).await? {
            if let Some(other) = edit(position, &entry) {
                self.write(Asked::EditRun(position, other)).await?;
            }
        }
        Ok(())
    }

    async fn forget_runs(&self, position: u64) -> Result<(), StorageError> {
        self.inner.forget_runs(position).await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        self.write(Asked::Sync).await
    }

    async fn expect_room(&self, effect: Effect) -> Result<(), StorageError> {
        self.check(effect)
    }

    async fn generation(&self) -> Result<u64, StorageError> {
        self.inner.generation().await
    }
}
