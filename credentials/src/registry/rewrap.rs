//! Going over to another master key while requests go on: they are answered from memory, where nothing changes.
//!
//! The record names the master key to go over to, so that a start after a crash knows whether to finish or to forget.

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
    /// When the master key is not one that can be replaced from here, or storage fails: either nothing has changed then, or
    /// it is on record and is carried out before the next change, or at the next start.
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
        let rotated = async {
            self.chains.change_state(rotate).await?;
            Ok::<_, ChangeError>(self.keyring.rewrap(&to).await?)
        };
        let rotated = rotated.await;
        if rotated.is_err() {
            // It is finished, or the key that nothing came of is let go.
            self.settle_master_key().await?;
        }
        rotated
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
