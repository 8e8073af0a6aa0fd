//! A workspace on the wire: what creates it.

use keyside_credentials::WorkspaceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::read;
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
    #[serde(default, deserialize_with = "read::optional_text::<_, 200>")]
    #[schema(pattern = r"^[^\u0000-\u001f\u007f-\u009f]{1,200}$")]
    pub name: Option<String>,
}
