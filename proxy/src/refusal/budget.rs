//! Limits how many refusals are recorded as runs: a misconfigured client that retries forever must
//! not displace the records of served requests.

use std::collections::HashMap;

use keyside_credentials::{Timestamp, WorkspaceId};
use parking_lot::Mutex;

/// This minute's refusals by workspace. Only existing workspaces are counted, so the map stays
/// small.
#[derive(Default)]
pub(crate) struct RefusalBudget(Mutex<(i64, HashMap<WorkspaceId, usize>)>);

impl RefusalBudget {
    /// Counts a refusal and returns whether it may be recorded. Metrics and the log include all of
    /// them.
    pub(crate) fn spend(&self, workspace: &WorkspaceId, now: Timestamp) -> bool {
        let mut spent = self.0.lock();
        let minute = now.as_second() / 60;
        if spent.0 != minute {
            *spent = (minute, HashMap::new());
        }
        let spent = spent.1.entry(workspace.clone()).or_default();
        *spent += 1;
        *spent <= MAX_PER_MINUTE
    }
}

/// Recorded refusals per workspace and minute.
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
