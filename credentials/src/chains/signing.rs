//! Which key signs a commit while the signing key is being replaced, and which heads are believed.
//!
//! The installation's chain announces a successor, signed with the key before. From then on every chain goes over to it, the
//! installation's first, each with a commit of its own, and none goes back. What the key before has signed is believed until
//! the keyring forgets that key.

use std::sync::Arc;

use keyside_store::{
    PublicKey, Signer, StorageError, Trust,
    chain::{CommitError, Damage, LoadError, State},
};

use super::{Chains, InstallationState, Tracked};
use crate::{
    keyring::{KeyringError, LockedSigningKey},
    model::ActorContext,
    record::{Draft, Event},
};

impl Chains {
    /// Reads a chain as it is now. The new state, if it is another than the one last seen. A head that is signed with no known
    /// key may be signed with one that another process has made since: then the keyring is read again.
    ///
    /// # Errors
    /// What is wrong with it, or the backend's failure. The state that was last seen stays.
    pub(crate) async fn refresh(&self, tracked: &Tracked) -> Result<Option<Arc<State>>, LoadError> {
        let is_own = tracked.chain.name() == self.own.chain.name();
        // Another process may have finished a rotation since: then the old key is not believed here either.
        if is_own
            && self.keyring.signing().has_successors()
            && let Err(error) = self.keyring.catch_up().await
        {
            tracing::warn!(%error, "the keyring could not be read again");
        }
        loop {
            let trust = self.keyring.trust();
            let refreshed = self.refresh_under(tracked, &trust).await;
            let is_forged = matches!(
                refreshed,
                Err(LoadError::Damaged(
                    Damage::HeadForged | Damage::AnchorDamaged { .. }
                ))
            );
            if !is_forged || !self.has_other_keys(&trust).await? {
                return refreshed;
            }
        }
    }

    /// Whether the keyring has other signing keys than these by now.
    async fn has_other_keys(&self, trust: &Trust) -> Result<bool, StorageError> {
        match self.keyring.catch_up().await {
            // A keyring that somebody has edited vouches for no head.
            Ok(()) | Err(KeyringError::Damaged { .. }) => Ok(self.keyring.trust() != *trust),
            Err(error) => Err(error.into()),
        }
    }

    /// What signs the next commit of a chain: the successor that was announced. A process may not have seen that yet; a chain that
    /// has gone over does not go back for it.
    pub(super) async fn signer(
        &self,
        tracked: &Tracked,
        on: Option<&Arc<State>>,
    ) -> Result<Arc<LockedSigningKey>, CommitError> {
        let keys = self.keyring.signing();
        let mut key = keys.current();
        if keys.has_successors() {
            let announced = self.announced(tracked, on).await;
            let announced = announced.map_err(CommitError::NotBegun)?;
            let adopted = on.map(|on| on.signer());
            let mut successors = announced.into_iter().chain(adopted);
            key = successors.find(|it| keys.is_successor(it)).unwrap_or(key);
        }
        let read_only = CommitError::NotBegun(StorageError::ReadOnly);
        keys.signer(&key).ok_or(read_only)
    }

    /// The signing key that was announced last, as far as is known here; where the installation's own chain is committed to, in
    /// the state that it is committed on.
    async fn announced(
        &self,
        tracked: &Tracked,
        on: Option<&Arc<State>>,
    ) -> Result<Option<PublicKey>, StorageError> {
        let own = match tracked.chain.name() == self.own.chain.name() {
            true => on.cloned(),
            false => self.own.state(),
        };
        match own {
            Some(own) => Ok(InstallationState::read(self, &own).await?.announced()),
            None => Ok(None),
        }
    }

    /// Has a chain go over to the signing key `to`, on top of the state `on`, if it has not; its anchor too. The caller holds the
    /// chain's lock.
    ///
    /// # Errors
    /// [`CommitError::Raced`] where another process came first, or has announced another key.
    pub(crate) async fn adopt_signing_key(
        &self,
        tracked: &Tracked,
        on: Arc<State>,
        to: &PublicKey,
    ) -> Result<(), CommitError> {
        let state = match on.signer() == *to {
            true => on,
            false => self.commit_adoption(tracked, &on, to).await?,
        };
        let kept = self.anchors.keep(tracked.chain.name(), &state).await;
        kept.map_err(CommitError::NotBegun)
    }

    async fn commit_adoption(
        &self,
        tracked: &Tracked,
        on: &Arc<State>,
        to: &PublicKey,
    ) -> Result<Arc<State>, CommitError> {
        if self.signer(tracked, Some(on)).await?.public() != *to {
            return Err(CommitError::Raced);
        }
        // Of no workspace, so that nobody who is limited to one of that name is told of an erased one.
        let adopted = Draft {
            note: Some(to.to_string()),
            ..Draft::new(Event::SigningKeyAdopted, &ActorContext::system("rotation"))
        };
        let incarnation = on.head.incarnation;
        let commit = self.commit(tracked, Some(on), incarnation, vec![adopted], Vec::new());
        let state = commit.await?;
        match state.signer() == *to {
            true => Ok(state),
            false => Err(CommitError::Raced),
        }
    }

    /// Waits until the anchors are on disk: none may be signed with a key that is about to be refused.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) async fn sync_anchors(&self) -> Result<(), StorageError> {
        self.anchors.sync().await
    }
}
