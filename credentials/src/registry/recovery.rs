//! Recovers from a crash between two commits to different chains. Their order closes access and
//! never opens it: a workspace is registered before its chain begins, and its chain ends before the
//! erasure is recorded.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use keyside_store::chain::{CommitError, LoadError};

use super::{ChangeError, Registry};
use crate::{
    chains::{PendingCreation, Priority, Registration},
    documents::{Document, WORKSPACE, WorkspaceDocument},
    keyring::KeyringError,
    model::{ActorContext, Limits, WorkspaceId},
    record::{Draft, Event},
    snapshot::WorkspaceEntry,
};

impl Registry {
    /// Finishes what a crash has interrupted.
    pub(super) async fn recover(&self) -> Result<(), ChangeError> {
        let registrations = self.chains.registrations();
        for (id, registration) in registrations.iter() {
            if !registration.exists {
                self.erase_notes(id).await;
                continue;
            }
            let tracked = self.chains.of(id);
            let _changing = tracked.lock(Priority::Normal).await;
            if let Err(error) = self.recover_workspace(id, registration).await {
                tracing::error!(workspace = %id, %error, "recovery from a crash failed: a later start retries");
            }
            let link = tracked.state().map(|state| state.head.link());
            let is_pending = registration.pending.is_some();
            if link != registration.link || is_pending {
                // Clears `pending` soon.
                self.links.changed(id, is_pending);
            }
        }
        self.destroy_erased_keys_or_warn().await;
        self.settle_keys().await?;
        self.forget_unannounced_keys().await?;
        for id in registrations.keys() {
            if self.audit.has_lost_keys(id).await? {
                tracing::error!(workspace = %id, "the keyring has no key of a workspace, and no key can be stored in it: put back the newest copy of the whole data folder, restore a backup, or erase the workspace");
            }
        }
        Ok(())
    }

    /// Recovers one workspace. The caller holds its lock.
    pub(super) async fn recover_workspace(
        &self,
        id: &WorkspaceId,
        registration: &Registration,
    ) -> Result<(), CommitError> {
        if !registration.exists {
            return Ok(());
        }
        let tracked = self.chains.of(id);
        if registration.pending.is_some() {
            // A damaged or missing chain must not be replaced by a new one.
            match self.chains.refresh(&tracked).await {
                Err(LoadError::Damaged(_)) => return Ok(()),
                refreshed => drop(refreshed?),
            }
        }
        let state = tracked.state();
        let is_begun = state
            .as_ref()
            .is_some_and(|state| state.head.incarnation == registration.incarnation);
        if registration.pending.is_some()
            && is_begun
            && let Err(error) = self.chains.write_first_anchor(&tracked).await
        {
            tracing::warn!(%error, "the anchor of a chain could not be written");
        }
        match (&registration.pending, is_begun) {
            (Some(pending), false) => {
                tracing::info!(workspace = %id, "finishing the creation of a workspace after a crash");
                self.create_chain(id, registration, pending).await?;
            }
            (_, true) if state.is_some_and(|state| state.document(WORKSPACE).is_none()) => {
                tracing::info!(workspace = %id, "finishing the erasure of a workspace after a crash");
                let end = self.chain_end(id).await?;
                self.record_erasure(id, end).await?;
                self.destroy_erased_keys_or_warn().await;
                let registration = self.chains.registration(id);
                if let Some(erased) = registration.and_then(|it| it.erased) {
                    self.runs.erase(id.clone(), erased.at).await;
                    self.erase_notes(id).await;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Removes the notes of an erased workspace. After a failure, the next start retries.
    async fn erase_notes(&self, id: &WorkspaceId) {
        if let Err(error) = self.notes.erase(id).await {
            tracing::warn!(workspace = %id, %error, "notes of an erased workspace could not be removed yet");
        }
    }

    /// A restore is offline; the first start after it records it, once for each epoch: signed heads
    /// prove the epoch, and nothing proves what else the keyring says about restores.
    pub(super) async fn record_restore(&self) -> Result<(), CommitError> {
        let epoch = self.chains.epoch();
        if epoch == 0 {
            return Ok(());
        }
        let backup = self.keyring.restored_from().await;
        let backup = backup.as_deref().unwrap_or("an unknown backup");
        let by = ActorContext::system("start");
        let note = format!("{backup}, epoch {epoch}");
        let restored = Draft::noted(Event::BackupRestored, &by, note);
        let key = format!("restore, epoch {epoch}");
        self.record_once(&key, restored).await
    }

    /// Destroys the keys of erased workspaces. Retried at the next change or start.
    pub(super) async fn destroy_erased_keys(&self) -> Result<(), KeyringError> {
        let registrations = self.chains.registrations();
        let erased = registrations.values().filter_map(|it| it.erased.as_ref());
        let keys: HashSet<String> = erased.flat_map(|erased| erased.keys.clone()).collect();
        if !keys.is_empty() {
            self.keyring.destroy(&keys).await?;
        }
        Ok(())
    }

    pub(super) async fn destroy_erased_keys_or_warn(&self) {
        if let Err(error) = self.destroy_erased_keys().await {
            tracing::warn!(%error, "the keys of an erased workspace could not be destroyed yet");
        }
    }

    /// Begins the chain of a registered workspace.
    pub(super) async fn create_chain(
        &self,
        id: &WorkspaceId,
        registration: &Registration,
        pending: &PendingCreation,
    ) -> Result<Arc<WorkspaceEntry>, CommitError> {
        let document = WorkspaceDocument {
            id: id.clone(),
            incarnation: registration.incarnation,
            name: pending.name.clone(),
            created_by: pending.created_by.clone(),
            created_at: pending.created_at,
            key_rotated_at: None,
            key: pending.key.clone(),
            revision: 1,
            defaults: BTreeMap::new(),
            limits: Limits::default(),
        };
        let by = ActorContext {
            actor: pending.created_by.clone(),
            request_id: pending.request_id.clone(),
        };
        let begun = Draft {
            workspace: Some(id.clone()),
            ..Draft::new(Event::ChainBegun, &by)
        };
        let tracked = self.chains.of(id);
        let on = tracked.state();
        let writes = vec![document.write()];
        let commit = self.chains.commit(
            &tracked,
            on.as_ref(),
            registration.incarnation,
            vec![begun],
            writes,
        );
        let state = commit.await?;
        let entry = WorkspaceEntry::new(document, None, [], []).at(state);
        let entry = Arc::new(entry);
        self.publish(entry.clone());
        Ok(entry)
    }
}
