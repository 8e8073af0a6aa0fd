//! Commits that may be in memory only, because their sync failed. Every reader of this process sees
//! them, so that a revoked key is refused at once; but nothing may confirm them.

use std::sync::atomic::{AtomicU64, Ordering};

use keyside_store::StorageError;

use super::Chains;

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
    /// Returns once everything that this process has read of its chains is on disk.
    pub(crate) async fn confirm(&self) -> Result<(), StorageError> {
        let Unconfirmed { made, synced } = &self.unconfirmed;
        let made = made.load(Ordering::Acquire);
        if synced.load(Ordering::Acquire) < made {
            self.backend.storage.sync().await?;
            synced.fetch_max(made, Ordering::AcqRel);
        }
        Ok(())
    }
}
