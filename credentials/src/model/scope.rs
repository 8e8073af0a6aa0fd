//! Which workspaces there are for somebody.

use std::{collections::BTreeSet, sync::Arc};

use super::WorkspaceId;

/// The workspaces that are there for a principal. The others are not: neither to be listed nor to be named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All there are and will be.
    #[default]
    All,
    /// These, whether or not they are there.
    Only(Arc<BTreeSet<WorkspaceId>>),
}

impl Scope {
    /// Whether a workspace is there for the principal.
    pub fn holds(&self, workspace: &(impl AsRef<str> + ?Sized)) -> bool {
        match self {
            Self::All => true,
            Self::Only(workspaces) => workspaces.contains(workspace.as_ref()),
        }
    }

    /// Whether nothing is in `other` that is not in this one. What is limited to nothing was limited to workspaces that are
    /// no more: it concerns those alone who are not limited.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(mine), Self::Only(theirs)) => !theirs.is_empty() && theirs.is_subset(mine),
        }
    }
}
