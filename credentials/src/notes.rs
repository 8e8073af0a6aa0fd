//! Notes: small values beside the chains, sealed, and changed by compare-and-swap.
//!
//! Sealed with the installation's key under their names, so that a store can neither edit nor move
//! them unnoticed. It can drop them or put older ones back: what they held then begins again. What
//! grows with the number of credentials or tokens has one note for each, because a note is limited
//! to [`keyside_store::MAX_NOTE`].

use std::{fmt::Display, sync::Arc};

use keyside_store::{Notes, StorageError};
use serde::{Serialize, de::DeserializeOwned};

use crate::{keyring::Keyring, model::WorkspaceId, sealing::SealContext};

/// What a note can hold.
pub(crate) trait Note:
    Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync
{
}

impl<T: Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync> Note for T {}

/// What the notes of a workspace hold. All of them are removed when it is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The last live check of each credential.
    Checks,
    /// Rejections in traffic, of each rejected credential.
    Rejections,
    /// The announced end of each credential.
    Expiring,
    /// What was spent today, of each credential and workspace with limits.
    Spend,
    /// The results of smoke runs, of each credential.
    SmokeSeries,
    /// The same, of providers without a credential.
    SmokeSlots,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Checks,
        Self::Rejections,
        Self::Expiring,
        Self::Spend,
        Self::SmokeSeries,
        Self::SmokeSlots,
    ];

    /// The beginning of the names of all notes of this kind.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Checks => "checks/",
            Self::Rejections => "rejections/",
            Self::Expiring => "expiring/",
            Self::Spend => "spend/",
            Self::SmokeSeries => "smoke-series/",
            Self::SmokeSlots => "smoke-slots/",
        }
    }

    pub(crate) fn name(self, workspace: &WorkspaceId, of: impl Display) -> String {
        format!("{}{workspace}/{of}", self.prefix())
    }
}

pub(crate) struct NoteStore {
    notes: Arc<dyn Notes>,
    keyring: Arc<Keyring>,
}

impl NoteStore {
    pub(crate) fn new(notes: Arc<dyn Notes>, keyring: Arc<Keyring>) -> Self {
        Self { notes, keyring }
    }

    /// A note, or the default if there is none.
    pub(crate) async fn read<T: Note>(&self, name: &str) -> Result<T, StorageError> {
        let stored = self.notes.get(name).await?;
        Ok(self.opened(name, stored.as_deref()))
    }

    /// All notes whose names begin with `prefix`, with their names.
    pub(crate) async fn under<T: Note>(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, T)>, StorageError> {
        let stored = self.notes.under(prefix).await?.into_iter();
        let opened = stored.map(|(name, stored)| {
            let note = self.opened(&name, Some(&stored));
            (name, note)
        });
        Ok(opened.collect())
    }

    /// Changes a note. `change` is called again if another writer came first, and writes nothing if
    /// it leaves the note as it was.
    pub(crate) async fn update<T: Note, R: Send>(
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

    pub(crate) async fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.notes.remove(name).await
    }

    /// Removes all notes of a workspace from the disk.
    pub(crate) async fn erase(&self, workspace: &WorkspaceId) -> Result<(), StorageError> {
        let mut is_changed = false;
        for kind in Kind::ALL {
            for (name, _) in self.notes.under(&kind.name(workspace, "")).await? {
                self.notes.remove(&name).await?;
                is_changed = true;
            }
        }
        match is_changed {
            true => self.notes.sync().await,
            false => Ok(()),
        }
    }

    /// Returns when all earlier changes are on disk.
    pub(crate) async fn sync(&self) -> Result<(), StorageError> {
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
            tracing::error!(
                note = name,
                "a note failed authentication: what it held begins again"
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
