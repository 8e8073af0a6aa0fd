//! Rotates the installation's keys while requests continue: they are served from memory, where
//! nothing changes. The master key and the signing key are rotated together, because every key is
//! wrapped again for either.
//!
//! | step | where | after a crash |
//! |---|---|---|
//! | create the next master key and a successor of the signing key | beside the master key; keyring | unused: the next start removes them |
//! | announce both, signed with the old key | installation's chain | the next start finishes |
//! | every chain adopts the new signing key, erased workspaces' too | chains, `heads/` | both keys are trusted; the next start finishes |
//! | wrap every key again with the new public key; forget the old signing key | keyring, in one replacement | the old key's signatures are refused; the start moves the master key into place |
//!
//! Other processes learn of the successor from the keyring, when they read a head that they do not
//! trust (`Chains::refresh`).

use std::{path::PathBuf, sync::Arc};

use keyside_store::{
    PublicKey, StorageError,
    chain::{CommitError, Damage, LoadError},
};

use super::{ChangeError, Registry, error::listed};
use crate::{
    chains::{InstallationState, MAX_RACES, Priority, Tracked, pause},
    documents::WORKSPACE,
    keyring::Rewrapped,
    model::{ActorContext, WorkspaceId},
    record::{Draft, Event, KeyOperation},
};

pub(crate) struct NewKeys {
    pub(crate) master_key: String,
    pub(crate) signing_key: PublicKey,
}

impl Registry {
    /// Wraps every key with a new master key. The old one is kept as `<its file>.retired-<its id>`
    /// for older copies of the data. If an operator has put a new master key in place and named the
    /// previous one, rotates to that. Heads are signed with a new key from then on, and the old one
    /// is no longer trusted.
    ///
    /// # Errors
    /// The master key cannot be replaced from here, or storage failed before the rotation was
    /// recorded; nothing has changed then. [`ChangeError::OutcomeUnknown`] if it is, or may be,
    /// recorded and not finished: another rotation or the next start finishes it.
    pub async fn rotate_master_key(
        self: &Arc<Self>,
        by: &ActorContext,
    ) -> Result<Rewrapped, ChangeError> {
        let by = by.clone();
        self.run_to_completion(|registry| async move { registry.rotate_keys(&by).await })
            .await
    }

    async fn rotate_keys(&self, by: &ActorContext) -> Result<Rewrapped, ChangeError> {
        let _alone = self.keyring.rotating.lock().await;
        self.admit(by).await?;
        // First: an announced signing key of an unfinished rotation may be as old as the keys that
        // this rotation replaces.
        self.settle_keys().await?;
        self.expect_readable_anchors().await?;
        self.expect_all_keys().await?;
        match self.announce_keys(by).await {
            Ok(to) => self.finish_rotation(&to).await,
            // Keeps the new keys: a start that finds them recorded needs them.
            Err(error @ ChangeError::OutcomeUnknown(_)) => Err(error),
            Err(error) => {
                // Discards the unused new keys. If the master key cannot be removed now, the next
                // start removes it.
                if let Err(left) = self.settle_keys().await {
                    tracing::warn!(error = %left, "an unused master key could not be removed: its file is beside that of the current one");
                }
                Err(error)
            }
        }
    }

    /// Refuses while a workspace is damaged only by its anchor: the rotation could not give that
    /// chain the new signing key, and putting the anchor back would not help any more.
    async fn expect_readable_anchors(&self) -> Result<(), ChangeError> {
        let mut files = Vec::new();
        let registrations = self.chains.registrations();
        for (id, registration) in registrations.iter() {
            let refreshed = self.chains.refresh(&self.chains.of(id)).await;
            if let Err(LoadError::Damaged(damage)) = refreshed
                && damage.is_anchor_damage()
                && registration.exists
            {
                files.push(self.chains.anchor_file(id));
            }
        }
        match files.is_empty() {
            true => Ok(()),
            false => Err(ChangeError::AnchorsDamaged(files)),
        }
    }

