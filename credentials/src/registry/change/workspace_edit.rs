//! Edits a workspace: its limits.

use std::{num::NonZeroU64, sync::Arc};

use super::{Decision, group::Change};
use crate::{
    chains::Priority,
    model::{ActorContext, Limits, Workspace, WorkspaceId, WorkspaceState},
    record::{Draft, Event},
    registry::{ChangeError, Registry, WorkspaceEdit},
};

impl Registry {
    /// Changes what the requests of a workspace may spend in a day. An edit that changes nothing is
    /// not recorded.
    ///
    /// # Errors
    /// The workspace does not exist, is not in the expected state, or storage failed; nothing has
    /// changed then.
    pub async fn edit_workspace(
        self: &Arc<Self>,
        by: &ActorContext,
        id: &WorkspaceId,
        edit: WorkspaceEdit,
    ) -> Result<Workspace, ChangeError> {
        let (by, of) = (by.clone(), id.clone());
        self.run_to_completion(|registry| async move {
            let decide = || registry.decide_workspace_edit(&by, &of, edit);
            retry_on_race!(registry.change_workspace(&by, &of, Priority::Normal, decide))
        })
        .await?;
        self.workspace(id).ok_or(ChangeError::WorkspaceUnknown)
    }

    fn decide_workspace_edit(
        &self,
        by: &ActorContext,
        id: &WorkspaceId,
        edit: WorkspaceEdit,
    ) -> Result<Decision<()>, ChangeError> {
        let workspace = self.sound_workspace(id)?;
        let current = WorkspaceState {
            incarnation: workspace.document.incarnation,
            revision: workspace.document.revision,
        };
        if edit.expected.is_some_and(|expected| expected != current) {
            let current = current.revision;
            return Err(ChangeError::Superseded(current));
        }
        let limits = workspace.document.limits.with(edit.limits);
        if limits == workspace.document.limits {
            return Ok(Decision::unchanged(()));
        }
        let mut document = workspace.document.clone();
        document.limits = limits;
        document.revision += 1;
        let draft = Draft {
            workspace: Some(id.clone()),
            note: Some(note(limits)),
            ..Draft::new(Event::WorkspaceEdited, by)
        };
        Ok(Decision::commit(
            Change::of_workspace(&workspace, document, draft),
            (),
        ))
    }
}

fn note(limits: Limits) -> String {
    let shown = |limit: Option<NonZeroU64>| {
        limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string())
    };
    format!(
        "limits: requestsPerDay {}, tokensPerDay {}",
        shown(limits.requests_per_day),
        shown(limits.tokens_per_day)
    )
}
