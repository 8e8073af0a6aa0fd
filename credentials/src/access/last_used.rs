//! When tokens were last used. For display only, so it is kept in memory and stored once a minute.

use std::{
    collections::BTreeMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use keyside_store::{Notes, StorageError};

use crate::{keyring::Keyring, model::ActorId, sealing::SealContext};

#[derive(Default)]
pub(crate) struct LastUsed {
    at: RwLock<BTreeMap<ActorId, Timestamp>>,
    /// Set while some uses are not stored yet.
    ahead: AtomicBool,
}

impl LastUsed {
    /// Records a use, with a resolution of one second.
    pub(super) fn note(&self, token: &ActorId, now: Timestamp) {
        let is_newer = |last: Timestamp| now.as_second() > last.as_second();
        if self.of(token).is_none_or(is_newer) {
            let mut at = self.at.write().unwrap_or_else(PoisonError::into_inner);
            at.insert(token.clone(), now);
            self.ahead.store(true, Ordering::Release);
        }
    }

    pub(super) fn of(&self, token: &ActorId) -> Option<Timestamp> {
        let at = self.at.read().unwrap_or_else(PoisonError::into_inner);
        at.get(token).copied()
    }

    /// Merges the stored times into memory; the later time wins. For display only, so a stored
    /// value that cannot be opened counts as missing.
    pub(crate) async fn load(
        &self,
        notes: &dyn Notes,
        keyring: &Keyring,
    ) -> Result<(), StorageError> {
        let stored = notes.get(NAME).await?;
        let opened = stored.and_then(|stored| keyring.installation().open(&CONTEXT, &stored).ok());
        let stored: BTreeMap<ActorId, Timestamp> = opened
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default();
        let mut at = self.at.write().unwrap_or_else(PoisonError::into_inner);
        for (token, stored) in stored {
            let last = at.entry(token).or_insert(stored);
            *last = stored.max(*last);
        }
        Ok(())
    }

    /// Stores the uses that are not stored yet. After a failure, the next call retries.
    pub(crate) async fn store(
        &self,
        notes: &dyn Notes,
        keyring: &Keyring,
    ) -> Result<(), StorageError> {
        if !self.ahead.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let stored = self.write(notes, keyring).await;
        if stored.is_err() {
            self.ahead.store(true, Ordering::Release);
        }
        stored
    }

    async fn write(&self, notes: &dyn Notes, keyring: &Keyring) -> Result<(), StorageError> {
        // Another process stores uses as well, so the later of both times is kept.
        self.load(notes, keyring).await?;
        let at = self
            .at
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let json = serde_json::to_vec(&at).expect("ids and times serialize");
        let sealed = keyring.installation().seal(&CONTEXT, &json);
        let stored = notes.get(NAME).await?;
        notes.swap(NAME, stored.as_deref(), &sealed).await
    }
}

const NAME: &str = "last-used/tokens";
const CONTEXT: SealContext<'_> = SealContext::Document { key: NAME };
