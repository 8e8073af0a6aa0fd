//! Changes to tokens, which give access to the admin API.

use std::sync::Arc;

use keyside_store::{
    chain::{CommitError, State, Write},
    file,
};

use super::{
    ChangeError, Registry,
    change::{ChangeGuard, retry_on_race},
    open::RESTORE,
};
use crate::{
    access::{
        CreatedToken, EnsureOwnerError, MAX_FROM_LIMITED, NewToken, Role, Token, TokenDocument,
        TokenWarning,
    },
    chains::{MAX_RACES, Priority, Turn, pause},
    documents::{Document, token_name},
    model::{ActorContext, ActorId, DisplayName, Scope},
    record::{Draft, Event},
};

impl Registry {
    /// Creates a token. Its text is in the result and is not available later. A creator limited to
    /// `within` cannot exceed that scope, and a token never outlives its creator's token: a
    /// shortened expiry is in the warnings.
    ///
    /// # Errors
    /// The request is invalid, too many tokens come from the creator's, or storage failed; nothing has
    /// changed then.
    pub async fn create_token(
        self: &Arc<Self>,
        by: &ActorContext,
        within: &Scope,
        new: NewToken,
    ) -> Result<CreatedToken, ChangeError> {
        let (by, within) = (by.clone(), within.clone());
        self.run_to_completion(|registry| async move {
            retry_on_race!(registry.create_token_once(&by, &within, new.clone()))
        })
        .await
    }

