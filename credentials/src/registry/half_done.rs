//! What concerns two chains, and a crash between their commits. The order is such that it closes and never opens: a workspace
//! is named before it begins, and names nothing before it is said to be erased.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use keyside_store::chain::{CommitError, LoadError};

use super::{ChangeError, Inner};
use crate::{
    chains::{Making, Mark, Priority, not_begun},
    documents::{Document, WORKSPACE, WorkspaceDocument},
    keyring::KeyringError,
    model::{ActorContext, WorkspaceId},
    record::{Draft, Event},
    snapshot::WorkspaceEntry,
};

impl Inner {
    /// Finishes what a crash has left half done.
    pub(super) async fn finish(&self) -> Result<(), ChangeError> {
        let marks = self.chains.marks();
        for (id, mark) in marks.iter() {
            let tracked = self.chains.of(id);
            let _changing = tracked.lock(Priority::Normal).await;
            if let Err(error) = self.finish_one(id, mark).await {
                tracing::error!(workspace = %id, %error, "what a crash has left half done is finished at a later start");
            }
            let link = tracked.state().map(|state| state.head.link());
            let is_making = mark.making.is_some();
            if mark.is_there && (link != mark.link || is_making) {
                // What was being made is soon said to have begun.
                self.links.changed(id, is_making);
            }
        }
        if let Err(error) = self.destroy_erased_keys().await {
            tracing::warn!(%error, "a workspace is erased on record, and its keys are still there");
        }
        self.settle_keys().await
    }

    /// The workspace's lock is held by who asks.
    pub(super) async fn finish_one(
        &self,
        id: &WorkspaceId,
        mark: &Mark,
    ) -> Result<(), CommitError> {
        if !mark.is_there {
            return Ok(());
        }
        let tracked = self.chains.of(id);
        if mark.making.is_some() {
            // A chain that is damaged or gone is no reason to begin another in its place.
            match self.chains.refresh(&tracked).await {
                Err(LoadError::Damaged(_)) => return Ok(()),
                refreshed => drop(refreshed.map_err(not_begun)?),
            }
        }
        let state = tracked.state();
        let is_begun = state
            .as_ref()
            .is_some_and(|state| state.head.incarnation == mark.incarnation);
        if mark.making.is_some() && is_begun {
            self.chains.write_first_anchor(&tracked).await;
        }
        match (&mark.making, is_begun) {
            (Some(making), false) => {
                tracing::info!(workspace = %id, "making a workspace that a crash has cut off");
                self.begin_chain(id, mark, making).await?;
            }
            (_, true) if state.is_some_and(|state| state.document(WORKSPACE).is_none()) => {
                tracing::info!(workspace = %id, "erasing a workspace, which a crash has cut off");
                let ended = self.end_of(id).await.map_err(not_begun)?;
                self.say_erased(id, ended).await?;
                let mark = self.chains.mark(id);
                if let Some(erased) = mark.and_then(|mark| mark.erased) {
                    self.runs.erase(id.clone(), erased.at).await;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Keys of workspaces that are erased on record. What fails is tried again.
    ///
    /// # Errors
    /// Where the keyring cannot be replaced.
    pub(super) async fn destroy_erased_keys(&self) -> Result<(), KeyringError> {
        let marks = self.chains.marks();
        let erased = marks.values().filter_map(|mark| mark.erased.as_ref());
        let keys: HashSet<String> = erased.flat_map(|erased| erased.keys.clone()).collect();
        if !keys.is_empty() {
            self.keyring.destroy(&keys).await?;
        }
        Ok(())
    }

    /// Begins the chain of a workspace that the installation has named.
    pub(super) async fn begin_chain(
        &self,
        id: &WorkspaceId,
        mark: &Mark,
        making: &Making,
    ) -> Result<Arc<WorkspaceEntry>, CommitError> {
        let document = WorkspaceDocument {
            id: id.clone(),
            incarnation: mark.incarnation,
            name: making.name.clone(),
            created_by: making.created_by.clone(),
            created_at: making.created_at,
            revision: 1,
            defaults: BTreeMap::new(),
        };
        let by = ActorContext {
            actor: making.created_by.clone(),
            request_id: making.request_id.clone(),
        };
        let begun = Draft {
            workspace: Some(id.clone()),
            ..Draft::new(Event::ChainBegun, &by)
        };
        let tracked = self.chains.of(id);
        let on = tracked.state();
        let writes = vec![document.write()];
        let commit =
            self.chains
                .commit(&tracked, on.as_ref(), mark.incarnation, vec![begun], writes);
        let state = commit.await?;
        let entry = WorkspaceEntry::new(document, None, [], []).at(state);
        let entry = Arc::new(entry);
        self.show(entry.clone());
        Ok(entry)
    }
}

/// A chain that is damaged cannot be gone on with.
impl From<CommitError> for ChangeError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Raced => Self::Raced,
            CommitError::NotBegun(error) => Self::StoreUnavailable(error),
            CommitError::OutcomeUnknown { seq, error } => Self::OutcomeUnknown { seq, error },
            CommitError::TooManyDocuments => Self::TooMany,
            CommitError::Damaged(_) => Self::Damaged,
            error => Self::StoreUnavailable(keyside_store::StorageError::unavailable(error)),
        }
    }
}
