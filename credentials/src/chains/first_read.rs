//! The first read of a chain in a process: compares its head with its anchor and with the last link
//! to it.
//!
//! An anchor is written after the head, so a crash can leave a chain's first head without one.
//! A workspace's anchor may be missing while its registration is pending, which it is until the
//! anchor is on disk (`registry/links.rs`). The installation's may be missing until the second
//! commit, and no authority makes that before the anchor is on disk (`registry/open.rs`). After
//! that, a missing anchor was removed.

use std::{cmp::Ordering, path::PathBuf, sync::Arc};

use keyside_store::{
    StorageError, TrustedKeys,
    chain::{Chain, ChainName, Damage, Head, Link, LoadError, State},
};

use super::{Chains, Registration, Tracked};
use crate::model::WorkspaceId;

impl Chains {
    pub(crate) fn has_anchor(&self, tracked: &Tracked) -> bool {
        self.anchors.has(tracked.chain.name())
    }

    pub(crate) fn anchor_file(&self, workspace: &WorkspaceId) -> PathBuf {
        self.anchors
            .path_of(&ChainName::workspace(workspace.as_str()))
    }

    /// Whether the chain has an anchor that survives a power cut.
    pub(crate) fn is_anchored(&self, tracked: &Tracked) -> bool {
        self.anchors.is_on_disk(tracked.chain.name())
    }

    /// Writes the anchor of a chain that may have none because of a crash.
    pub(crate) async fn write_first_anchor(&self, tracked: &Tracked) -> Result<(), StorageError> {
        match tracked.state().filter(|_| !self.is_anchored(tracked)) {
            Some(state) => self.write_anchor(tracked.chain.name(), &state).await,
            None => Ok(()),
        }
    }

    /// Writes the anchor of a state that was read, and not committed here. Such a head may be in memory
    /// only, and an anchor must not be ahead of the head on disk.
    pub(super) async fn write_anchor(
        &self,
        chain: &ChainName,
        state: &Arc<State>,
    ) -> Result<(), StorageError> {
        self.backend.storage.sync().await?;
        self.anchors.write(chain, state).await
    }

    /// Writes the anchors that could not be written. If one fails again, the others are still written.
    pub(crate) async fn write_anchors_behind(&self) {
        let mut first_failed = None;
        for name in self.anchors.behind() {
            let workspace: Option<WorkspaceId> = name.workspace_id().and_then(|id| id.parse().ok());
            let tracked = match &workspace {
                Some(workspace) => self.of(workspace),
                None => self.installation.clone(),
            };
            let Some(state) = tracked.state() else {
                continue;
            };
            if let Err(error) = self.write_anchor(&name, &state).await {
                first_failed = first_failed.or(Some((name, error)));
            }
        }
        // Of many, one is enough in the log: the metrics have their number.
        if let Some((chain, error)) = first_failed {
            tracing::warn!(%chain, %error, "the anchor of a chain still cannot be written");
        }
    }

    /// Syncs soon what a process that was killed has left unsynced: a power cut would lose it. Writes it
    /// first: the last head may be newer than what was left.
    ///
    /// # Errors
    /// The heads could not be synced, and an anchor must not be ahead of the head on disk.
    pub(crate) async fn sync_anchors_left_unsynced(&self) -> Result<(), StorageError> {
        for tracked in self.all() {
            if self.anchors.has_unsynced(tracked.chain.name()) {
                self.confirm(&tracked).await?;
            }
        }
        Ok(())
    }

    /// Loads a chain whose anchor is damaged or missing, if that is all that is wrong: only for
    /// ending the chain. The head is checked against the last link alone, so it may be older than
    /// the anchored one.
    pub(crate) async fn load_ignoring_anchor(
        &self,
        tracked: &Tracked,
    ) -> Result<Option<Arc<State>>, StorageError> {
        let Err(error) = self.refresh(tracked).await else {
            // The anchor has been restored in the meantime.
            return Ok(tracked.state());
        };
        if !error.into_damage()?.is_anchor_damage() {
            return Ok(None);
        }
        let trust = self.keyring.trust();
        let registration = self.registration_of(tracked.chain.name());
        let linked: Vec<_> = registration.and_then(|it| it.link).into_iter().collect();
        let state = match tracked.chain.load(&trust).await {
            Ok(found) => verify_descent(&tracked.chain, found, &linked, &trust).await,
            Err(error) => Err(error),
        };
        match state {
            Ok(state) => Ok(state.filter(|state| self.check_epoch(&state.head).is_ok())),
            Err(error) => error.into_damage().map(|_| None),
        }
    }

