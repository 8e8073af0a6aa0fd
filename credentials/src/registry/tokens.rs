//! The changes to tokens: who may use the admin API.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Weak},
    time::Duration,
};

use keyside_store::{
    chain::{CommitError, State},
    file,
};

use super::change::decided;
use super::{
    ChangeError, Inner, Registry,
    change::{Begun, is_fit},
};
use crate::{
    access::{EnsureOwnerError, MadeToken, NewToken, Role, Token, TokenDocument, TokenWarning},
    chains::{Priority, RACES, Turn, not_begun, pause},
    documents::Document,
    model::{ActorContext, ActorId, Scope},
    record::{Draft, Event},
};

impl Registry {
    /// Makes a token. Its text is in the answer, and nowhere else ever after. Whoever is limited to `within` gives no more
    /// than they have, and whoever's own token ends gives nothing beyond that end: the answer says when it is.
    ///
    /// # Errors
    /// What is wrong with it, or storage's failure; nothing has changed then.
    pub async fn create_token(
        &self,
        by: &ActorContext,
        within: &Scope,
        new: NewToken,
    ) -> Result<MadeToken, ChangeError> {
        let (by, within) = (by.clone(), within.clone());
        self.to_its_end(|inner| async move { inner.create_token(&by, &within, new).await })
            .await
    }

    /// Withdraws a token at once and for good. Revoking twice changes nothing.
    ///
    /// # Errors
    /// When there is none in `within`, when its revision is not the `expected` one, when it is the last one that owns
    /// everything, or when storage fails.
    pub async fn revoke_token(
        &self,
        by: &ActorContext,
        within: &Scope,
        id: &ActorId,
        expected: Option<u64>,
    ) -> Result<Token, ChangeError> {
        let (by, within, id) = (by.clone(), within.clone(), id.clone());
        self.to_its_end(
            |inner| async move { inner.revoke_token(&by, &within, &id, expected).await },
        )
        .await
    }
}

/// Stores when tokens were last used, every minute for as long as the registry is open.
pub(super) async fn keep_last_used(registry: Weak<Inner>) {
    loop {
        tokio::time::sleep(BEHIND).await;
        let Some(inner) = registry.upgrade() else {
            return;
        };
        inner.store_last_used().await;
    }
}

impl Inner {
    pub(super) async fn store_last_used(&self) {
        let stored = self.access.store_last_used(&*self.notes, &self.keyring);
        if let Err(error) = stored.await {
            tracing::warn!(%error, "when tokens were last used could not be stored");
        }
    }

    async fn create_token(
        &self,
        by: &ActorContext,
        within: &Scope,
        new: NewToken,
    ) -> Result<MadeToken, ChangeError> {
        decided!(self.create_token_once(by, within, new.clone()))
    }