    async fn create_token_once(
        &self,
        by: &ActorContext,
        within: &Scope,
        mut new: NewToken,
    ) -> Result<CreatedToken, ChangeError> {
        let guard = self.lock_installation(by, Priority::Normal).await?;
        let now = self.clock.now();
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(ChangeError::ExpiryPast);
        }
        // The scope of the creator's token may have been narrowed since the request was
        // authenticated.
        let creator = self.access.token(&by.actor);
        let scope = creator.as_ref().map(TokenDocument::scope);
        self.accept_scope(scope.as_ref().unwrap_or(within), &new.scope)?;
        let origin = creator.as_ref().and_then(TokenDocument::as_origin);
        if origin.is_some_and(|it| self.access.count_from(it) >= MAX_FROM_LIMITED) {
            return Err(ChangeError::TooManyTokens);
        }
        let warnings = self.limit_to_creator(by, &mut new);
        let (mut document, text) = TokenDocument::create(new, &by.actor, now);
        document.origin = origin.cloned();
        let created = Draft::about_token(Event::TokenCreated, by, &document);
        self.commit_new_token(guard.on.as_ref(), created, &document)
            .await?;
        let token = self.access.view(&document);
        Ok(CreatedToken {
            token,
            text,
            warnings: warnings.into_iter().collect(),
        })
    }

    fn limit_to_creator(&self, by: &ActorContext, new: &mut NewToken) -> Option<TokenWarning> {
        let end = self.access.token(&by.actor)?.expires_at?;
        if new.expires_at.is_some_and(|asked| asked <= end) {
            return None;
        }
        new.expires_at = Some(end);
        Some(TokenWarning::ExpiresWithCreator { end })
    }

    /// A workspace outside the creator's scope counts as unknown, whether or not it exists.
    fn accept_scope(&self, within: &Scope, asked: &Scope) -> Result<(), ChangeError> {
        let Scope::Only(workspaces) = asked else {
            return match within.covers(asked) {
                true => Ok(()),
                false => Err(ChangeError::ScopeExceeded),
            };
        };
        let registrations = self.chains.registrations();
        let exists = |id| within.holds(id) && registrations.get(id).is_some_and(|it| it.exists);
        match !workspaces.is_empty() && workspaces.iter().all(exists) {
            true => Ok(()),
            false => Err(ChangeError::WorkspaceUnknown),
        }
    }

    /// Revokes a token, which is final. Revoking twice changes nothing.
    ///
    /// # Errors
    /// No such token in `within`, its revision is not `expected`, it is the last one that owns the
    /// installation, or storage failed.
    pub async fn revoke_token(
        self: &Arc<Self>,
        by: &ActorContext,
        within: &Scope,
        id: &ActorId,
        expected: Option<u64>,
    ) -> Result<Token, ChangeError> {
        let (by, within, id) = (by.clone(), within.clone(), id.clone());
        self.run_to_completion(|registry| async move {
            retry_on_race!(registry.revoke_token_once(&by, &within, &id, expected))
        })
        .await
    }

    async fn revoke_token_once(
        &self,
        by: &ActorContext,
        within: &Scope,
        id: &ActorId,
        expected: Option<u64>,
    ) -> Result<Token, ChangeError> {
        let guard = self.lock_installation(by, Priority::High).await?;
        let token = self.access.token(id);
        let token = token.filter(|token| within.covers(&token.scope()));
        let token = token.ok_or(ChangeError::TokenUnknown)?;
        let current = token.revision;
        if expected.is_some_and(|expected| expected != current) {
            return Err(ChangeError::Superseded(current));
        }
        if token.revoked_at.is_some() {
            self.confirm(self.chains.installation()).await?;
            return Ok(self.access.view(&token));
        }
        if token.owns_everything() && !self.access.has_owner_besides(Some(id)) {
            return Err(ChangeError::LastOwner);
        }
        let revoked = token.revoked(self.clock.now());
        let draft = Draft::about_token(Event::TokenRevoked, by, &revoked);
        self.commit_token(guard.on.as_ref(), draft, &revoked, &[])
            .await?;
        Ok(self.access.view(&revoked))
    }

    /// Creates an owner token if no usable one exists: on the first start, or if the stored ones
    /// fail authentication. Anyone who can read its file owns the data folder, so it gives no
    /// further access.
    pub(super) async fn make_owner(&self) -> Result<(), EnsureOwnerError> {
        let own = self.chains.installation();
        let _changing = own.lock(Priority::Normal).await;
        for _ in 0..MAX_RACES {
            let refreshed = self.chains.refresh(own).await;
            refreshed.map_err(CommitError::from)?;
            let damaged = self.read_tokens().await.map_err(CommitError::NotBegun)?;
            if self.access.has_owner_besides(None) {
                return Ok(());
            }
            if !damaged.is_empty() {
                // Who can edit the store, and read the file, must not become an owner.
                tracing::error!(
                    "no owner token is left undamaged, and none is created in its place: {RESTORE}, or run `keyside token recover`"
                );
                return Ok(());
            }
            let system = ActorContext::system("start");
            let new = NewToken {
                name: DisplayName::of_first_owner(),
                role: Role::Owner,
                scope: Scope::All,
                expires_at: None,
            };
            let (document, text) = TokenDocument::create(new, &system.actor, self.clock.now());
            let draft = Draft::about_token(Event::TokenCreated, &system, &document);
            let space = self.chains.backend().storage.check_disk_space(draft.effect);
            space.await.map_err(CommitError::NotBegun)?;
            // The file is written first: a token that is stored but was never shown would lock
            // everyone out.
            let file = self.access.token_file();
            file::replace_secret(file, &text, file::owner_only())?;
            let on = own.state();
            match self.commit_new_token(on.as_ref(), draft, &document).await {
                Err(CommitError::Raced) => pause().await,
                outcome => {
                    outcome?;
                    tracing::info!(file = %file.display(), "created an owner token for the admin API");
                    return Ok(());
                }
            }
        }
        Err(CommitError::Raced.into())
    }

    /// Locks the installation's chain for a change. Under this lock the check that an owner remains
    /// and the change are atomic.
    pub(super) async fn lock_installation(
        &self,
        by: &ActorContext,
        priority: Priority,
    ) -> Result<ChangeGuard<'_, Turn>, ChangeError> {
        let gate = self.gate.read().await;
        let lock = self.chains.installation().lock(priority).await;
        self.begin_change(by, lock, gate).await
    }

    /// Reads what other processes have stored, and stores what is not stored yet.
    pub(super) async fn store_last_used(&self) {
        let (last_used, now) = (&self.access.last_used, self.clock.now());
        last_used.load(&self.notes, now).await;
        let stored = last_used.store(&self.notes, now);
        if let Err(error) = stored.await {
            tracing::warn!(%error, "times of tokens' last use could not be stored");
        }
    }

    /// Commits a new token, and deletes tokens that ended long ago: otherwise they would use up the
    /// documents of the chain. The audit log keeps what they did, under their ids.
    async fn commit_new_token(
        &self,
        on: Option<&Arc<State>>,
        draft: Draft,
        document: &TokenDocument,
    ) -> Result<(), CommitError> {
        let documents = on.map_or(0, |on| on.documents().count());
        let deleted = self.access.deletable(documents);
        self.commit_token(on, draft, document, &deleted).await?;
        for id in &deleted {
            self.access.last_used.forget(&self.notes, id).await;
        }
        Ok(())
    }

    /// Commits a token on the state that it was decided on, and deletes others. The caller holds the
    /// lock of the installation's chain.
    async fn commit_token(
        &self,
        on: Option<&Arc<State>>,
        draft: Draft,
        document: &TokenDocument,
        deleted: &[ActorId],
    ) -> Result<(), CommitError> {
        let removed = deleted.iter().map(|id| Write::remove(token_name(id)));
        let writes = removed.chain([document.write()]).collect();
        let own = self.chains.installation();
        let commit = self.chains.commit(own, on, 0, vec![draft], writes);
        commit.await?;
        self.access.publish(document);
        self.access.forget(deleted);
        Ok(())
    }
}
