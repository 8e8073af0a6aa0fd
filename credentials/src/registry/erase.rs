//! Erasing a workspace: its keys are destroyed, its records and runs go, and what the audit log keeps of it can no longer be
//! opened.
//!
//! The record comes first and says which keys are to go, so that a crash at any moment after it is finished at the next
//! start, and one before it has changed nothing.

use super::{Act, ChangeError, Inner, Registry};
use crate::{
    Receipt, WorkspaceId, WorkspaceState,
    audit::{Draft, Event, KeyAct},
    documents::{CREDENTIALS, workspace_key},
    journal::Write,
    model::random_id,
    storage::StorageError,
};

impl Registry {
    /// Erases a workspace for good: destroys its keys, then removes what they opened, and its runs. Requests that are under
    /// way end as they began. What stays is the audit log, whose details of this workspace nobody can open any more.
    ///
    /// Whoever asks once more, because the answer was lost or something was left over, gets the receipt of the workspace
    /// that had this id last, as long as no other one has it.
    ///
    /// # Errors
    /// When there is no such workspace and never was, when it is not in the `expected` state, or when storage fails:
    /// nothing has changed then, or, as [`ChangeError::ErasingUnfinished`] says, it is on record and is carried out before the
    /// next change, or at the next start.
    pub async fn erase_workspace(
        &self,
        by: &Act,
        id: &WorkspaceId,
        expected: Option<WorkspaceState>,
    ) -> Result<Receipt, ChangeError> {
        let (by, id) = (by.clone(), id.clone());
        self.to_its_end(|inner| async move {
            match inner.erase_workspace(&by, &id, expected).await {
                Ok(()) | Err(ChangeError::WorkspaceUnknown) => inner.receipt(id).await,
                Err(error) => Err(error),
            }
        })
        .await
    }
}

impl Inner {
    async fn erase_workspace(
        &self,
        by: &Act,
        id: &WorkspaceId,
        expected: Option<WorkspaceState>,
    ) -> Result<(), ChangeError> {
        let both = || async { (self.locks.lock(id).await, self.access.changing.lock().await) };
        let _begun = self.begin_under(by, both).await?;
        let workspace = self.snapshot.load().workspaces.get(id).cloned();
        let workspace = workspace.ok_or(ChangeError::WorkspaceUnknown)?;
        let current = WorkspaceState {
            incarnation: workspace.document.incarnation,
            revision: workspace.document.revision,
        };
        if expected.is_some_and(|expected| expected != current) {
            let current = current.revision;
            return Err(ChangeError::Superseded { current });
        }
        let tokens = self.access.without(id, self.clock.now());
        let mut writes = self.removals(id).await?;
        writes.extend(tokens.iter().map(|token| token.write(&self.keyring)));
        let keys = self.keyring.ids(id).await;
        let draft = Draft {
            workspace: Some(id.clone()),
            note: Some(random_id("ers_")),
            keys: Some(KeyAct::Destroy(keys.clone())),
            ..Draft::new(Event::WorkspaceErased, by)
        };
        self.journal.commit(draft, writes).await?;
        self.snapshot.rcu(|snapshot| snapshot.without(id));
        // It has fingerprints of what is gone.
        self.twins.forget();
        tokens.iter().for_each(|token| self.access.show(token));
        let destroyed = self.keyring.destroy(&keys.into_iter().collect()).await;
        if let Err(error) = destroyed {
            tracing::warn!(%error, "a workspace is erased on record, and its keys are still there");
            self.journal.unsettle();
        }
        Ok(())
    }

    /// The receipt of the workspace that was erased last under this id, once nothing is left of it.
    async fn receipt(&self, id: WorkspaceId) -> Result<Receipt, ChangeError> {
        let receipt = self.audit.receipt(&id).await;
        let receipt = receipt.map_err(ChangeError::ErasingUnfinished)?;
        let receipt = receipt.ok_or(ChangeError::WorkspaceUnknown)?;
        // Documents and keys that storage has not let go of yet go now.
        let settled = self.begin().await.map(drop);
        settled.map_err(|error| match error {
            ChangeError::StoreUnavailable(left) => ChangeError::ErasingUnfinished(left),
            error => error,
        })?;
        let runs = self.runs.erase(id, receipt.erased_at).await;
        match runs {
            Some(_) => Ok(receipt),
            None => Err(ChangeError::ErasingUnfinished(runs_remain())),
        }
    }

    /// Everything that stands under the workspace, whether or not it is believed.
    async fn removals(&self, id: &WorkspaceId) -> Result<Vec<Write>, StorageError> {
        let mut found = self.storage.list(&format!("{CREDENTIALS}{id}/")).await?;
        let key = workspace_key(id);
        let workspace = self.storage.read(&key).await?;
        found.extend(workspace.map(|document| (key, document)));
        let removal = |(key, document): (String, crate::storage::Document)| Write {
            key,
            expected: document.revision,
            body: None,
        };
        Ok(found.into_iter().map(removal).collect())
    }
}

/// The log has the cause.
fn runs_remain() -> StorageError {
    StorageError::Unavailable {
        reason: "run records could not be removed".to_owned(),
    }
}
