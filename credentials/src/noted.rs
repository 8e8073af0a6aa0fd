//! A map in memory that survives a restart: each value in a note of its own. No decision depends on
//! it: it is stored once a minute, a crash may lose the last minute, and a stored value that cannot
//! be opened counts as missing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use keyside_store::StorageError;
use parking_lot::{Mutex, RwLock};
use serde::{Serialize, de::DeserializeOwned};

use crate::notes::NoteStore;

/// A value that a later one replaces.
pub(crate) trait Dated:
    Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync
{
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
    values: RwLock<BTreeMap<K, V>>,
    /// The keys whose values are not stored yet.
    unstored: Mutex<BTreeSet<K>>,
}

impl<K, V> Default for Noted<K, V> {
    fn default() -> Self {
        Self {
            values: RwLock::default(),
            unstored: Mutex::default(),
        }
    }
}

impl<K, V> Noted<K, V>
where
    K: Clone + Ord + Serialize + DeserializeOwned + Send + Sync,
    V: Dated,
{
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.values.read().get(key).cloned()
    }

    pub(crate) fn put(&self, key: K, value: V) {
        self.values.write().insert(key.clone(), value);
        self.unstored.lock().insert(key);
    }

    /// Forgets a key and removes its note, which is called `name`.
    pub(crate) async fn remove(
        &self,
        notes: &NoteStore,
        key: &K,
        name: &str,
    ) -> Result<(), StorageError> {
        self.values.write().remove(key);
        self.unstored.lock().remove(key);
        notes.remove(name).await
    }

    /// Merges the notes under a prefix into memory; the later value wins, unless its time is still to
    /// come: the clock was wrong then.
    pub(crate) async fn load(
        &self,
        notes: &NoteStore,
        prefix: &str,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let stored = notes.under::<Option<(K, V)>>(prefix).await?;
        let mut values = self.values.write();
        for (key, value) in stored.into_iter().filter_map(|(_, stored)| stored) {
            let is_newer = |known: &V| known.at() < value.at() && value.at() <= now;
            if values.get(&key).is_none_or(is_newer) {
                values.insert(key, value);
            }
        }
        Ok(())
    }

    /// Stores the values that are not stored yet. `name` is the note of a key, or `None` if the key
    /// does not exist any more: then it is forgotten. After a failure, the next call retries.
    pub(crate) async fn store(
        &self,
        notes: &NoteStore,
        now: Timestamp,
        name: impl Fn(&K) -> Option<String> + Send + Sync,
    ) -> Result<(), StorageError> {
        let due = self.unstored.lock().clone();
        if due.is_empty() {
            return Ok(());
        }
        // `name` looks at what exists while the values are locked: a key that is put exists by then.
        self.values.write().retain(|key, _| name(key).is_some());
        for key in due {
            // Before the value is read: a later one is stored by the next call.
            self.unstored.lock().remove(&key);
            let Some((name, value)) = name(&key).zip(self.get(&key)) else {
                continue;
            };
            // A stored value that is later stays, as in `load`.
            let replace = |stored: &mut Option<(K, V)>| {
                let is_later = |at: Timestamp| value.at() < at && at <= now;
                let is_kept = stored.as_ref().is_some_and(|(_, it)| is_later(it.at()));
                if !is_kept {
                    *stored = Some((key.clone(), value.clone()));
                }
            };
            if let Err(error) = notes.update(&name, replace).await {
                self.unstored.lock().insert(key);
                return Err(error);
            }
        }
        Ok(())
    }
}
