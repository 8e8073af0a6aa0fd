//! Rotating the keys of the installation while requests go on: they are answered from memory, where nothing changes. The master
//! key and the signing key are rotated together, because every key is wrapped again for either.
//!
//! | step | where | a crash after it |
//! |---|---|---|
//! | make the next master key, and a successor of the signing key | beside the master key; keyring | nothing uses them: the next rotation makes others |
//! | announce both, signed with the old key | installation's chain | finished at the next start |
//! | every chain goes over to the new signing key, erased workspaces' too | chains, `heads/` | either key is trusted; finished at the next start |
//! | wrap every key again, with the new public key; forget the old signing key | keyring, in one replacement | what the old key has signed is refused; the start puts the master key in its place |
//!
//! A process beside this one learns of the successor from the keyring, once it meets a head that it does not believe
//! (`Chains::refresh`).

use keyside_store::{
    PublicKey, StorageError,
    chain::{CommitError, Damage},
};

use super::{ChangeError, Inner, Registry};
use crate::{
    chains::{InstallationState, MAX_RACES, Priority, Tracked, load_failed, pause},
    documents::WORKSPACE,
    keyring::Rewrapped,
    model::{ActorContext, WorkspaceId},
    record::{Draft, Event, KeyOperation},
};

/// The keys that a rotation goes over to.
pub(crate) struct NewKeys {
    pub(crate) master_key: String,
    pub(crate) signing_key: PublicKey,
}

impl Registry {
    /// Wraps every key with a new master key, and has it take the place of the old one, which is kept as
    /// `<its file>.retired-<its id>` for older copies of the data. Where people have put a new master key in place and named
    /// the old one, it is that new one. Heads are signed with a new key from then on, and the old one is trusted no more.
    ///
    /// # Errors
    /// When the master key is not one that can be replaced from here, or storage fails before the rotation is on record: nothing
    /// has changed then. [`ChangeError::OutcomeUnknown`] when it is on record, or may be, and was not carried out: rotating
    /// again does that, and so does the next start.
    pub async fn rotate_master_key(&self, by: &ActorContext) -> Result<Rewrapped, ChangeError> {
        let by = by.clone();
        self.run_to_completion(|inner| async move { inner.rotate_keys(&by).await })
            .await
    }
}

impl Inner {
    async fn rotate_keys(&self, by: &ActorContext) -> Result<Rewrapped, ChangeError> {
        let _alone = self.keyring.rotating.lock().await;
        // A signing key that was announced earlier may be as old as what this rotation is to end.
        self.settle_keys().await?;
        match self.announce_keys(by).await {
            Ok(to) => self.finish_rotation(&to).await,
            // The new keys are kept: a start that finds them on record needs them.
            Err(error @ ChangeError::OutcomeUnknown { .. }) => Err(error),
            Err(error) => {
                // The new keys were not used. Where the master key cannot be removed now, the next start does so.
                if let Err(left) = self.settle_keys().await {
                    tracing::warn!(error = %left, "the new master key was not used, and is left beside the old one");
                }
                Err(error)
            }
        }
    }

    /// Makes new keys, and puts on record that they take the place of those in use.
    pub(crate) async fn announce_keys(&self, by: &ActorContext) -> Result<NewKeys, ChangeError> {
        let _guard = self.lock_installation(by, Priority::Normal).await?;
        let master_key = self.keyring.next_master_key().await?;
        let successor = self.keyring.add_successor().await?;
        let wrap = Draft {
            note: Some(master_key.clone()),
            keys: Some(KeyOperation::WrapWith(master_key.clone())),
            ..Draft::new(Event::MasterKeyRotated, by)
        };
        let sign = Draft {
            note: Some(successor.to_string()),
            ..Draft::new(Event::SigningKeyRotated, by)
        };
        let mut signing_key = successor;
        let announce = |state: &mut InstallationState| {
            state.master_key = Some(master_key.clone());
            let keys = self.keyring.signing();
            match state.announced().filter(|key| keys.is_successor(key)) {
                // Another process has begun to rotate meanwhile.
                Some(announced) => {
                    signing_key = announced;
                    vec![wrap.clone()]
                }
                None => {
                    signing_key = successor;
                    state.announce(keys.current(), successor);
                    vec![wrap.clone(), sign.clone()]
                }
            }
        };
        self.chains.change_state(announce).await?;
        Ok(NewKeys {
            master_key,
            signing_key,
        })
    }

