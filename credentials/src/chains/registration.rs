//! What the installation's chain says of each workspace: that it is there, and how far its own chain had come. It names a
//! workspace before that one's chain begins, and goes on naming it when it is erased.

use jiff::Timestamp;
use keyside_store::{chain::Link, chain::Write};
use serde::{Deserialize, Serialize};

use crate::model::WorkspaceId;

/// One workspace, there or erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Registration {
    /// Which one of its id. Each is higher than the one before.
    pub(crate) incarnation: u64,
    pub(crate) is_there: bool,
    /// When it was made: shown where its own chain is damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<Timestamp>,
    /// What its chain begins with, until that has begun and its head is kept outside the store as well: a crash in between
    /// is finished from here.
    #[serde(default, rename = "making", skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<PendingCreation>,
    /// A state that its chain had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<Link>,
    /// The last one of its id that is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) erased: Option<Erasure>,
}

/// A workspace that is being made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PendingCreation {
    pub(crate) name: String,
    pub(crate) created_by: crate::model::ActorId,
    pub(crate) created_at: Timestamp,
    pub(crate) request_id: String,
}

/// The end of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Erasure {
    pub(crate) at: Timestamp,
    /// Where the installation's chain tells of it.
    pub(crate) position: u64,
    /// How many records its own chain had then.
    pub(crate) records: u64,
    /// Ids of the keys that are to be no more.
    pub(crate) keys: Vec<String>,
}

impl Registration {
    pub(super) fn unreadable() -> Self {
        Self {
            incarnation: 0,
            is_there: true,
            created_at: None,
            pending: None,
            link: None,
            erased: None,
        }
    }

    /// The mark as it is written.
    pub(crate) fn write(&self, workspace: &WorkspaceId) -> Write {
        let body = serde_json::to_vec(self).expect("texts and numbers serialize");
        Write::put(format!("{PREFIX}{workspace}"), body)
    }
}

/// What the names of marks begin with.
pub(super) const PREFIX: &str = "workspace/";
