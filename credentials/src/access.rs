//! Tokens: who may use the admin API, and for what.
//!
//! A token is 256 random bits, so storing its SHA-256 is enough: there is nothing to guess. Token
//! documents are covered by the installation's signed head like all others, so write access to the
//! store alone does not let anyone sign in.

mod last_used;
mod role;
mod token;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use keyside_store::{
    Hash, StorageError,
    chain::{CommitError, State},
    file::FileError,
};
use subtle::ConstantTimeEq;

use self::last_used::LastUsed;
pub(crate) use self::token::TokenDocument;
pub use self::{
    role::{Denial, Permission, Principal, Role},
    token::{CreatedToken, NewToken, Token, TokenStatus, TokenWarning},
};
use crate::{
    chains::Tracked,
    clock::Ratchet,
    damage::Damage,
    documents::{Document, TOKEN, token_name},
    model::{ActorContext, ActorId, Scope, WorkspaceId},
    record::{Draft, Event},
    snapshot::DamageReport,
};

/// The tokens of the installation, and what they allow.
pub struct Access {
    clock: Arc<Ratchet>,
    file: PathBuf,
    tokens: ArcSwap<Vec<TokenDocument>>,
    pub(crate) last_used: LastUsed,
}

impl Access {
    pub(crate) fn new(clock: Arc<Ratchet>, file: &Path) -> Self {
        Self {
            clock,
            file: file.to_owned(),
            tokens: ArcSwap::default(),
            last_used: LastUsed::default(),
        }
    }

    /// Authenticates `token`. Takes the same time for every unknown token.
    pub fn authenticate(&self, token: &str) -> Option<Principal> {
        let hash = Hash::of(token.as_bytes());
        let tokens = self.tokens.load();
        let now = self.clock.now();
        // Compares with every token, so that the time does not reveal the position of a match.
        let found = tokens
            .iter()
            .fold(None, |found, token| match token.hash.ct_eq(&hash).into() {
                true => Some(token),
                false => found,
            });
        let token = found.filter(|token| token.is_good(now))?;
        self.last_used.note(&token.id, now);
        Some(token.into())
    }

    /// The principal of a token that is still good, for a session that was opened with it. Counts as
    /// a use of the token.
    pub fn principal(&self, id: &ActorId) -> Option<Principal> {
        let now = self.clock.now();
        let token = self.token(id).filter(|token| token.is_good(now))?;
        self.last_used.note(id, now);
        Some((&token).into())
    }

    /// The tokens that are covered by `within`, oldest first. A limited principal sees only tokens
    /// whose scope is within its own.
    pub fn tokens(&self, within: &Scope) -> Vec<Token> {
        let tokens = self.tokens.load();
        let visible = tokens.iter().filter(|token| within.covers(&token.scope()));
        let mut visible: Vec<_> = visible.map(|token| self.view(token)).collect();
        visible.sort_by_cached_key(|token| (token.created_at, token.id.clone()));
        visible
    }

    /// The file that the first start writes the owner token to.
    pub fn token_file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn token(&self, id: &ActorId) -> Option<TokenDocument> {
        let tokens = self.tokens.load();
        tokens.iter().find(|token| token.id == *id).cloned()
    }

    /// Whether the actor's token is revoked, expired or deleted. It may have been active when the
    /// request was authenticated.
    pub fn has_ended(&self, id: &ActorId) -> bool {
        match self.token(id) {
            Some(token) => !token.is_good(self.clock.now()),
            // Keyside itself acts without a token.
            None => id.is_token(),
        }
    }

    /// The actor under which limits count this one: the origin of its token, see [`Principal`].
    pub fn origin(&self, id: &ActorId) -> ActorId {
        let token = self.token(id);
        let origin = token.as_ref().and_then(TokenDocument::as_origin);
        origin.unwrap_or(id).clone()
    }

    /// Whether the actor's token is not limited to other workspaces. Only a token is limited.
    pub(crate) fn reaches(&self, id: &ActorId, workspace: &WorkspaceId) -> bool {
        let token = self.token(id);
        token.is_none_or(|token| token.scope().holds(workspace))
    }

    /// The token with this id, in any scope.
    pub fn find(&self, id: &ActorId) -> Option<Token> {
        self.token(id).map(|token| self.view(&token))
    }

    pub(crate) fn view(&self, token: &TokenDocument) -> Token {
        token.view(self.clock.now(), self.last_used.of(&token.id))
    }

    /// How many tokens come from a token that is limited to workspaces, including those that ended
    /// recently.
    pub(crate) fn count_from(&self, origin: &ActorId) -> usize {
        let (tokens, now) = (self.tokens.load(), self.clock.now());
        let from_it = tokens
            .iter()
            .filter(|it| it.origin.as_ref() == Some(origin) && it.is_kept(now));
        from_it.count()
    }

