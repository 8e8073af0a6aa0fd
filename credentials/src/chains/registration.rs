//! The installation's register of workspaces: which exist, and which state each chain was last
//! linked at. A workspace is registered before its chain begins, and stays registered after it was
//! erased.

use jiff::Timestamp;
use keyside_store::chain::{Damage, Link, Write};
use serde::{Deserialize, Serialize};

use crate::model::WorkspaceId;

/// A workspace that exists or was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Registration {
    /// Counts the workspaces that had this id, from 1.
    pub(crate) incarnation: u64,
    /// False once the workspace is erased.
    #[serde(rename = "isThere")]
    pub(crate) exists: bool,
    /// Time of creation; shown if the workspace's own chain is damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<Timestamp>,
    /// The content of the chain's first commit, until that commit and its anchor are written:
    /// recovery uses it after a crash.
    #[serde(default, rename = "making", skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<PendingCreation>,
    /// The last linked state of the workspace's chain. Of an erased workspace: the end of the
    /// chain, so that a chain that was cut since is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<Link>,
    /// The last workspace with this id that was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) erased: Option<Erasure>,
    /// Set if this replaces a document that is gone or edited. Nothing is known of the workspace
    /// then: not its incarnation, not whether it was erased.
    #[serde(skip)]
    pub(crate) is_unreadable: bool,
}

/// A workspace that is being created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PendingCreation {
    pub(crate) name: String,
    pub(crate) created_by: crate::model::ActorId,
    pub(crate) created_at: Timestamp,
    pub(crate) request_id: String,
    /// The id of the workspace's key. `None` in a store of a development build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

/// How a workspace was erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Erasure {
    pub(crate) at: Timestamp,
    /// The position of the record in the installation's chain; of the last, if there are several.
    pub(crate) position: u64,
    /// Number of records in the workspace's chain at that time.
    pub(crate) records: u64,
    /// The ids of the keys to destroy.
    pub(crate) keys: Vec<String>,
}

impl Registration {
    /// Whether the workspace is being created by this request.
    pub(crate) fn is_of(&self, request_id: &str) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|pending| pending.request_id == request_id)
    }

    /// Replaces a registration that is gone or edited. Counts as existing, so that it is shown
    /// unless its chain has ended, and nothing is created under its id.
    pub(super) fn unreadable() -> Self {
        Self {
            exists: true,
            is_unreadable: true,
            ..Self::default()
        }
    }

    /// Refuses a workspace whose registration is gone or edited. Without it, an older state of the
    /// workspace's chain, or the chain of an erased predecessor, would be accepted.
    pub(crate) fn check_readable(&self, workspace: &str) -> Result<(), Damage> {
        match self.is_unreadable {
            true => Err(Damage::DocumentGone {
                document: format!("{PREFIX}{workspace}"),
            }),
            false => Ok(()),
        }
    }

    pub(crate) fn write(&self, workspace: &WorkspaceId) -> Write {
        let body = serde_json::to_vec(self).expect("texts and numbers serialize");
        Write::put(format!("{PREFIX}{workspace}"), body)
    }
}

pub(super) const PREFIX: &str = "workspace/";
