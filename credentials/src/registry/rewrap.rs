//! Going over to another master key while requests go on: they are answered from memory, where nothing changes.
//!
//! The record names the master key to go over to, so that a start after a crash knows whether to finish or to forget.

use keyside_store::{StorageError, chain::CommitError};

use super::{ChangeError, Inner, Registry};
use crate::{
    chains::{InstallationState, Priority},
    keyring::Rewrapped,
    model::Act,
    record::{Draft, Event, KeyAct},
};

impl Registry {
    /// Wraps every key with a new master key, and has it take the place of the old one, which is kept as
    /// `<its file>.retired-<its id>` for older copies of the data. Where people have put a new master key in place and named
    /// the old one, it is that new one.
    ///
    /// # Errors
    /// When the master key is not one that can be replaced from here, or storage fails before the rotation is on record: nothing
    /// has changed then. [`ChangeError::OutcomeUnknown`] when it is on record, or may be, and was not carried out: rotating
    /// again does that, and where the master key is a file, so does the next start.
    pub async fn rotate_master_key(&self, by: &Act) -> Result<Rewrapped, ChangeError> {
        let by = by.clone();
        self.to_its_end(|inner| async move { inner.rotate_master_key(&by).await })
            .await
    }
}

impl Inner {
    async fn rotate_master_key(&self, by: &Act) -> Result<Rewrapped, ChangeError> {
        let _begun = self.begin_own(by, Priority::Normal).await?;
        let to = self.keyring.next_master_key().await?;
        let draft = Draft {
            note: Some(to.clone()),
            keys: Some(KeyAct::WrapWith(to.clone())),
            ..Draft::new(Event::MasterKeyRotated, by)
        };
        let rotate = |state: &mut InstallationState| {
            state.master_key = Some(to.clone());
            Some(draft.clone())
        };
        match self.chains.change_state(rotate).await {
            Ok(()) => self.rewrap_keys(&to).await,
            // The new key is kept: a start that finds it on record needs it.
            Err(error @ CommitError::OutcomeUnknown { .. }) => Err(error.into()),
            Err(error) => {
                // The new key was not used. Where it cannot be removed now, the next start does so.
                if let Err(left) = self.settle_master_key().await {
                    tracing::warn!(error = %left, "the new master key was not used, and is left beside the old one");
                }
                Err(error.into())
            }
        }
    }

    /// Carries out a rotation that is on record, so that no error says that nothing was changed.
    async fn rewrap_keys(&self, to: &str) -> Result<Rewrapped, ChangeError> {
        self.keyring.rewrap(to).await.map_err(|error| {
            let said =
                format!("the rotation is on record, and not carried out: run it again. {error}");
            tracing::error!(master_key = to, "{said}");
            let own = self.chains.own().state();
            ChangeError::OutcomeUnknown {
                seq: own.map_or(0, |own| own.head.seq),
                error: StorageError::unavailable(said),
            }
        })
    }

    /// Finishes a rotation of the master key that is on record, and forgets one that is not.
    pub(super) async fn settle_master_key(&self) -> Result<(), ChangeError> {
        let Some(own) = self.chains.own().state() else {
            return Ok(());
        };
        let state = InstallationState::read(&self.chains, &own).await?;
        Ok(self.keyring.settle(state.master_key.as_deref()).await?)
    }
}
