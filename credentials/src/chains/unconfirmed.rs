//! Commits that may be in memory only, because their sync failed, or that have no anchor, because the
//! process that made them was killed. Every reader sees them, so that a revoked key is refused at once;
//! but nothing may confirm them.

use std::sync::atomic::{AtomicU64, Ordering};

use keyside_store::StorageError;

use super::{Chains, Tracked};

/// Counts these commits.
#[derive(Default)]
pub(super) struct Unconfirmed {
    /// Number of them so far.
    made: AtomicU64,
    /// How many of them a later sync has brought to disk.
    synced: AtomicU64,
}

impl Unconfirmed {
    pub(super) fn note(&self) {
        self.made.fetch_add(1, Ordering::AcqRel);
    }
}

impl Chains {
    /// Returns once everything that this process has read of its chains is on disk, and the state of
    /// this one has an anchor. As after a commit, a failure to write that is logged and counted.
    pub(crate) async fn confirm(&self, tracked: &Tracked) -> Result<(), StorageError> {
        let Unconfirmed { made, synced } = &self.unconfirmed;
        let made = made.load(Ordering::Acquire);
        let chain = tracked.chain.name();
        let state = tracked.state();
        let unrecorded = state.filter(|state| !self.anchors.is_recorded(chain, state));
        // A state that was not committed here may be in memory only, too.
        if synced.load(Ordering::Acquire) < made || unrecorded.is_some() {
            self.backend.storage.sync().await?;
            synced.fetch_max(made, Ordering::AcqRel);
        }
        if let Some(state) = &unrecorded {
            self.anchors.record(chain, state).await;
        }
        Ok(())
    }
}
