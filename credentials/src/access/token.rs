//! A token: as it is stored, as it is shown, and its text, which is shown once.

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use keyside_store::Hash;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Principal, Role};
use crate::{
    documents::{Document, token_name},
    entropy,
    model::{ActorId, DisplayName, Scope, WorkspaceId},
    secret::{TOKEN_PREFIX, TOKEN_RANDOM_LEN},
};

/// The attributes of a token to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Purpose or owner. Never in the audit log.
    pub name: DisplayName,
    /// What the token may do.
    pub role: Role,
    /// The workspaces to limit the token to.
    pub scope: Scope,
    /// Expiry; `None` for never, unless the creator's token expires.
    pub expires_at: Option<Timestamp>,
}

/// Everything about a token except its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token's id, which the audit log names.
    pub id: ActorId,
    /// Purpose or owner, as given by the creator.
    pub name: String,
    /// What the token may do.
    pub role: Role,
    /// The workspaces that the token is limited to.
    pub scope: Scope,
    /// Derived from the expiry, the revocation and the current time.
    pub status: TokenStatus,
    /// The actor that created the token.
    pub created_by: ActorId,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Expiry; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// Time of revocation.
    pub revoked_at: Option<Timestamp>,
    /// Time of the last use. Stored once a minute, for display only.
    pub last_used_at: Option<Timestamp>,
    /// Number of writes; part of the ETag.
    pub revision: u64,
}

/// Whether a token can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenStatus {
    /// Neither expired nor revoked.
    Active,
    /// Its expiry has passed.
    Expired,
    /// It was revoked.
    Revoked,
}

/// A new token with its text, which is not available later.
pub struct CreatedToken {
    /// The token as it will be listed.
    pub token: Token,
    /// The text to send as a bearer token.
    pub text: Zeroizing<String>,
    /// Where the token differs from the request.
    pub warnings: Vec<TokenWarning>,
}

/// A difference between a new token and the request for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenWarning {
    /// The token expires earlier than requested, because its creator's token does.
    #[error("it ends at {end}, earlier than asked for: the token that made it ends then")]
    ExpiresWithCreator {
        /// Expiry of the creator's token.
        end: Timestamp,
    },
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenDocument {
    pub(crate) id: ActorId,
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The workspaces that the token is limited to; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workspaces: Option<BTreeSet<WorkspaceId>>,
    /// SHA-256 of the token's text.
    pub(crate) hash: Hash,
    #[serde(default = "ActorId::system")]
    pub(crate) created_by: ActorId,
    /// The token that it comes from: the first of those that created each other which is limited to
    /// workspaces. `None` if its creator is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<ActorId>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) revision: u64,
}

impl TokenDocument {
    /// A new token, and its text.
    pub(crate) fn create(new: NewToken, by: &ActorId, now: Timestamp) -> (Self, Zeroizing<String>) {
        let text = random_text(TOKEN_PREFIX);
        let document = Self {
            id: ActorId::random_token(),
            name: new.name.to_string(),
            role: new.role,
            workspaces: match new.scope {
                Scope::All => None,
                Scope::Only(workspaces) => Some(BTreeSet::clone(&workspaces)),
            },
            hash: Hash::of(text.as_bytes()),
            created_by: by.clone(),
            origin: None,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            revision: 1,
        };
        (document, text)
    }

    /// The origin of the tokens that are created with this one.
    pub(crate) fn as_origin(&self) -> Option<&ActorId> {
        let origin = self.origin.as_ref().unwrap_or(&self.id);
        self.workspaces.is_some().then_some(origin)
    }

    pub(crate) fn revoked(&self, now: Timestamp) -> Self {
        Self {
            revoked_at: Some(now),
            revision: self.revision + 1,
            ..self.clone()
        }
    }

    /// This token after `workspace` was erased; `None` if that changes nothing. A later workspace
    /// with the same id must not be accessible to this token.
    pub(crate) fn after_erasure(&self, workspace: &WorkspaceId, now: Timestamp) -> Option<Self> {
        let mut left = self.workspaces.clone()?;
        if !left.remove(workspace) {
            return None;
        }
        // A token without workspaces is revoked. Its name is removed too: it may be a person's.
        let (name, revoked_at) = match left.is_empty() {
            true => (String::new(), self.revoked_at.or(Some(now))),
            false => (self.name.clone(), self.revoked_at),
        };
        Some(Self {
            name,
            revoked_at,
            workspaces: Some(left),
            revision: self.revision + 1,
            ..self.clone()
        })
    }

