//! The workspaces that a principal may access.

use std::{collections::BTreeSet, sync::Arc};

use super::WorkspaceId;

/// The workspaces that exist for a principal. It can neither list nor name any other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All workspaces, present and future.
    #[default]
    All,
    /// These workspaces, whether or not they exist.
    Only(Arc<BTreeSet<WorkspaceId>>),
}

impl Scope {
    /// Whether the scope includes a workspace.
    pub fn holds(&self, workspace: &(impl AsRef<str> + ?Sized)) -> bool {
        match self {
            Self::All => true,
            Self::Only(workspaces) => workspaces.contains(workspace.as_ref()),
        }
    }

    /// Whether `other` includes nothing outside this scope. An empty scope was limited to
    /// workspaces that were erased: only an unlimited principal covers it.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(mine), Self::Only(theirs)) => !theirs.is_empty() && theirs.is_subset(mine),
        }
    }
}
