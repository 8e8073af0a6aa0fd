//! Limits how many refusals are recorded: a misconfigured client that retries without end must not displace the records of
//! requests that were served.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use keyside_credentials::{Timestamp, WorkspaceId};

/// The refusals of this minute, by workspace. The caller counts existing workspaces only, so the map stays small.
#[derive(Default)]
pub(crate) struct RefusalBudget(Mutex<(i64, HashMap<WorkspaceId, usize>)>);

impl RefusalBudget {
    /// Counts one, and says whether it may be recorded. Metrics and log have all of them.
    pub(crate) fn spend(&self, workspace: &WorkspaceId, now: Timestamp) -> bool {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.as_second() / 60;
        if spent.0 != minute {
            *spent = (minute, HashMap::new());
        }
        let spent = spent.1.entry(workspace.clone()).or_default();
        *spent += 1;
        *spent <= MAX_PER_MINUTE
    }
}

/// Records a minute for each workspace.
const MAX_PER_MINUTE: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_workspace_has_its_own_budget_each_minute() {
        let budget = RefusalBudget::default();
        let (acme, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let at = |second| Timestamp::from_second(second).unwrap();
        for _ in 0..MAX_PER_MINUTE {
            assert!(budget.spend(&acme, at(0)));
        }
        assert!(!budget.spend(&acme, at(59)));
        assert!(budget.spend(&other, at(59)));
        assert!(budget.spend(&acme, at(60)));
    }
}
