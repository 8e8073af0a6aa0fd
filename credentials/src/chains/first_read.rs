//! The first look at a chain: its head is held against its anchor (the copy outside the store) and the last link to it.
//!
//! An anchor is written after the head, so a crash can come between a chain's first head and its anchor. While the mark of a
//! workspace says that it is being made, its anchor may be missing. The mark stops saying so only once the anchor is there
//! (`registry/links.rs`): from then on, one that is missing was removed.

use std::{path::PathBuf, sync::Arc};

use keyside_store::{
    StorageError, Trust,
    chain::{Chain, ChainName, Damage, Link, LoadError, State},
};

use super::{Chains, Registration, Tracked};
use crate::model::WorkspaceId;

impl Chains {
    /// Whether an anchor shows that there was an installation here.
    pub(crate) fn has_installation_anchor(&self) -> bool {
        self.has_anchor(&self.own)
    }

    pub(crate) fn has_anchor(&self, tracked: &Tracked) -> bool {
        self.anchors.has(tracked.chain.name())
    }

    /// The file of a workspace's anchor, as the data folder has it.
    pub(crate) fn anchor_file(&self, workspace: &WorkspaceId) -> String {
        self.anchors
            .shown(&ChainName::workspace(workspace.as_str()))
    }

    /// The workspaces that there are anchors of, each with its file.
    pub(crate) fn anchored_workspaces(&self) -> Vec<(WorkspaceId, PathBuf)> {
        self.anchors.workspaces()
    }

    /// Writes the anchor of a chain that has none, because a crash came between its first head and that.
    pub(crate) async fn write_first_anchor(&self, tracked: &Tracked) {
        if let Some(state) = tracked.state().filter(|_| !self.has_anchor(tracked)) {
            self.anchors.write(tracked.chain.name(), &state).await;
        }
    }

    /// The chain as it is now, where nothing is wrong but its anchor, which is damaged or gone: for ending it and nothing else.
    /// The head is held against the last link alone, so it may be older than the one that the anchor was a copy of.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) async fn load_ignoring_anchor(
        &self,
        tracked: &Tracked,
    ) -> Result<Option<Arc<State>>, StorageError> {
        match self.refresh(tracked).await {
            Err(LoadError::Damaged(damage)) if damage.is_of_anchor() => {}
            Err(LoadError::Storage(error)) => return Err(error),
            Err(LoadError::Damaged(_)) => return Ok(None),
            // The anchor was put back meanwhile.
            Ok(_) => return Ok(tracked.state()),
        }
        let trust = self.keyring.trust();
        let registration = self.registration_of(tracked.chain.name());
        let linked: Vec<_> = registration.and_then(|it| it.link).into_iter().collect();
        let state = match tracked.chain.load(&trust).await {
            Ok(found) => verify_descent(&tracked.chain, found, &linked, &trust).await,
            Err(error) => Err(error),
        };
        match state {
            Ok(state) => Ok(state),
            Err(LoadError::Storage(error)) => Err(error),
            Err(LoadError::Damaged(_)) => Ok(None),
        }
    }

    /// The first look at a chain.
    pub(super) async fn first_read(
        &self,
        tracked: &Tracked,
        trust: &Trust,
    ) -> Result<Option<Arc<State>>, LoadError> {
        let chain = &tracked.chain;
        let name = chain.name();
        // In this order, because another process may be at work: a mark expects only heads and anchors that are written.
        let registration = self.registration_of(name);
        let mut found = chain.load(trust).await?;
        let requires_anchor = self.requires_anchor(name, registration.as_ref(), found.as_deref());
        let anchored = self.anchors.read(name, &self.keyring)?;
        if found.is_none() && anchored.is_some() {
            // Another process may have begun it in between.
            found = chain.load(trust).await?;
        }
        let linked = registration.and_then(|it| it.link);
        let known: Vec<_> = anchored.into_iter().chain(linked).collect();
        let state = verify_descent(chain, found, &known, trust).await?;
        match (state, requires_anchor && anchored.is_none()) {
            (Some(_), true) => Err(Damage::AnchorGone {
                file: self.anchors.shown(name),
            }
            .into()),
            (None, true) => Err(Damage::HeadGone.into()),
            (state, false) => Ok(state),
        }
    }

    fn registration_of(&self, chain: &ChainName) -> Option<Registration> {
        let registrations = self.registrations.load();
        registrations.all.get(chain.workspace_id()?).cloned()
    }

    /// Whether an anchor of this chain was written.
    fn requires_anchor(
        &self,
        chain: &ChainName,
        registration: Option<&Registration>,
        state: Option<&State>,
    ) -> bool {
        // A process that only reads may be on another machine than the anchors.
        if self.keyring.signer().is_none() {
            return false;
        }
        match chain.workspace_id() {
            Some(_) => registration.is_some_and(|it| it.pending.is_none()),
            // The very first start may have been cut off after its first commit.
            None => state.is_some_and(|state| state.head.seq > 1 || self.keyring.has_workspaces()),
        }
    }
}

/// Refuses a head that does not lead on from every state that is `known` of its chain.
async fn verify_descent(
    chain: &Chain,
    found: Option<Arc<State>>,
    known: &[Link],
    trust: &Trust,
) -> Result<Option<Arc<State>>, LoadError> {
    let Some(mut state) = found else {
        return match known.is_empty() {
            true => Ok(None),
            false => Err(Damage::HeadGone.into()),
        };
    };
    'looking: loop {
        for known in known {
            let descends = chain.expect_after(*known, &state.head).await;
            let Err(error) = descends else {
                continue;
            };
            // What it named may be gone because it was replaced meanwhile.
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
