//! A workspace on the wire: what creates it, and its view.

use jiff::Timestamp;
use keyside_credentials::{ActorId, DisplayName, WorkspaceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    limits::{self, Limits, LimitsEdit, UsageView},
    read,
};
use crate::schemas::types;

/// A workspace to create.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewWorkspace {
    /// The tag that requests carry.
    #[serde(deserialize_with = "read::required")]
    #[schema(value_type = types::WorkspaceId)]
    pub id: WorkspaceId,
    /// For people; the id by default.
    #[serde(default, deserialize_with = "read::optional")]
    #[schema(value_type = Option<types::DisplayName>)]
    pub name: Option<DisplayName>,
}

/// The name defaults to the id.
impl From<NewWorkspace> for keyside_credentials::NewWorkspace {
    fn from(NewWorkspace { id, name }: NewWorkspace) -> Self {
        Self {
            name: name.unwrap_or_else(|| DisplayName::from(&id)),
            id,
        }
    }
}

/// Changes to a workspace. Fields that are absent stay as they are.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkspaceEdit {
    /// What requests with all its credentials may spend in a UTC day; null removes all limits.
    #[serde(default, deserialize_with = "limits::changed")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsEdit>,
}

/// A workspace.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceView {
    /// The tag that requests carry.
    #[schema(value_type = String)]
    pub id: WorkspaceId,
    /// For people.
    pub name: String,
    /// What requests with all its credentials may spend in a UTC day; null without a limit.
    pub limits: Option<Limits>,
    /// What they have spent today; null without a limit.
    pub usage: Option<UsageView>,
    /// The token that created it.
    #[schema(value_type = String)]
    pub created_by: ActorId,
    /// When the workspace was created.
    pub created_at: Timestamp,
    /// Whether its record failed authentication; then none of its credentials is used.
    pub damaged: bool,
}
