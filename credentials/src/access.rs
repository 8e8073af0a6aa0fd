//! Who may use the admin API.

use std::path::Path;

use crate::ActorId;

/// Tokens and what they allow.
pub struct Access(());

impl Access {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// The principal that `token` belongs to.
    pub fn authenticate(&self, _token: &str) -> Option<Principal> {
        None
    }

    /// Where the first start has left the owner's token.
    pub fn token_file(&self) -> &Path {
        Path::new("admin-token")
    }
}

/// Who is speaking, once a token has been recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token's own id: what the audit log names.
    pub actor: ActorId,
    /// What it allows.
    pub role: Role,
}

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Owner,
}
