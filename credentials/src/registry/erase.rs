//! Erases a workspace: destroys its keys, and removes its documents and runs. What the audit log
//! has sealed about it becomes unreadable.
//!
//! Three steps: the last commit of its own chain names no documents and lists the keys to destroy;
//! then the installation's chain records the erasure and narrows tokens; then the keys are
//! destroyed. After a crash in between, the next start finishes.

use std::sync::Arc;

use keyside_store::{
    StorageError,
    chain::{CommitError, Link, LoadError, State, Write},
};

use super::{ChangeError, Registry, change::retry_on_race};
use crate::{
    access::TokenDocument,
    audit::{Receipt, VerifyError},
    chains::{Erasure, MAX_RACES, Priority, pause},
    documents::{CREDENTIAL, Document},
    model::{ActorContext, CredentialEventKind, WorkspaceId, WorkspaceState, random_id},
    record::{Draft, ErasureSummary, Event, KeyOperation},
    snapshot::WorkspaceEntry,
};

/// The end of a workspace's own chain, from its last record.
pub(super) struct ChainEnd {
    by: ActorContext,
    keys: Vec<String>,
    summary: ErasureSummary,
    note: String,
    records: u64,
    /// The chain's last state. `None` if its head was not trusted, so that it could not be ended.
    link: Option<Link>,
}

impl Registry {
    /// Erases a workspace for good: destroys its keys, then removes its documents and runs.
    /// Requests in progress complete. The audit log stays, but its sealed details can no longer be
    /// opened.
    ///
    /// A repeated call returns the receipt of the workspace that had this id last, as long as no
    /// new one has it, and removes what an earlier call left over.
    ///
    /// # Errors
    /// The workspace never existed, is not in the `expected` state, or storage failed; nothing has
    /// changed then. With [`ChangeError::ErasingUnfinished`] the erasure is recorded, and is
    /// finished before the next change or at the next start.
    pub async fn erase_workspace(
        self: &Arc<Self>,
        by: &ActorContext,
        id: &WorkspaceId,
        expected: Option<WorkspaceState>,
    ) -> Result<Receipt, ChangeError> {
        let (by, id) = (by.clone(), id.clone());
        self.run_to_completion(|registry| async move {
            match retry_on_race!(registry.erase_workspace_once(&by, &id, expected)) {
                // Without a lock: the key service may be slow.
                Ok(()) => registry.destroy_erased_keys_or_warn().await,
                Err(ChangeError::WorkspaceUnknown) => {}
                Err(error) => return Err(error),
            }
            registry.receipt(id).await
        })
        .await
    }

    async fn erase_workspace_once(
        &self,
        by: &ActorContext,
        id: &WorkspaceId,
        expected: Option<WorkspaceState>,
    ) -> Result<(), ChangeError> {
        let _guard = self.lock_workspace(by, id, Priority::High).await?;
        let (workspace, incarnation) = self.erasable(id, expected)?;
        let tracked = self.chains.of(id);
        // A chain whose anchor is damaged or missing ends on its current head, and ending it writes
        // a new anchor.
        let at = match &workspace.at {
            Some(at) => Some(at.clone()),
            None => self.chains.load_ignoring_anchor(&tracked).await?,
        };
        let state = at.clone().or_else(|| tracked.state());
        let credentials = state.as_ref().map_or(0, |state| {
            let names = state.documents().map(|entry| &*entry.name);
            names.filter(|name| name.starts_with(CREDENTIAL)).count()
        });
        // Another process may have added a key.
        self.keyring.catch_up().await?;
        let mut end = ChainEnd {
            by: by.clone(),
            keys: self.keyring.ids(id).await,
            summary: ErasureSummary {
                incarnation,
                credentials,
                tokens: Vec::new(),
            },
            note: random_id("ers_"),
            records: state.as_ref().map_or(0, |state| state.head.records),
            link: None,
        };
        // A workspace whose head is not trusted is erased by its registration alone.
        let has_ended = at.is_some();
        if let Some(at) = at {
            let workspace = WorkspaceEntry::clone(&workspace).at(at.clone());
            self.commit_end(id, &workspace, &at, &mut end).await?;
        }
        self.snapshot.rcu(|snapshot| snapshot.without(id));
        // It may have fingerprints of erased secrets.
        self.duplicates.forget();
        // Its own chain has ended, so the erasure will be finished in any case.
        let recorded = self.record_erasure(id, Some(end)).await;
        if has_ended || recorded.is_ok() {
            let erased = CredentialEventKind::WorkspaceErased;
            self.notices.publish(self.event_of_workspace(id, erased));
        }
        recorded.map_err(|error| match has_ended {
            true => ChangeError::ErasingUnfinished(error.into_storage_error()),
            false => error.into(),
        })
    }

    /// The workspace, if it may be erased, and its incarnation.
    fn erasable(
        &self,
        id: &WorkspaceId,
        expected: Option<WorkspaceState>,
    ) -> Result<(Arc<WorkspaceEntry>, u64), ChangeError> {
        let workspace = self.snapshot.load().workspaces.get(id).cloned();
        let workspace = workspace.ok_or(ChangeError::WorkspaceUnknown)?;
        // Without it the incarnation is unknown: a successor could get that of an earlier workspace.
        let registration = self.chains.sound_registration(id)?;
        let registration = registration.ok_or(ChangeError::WorkspaceUnknown)?;
        let current = WorkspaceState {
            incarnation: registration.incarnation,
            revision: workspace.document.revision,
        };
        match expected.is_none_or(|expected| expected == current) {
            true => Ok((workspace, current.incarnation)),
            false => Err(ChangeError::Superseded(current.revision)),
        }
    }

