//! Decides which runs a search finds.

use jiff::Timestamp;

use super::StoredRun;
use crate::model::{Scope, WorkspaceId};

/// Which runs a search finds; `None` lets all pass. A text has to be equal as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of the workspaces that the caller may see.
    pub within: Scope,
    /// Of this workspace.
    pub workspace: Option<WorkspaceId>,
    /// Of this provider.
    pub provider: Option<String>,
    /// With the key that had this label at the time.
    pub label: Option<String>,
    /// The one with this id in responses and logs.
    pub request_id: Option<String>,
    /// With this id of the runner's own.
    pub run_id: Option<String>,
    /// With this tag of the runner's.
    pub tag: Option<String>,
    /// With this status, the upstream's or a refusal's; 0 for those that got no response.
    pub status: Option<u16>,
    /// With this outcome: how they ended in one word, or a refusal's code.
    pub outcome: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
}

impl RunFilter {
    /// All runs of these workspaces.
    pub fn within(scope: &Scope) -> Self {
        Self {
            within: scope.clone(),
            ..Self::default()
        }
    }

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
