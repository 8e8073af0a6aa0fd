//! Filters runs for a search.

use jiff::Timestamp;

use super::StoredRun;
use crate::model::{Scope, WorkspaceId};

/// Selects runs; `None` matches all. Texts must match exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// The workspaces that the caller may see.
    pub within: Scope,
    /// Of this workspace.
    pub workspace: Option<WorkspaceId>,
    /// Of this provider.
    pub provider: Option<String>,
    /// With a credential that had this label at that time.
    pub label: Option<String>,
    /// With this id in responses and logs.
    pub request_id: Option<String>,
    /// With this run id of the runner.
    pub run_id: Option<String>,
    /// With this tag of the runner.
    pub tag: Option<String>,
    /// With this status, the upstream's or a refusal's; 0 for runs without a response.
    pub status: Option<u16>,
    /// With this outcome: one word, or a refusal's code.
    pub outcome: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
}

impl RunFilter {
    pub(super) fn passes(&self, run: &StoredRun) -> bool {
        let workspace = self.workspace.as_ref().map(WorkspaceId::as_str);
        let label = run.used.as_ref().map(|used| &*used.label);
        let texts = [
            (workspace, Some(&*run.workspace)),
            (self.provider.as_deref(), Some(&*run.provider)),
            (self.label.as_deref(), label),
            (self.request_id.as_deref(), Some(&*run.request_id)),
            (self.run_id.as_deref(), run.run_id.as_deref()),
            (self.tag.as_deref(), run.tag.as_deref()),
            (self.outcome.as_deref(), Some(&*run.outcome)),
        ];
        self.within.holds(&run.workspace)
            && texts
                .iter()
                .all(|(wanted, found)| wanted.is_none() || wanted == found)
            && self.status.is_none_or(|status| status == run.status)
            && self.since.is_none_or(|since| since <= run.at)
            && self.until.is_none_or(|until| run.at < until)
    }
}
