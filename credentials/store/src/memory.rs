//! A backend in memory: for tests, and for throw-away data.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use crate::{
    backend::{Archive, Edit, Notes, RunLog, Storage},
    error::{MAX_NOTE, StorageError},
};

/// All data in memory. Clones of one `Arc` share it: that is how a test restarts a process, or runs
/// two processes on one store.
#[derive(Default)]
pub struct Memory(Mutex<Contents>);

/// The stored data, for tests to inspect or tamper with.
#[derive(Clone, Default)]
pub struct Contents {
    /// Objects and heads, by key.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// Segments, by chain and number.
    pub segments: BTreeMap<(String, u64), Vec<u8>>,
    /// Blocks of run records, by position.
    pub runs: BTreeMap<u64, Vec<u8>>,
    /// Notes, by name.
    pub notes: BTreeMap<String, Vec<u8>>,
}

impl Memory {
    /// An empty backend.
    pub fn new() -> Self {
        Self::default()
    }

    /// A deep copy of the current data, for a test that continues from it twice.
    pub fn copy(&self) -> Self {
        Self(Mutex::new(self.contents().clone()))
    }

    /// The stored data, writable: tests use it to play an attacker with write access.
    pub fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock()
    }
}

fn swap(
    map: &mut BTreeMap<String, Vec<u8>>,
    key: &str,
    expected: Option<&[u8]>,
    bytes: &[u8],
) -> Result<(), StorageError> {
    if map.get(key).map(Vec::as_slice) != expected {
        return Err(StorageError::Conflict {
            what: key.to_owned(),
        });
    }
    map.insert(key.to_owned(), bytes.to_vec());
    Ok(())
}

#[async_trait]
impl Storage for Memory {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.contents().objects.get(key).cloned())
    }

    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let mut contents = self.contents();
        contents.objects.insert(key.to_owned(), bytes.to_vec());
        Ok(())
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        swap(&mut self.contents().objects, key, expected, bytes)
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.contents().objects.remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let contents = self.contents();
        let from = contents.objects.range(prefix.to_owned()..);
        let under = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(under.map(|(key, _)| key.clone()).collect())
    }

    async fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

#[async_trait]
impl Archive for Memory {
    async fn put_new(&self, chain: &str, number: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let key = (chain.to_owned(), number);
        self.contents().segments.insert(key, bytes.to_vec());
        Ok(())
    }

    async fn get(&self, chain: &str, number: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let key = (chain.to_owned(), number);
        Ok(self.contents().segments.get(&key).cloned())
    }
}

#[async_trait]
impl RunLog for Memory {
    async fn append(&self, position: u64, block: Vec<u8>) -> Result<(), StorageError> {
        let runs = &mut self.contents().runs;
        let last = runs.last_key_value().map_or(0, |(last, _)| *last);
        if last + 1 != position {
            return Err(StorageError::Conflict {
                what: "runs".to_owned(),
            });
        }
        runs.insert(position, block);
        Ok(())
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        let contents = self.contents();
        let blocks = contents.runs.range(from..).take(limit);
        Ok(blocks.map(|(at, block)| (*at, block.clone())).collect())
    }

    async fn last(&self) -> Result<u64, StorageError> {
        let contents = self.contents();
        Ok(contents.runs.last_key_value().map_or(0, |(last, _)| *last))
    }

    async fn edit(&self, mut edit: Edit) -> Result<(), StorageError> {
        for (position, block) in &mut self.contents().runs {
            if let Some(other) = edit(*position, block) {
                *block = other;
            }
        }
        Ok(())
    }

    async fn forget(&self, position: u64) -> Result<(), StorageError> {
        let runs = &mut self.contents().runs;
        let last = runs.last_key_value().map_or(0, |(last, _)| *last);
        runs.retain(|at, _| *at >= position.min(last));
        Ok(())
    }

    async fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

#[async_trait]
impl Notes for Memory {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.contents().notes.get(name).cloned())
    }

    async fn swap(
        &self,
        name: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        if bytes.len() > MAX_NOTE {
            return Err(StorageError::note_too_large(name, bytes.len()));
        }
        swap(&mut self.contents().notes, name, expected, bytes)
    }

    async fn under(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let contents = self.contents();
        let from = contents.notes.range(prefix.to_owned()..);
        let under = from.take_while(|(name, _)| name.starts_with(prefix));
        Ok(under
            .map(|(name, bytes)| (name.clone(), bytes.clone()))
            .collect())
    }

    async fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.contents().notes.remove(name);
        Ok(())
    }

    async fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }
}
