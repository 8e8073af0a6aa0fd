//! A token on the wire: what creates it, its view, and a link that opens a session of it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use keyside_credentials::{ActorId, DisplayName, Role, TokenStatus, WorkspaceId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::read;
use crate::schemas::types;

/// A token to create.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    /// Its purpose or its owner, for people. The audit log never has it.
    #[serde(deserialize_with = "read::required")]
    #[schema(value_type = types::DisplayName)]
    pub name: DisplayName,
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

/// A token.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenView {
    /// The id that the audit log uses.
    #[schema(value_type = String)]
    pub id: ActorId,
    /// Its purpose or its owner, for people.
    pub name: String,
    /// What the token permits.
    #[schema(value_type = types::Role)]
    pub role: Role,
    /// The workspaces that the token is limited to; null for all.
    #[schema(value_type = Option<Vec<String>>)]
    pub workspaces: Option<Vec<WorkspaceId>>,
    /// Whether the token works now.
    #[schema(value_type = types::TokenStatus)]
    pub status: TokenStatus,
    /// The token that created it.
    #[schema(value_type = String)]
    pub created_by: ActorId,
    /// When the token was created.
    pub created_at: Timestamp,
    /// When the token stops working.
    pub expires_at: Option<Timestamp>,
    /// When the token was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Accurate to about a minute.
    pub last_used_at: Option<Timestamp>,
    /// How the token differs from the request. Only in the response that creates the token.
    pub warnings: Vec<String>,
    /// The text to send as bearer token. Only in the response that creates it.
    #[serde(default, deserialize_with = "read_text")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_text")]
    #[schema(value_type = Option<String>)]
    pub token: Option<Zeroizing<String>>,
}

/// A link that opens one session of the admin page.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInLink {
    /// The address to open in a browser. The first person to open it gets the session.
    pub url: String,
    /// When it stops working, used or not.
    pub expires_at: Timestamp,
}

fn write_text<S: Serializer>(text: &Option<Zeroizing<String>>, to: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(to)
}

fn read_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::deserialize(from)?.map(Zeroizing::new))
}
