//! Who may use the admin API.
//!
//! A token is 256 random bits, so its SHA-256 is all that is kept: there is nothing to guess. The documents are
//! authenticated and held against the audit log like all others, so that nobody with write access to the store alone can
//! let themselves in.

mod role;

use std::{
    collections::BTreeSet,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use self::role::{Denial, Permission, Principal, Role, Scope};
use crate::{
    Act, ActorId, WorkspaceId,
    audit::{Draft, Event},
    authentic::{self, Hash, Stored},
    clock::Ratchet,
    documents::TOKENS,
    entropy, file,
    journal::{Body, Journal, Write},
    keyring::Keyring,
    ledger::Ledger,
    model::random_id,
    sealing::Place,
    storage::{Document, Storage, StorageError},
};

/// Tokens and what they allow.
pub struct Access {
    clock: Arc<Ratchet>,
    file: PathBuf,
    tokens: ArcSwap<Vec<TokenDocument>>,
}

/// A token as it is stored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenDocument {
    id: ActorId,
    role: Role,
    /// What it is limited to; nothing for all workspaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workspaces: Option<BTreeSet<WorkspaceId>>,
    /// SHA-256 of the token.
    hash: Hash,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    revision: u64,
}

impl Access {
    pub(crate) fn new(clock: Arc<Ratchet>, file: &Path) -> Self {
        Self {
            clock,
            file: file.to_owned(),
            tokens: ArcSwap::default(),
        }
    }

    /// The principal that `token` belongs to. Takes the same time for every token that is none.
    pub fn authenticate(&self, token: &str) -> Option<Principal> {
        let hash = Hash::of(token.as_bytes());
        let tokens = self.tokens.load();
        let now = self.clock.now();
        // All are looked at, so that the time says nothing of where a match stands.
        let found = tokens
            .iter()
            .fold(None, |found, token| match token.hash.ct_eq(&hash).into() {
                true => Some(token),
                false => found,
            });
        let token = found.filter(|token| token.is_good(now))?;
        Some(token.principal())
    }

    /// Where the first start has left the owner's token.
    pub fn token_file(&self) -> &Path {
        &self.file
    }

    /// Reads the stored tokens; those that are not believed let nobody in.
    pub(crate) async fn load(
        &self,
        storage: &dyn Storage,
        keyring: &Keyring,
        ledger: &Ledger,
    ) -> Result<(), StorageError> {
        let stored = storage.list(TOKENS).await?;
        let believed = stored
            .iter()
            .filter_map(|(key, stored)| TokenDocument::believe(key, stored, keyring, ledger));
        self.tokens.store(Arc::new(believed.collect()));
        Ok(())
    }

    /// Makes an owner's token if there is none that is good: on the first start, or when what was stored is not believed.
    /// Whoever can read the file it is left in owns the data folder, so it gives nobody more than they had.
    pub(crate) async fn ensure_owner(
        &self,
        journal: &Journal,
        keyring: &Keyring,
    ) -> Result<(), EnsureOwnerError> {
        let now = self.clock.now();
        if self
            .tokens
            .load()
            .iter()
            .any(|token| token.owns_everything() && token.is_good(now))
        {
            return Ok(());
        }
        let token = new_token();
        let document = TokenDocument {
            id: random_id("tok_")
                .parse()
                .expect("an id of ours is an actor's"),
            role: Role::Owner,
            workspaces: None,
            hash: Hash::of(token.as_bytes()),
            created_at: now,
            expires_at: None,
            revoked_at: None,
            revision: 1,
        };
        // The file first: a token that is stored and was never shown would lock everyone out.
        let line = Zeroizing::new(format!("{}\n", *token));
        file::replace(&self.file, line.as_bytes(), Permissions::from_mode(0o600))?;
        let system = Act {
            actor: ActorId::system(),
            request_id: "start".to_owned(),
        };
        let draft = Draft {
            note: Some(document.id.to_string()),
            ..Draft::new(Event::TokenCreated, &system)
        };
        journal.commit(draft, vec![document.write(keyring)]).await?;
        let mut tokens = Vec::clone(&self.tokens.load());
        tokens.push(document);
        self.tokens.store(Arc::new(tokens));
        tracing::info!(file = %self.file.display(), "made an owner token for the admin API");
        Ok(())
    }
}

/// Why there is no owner's token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnsureOwnerError {
    #[error(transparent)]
    File(#[from] file::FileError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl TokenDocument {
    fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Who has just shown this token.
    fn principal(&self) -> Principal {
        Principal {
            actor: self.id.clone(),
            role: self.role,
            scope: match &self.workspaces {
                Some(workspaces) => Scope::Only(Arc::new(workspaces.clone())),
                None => Scope::All,
            },
            proven: true,
        }
    }

    fn owns_everything(&self) -> bool {
        self.role == Role::Owner && self.workspaces.is_none()
    }

    fn key(&self) -> String {
        format!("{TOKENS}{}", self.id)
    }

    fn write(&self, keyring: &Keyring) -> Write {
        let key = self.key();
        let body = authentic::write(keyring.installation(), &Place::Document { key: &key }, self);
        Write {
            key,
            expected: self.revision - 1,
            body: Some(Body(body)),
        }
    }

    fn believe(key: &str, stored: &Document, keyring: &Keyring, ledger: &Ledger) -> Option<Self> {
        ledger.vouch(key, &stored.body).ok()?;
        let parsed = Stored::parse(&stored.body).ok()?;
        let token: Self = parsed
            .verify(keyring.installation(), &Place::Document { key })
            .ok()?;
        (token.key() == key && token.revision == stored.revision).then_some(token)
    }
}

/// `ks_` and 256 random bits in base64url: recognisable to secret scanners.
fn new_token() -> Zeroizing<String> {
    let mut bits = Zeroizing::new([0; 32]);
    entropy::fill(&mut *bits);
    let mut token = Zeroizing::new(String::with_capacity(46));
    token.push_str("ks_");
    BASE64_URL_SAFE_NO_PAD.encode_string(bits.as_slice(), &mut token);
    token
}
