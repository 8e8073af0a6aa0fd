//! A one-time link on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A link that opens one session of the admin page.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInLink {
    /// The address to open in a browser. The first person to open it gets the session.
    pub url: String,
    /// When it stops working, used or not.
    pub expires_at: Timestamp,
}
