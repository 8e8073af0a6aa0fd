//! Forgetting the runs of one workspace, wherever they stand in the log, and handing them out before.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use jiff::Timestamp;
use keyside_store::StorageError;
use tokio::sync::oneshot;

use super::{Message, Runs, Shared, StoredRun, block::Block};
use crate::model::{CredentialId, WorkspaceId};

/// Workspaces that were erased, and until when: one of the same name may have been made since.
pub(super) struct ErasedWorkspaces(RwLock<HashMap<WorkspaceId, Timestamp>>);

impl ErasedWorkspaces {
    pub(super) fn new(erased: HashMap<WorkspaceId, Timestamp>) -> Self {
        Self(RwLock::new(erased))
    }

    /// Whether a run of that time is to be forgotten.
    pub(super) fn covers(&self, workspace: &str, at: Timestamp) -> bool {
        let erased = self.0.read().unwrap_or_else(PoisonError::into_inner);
        erased.get(workspace).is_some_and(|until| at <= *until)
    }

    /// Says whether there is anything new in it.
    fn add(&self, workspace: WorkspaceId, until: Timestamp) -> bool {
        let mut erased = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = erased.get(&workspace).is_some_and(|known| *known >= until);
        if !known {
            erased.insert(workspace, until);
        }
        !known
    }
}

impl Runs {
    /// Forgets the runs of a workspace up to a time, and says how many there were. Nothing is said when storage fails;
    /// what is left goes with a later block, or at the next start.
    pub(crate) async fn erase(&self, workspace: WorkspaceId, until: Timestamp) -> Option<usize> {
        self.shared.erased.add(workspace, until);
        self.request_scan().await?.await.ok()?
    }

    async fn request_scan(&self) -> Option<oneshot::Receiver<Option<usize>>> {
        let (done, erased) = oneshot::channel();
        self.queue.send(Message::Erase(done)).await.ok()?;
        self.shared.enough.notify_one();
        Some(erased)
    }

    /// All runs of a workspace that are kept, oldest first.
    pub(crate) async fn of_workspace(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<StoredRun>, StorageError> {
        self.flush().await;
        let (mut runs, mut from) = (Vec::new(), 1);
        loop {
            let blocks = self.shared.log.read(from, BLOCKS_PER_READ).await?;
            for (position, block) in &blocks {
                let block = Block::read(block);
                let of_workspace = |run: &StoredRun| *run.workspace == *workspace.as_str();
                runs.extend(block.runs().filter(of_workspace));
                from = position + 1;
            }
            if blocks.len() < BLOCKS_PER_READ {
                return Ok(runs);
            }
        }
    }
}

impl Shared {
    /// What is left of a block without what is to be forgotten, and how many records that were.
    pub(super) fn erase<'a>(&self, block: Block<'a>) -> (Block<'a>, usize) {
        let covered = |workspace: &str, at| self.erased.covers(workspace, at);
        let (gone, left) = block.split(covered);
        self.forget_last_use(gone.usage().map(|(credential, _)| credential));
        (left, gone.len())
    }

    fn forget_last_use(&self, credentials: impl Iterator<Item = CredentialId>) {
        let mut last_used = self
            .last_used
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for credential in credentials {
            last_used.remove(&credential);
        }
    }
}

const BLOCKS_PER_READ: usize = 16;
