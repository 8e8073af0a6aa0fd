//! Counts the stored records that are not trusted.

use super::Registry;

/// Records that failed authentication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DamageCounts {
    /// Workspaces whose chain or document is damaged. None of their credentials is used.
    pub workspaces: usize,
    /// Credentials that are damaged or lost, and not revoked.
    pub credentials: usize,
}

impl Registry {
    /// How many workspaces and credentials are damaged, as of their last read.
    pub fn damage_counts(&self) -> DamageCounts {
        let snapshot = self.snapshot.load();
        let mut counts = DamageCounts::default();
        for workspace in snapshot.workspaces.values() {
            counts.workspaces += usize::from(workspace.damage.is_some());
            let damaged = workspace
                .credentials
                .values()
                .filter(|entry| entry.damage().is_some() && entry.document.revoked_at.is_none());
            let lost = workspace.lost.values();
            let lost = lost.filter(|lost| lost.revoked_at.is_none());
            counts.credentials += damaged.count() + lost.count();
        }
        counts
    }
}
