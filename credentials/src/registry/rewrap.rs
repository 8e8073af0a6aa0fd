//! Going over to another master key while requests go on: they are answered from memory, where nothing changes.
//!
//! The record names the master key to go over to, so that a start after a crash knows whether to finish or to forget.

use super::{Act, ChangeError, Inner, Registry};
use crate::{
    Rewrapped,
    audit::{Draft, Event, KeyAct},
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
        let _begun = self.begin().await?;
        self.expect_access(by)?;
        let to = self.keyring.next_master_key().await?;
        let draft = Draft {
            note: Some(to.clone()),
            keys: Some(KeyAct::WrapWith(to.clone())),
            ..Draft::new(Event::MasterKeyRotated, by)
        };
        let rotated = async {
            self.journal.commit(draft, Vec::new()).await?;
            Ok(self.keyring.rewrap(&to).await?)
        };
        // Before the next change it is finished, or the key that nothing came of is let go.
        rotated.await.inspect_err(|_| self.journal.unsettle())
    }
}