    pub(crate) fn status(&self, now: Timestamp) -> TokenStatus {
        match self.expires_at {
            _ if self.revoked_at.is_some() => TokenStatus::Revoked,
            Some(end) if end <= now => TokenStatus::Expired,
            _ => TokenStatus::Active,
        }
    }

    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        self.status(now) == TokenStatus::Active
    }

    /// When the token was revoked or expired, whichever came first; `None` while it is good.
    pub(crate) fn ended_at(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = [self.revoked_at, self.expires_at].into_iter().flatten();
        ends.min().filter(|_| !self.is_good(now))
    }

    /// Whether the token is good, or ended recently enough to stay listed.
    pub(crate) fn is_kept(&self, now: Timestamp) -> bool {
        let end = self.ended_at(now);
        end.is_none_or(|end| now.duration_since(end) < KEPT_ENDED)
    }

    /// Whether the token owns the whole installation.
    pub(crate) fn owns_everything(&self) -> bool {
        self.role == Role::Owner && self.workspaces.is_none()
    }

    pub(crate) fn scope(&self) -> Scope {
        match &self.workspaces {
            Some(workspaces) => Scope::Only(Arc::new(workspaces.clone())),
            None => Scope::All,
        }
    }

    pub(crate) fn view(&self, now: Timestamp, last_used_at: Option<Timestamp>) -> Token {
        Token {
            id: self.id.clone(),
            name: self.name.clone(),
            role: self.role,
            scope: self.scope(),
            status: self.status(now),
            created_by: self.created_by.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            last_used_at,
            revision: self.revision,
        }
    }
}

impl Document for TokenDocument {
    fn name(&self) -> String {
        token_name(&self.id)
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

impl From<&TokenDocument> for Principal {
    fn from(token: &TokenDocument) -> Self {
        Self {
            actor: token.id.clone(),
            origin: token.as_origin().unwrap_or(&token.id).clone(),
            role: token.role,
            scope: token.scope(),
        }
    }
}

/// `prefix` and 256 random bits in base64url. The prefix lets secret scanners recognise the token.
fn random_text(prefix: &str) -> Zeroizing<String> {
    let bits = entropy::secret();
    // Allocated at full length: a buffer that grows leaves an unwiped copy in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + TOKEN_RANDOM_LEN));
    text.push_str(prefix);
    BASE64_URL_SAFE_NO_PAD.encode_string(bits.as_slice(), &mut text);
    text
}

/// How long a token stays listed after its end.
const KEPT_ENDED: SignedDuration = SignedDuration::from_hours(30 * 24);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{documents::WorkspaceDocument, model::Limits};

    /// An earlier release accepted some that no new name may have, and the name of a token whose last
    /// workspace was erased is empty.
    #[test]
    fn stored_names_of_any_characters_are_read() {
        let new = NewToken {
            name: "CI".parse().unwrap(),
            role: Role::Viewer,
            scope: Scope::All,
            expires_at: None,
        };
        let by = ActorId::system();
        let (mut token, _) = TokenDocument::create(new, &by, Timestamp::UNIX_EPOCH);
        let mut workspace = WorkspaceDocument {
            id: "acme".parse().unwrap(),
            incarnation: 1,
            name: String::new(),
            created_by: by,
            created_at: Timestamp::UNIX_EPOCH,
            key: None,
            key_rotated_at: None,
            revision: 1,
            defaults: BTreeMap::new(),
            limits: Limits::default(),
        };
        for name in ["", "ac\u{202e}me", "\u{200b}"] {
            token.name = name.to_owned();
            workspace.name = name.to_owned();
            let stored = serde_json::to_vec(&token).unwrap();
            let read: TokenDocument = serde_json::from_slice(&stored).unwrap();
            assert_eq!(read.name, name);
            let stored = serde_json::to_vec(&workspace).unwrap();
            let read: WorkspaceDocument = serde_json::from_slice(&stored).unwrap();
            assert_eq!(read.name, name);
        }
    }
}