    async fn create_token_once(
        &self,
        by: &ActorContext,
        within: &Scope,
        mut new: NewToken,
    ) -> Result<MadeToken, ChangeError> {
        if !is_fit(&new.name) {
            return Err(ChangeError::NameUnfit);
        }
        let begun = self.begin_own(by, Priority::Normal).await?;
        let now = self.clock.now();
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(ChangeError::ExpiryPast);
        }
        self.accept_scope(&self.given_scope(by, within), &new.scope)?;
        let warnings = self.end_with_maker(by, &mut new);
        let (document, text) = TokenDocument::made(new, &by.actor, now);
        let created = Draft::about_token(Event::TokenCreated, by, &document);
        self.commit_token(begun.on.as_ref(), created, &document)
            .await?;
        let token = self.access.view(&document);
        Ok(MadeToken {
            token,
            text,
            warnings: warnings.into_iter().collect(),
        })
    }

    /// Leave to change tokens: that an owner remains is decided and brought about under it.
    pub(super) async fn begin_own(
        &self,
        by: &ActorContext,
        priority: Priority,
    ) -> Result<Begun<'_, Turn>, ChangeError> {
        let gate = self.gate.read().await;
        let lock = self.chains.own().lock(priority).await;
        self.begin_under(by, lock, gate).await
    }

    /// Makes an owner's token if there is none that is good: on the first start, or when what was stored is not believed.
    /// Whoever can read the file it is left in owns the data folder, so it gives nobody more than they had.
    pub(super) async fn make_owner(&self) -> Result<(), EnsureOwnerError> {
        let own = self.chains.own();
        let _changing = own.lock(Priority::Normal).await;
        for _ in 0..RACES {
            let refreshed = self.chains.refresh(own).await;
            refreshed.map_err(not_begun)?;
            self.read_tokens().await.map_err(CommitError::NotBegun)?;
            if self.access.has_owner() {
                return Ok(());
            }
            let system = ActorContext::system("start");
            let new = NewToken {
                name: "made at the first start".to_owned(),
                role: Role::Owner,
                scope: Scope::All,
                expires_at: None,
            };
            let (document, text) = TokenDocument::made(new, &system.actor, self.clock.now());
            let draft = Draft::about_token(Event::TokenCreated, &system, &document);
            let room = self.chains.backend().storage.check_disk_space(draft.effect);
            room.await.map_err(CommitError::NotBegun)?;
            // The file first: a token that is stored and was never shown would lock everyone out.
            let file = self.access.token_file();
            file::replace_secret(file, &text, Permissions::from_mode(0o600))?;
            let on = own.state();
            let writes = vec![document.write()];
            let commit = self.chains.commit(own, on.as_ref(), 0, vec![draft], writes);
            match commit.await {
                Err(CommitError::Raced) => pause().await,
                outcome => {
                    outcome?;
                    self.access.show(&document);
                    tracing::info!(file = %file.display(), "made an owner token for the admin API");
                    return Ok(());
                }
            }
        }
        Err(CommitError::Raced.into())
    }

    /// What its giver has now: their token may have been limited since they were authenticated.
    fn given_scope(&self, by: &ActorContext, within: &Scope) -> Scope {
        let giver = self.access.token(&by.actor);
        giver.map_or_else(|| within.clone(), |giver| giver.scope())
    }

    /// Nobody gives what they will not have any more; and they are told.
    fn end_with_maker(&self, by: &ActorContext, new: &mut NewToken) -> Option<TokenWarning> {
        let end = self.access.token(&by.actor)?.expires_at?;
        if new.expires_at.is_some_and(|asked| asked <= end) {
            return None;
        }
        new.expires_at = Some(end);
        Some(TokenWarning::EndsWithMaker { end })
    }

    async fn revoke_token(
        &self,
        by: &ActorContext,
        within: &Scope,
        id: &ActorId,
        expected: Option<u64>,
    ) -> Result<Token, ChangeError> {
        decided!(self.revoke_token_once(by, within, id, expected))
    }

    async fn revoke_token_once(
        &self,
        by: &ActorContext,
        within: &Scope,
        id: &ActorId,
        expected: Option<u64>,
    ) -> Result<Token, ChangeError> {
        let begun = self.begin_own(by, Priority::High).await?;
        let token = self.access.token(id);
        let token = token.filter(|token| within.covers(&token.scope()));
        let token = token.ok_or(ChangeError::TokenUnknown)?;
        let current = token.revision;
        if expected.is_some_and(|expected| expected != current) {
            return Err(ChangeError::Superseded { current });
        }
        if token.revoked_at.is_some() {
            return Ok(self.access.view(&token));
        }
        if token.owns_everything() && !self.access.has_other_owner(id) {
            return Err(ChangeError::LastOwner);
        }
        let revoked = token.revoked(self.clock.now());
        let draft = Draft::about_token(Event::TokenRevoked, by, &revoked);
        self.commit_token(begun.on.as_ref(), draft, &revoked)
            .await?;
        Ok(self.access.view(&revoked))
    }

    /// A workspace that is not there for the giver is unknown to them, whether or not there is one.
    fn accept_scope(&self, within: &Scope, asked: &Scope) -> Result<(), ChangeError> {
        let Scope::Only(workspaces) = asked else {
            return match within.covers(asked) {
                true => Ok(()),
                false => Err(ChangeError::ScopeExceeded),
            };
        };
        let marks = self.chains.marks();
        let is_there = |id| within.holds(id) && marks.get(id).is_some_and(|mark| mark.is_there);
        match !workspaces.is_empty() && workspaces.iter().all(is_there) {
            true => Ok(()),
            false => Err(ChangeError::WorkspaceUnknown),
        }
    }

    async fn commit_token(
        &self,
        on: Option<&Arc<State>>,
        draft: Draft,
        document: &TokenDocument,
    ) -> Result<(), ChangeError> {
        let writes = vec![document.write()];
        self.commit_own(on, vec![draft], writes).await?;
        self.access.show(document);
        Ok(())
    }
}

/// How much of it a crash may lose.
const BEHIND: Duration = Duration::from_secs(60);
