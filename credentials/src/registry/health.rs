//! Health of the store, for metrics: records that are not trusted, anchors that are behind, and how
//! old the keys are that seal it.

use std::time::Duration;

use super::Registry;

/// Records that failed authentication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DamageCounts {
    /// Workspaces whose chain or document is damaged. None of their credentials is used.
    pub workspaces: usize,
    /// Credentials that are damaged or lost, and not revoked.
    pub credentials: usize,
}

/// Ages of the keys that seal secrets. `None` where it is unknown, or there is no such key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyAges {
    /// How long the master key is in use. Unknown for an installation of an earlier version until
    /// its master key is rotated.
    pub master: Option<Duration>,
    /// How long the oldest workspace key that seals is in use.
    pub oldest_workspace: Option<Duration>,
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
            counts.credentials += damaged.count() + workspace.unrevoked_lost().count();
        }
        counts
    }

    /// Number of chains whose file in `heads/` could not be written and is behind: a store that is
    /// put back to the state in that file would not be detected. They are written again every
    /// minute.
    pub fn anchors_behind(&self) -> usize {
        self.chains.anchors.behind().len()
    }

    /// How old the master key and the oldest workspace key are.
    pub fn key_ages(&self) -> KeyAges {
        let now = self.clock.now();
        // Zero for a time ahead of the clock.
        let age = |since| Duration::try_from(now.duration_since(since)).unwrap_or_default();
        let snapshot = self.snapshot.load();
        let sound = snapshot
            .workspaces
            .values()
            .filter(|it| it.damage.is_none());
        let since = sound.map(|it| it.document.key_rotated_at.unwrap_or(it.document.created_at));
        KeyAges {
            master: self.keyring.master_key_since().map(age),
            oldest_workspace: since.min().map(age),
        }
    }
}
