//! When tokens were last shown: for people to look at, so it is kept in memory and stored a minute behind.

use std::{
    collections::BTreeMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;

use crate::{
    ActorId,
    authentic::{self, Stored},
    keyring::Keyring,
    sealing::Place,
    storage::{Effect, Storage, StorageError},
};

#[derive(Default)]
pub(super) struct LastUsed {
    at: RwLock<BTreeMap<ActorId, Timestamp>>,
    /// Something is not stored yet.
    ahead: AtomicBool,
}

impl LastUsed {
    /// Notes a use, to the second.
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

    /// Takes over what is stored, where it is later than what is known.
    pub(super) async fn load(
        &self,
        storage: &dyn Storage,
        keyring: &Keyring,
    ) -> Result<(), StorageError> {
        let stored = storage.read(KEY).await?;
        let stored: Option<BTreeMap<ActorId, Timestamp>> = stored.and_then(|document| {
            let stored = Stored::parse(&document.body).ok()?;
            stored.verify(keyring.installation(), &PLACE).ok()
        });
        let mut at = self.at.write().unwrap_or_else(PoisonError::into_inner);
        for (token, stored) in stored.unwrap_or_default() {
            let last = at.entry(token).or_insert(stored);
            *last = stored.max(*last);
        }
        Ok(())
    }

    /// Stores what is not stored yet. What fails is tried again the next time.
    pub(super) async fn store(
        &self,
        storage: &dyn Storage,
        keyring: &Keyring,
    ) -> Result<(), StorageError> {
        if !self.ahead.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let stored = self.write(storage, keyring).await;
        if stored.is_err() {
            self.ahead.store(true, Ordering::Release);
        }
        stored
    }

    async fn write(&self, storage: &dyn Storage, keyring: &Keyring) -> Result<(), StorageError> {
        let at = self
            .at
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let body = authentic::write(keyring.installation(), &PLACE, &at);
        storage.expect_room(Effect::Adds).await?;
        let stored = storage.read(KEY).await?;
        let revision = stored.map_or(0, |document| document.revision);
        storage.put(KEY, revision, body).await.map(drop)
    }
}

const KEY: &str = "last-used/tokens";
const PLACE: Place<'_> = Place::Document { key: KEY };
