//! When tokens were last used. For display only.

use jiff::Timestamp;
use keyside_store::{Notes, StorageError};

use crate::{keyring::Keyring, model::ActorId, noted::Noted};

pub(crate) struct LastUsed(Noted<ActorId, Timestamp>);

impl Default for LastUsed {
    fn default() -> Self {
        Self(Noted::new("last-used/tokens"))
    }
}

impl LastUsed {
    /// Records a use, with a resolution of one second.
    pub(super) fn note(&self, token: &ActorId, now: Timestamp) {
        let is_newer = |last: Timestamp| now.as_second() > last.as_second();
        if self.of(token).is_none_or(is_newer) {
            self.0.put(token.clone(), now);
        }
    }

    pub(super) fn of(&self, token: &ActorId) -> Option<Timestamp> {
        self.0.get(token)
    }

    pub(crate) async fn load(
        &self,
        notes: &dyn Notes,
        keyring: &Keyring,
    ) -> Result<(), StorageError> {
        self.0.load(notes, keyring).await
    }

    pub(crate) async fn store(
        &self,
        notes: &dyn Notes,
        keyring: &Keyring,
    ) -> Result<(), StorageError> {
        self.0.store(notes, keyring, |_| true).await
    }
}
