//! A token: as it is stored, as it may be shown, and the text that is given out once.

use std::{collections::BTreeSet, fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use keyside_store::Hash;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Principal, Role};
use crate::{
    documents::{Document, TOKEN},
    entropy,
    model::{ActorId, Scope, WorkspaceId, random_id},
};

/// A token to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// What it is for, or whose: 1 to 200 characters, no control characters. It is never in the audit log.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Where it allows it.
    pub scope: Scope,
    /// When it stops being good.
    pub expires_at: Option<Timestamp>,
}

/// Everything about a token but its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its own id: what the audit log names.
    pub id: ActorId,
    /// What it is for, or whose.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Where it allows it.
    pub scope: Scope,
    /// Whether it is good now.
    pub status: TokenStatus,
    /// Who made it.
    pub created_by: ActorId,
    /// When.
    pub created_at: Timestamp,
    /// When it stops being good.
    pub expires_at: Option<Timestamp>,
    /// When it was withdrawn.
    pub revoked_at: Option<Timestamp>,
    /// When it was last shown. Kept up a minute behind, for people to look at: nothing is decided by it.
    pub last_used_at: Option<Timestamp>,
    /// How often it was written.
    pub revision: u64,
}

/// Whether a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenStatus {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was withdrawn.
    Revoked,
}

/// A token that was made, with its text: the only time that it is to be had.
pub struct CreatedToken {
    /// How it will be listed.
    pub token: Token,
    /// What to send.
    pub text: Zeroizing<String>,
    /// What is different from what was asked for.
    pub warnings: Vec<TokenWarning>,
}

/// Something that whoever made a token should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenWarning {
    /// It was to last longer than the token that made it.
    ExpiresWithCreator {
        /// When that one ends.
        end: Timestamp,
    },
}

impl fmt::Display for TokenWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExpiresWithCreator { end } => write!(
                f,
                "it ends at {end}, earlier than asked for: the token that made it ends then"
            ),
        }
    }
}

/// A token as it is stored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenDocument {
    pub(crate) id: ActorId,
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) role: Role,
    /// What it is limited to; nothing for all workspaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workspaces: Option<BTreeSet<WorkspaceId>>,
    /// SHA-256 of the token.
    pub(crate) hash: Hash,
    #[serde(default = "ActorId::system")]
    pub(crate) created_by: ActorId,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) revision: u64,
}

impl TokenDocument {
    /// A new one, with its text.
    pub(crate) fn create(new: NewToken, by: &ActorId, now: Timestamp) -> (Self, Zeroizing<String>) {
        let text = random_text("ks_");
        let document = Self {
            id: random_id("tok_")
                .parse()
                .expect("an id of ours is an actor's"),
            name: new.name,
            role: new.role,
            workspaces: match new.scope {
                Scope::All => None,
                Scope::Only(workspaces) => Some(BTreeSet::clone(&workspaces)),
            },
            hash: Hash::of(text.as_bytes()),
            created_by: by.clone(),
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            revision: 1,
        };
        (document, text)
    }

    /// The same, withdrawn.
    pub(crate) fn revoked(&self, now: Timestamp) -> Self {
        Self {
            revoked_at: Some(now),
            revision: self.revision + 1,
            ..self.clone()
        }
    }

    /// The same once a workspace is no more: whoever makes one of its name anew must not find it open to them, nor whom it
    /// was open to. Nothing when that changes nothing.
    pub(crate) fn after_erasure(&self, workspace: &WorkspaceId, now: Timestamp) -> Option<Self> {
        let mut left = self.workspaces.clone()?;
        if !left.remove(workspace) {
            return None;
        }
        // Where none is left, its name goes too: it may be a person's.
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

    /// Whether it owns the installation, and not only some workspaces of it.
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
        format!("{TOKEN}{}", self.id)
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

/// A token as the one that is authenticated by it sees itself.
impl From<&TokenDocument> for Principal {
    fn from(token: &TokenDocument) -> Self {
        Self {
            actor: token.id.clone(),
            role: token.role,
            scope: token.scope(),
        }
    }
}

/// `prefix` and 256 random bits in base64url: recognisable to secret scanners.
fn random_text(prefix: &str) -> Zeroizing<String> {
    let mut bits = Zeroizing::new([0; 32]);
    entropy::fill(&mut *bits);
    // At its full length at once: a buffer that grows leaves its shorter self behind unwiped.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 43));
    text.push_str(prefix);
    BASE64_URL_SAFE_NO_PAD.encode_string(bits.as_slice(), &mut text);
    text
}