    /// The ended tokens to delete when one is created in a chain of this many documents: those that are
    /// no longer kept. If the chain is crowded, also those that ended first.
    pub(crate) fn deletable(&self, documents: usize) -> Vec<ActorId> {
        let (tokens, now) = (self.tokens.load(), self.clock.now());
        let mut ended: Vec<_> = tokens
            .iter()
            .filter_map(|token| Some((token.ended_at(now)?, token)))
            .collect();
        ended.sort_unstable_by_key(|(end, _)| *end);
        let old = ended.partition_point(|(_, token)| !token.is_kept(now));
        let excess = documents.saturating_sub(MAX_WITH_ENDED);
        let deleted = ended.into_iter().take(old.max(excess).min(MAX_DELETED));
        deleted.map(|(_, token)| token.id.clone()).collect()
    }

    /// Whether a token other than `id` owns the installation and is still good.
    pub(crate) fn has_owner_besides(&self, id: Option<&ActorId>) -> bool {
        let now = self.clock.now();
        let is_owner = |token: &TokenDocument| token.owns_everything() && token.is_good(now);
        let tokens = self.tokens.load();
        tokens
            .iter()
            .any(|token| Some(&token.id) != id && is_owner(token))
    }

    /// The tokens that erasing a workspace changes, as they are afterwards.
    pub(crate) fn after_erasure(
        &self,
        workspace: &WorkspaceId,
        now: Timestamp,
    ) -> Vec<TokenDocument> {
        let tokens = self.tokens.load();
        let changed = tokens
            .iter()
            .map(|token| token.after_erasure(workspace, now));
        changed.flatten().collect()
    }

    /// Makes a stored token take effect in this process.
    pub(crate) fn publish(&self, token: &TokenDocument) {
        self.tokens.rcu(|tokens| {
            let others = tokens.iter().filter(|other| other.id != token.id);
            others.chain([token]).cloned().collect::<Vec<_>>()
        });
    }

    /// Removes deleted tokens from memory.
    pub(crate) fn forget(&self, deleted: &[ActorId]) {
        self.tokens.rcu(|tokens| {
            let kept = tokens.iter().filter(|token| !deleted.contains(&token.id));
            kept.cloned().collect::<Vec<_>>()
        });
    }

    /// Reloads the tokens from the installation's chain. Tokens that fail authentication are dropped
    /// and reported.
    pub(crate) async fn read(&self, own: &Tracked) -> Result<Vec<DamageReport>, StorageError> {
        let Some(state) = own.state() else {
            return Ok(Vec::new());
        };
        let chain = &own.chain;
        let entries: Vec<_> = state
            .documents()
            .filter(|entry| entry.name.starts_with(TOKEN))
            .collect();
        let bodies = chain.read(entries.iter().copied()).await?;
        let (mut tokens, mut findings) = (Vec::new(), Vec::new());
        for (entry, body) in entries.into_iter().zip(bodies) {
            let read = body
                .ok_or(Damage::Edited)
                .and_then(|body| TokenDocument::read(entry, &body));
            match read {
                Ok(token) => tokens.push(token),
                Err(damage) => findings.push(DamageReport {
                    location: format!("{}/{}", chain.name(), entry.name),
                    hash: Some(entry.object.hash),
                    workspace: None,
                    credential: None,
                    damage: damage.to_string(),
                }),
            }
        }
        let is_in = |state: &State, id: &ActorId| state.document(&token_name(id)).is_some();
        self.tokens.rcu(|known| {
            let by_id: HashMap<_, _> = known.iter().map(|known| (&known.id, known)).collect();
            // Loaded after `known`: each token that is published in this process was committed first.
            let now = own.state();
            let is_there = |id: &ActorId| now.as_ref().is_some_and(|now| is_in(now, id));
            // A token may have been revoked during a slow read, and even deleted, which must not bring
            // it back. Another process may have created it in the meantime as well.
            let newest = |token: &TokenDocument| match by_id.get(&token.id) {
                Some(known) if known.revision > token.revision => Some(TokenDocument::clone(known)),
                None if !is_there(&token.id) => None,
                _ => Some(token.clone()),
            };
            // Or created during the read: its text is shown, and must be accepted from then on.
            let created = known
                .iter()
                .filter(|known| !is_in(&state, &known.id) && is_there(&known.id));
            let read = tokens.iter().filter_map(newest);
            read.chain(created.cloned()).collect::<Vec<_>>()
        });
        Ok(findings)
    }
}

/// Tokens that come from one token that is limited to workspaces, including those that ended recently:
/// all workspaces share the documents of the installation's chain.
pub(crate) const MAX_FROM_LIMITED: usize = 1_000;

/// Documents of the installation's chain above which ended tokens are not kept: half of its limit.
pub(crate) const MAX_WITH_ENDED: usize = 16_384;

/// Most tokens that one commit deletes: each deletion writes a page of the map again. More than one, so
/// that deletions catch up with creations.
const MAX_DELETED: usize = 16;

/// Why no owner token could be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnsureOwnerError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl Draft {
    /// The audit record of a change to a token. It names the token by id only: its name may be a
    /// person's.
    pub(crate) fn about_token(event: Event, by: &ActorContext, token: &TokenDocument) -> Self {
        let only = token.workspaces.iter().flatten().next();
        let single = only.filter(|_| token.workspaces.as_ref().is_some_and(|all| all.len() == 1));
        Self {
            workspace: single.cloned(),
            note: Some(token.id.to_string()),
            ..Self::new(event, by)
        }
    }
}
