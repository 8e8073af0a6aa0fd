//! Selects the key that signs a commit, and decides which heads are trusted, during a rotation of
//! the signing key.
//!
//! The installation's chain announces a successor, signed with the current key. Then every chain
//! adopts it, the installation's first, each with a commit of its own, and none goes back.
//! Signatures of the previous key are trusted until the keyring forgets it.

use std::sync::Arc;

use keyside_store::{
    PublicKey, Signer, StorageError, TrustedKeys,
    chain::{CommitError, Damage, LoadError, State},
};

use super::{Chains, InstallationState, Tracked};
use crate::{
    keyring::{KeyringError, LockedSigningKey},
    model::ActorContext,
    record::{Draft, Event},
};

impl Chains {
    /// Reads a chain. Returns the new state if it differs from the last known one. An unknown
    /// signing key may be a new key of another process: then the keyring is read again.
    ///
    /// # Errors
    /// What is wrong with the chain, or a failure of the backend. The last known state is kept.
    pub(crate) async fn refresh(&self, tracked: &Tracked) -> Result<Option<Arc<State>>, LoadError> {
        // Another process may have finished a rotation: then the old key must not be trusted here
        // either.
        if self.is_own(tracked)
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

    /// Whether the keyring has other signing keys by now.
    async fn has_other_keys(&self, trust: &TrustedKeys) -> Result<bool, StorageError> {
        match self.keyring.catch_up().await {
            // An edited or older keyring adds no trusted keys.
            Ok(()) | Err(KeyringError::Damaged { .. } | KeyringError::Older { .. }) => {
                Ok(self.keyring.trust() != *trust)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The key that signs the next commit of a chain: the announced successor, if there is one. A
    /// chain that has adopted it stays with it, even if this process has not seen the announcement.
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

    /// The last announced signing key that is known here. For a commit to the installation's own
    /// chain: as of the state that it is committed on.
    async fn announced(
        &self,
        tracked: &Tracked,
        on: Option<&Arc<State>>,
    ) -> Result<Option<PublicKey>, StorageError> {
        let own = match self.is_own(tracked) {
            true => on.cloned(),
            false => self.installation.state(),
        };
        let Some(own) = own else {
            return Ok(None);
        };
        match InstallationState::read(self, &own).await {
            Ok(state) => Ok(state.announced()),
            // Either the commit will lose a race, or no rotation can be finished until the document
            // is put back: until then chains stay with the keys that they are signed with.
            Err(error) => error.into_damage().map(|_| None),
        }
    }

    /// Makes a chain and its anchor adopt the signing key `to`, on top of the state `on`, unless it
    /// has. The caller holds the chain's lock.
    ///
    /// # Errors
    /// [`CommitError::Raced`] if another process came first or has announced another key.
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
        let written = self.write_anchor(tracked.chain.name(), &state).await;
        written.map_err(CommitError::NotBegun)
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
        // Without a workspace: the record must not reveal an erased workspace to a principal that
        // is limited to its successor.
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
}
