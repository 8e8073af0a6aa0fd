//! Storage that ends with the process: for tests, and for what is thrown away anyway.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{Document, Edit, Log, Storage, StorageError};

/// Documents and logs in memory. Clones of an `Arc` of it share them, which is how a test restarts without losing them.
#[derive(Default)]
pub struct MemoryStorage(Mutex<Contents>);

#[derive(Default)]
struct Contents {
    documents: BTreeMap<String, Document>,
    logs: BTreeMap<(Log, u64), Vec<u8>>,
    generation: u64,
}

impl MemoryStorage {
    /// Nothing stored yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything as it is now, for a test to go on from twice, or to tamper with.
    #[cfg(test)]
    pub(crate) fn copy(&self) -> Self {
        let contents = self.contents();
        Self(Mutex::new(Contents {
            documents: contents.documents.clone(),
            logs: contents.logs.clone(),
            generation: contents.generation,
        }))
    }

    /// What an attacker with write access does: whatever they like.
    #[cfg(test)]
    pub(crate) fn tamper(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Document>, &mut BTreeMap<(Log, u64), Vec<u8>>),
    ) {
        let mut contents = self.contents();
        let contents = &mut *contents;
        change(&mut contents.documents, &mut contents.logs);
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Every change below is made in one step, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn revision(&self, key: &str) -> u64 {
        self.documents
            .get(key)
            .map_or(0, |document| document.revision)
    }

    fn expect(&self, key: &str, expected: u64) -> Result<(), StorageError> {
        match self.revision(key) == expected {
            true => Ok(()),
            false => Err(StorageError::Conflict {
                what: key.to_owned(),
            }),
        }
    }

    fn last(&self, log: Log) -> u64 {
        self.logs
            .range((log, 0)..=(log, u64::MAX))
            .next_back()
            .map_or(0, |((_, position), _)| *position)
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn read(&self, key: &str) -> Result<Option<Document>, StorageError> {
        Ok(self.contents().documents.get(key).cloned())
    }

    async fn put(&self, key: &str, expected: u64, body: Vec<u8>) -> Result<u64, StorageError> {
        let mut contents = self.contents();
        contents.expect(key, expected)?;
        let revision = expected + 1;
        contents
            .documents
            .insert(key.to_owned(), Document { revision, body });
        contents.generation += 1;
        Ok(revision)
    }

    async fn remove(&self, key: &str, expected: u64) -> Result<(), StorageError> {
        let mut contents = self.contents();
        contents.expect(key, expected)?;
        if contents.documents.remove(key).is_none() {
            return Err(StorageError::Conflict {
                what: key.to_owned(),
            });
        }
        contents.generation += 1;
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Document)>, StorageError> {
        let contents = self.contents();
        let from = (Bound::Included(prefix.to_owned()), Bound::Unbounded);
        let under = contents
            .documents
            .range(from)
            .take_while(|(key, _)| key.starts_with(prefix));
        Ok(under
            .map(|(key, document)| (key.clone(), document.clone()))
            .collect())
    }

    async fn append(&self, log: Log, position: u64, entry: Vec<u8>) -> Result<(), StorageError> {
        let mut contents = self.contents();
        if contents.last(log) + 1 != position {
            return Err(StorageError::Conflict {
                what: log.as_str().to_owned(),
            });
        }
        contents.logs.insert((log, position), entry);
        contents.generation += 1;
        Ok(())
    }

    async fn entries(
        &self,
        log: Log,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        let contents = self.contents();
        let range = contents.logs.range((log, from)..=(log, u64::MAX));
        Ok(range
            .take(limit)
            .map(|((_, position), entry)| (*position, entry.clone()))
            .collect())
    }

    async fn last(&self, log: Log) -> Result<u64, StorageError> {
        Ok(self.contents().last(log))
    }

    async fn edit_runs(&self, mut edit: Edit) -> Result<(), StorageError> {
        let mut contents = self.contents();
        let contents = &mut *contents;
        let runs = (Log::Runs, 0)..=(Log::Runs, u64::MAX);
        for ((_, position), entry) in contents.logs.range_mut(runs) {
            if let Some(other) = edit(*position, entry) {
                *entry = other;
                contents.generation += 1;
            }
        }
        Ok(())
    }

    async fn forget_runs(&self, position: u64) -> Result<(), StorageError> {
        let mut contents = self.contents();
        let position = position.min(contents.last(Log::Runs));
        contents
            .logs
            .retain(|(log, at), _| *log != Log::Runs || *at >= position);
        contents.generation += 1;
        Ok(())
    }

    async fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn generation(&self) -> Result<u64, StorageError> {
        Ok(self.contents().generation)
    }
}