    /// Reads a chain again as a start does, which compares its head with its anchor and with the
    /// last link to it.
    pub(crate) async fn check_as_at_start(&self, tracked: &Tracked) -> Result<(), LoadError> {
        let name = tracked.chain.name().clone();
        let unread = Tracked::new(name, &self.keyring, &self.backend);
        self.refresh(&unread).await.map(drop)
    }

    pub(super) async fn first_read(
        &self,
        tracked: &Tracked,
        trust: &TrustedKeys,
    ) -> Result<Option<Arc<State>>, LoadError> {
        let chain = &tracked.chain;
        let name = chain.name();
        // In this order, because of concurrent processes: a registration requires only heads and
        // anchors that were written before it.
        let registration = self.registration_of(name);
        if let (Some(registration), Some(workspace)) = (&registration, name.workspace_id()) {
            registration.check_readable(workspace)?;
        }
        let mut found = chain.load(trust).await?;
        let requires_anchor = self.requires_anchor(name, registration.as_ref(), found.as_deref());
        let anchored = self.anchors.read(name)?;
        if found.is_none() && anchored.is_some() {
            // Another process may have begun the chain in the meantime.
            found = chain.load(trust).await?;
        }
        let linked = registration.and_then(|it| it.link);
        let known: Vec<_> = anchored.into_iter().chain(linked).collect();
        let state = verify_descent(chain, found, &known, trust).await?;
        if let Some(state) = &state {
            self.check_epoch(&state.head)?;
        }
        match (state, requires_anchor && anchored.is_none()) {
            (Some(_), true) => Err(Damage::AnchorGone {
                file: self.anchors.shown(name),
            }
            .into()),
            (None, true) => Err(Damage::HeadGone.into()),
            (state, false) => Ok(state),
        }
    }

    /// Refuses a head of another epoch than the keyring's: a restore raises the epoch in every
    /// chain and in the keyring, so one of them was put back to a state before the restore.
    pub(super) fn check_epoch(&self, head: &Head) -> Result<(), Damage> {
        let (head, keyring) = (head.epoch, self.epoch);
        match head.cmp(&keyring) {
            Ordering::Less => Err(Damage::HeadOlder { head, keyring }),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(Damage::KeyringOlder { head, keyring }),
        }
    }

    fn registration_of(&self, chain: &ChainName) -> Option<Registration> {
        let registrations = self.registrations.load();
        registrations.all.get(chain.workspace_id()?).cloned()
    }

    fn requires_anchor(
        &self,
        chain: &ChainName,
        registration: Option<&Registration>,
        state: Option<&State>,
    ) -> bool {
        // A read-only process may run on another machine than the anchors.
        if self.keyring.signer().is_none() {
            return false;
        }
        match chain.workspace_id() {
            Some(_) => registration.is_some_and(|it| it.pending.is_none()),
            // The very first start may have been interrupted after its first commit.
            None => state.is_some_and(|state| state.head.seq > 1 || self.keyring.has_workspaces()),
        }
    }
}

/// Refuses a head that does not descend from all states that are `known` of its chain.
async fn verify_descent(
    chain: &Chain,
    found: Option<Arc<State>>,
    known: &[Link],
    trust: &TrustedKeys,
) -> Result<Option<Arc<State>>, LoadError> {
    let Some(mut state) = found else {
        return match known.is_empty() {
            true => Ok(None),
            false => Err(Damage::HeadGone.into()),
        };
    };
    'looking: loop {
        for known in known {
            let descends = chain.check_continues(*known, &state.head).await;
            let Err(error) = descends else {
                continue;
            };
            // A concurrent commit may have removed what the head named.
            match chain.refresh(&state, trust).await {
                Ok(Some(newer)) => {
                    state = newer;
                    continue 'looking;
                }
                _ => return Err(error),
            }
        }
        return Ok(Some(state));
    }
}
