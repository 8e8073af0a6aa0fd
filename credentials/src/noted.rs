//! A small map in memory that survives a restart in the backend's notes. No decision depends on it:
//! it is stored once a minute, a crash may lose the last minute, and a stored value that cannot be
//! opened counts as missing.

use std::{
    collections::BTreeMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use keyside_store::{Notes, StorageError};
use serde::{Serialize, de::DeserializeOwned};

use crate::{keyring::Keyring, sealing::SealContext};

/// A value that a later one replaces.
pub(crate) trait Dated: Clone + Serialize + DeserializeOwned {
    /// The time that decides which of two values is kept.
    fn at(&self) -> Timestamp;
}

impl Dated for Timestamp {
    fn at(&self) -> Timestamp {
        *self
    }
}

/// The map. Several processes may store the same one: for each key the latest value wins.
pub(crate) struct Noted<K, V> {
    /// The note's name.
    name: &'static str,
    values: RwLock<BTreeMap<K, V>>,
    /// Set while some values are not stored yet.
    ahead: AtomicBool,
}

impl<K: Ord + Serialize + DeserializeOwned, V: Dated> Noted<K, V> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            values: RwLock::default(),
            ahead: AtomicBool::new(false),
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.read().get(key).cloned()
    }

    pub(crate) fn put(&self, key: K, value: V) {
        self.write().insert(key, value);
        self.ahead.store(true, Ordering::Release);
    }

    /// Merges the stored values into memory; the later value wins.
    pub(crate) async fn load(
        &self,
        notes: &dyn Notes,
        keyring: &Keyring,
    ) -> Result<(), StorageError> {
        let stored = notes.get(self.name).await?;
        let stored = stored.and_then(|stored| {
            let opened = keyring.installation().open(&self.context(), &stored);
            opened.ok()
        });
        let stored: BTreeMap<K, V> = stored
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default();
        let mut values = self.write();
        for (key, value) in stored {
            let is_newer = |known: &V| known.at() < value.at();
            if values.get(&key).is_none_or(is_newer) {
                values.insert(key, value);
            }
        }
        Ok(())
    }

    /// Stores the values that are not stored yet, without those of keys that do not exist any more.
    /// After a failure, the next call retries.
    pub(crate) async fn store(
        &self,
        notes: &dyn Notes,
        keyring: &Keyring,
        exists: impl Fn(&K) -> bool,
    ) -> Result<(), StorageError> {
        if !self.ahead.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let stored = self.merge_and_store(notes, keyring, exists).await;
        if stored.is_err() {
            self.ahead.store(true, Ordering::Release);
        }
        stored
    }

    async fn merge_and_store(
        &self,
        notes: &dyn Notes,
        keyring: &Keyring,
        exists: impl Fn(&K) -> bool,
    ) -> Result<(), StorageError> {
        self.load(notes, keyring).await?;
        self.write().retain(|key, _| exists(key));
        let json = serde_json::to_vec(&*self.read()).expect("ids, numbers and times serialize");
        let sealed = keyring.installation().seal(&self.context(), &json);
        let stored = notes.get(self.name).await?;
        notes.swap(self.name, stored.as_deref(), &sealed).await
    }

    fn context(&self) -> SealContext<'_> {
        SealContext::Document { key: self.name }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<K, V>> {
        self.values.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<K, V>> {
        self.values.write().unwrap_or_else(PoisonError::into_inner)
    }
}
