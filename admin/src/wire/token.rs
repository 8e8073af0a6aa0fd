//! A token on the wire: what creates it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use keyside_credentials::{Role, WorkspaceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::read;
use crate::schemas::types;

/// A token to create.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    /// Its purpose or its owner, for people. The audit log never has it.
    #[serde(deserialize_with = "read::text::<_, 200>")]
    #[schema(pattern = r"^[^\u0000-\u001f\u007f-\u009f]{1,200}$")]
    pub name: String,
    /// What the token permits.
    #[schema(value_type = types::Role)]
    pub role: Role,
    /// The workspaces that the token is limited to; all by default.
    #[serde(default, deserialize_with = "read::set::<_, _, 1_000>")]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 1000)]
    pub workspaces: Option<BTreeSet<WorkspaceId>>,
    /// When the token stops working. In the future; never by default.
    #[serde(default, deserialize_with = "read::optional")]
    pub expires_at: Option<Timestamp>,
}
