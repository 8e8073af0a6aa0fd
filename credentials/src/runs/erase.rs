//! Removes the runs of a workspace from the whole log, and reads them for an export.

use std::collections::HashMap;

use jiff::Timestamp;
use keyside_store::StorageError;
use parking_lot::RwLock;
use tokio::sync::oneshot;

use super::{Message, Runs, Shared, StoredRun, block::Block};
use crate::model::WorkspaceId;

/// Erased workspaces, and when: later runs belong to a successor.
pub(super) struct ErasedWorkspaces(RwLock<HashMap<WorkspaceId, Timestamp>>);

impl ErasedWorkspaces {
    pub(super) fn new(erased: HashMap<WorkspaceId, Timestamp>) -> Self {
        Self(RwLock::new(erased))
    }

    /// Whether a run of this time must be removed.
    pub(super) fn covers(&self, workspace: &str, at: Timestamp) -> bool {
        let erased = self.0.read();
        erased.get(workspace).is_some_and(|until| at <= *until)
    }

    /// Returns whether this adds anything.
    fn add(&self, workspace: WorkspaceId, until: Timestamp) -> bool {
        let mut erased = self.0.write();
        let known = erased.get(&workspace).is_some_and(|known| *known >= until);
        if !known {
            erased.insert(workspace, until);
        }
        !known
    }
}

impl Runs {
    /// Removes the runs of a workspace up to a time, and returns their number; `None` if storage
    /// fails. Remaining runs are removed with a later block, or at the next start.
    pub(crate) async fn erase(&self, workspace: WorkspaceId, until: Timestamp) -> Option<usize> {
        self.shared.erased.add(workspace.clone(), until);
        let (done, erased) = oneshot::channel();
        self.queue.send(Message::Erase(done)).await.ok()?;
        self.shared.enough.notify_one();
        let erased = erased.await.ok()?;
        // The records that were queued before are noted by now.
        let mut missing = self.shared.missing.write();
        missing.retain(|(of, _), at| *of != workspace || *at > until);
        erased
    }

    /// All kept runs of a workspace, oldest first.
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
    /// The block without runs of erased workspaces, and how many there were.
    pub(super) fn erase<'a>(&self, block: Block<'a>) -> (Block<'a>, usize) {
        let covered = |workspace: &str, at| self.erased.covers(workspace, at);
        let (gone, left) = block.split(covered);
        let mut last_used = self.last_used.write();
        for (credential, _) in gone.usage() {
            last_used.remove(&credential);
        }
        (left, gone.len())
    }
}

/// Blocks that are in memory at a time, besides the runs of the workspace.
const BLOCKS_PER_READ: usize = 16;
