//! Notes of smoke runs: sealed, and changed by compare-and-swap.
//!
//! Sealed with the installation's key, so that a store cannot edit them unnoticed. It can drop
//! them: history and today's counts then begin again.

use std::sync::Arc;

use keyside_store::{Notes, StorageError};
use serde::{Serialize, de::DeserializeOwned};

use crate::{keyring::Keyring, sealing::SealContext};

/// What a note can hold.
pub(super) trait Note:
    Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync
{
}

impl<T: Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync> Note for T {}

pub(super) struct NoteStore {
    notes: Arc<dyn Notes>,
    keyring: Arc<Keyring>,
}

impl NoteStore {
    pub(super) fn new(notes: Arc<dyn Notes>, keyring: Arc<Keyring>) -> Self {
        Self { notes, keyring }
    }

    /// A note, or the default if there is none.
    pub(super) async fn read<T: Note>(&self, name: &str) -> Result<T, StorageError> {
        let stored = self.notes.get(name).await?;
        Ok(self.opened(name, stored.as_deref()))
    }

    /// Changes a note. `change` is called again if another writer came first, and writes nothing if
    /// it leaves the note as it was.
    pub(super) async fn update<T: Note, R: Send>(
        &self,
        name: &str,
        mut change: impl FnMut(&mut T) -> R + Send,
    ) -> Result<R, StorageError> {
        let mut races = 0;
        loop {
            let stored = self.notes.get(name).await?;
            let before: T = self.opened(name, stored.as_deref());
            let mut after = before.clone();
            let result = change(&mut after);
            if after == before {
                return Ok(result);
            }
            let sealed = self.sealed(name, &after);
            match self.notes.swap(name, stored.as_deref(), &sealed).await {
                Err(StorageError::Conflict { .. }) if races < MAX_RACES => races += 1,
                swapped => return swapped.map(|()| result),
            }
        }
    }

    /// Returns when all earlier changes are on disk.
    pub(super) async fn sync(&self) -> Result<(), StorageError> {
        self.notes.sync().await
    }

    fn opened<T: Note>(&self, name: &str, stored: Option<&[u8]>) -> T {
        let Some(stored) = stored else {
            return T::default();
        };
        let context = SealContext::Document { key: name };
        let json = self.keyring.installation().open(&context, stored).ok();
        let note = json.and_then(|json| serde_json::from_slice(&json).ok());
        note.unwrap_or_else(|| {
            tracing::warn!(
                note = name,
                "a note of smoke runs cannot be read: it begins again"
            );
            T::default()
        })
    }

    fn sealed<T: Note>(&self, name: &str, note: &T) -> Vec<u8> {
        let json = serde_json::to_vec(note).expect("notes serialize");
        let context = SealContext::Document { key: name };
        self.keyring.installation().seal(&context, &json)
    }
}

/// Each race is lost to a write of another process or task, so this many in a row mean that the
/// store fails.
const MAX_RACES: usize = 100;
