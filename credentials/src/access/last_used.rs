//! When tokens were last used. For display only.

use jiff::Timestamp;
use keyside_store::StorageError;

use crate::{model::ActorId, noted::Noted, notes::NoteStore};

#[derive(Default)]
pub(crate) struct LastUsed(Noted<ActorId, Timestamp>);

impl LastUsed {
    /// Records a use, with a resolution of one second.
    pub(super) fn note(&self, token: &ActorId, now: Timestamp) {
        // An earlier one too: the clock may have been ahead.
        let is_other = |last: Timestamp| now.as_second() != last.as_second();
        if self.of(token).is_none_or(is_other) {
            self.0.put(token.clone(), now);
        }
    }

    pub(super) fn of(&self, token: &ActorId) -> Option<Timestamp> {
        self.0.get(token)
    }

    /// Nothing depends on it, so a failure is only logged.
    pub(crate) async fn load(&self, notes: &NoteStore, now: Timestamp) {
        if let Err(error) = self.0.load(notes, PREFIX, now).await {
            tracing::warn!(%error, "times of tokens' last use could not be read");
        }
    }

    pub(crate) async fn store(
        &self,
        notes: &NoteStore,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        self.0.store(notes, now, |token| Some(name(token))).await
    }

    /// Forgets a token that was deleted.
    pub(crate) async fn forget(&self, notes: &NoteStore, token: &ActorId) {
        if let Err(error) = self.0.remove(notes, token, &name(token)).await {
            tracing::warn!(%error, "the time of a deleted token's last use could not be removed");
        }
    }
}

fn name(token: &ActorId) -> String {
    format!("{PREFIX}{token}")
}

const PREFIX: &str = "last-used/";