    /// Carries out a rotation that is on record, so that no error says that nothing was changed.
    pub(super) async fn finish_rotation(&self, to: &NewKeys) -> Result<Rewrapped, ChangeError> {
        let finished = async {
            self.adopt_signing_key(&to.signing_key).await?;
            let rewrapped = self.keyring.rewrap(&to.master_key, Some(&to.signing_key));
            Ok::<_, ChangeError>(rewrapped.await?)
        };
        finished.await.map_err(|error| {
            let said =
                format!("the rotation is on record, and not carried out: run it again. {error}");
            tracing::error!(master_key = to.master_key, "{said}");
            let own = self.chains.own().state();
            ChangeError::OutcomeUnknown {
                seq: own.map_or(0, |own| own.head.seq),
                error: StorageError::unavailable(said),
            }
        })
    }

    /// Finishes a rotation that is on record, and forgets one that is not.
    pub(super) async fn settle_keys(&self) -> Result<(), ChangeError> {
        let refreshed = self.chains.refresh(self.chains.own()).await;
        refreshed.map_err(load_failed)?;
        let Some(own) = self.chains.own().state() else {
            return Ok(());
        };
        let state = InstallationState::read(&self.chains, &own).await?;
        let keys = self.keyring.signing();
        let successor = state.announced().filter(|key| keys.is_successor(key));
        if let Some(successor) = &successor {
            self.adopt_signing_key(successor).await?;
        }
        let master_key = state.master_key.as_deref();
        Ok(self.keyring.settle(master_key, successor.as_ref()).await?)
    }

    /// Has every chain go over to a signing key that was announced. The installation's comes first: who names another workspace
    /// after that begins its chain under the new key.
    pub(super) async fn adopt_signing_key(&self, to: &PublicKey) -> Result<(), CommitError> {
        self.adopt_in_installation(to).await?;
        let registrations = self.chains.registrations();
        for id in registrations.keys() {
            self.adopt_in_workspace(id, to).await?;
        }
        let synced = self.chains.sync_anchors().await;
        synced.map_err(CommitError::NotBegun)
    }

    async fn adopt_in_installation(&self, to: &PublicKey) -> Result<(), CommitError> {
        let own = self.chains.own();
        let _changing = own.lock(Priority::Normal).await;
        for _ in 0..MAX_RACES {
            self.chains.refresh(own).await.map_err(load_failed)?;
            let Some(on) = own.state() else {
                return Ok(());
            };
            match self.chains.adopt_signing_key(own, on, to).await {
                Err(CommitError::Raced) => pause().await,
                outcome => return outcome,
            }
        }
        Err(CommitError::Raced)
    }

    /// A chain that is damaged stays behind, and is refused from then on for its signature: it must not keep the old key alive.
    async fn adopt_in_workspace(
        &self,
        id: &WorkspaceId,
        to: &PublicKey,
    ) -> Result<(), CommitError> {
        let tracked = self.chains.of(id);
        let _changing = tracked.lock(Priority::Normal).await;
        let _gate = self.gate.read().await;
        let mut retries = MAX_RETRIES;
        for _ in 0..MAX_RACES {
            match self.adopt_in_workspace_once(id, &tracked, to).await {
                // What is missing may have been replaced by another process meanwhile.
                Err(CommitError::Damaged(_)) if retries > 0 => retries -= 1,
                Err(CommitError::Damaged(damage)) => {
                    tracing::error!(workspace = %id, %damage, "not signed with the new key");
                    return Ok(());
                }
                Err(CommitError::Raced) => {}
                outcome => return outcome,
            }
            pause().await;
        }
        Err(CommitError::Raced)
    }

    async fn adopt_in_workspace_once(
        &self,
        id: &WorkspaceId,
        tracked: &Tracked,
        to: &PublicKey,
    ) -> Result<(), CommitError> {
        self.chains.refresh(tracked).await.map_err(load_failed)?;
        // A workspace that is being made has to begin now; and of one that is being erased, the last record says what is left to
        // be done.
        if let Some(registration) = self.chains.registration(id) {
            self.recover_workspace(id, &registration).await?;
        }
        let registration = self.chains.registration(id).filter(|it| it.is_there);
        let Some(on) = tracked.state() else {
            // One that is named and has no chain is damaged, unless it is erased.
            return match registration {
                Some(_) => Err(CommitError::Damaged(Damage::HeadGone)),
                None => Ok(()),
            };
        };
        if let Some(registration) = registration {
            if on.head.incarnation != registration.incarnation {
                return Err(CommitError::Damaged(Damage::Forked));
            }
            if on.document(WORKSPACE).is_none() {
                // It was erased a moment ago.
                return Err(CommitError::Raced);
            }
            self.links.changed(id, false);
        }
        self.chains.adopt_signing_key(tracked, on, to).await
    }
}

/// How often a chain is looked at again before its damage is believed.
const MAX_RETRIES: u32 = 5;