    /// Refuses while the keyring has no key of a workspace: a keyring from before the rotation,
    /// which may have it, could not be put back any more.
    async fn expect_all_keys(&self) -> Result<(), ChangeError> {
        let mut workspaces = Vec::new();
        let registrations = self.chains.registrations();
        for id in registrations.keys() {
            if self.audit.has_lost_keys(id).await? {
                workspaces.push(id.clone());
            }
        }
        match workspaces.is_empty() {
            true => Ok(()),
            false => Err(ChangeError::KeysLost(workspaces)),
        }
    }

    /// Creates new keys, and records that they replace those in use.
    pub(crate) async fn announce_keys(&self, by: &ActorContext) -> Result<NewKeys, ChangeError> {
        // Before the installation's chain is locked: the key service may be slow, and what ends access
        // must not wait for it.
        let master_key = self.keyring.next_master_key().await?;
        let successor = self.keyring.add_successor().await?;
        let _guard = self.lock_installation(by, Priority::Normal).await?;
        let wrap = Draft {
            note: Some(master_key.clone()),
            keys: Some(KeyOperation::WrapWith(master_key.clone())),
            ..Draft::new(Event::MasterKeyRotated, by)
        };
        let sign = Draft::noted(Event::SigningKeyRotated, by, successor.to_string());
        let mut signing_key = successor;
        let announce = |state: &mut InstallationState| {
            state.master_key = Some(master_key.clone());
            let keys = self.keyring.signing();
            match state.announced().filter(|key| keys.is_successor(key)) {
                // Another process has begun a rotation.
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

    /// Finishes a recorded rotation. After an error, some chains or keys may already have changed.
    pub(super) async fn finish_rotation(&self, to: &NewKeys) -> Result<Rewrapped, ChangeError> {
        let finished = async {
            let left = self.adopt_signing_key(&to.signing_key).await?;
            let successor = left.is_empty().then_some(&to.signing_key);
            let now = self.clock.now();
            let rewrapped = self.keyring.rewrap(&to.master_key, successor, now);
            let rewrapped = rewrapped.await?;
            let warnings = [rewrapped.warning.clone(), old_key_kept(&left)];
            let warnings: Vec<_> = warnings.into_iter().flatten().collect();
            Ok::<_, ChangeError>(Rewrapped {
                warning: (!warnings.is_empty()).then(|| warnings.join(". ")),
                ..rewrapped
            })
        };
        finished.await.map_err(|error| {
            let reason =
                format!("the rotation is recorded but not finished: run it again. {error}");
            tracing::error!(master_key = to.master_key, "{reason}");
            ChangeError::OutcomeUnknown(StorageError::unavailable(reason))
        })
    }

    /// Finishes a recorded rotation, and discards any other.
    pub(super) async fn settle_keys(&self) -> Result<(), ChangeError> {
        let (own, state) = self.chains.installation_state().await?;
        if own.is_none() {
            return Ok(());
        }
        let keys = self.keyring.signing();
        let mut successor = state.announced().filter(|key| keys.is_successor(key));
        if let Some(announced) = successor {
            let left = self.adopt_signing_key(&announced).await?;
            if let Some(warning) = old_key_kept(&left) {
                tracing::warn!("{warning}");
                successor = None;
            }
        }
        let master_key = state.master_key.as_deref();
        let now = self.clock.now();
        let settled = self.keyring.settle(master_key, successor.as_ref(), now);
        Ok(settled.await?)
    }

    /// Removes successors of the signing key that a crash has left before one of them was
    /// announced. Nothing is signed with them.
    pub(super) async fn forget_unannounced_keys(&self) -> Result<(), ChangeError> {
        let (keys, needed) = (self.keyring.signing(), self.needed_keys().await?);
        if !keys.has_successors() || needed.iter().any(|key| keys.is_successor(key)) {
            return Ok(());
        }
        let removed = self.keyring.remove_successors().await?;
        // Another process may have announced one in the meantime.
        let needed = self.needed_keys().await;
        match &needed {
            Ok(needed) if !needed.iter().any(|key| removed.has(key)) => {}
            _ => self.keyring.put_back(removed).await?,
        }
        needed.map(drop)
    }

    /// The announced signing key, and the one that has signed the installation's head: the
    /// announcement may be damaged.
    async fn needed_keys(&self) -> Result<Vec<PublicKey>, ChangeError> {
        let (own, state) = self.chains.installation_state().await?;
        let signer = own.map(|own| own.signer());
        Ok(state.announced().into_iter().chain(signer).collect())
    }

    /// Makes every chain adopt an announced signing key. The installation's is first, so that the
    /// chain of any workspace registered afterwards begins under the new key. Returns the anchors
    /// that must be put back first: their workspaces still need the old key.
    pub(super) async fn adopt_signing_key(
        &self,
        to: &PublicKey,
    ) -> Result<Vec<PathBuf>, CommitError> {
        self.adopt_in_installation(to).await?;
        let registrations = self.chains.registrations();
        let mut left = Vec::new();
        for id in registrations.keys() {
            left.extend(self.adopt_in_workspace(id, to).await?);
        }
        // None may be left that is signed with a key that is about to be refused.
        let synced = self.chains.anchors.sync().await;
        synced.map_err(CommitError::NotBegun)?;
        Ok(left)
    }

    async fn adopt_in_installation(&self, to: &PublicKey) -> Result<(), CommitError> {
        let own = self.chains.installation();
        let _changing = own.lock(Priority::Normal).await;
        for _ in 0..MAX_RACES {
            self.chains.refresh(own).await?;
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

    /// A damaged chain is left behind, and is refused from then on for its signature: it must not
    /// keep the old key trusted. Only a damaged anchor, which can be put back, keeps it trusted;
    /// its path is returned.
    async fn adopt_in_workspace(
        &self,
        id: &WorkspaceId,
        to: &PublicKey,
    ) -> Result<Option<PathBuf>, CommitError> {
        let tracked = self.chains.of(id);
        let _changing = tracked.lock(Priority::Normal).await;
        let _gate = self.gate.read().await;
        let mut retries = MAX_RETRIES;
        for _ in 0..MAX_RACES {
            match self.adopt_in_workspace_once(id, &tracked, to).await {
                // Another process may have replaced the missing objects.
                Err(CommitError::Damaged(_)) if retries > 0 => retries -= 1,
                Err(CommitError::Damaged(damage)) => {
                    tracing::error!(workspace = %id, %damage, "a damaged chain does not adopt the new signing key");
                    let exists = self.chains.existing(id).is_some();
                    let is_kept = exists && damage.is_anchor_damage();
                    return Ok(is_kept.then(|| self.chains.anchor_file(id)));
                }
                Err(CommitError::Raced) => {}
                outcome => return outcome.map(|()| None),
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
        self.chains.refresh(tracked).await?;
        // A workspace that is being created must begin first. If it is being erased, recovery needs
        // the last record, so it must finish before another record is added.
        if let Some(registration) = self.chains.registration(id) {
            self.recover_workspace(id, &registration).await?;
        }
        let registration = self.chains.existing(id);
        let Some(on) = tracked.state() else {
            // A registered workspace without a chain is damaged, unless it was erased.
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
                // It was erased in the meantime.
                return Err(CommitError::Raced);
            }
            self.links.changed(id, false);
        }
        self.chains.adopt_signing_key(tracked, on, to).await
    }
}

/// Says why the old signing key is still trusted.
fn old_key_kept(anchors: &[PathBuf]) -> Option<String> {
    if anchors.is_empty() {
        return None;
    }
    Some(format!(
        "the old signing key is still trusted, because these copies of heads are missing or damaged: {}. Put them back from \
         the newest copy of the data folder and restart, or erase their workspaces and restart",
        listed(anchors)
    ))
}

/// How often to read a chain again before its damage counts.
const MAX_RETRIES: u32 = 5;