    /// Commits the end of a workspace's own chain, whose state is `at`.
    async fn commit_end(
        &self,
        id: &WorkspaceId,
        workspace: &WorkspaceEntry,
        at: &State,
        end: &mut ChainEnd,
    ) -> Result<(), ChangeError> {
        let names = at.documents().map(|entry| entry.name.to_string());
        let writes: Vec<_> = names.map(Write::remove).collect();
        let draft = Draft {
            workspace: Some(id.clone()),
            note: Some(end.note.clone()),
            keys: Some(KeyOperation::Destroy(end.keys.clone())),
            erased: Some(end.summary.clone()),
            ..Draft::new(Event::ChainEnded, &end.by)
        };
        let state = self.commit_in(workspace, draft.in_parts(), writes).await?;
        end.records = state.head.records;
        end.link = Some(state.head.link());
        Ok(())
    }

    /// The end of a workspace, from the last record of its chain.
    pub(super) async fn chain_end(&self, id: &WorkspaceId) -> Result<Option<ChainEnd>, LoadError> {
        let tracked = self.chains.of(id);
        let Some(state) = tracked.state() else {
            return Ok(None);
        };
        let last = state.head.records;
        let found = self.audit.erasure_until(&tracked, &state, last).await?;
        Ok(found.and_then(|(_, record)| {
            let Some(KeyOperation::Destroy(keys)) = record.keys else {
                return None;
            };
            Some(ChainEnd {
                by: ActorContext {
                    actor: record.actor,
                    request_id: record.request_id,
                },
                keys,
                summary: record.erased?,
                note: record.note?,
                records: last,
                link: Some(state.head.link()),
            })
        }))
    }

    /// Records the erasure in the installation's chain, and removes the workspace from tokens. Its
    /// keys are to be destroyed then.
    pub(super) async fn record_erasure(
        &self,
        id: &WorkspaceId,
        end: Option<ChainEnd>,
    ) -> Result<(), CommitError> {
        let Some(end) = end else {
            return Ok(());
        };
        let own = self.chains.installation();
        let _changing = own.lock(Priority::High).await;
        for _ in 0..MAX_RACES {
            let on = self.refresh_installation_state().await?;
            // Another process may have recorded it, and even created a successor.
            let registration = self.chains.sound_registration(id)?.filter(|registration| {
                registration.exists && registration.incarnation == end.summary.incarnation
            });
            let Some(mut registration) = registration else {
                return Ok(());
            };
            let now = self.clock.now();
            let tokens = self.access.after_erasure(id, now);
            registration.exists = false;
            registration.pending = None;
            // A chain that is cut before its end is refused from now on, and its id with it.
            registration.link = end.link.or(registration.link);
            let draft = Draft {
                workspace: Some(id.clone()),
                note: Some(end.note.clone()),
                keys: Some(KeyOperation::Destroy(end.keys.clone())),
                erased: Some(ErasureSummary {
                    tokens: tokens.iter().map(|token| token.id.clone()).collect(),
                    ..end.summary.clone()
                }),
                ..Draft::new(Event::WorkspaceErased, &end.by)
            };
            let drafts = draft.in_parts();
            let before = on.as_ref().map_or(0, |on| on.head.records);
            registration.erased = Some(Erasure {
                at: now,
                position: before + drafts.len() as u64,
                records: end.records,
                keys: end.keys.clone(),
            });
            let writes = tokens.iter().map(TokenDocument::write);
            let writes = writes.chain([registration.write(id)]).collect();
            let commit = self.chains.commit(own, on.as_ref(), 0, drafts, writes);
            match commit.await {
                Err(CommitError::Raced) => pause().await,
                outcome => {
                    outcome?;
                    tokens.iter().for_each(|token| self.access.publish(token));
                    self.snapshot.rcu(|snapshot| snapshot.without(id));
                    return Ok(());
                }
            }
        }
        Err(CommitError::Raced)
    }

    /// The receipt of the workspace that was erased last under this id, once nothing of it is left.
    async fn receipt(&self, id: WorkspaceId) -> Result<Receipt, ChangeError> {
        self.refresh_installation_state().await?;
        self.confirm(self.chains.installation()).await?;
        let receipt = self.audit.receipt(&id).await.map_err(|error| match error {
            VerifyError::Storage(error) => ChangeError::ErasingUnfinished(error),
            error => ChangeError::ErasingUnfinished(StorageError::unavailable(error)),
        })?;
        let receipt = receipt.filter(|_| self.chains.existing(&id).is_none());
        let receipt = receipt.ok_or(ChangeError::WorkspaceUnknown)?;
        // Destroys keys that an earlier attempt left.
        let keys = receipt.destroyed_keys.iter().cloned().collect();
        let destroyed = self.keyring.destroy(&keys).await;
        destroyed.map_err(|error| ChangeError::ErasingUnfinished(error.into()))?;
        let erased = self.notes.erase(&id).await;
        erased.map_err(ChangeError::ErasingUnfinished)?;
        // The log's time may be ahead of this clock, which timestamps the runs of a successor.
        let until = receipt.erased_at.min(self.clock.now());
        match self.runs.erase(id, until).await {
            Some(_) => Ok(receipt),
            // The cause is logged by the writer.
            None => Err(ChangeError::ErasingUnfinished(StorageError::unavailable(
                "run records could not be removed",
            ))),
        }
    }
}
