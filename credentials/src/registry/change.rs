//! The changes. Each reads the current state of the workspace's chain, builds the new documents,
//! commits them on that state, and publishes the result to the data plane. After a lost race it
//! decides again. Changes of one chain are decided one at a time, those that end the use of a key
//! first ([`Priority`]), and concurrent ones share a commit (`group.rs`). One file for each concern,
//! with its public method above the function that decides; shared parts are here and in
//! `credential_edit.rs`.

/// Repeats a change after lost races, a bounded number of times. A macro, because an async closure
/// over borrowed values is not known to be `Send` (rust-lang/rust#102211).
macro_rules! retry_on_race {
    ($decide:expr) => {{
        let mut races = 0;
        loop {
            match $decide.await {
                Err($crate::registry::ChangeError::Raced) if races < $crate::chains::MAX_RACES => {
                    races += 1;
                    $crate::chains::pause().await;
                }
                outcome => break outcome,
            }
        }
    }};
}

pub(super) use retry_on_race;

mod add;
mod credential_edit;
mod edit;
mod group;
mod idempotency;
mod revoke;
mod rollback;
mod rotate;
mod sweep;
mod verify;
mod workspace;
mod workspace_edit;

use std::sync::Arc;

use keyside_store::{
    Effect, StorageError,
    chain::{CommitError, Damage, Entry, State, Write},
};
use tokio::sync::{RwLockReadGuard, RwLockWriteGuard, Semaphore};

pub(super) use self::{
    add::InitialSecret,
    credential_edit::CredentialEdit,
    group::{Decision, Groups},
};
use super::{ChangeError, Registry, Saved};
use crate::{
    chains::{Priority, Tracked, Turn},
    documents::{CredentialDocument, TOKEN, WorkspaceDocument},
    live_check::Finding,
    model::{ActorContext, CredentialId, Fingerprint, Label, Warning, WorkspaceId},
    record::{Detail, Draft, Event},
    resolver::Grant,
    sealing::SealingKey,
    snapshot::{CredentialEntry, Snapshot, WorkspaceEntry},
};

/// The result of a change: the credential, warnings, and whether an earlier request made it.
pub(super) struct ChangeOutcome {
    pub(super) id: CredentialId,
    pub(super) warnings: Vec<Warning>,
    pub(super) repeated: bool,
    /// What the provider said before, if it was asked.
    pub(super) finding: Option<Finding>,
}

/// What a request leads to before the provider is asked. `B` is what the change will be based on, to
/// find out afterwards whether it is still so.
enum Trial<B> {
    /// An earlier request with the same idempotency key has made the change.
    Repeated(ChangeOutcome),
    Ready {
        on_trial: Grant,
        basis: B,
    },
}

/// What the provider said of a new secret, and what the change is based on.
struct Checked<B> {
    finding: Finding,
    basis: B,
}

impl ChangeOutcome {
    /// The outcome of an earlier request, with the warnings in its response.
    fn repeated(id: &CredentialId, warnings: Vec<Warning>) -> Self {
        Self {
            id: id.clone(),
            warnings,
            repeated: true,
            finding: None,
        }
    }
}

/// Held while a change is decided and committed; locks what it changes.
pub(super) struct ChangeGuard<'a, L> {
    /// The installation's state. Tokens and workspaces may be newer, never older, so a commit on
    /// this state fails if any of them has changed since.
    pub(super) on: Option<Arc<State>>,
    lock: L,
    _gate: RwLockReadGuard<'a, ()>,
}

impl Registry {
    fn saved(&self, outcome: ChangeOutcome) -> Result<Saved, ChangeError> {
        let credential = self.credential(&outcome.id);
        Ok(Saved {
            credential: credential.ok_or(ChangeError::CredentialUnknown)?,
            warnings: outcome.warnings,
            repeated: outcome.repeated,
            finding: outcome.finding,
        })
    }

    /// Locks a workspace for a change that is committed alone, and loads its current state: another
    /// process may have changed it.
    pub(super) async fn lock_workspace(
        &self,
        by: &ActorContext,
        workspace: &WorkspaceId,
        priority: Priority,
    ) -> Result<ChangeGuard<'_, Turn>, ChangeError> {
        let guard = self.take_turn(by, workspace, priority).await?;
        // Its members get the outcome, and this change is decided on what it finds then.
        let _ = self.commit_group(workspace).await;
        self.load_workspace(workspace).await?;
        Ok(guard)
    }

    /// Locks a workspace for a change that joins the open group. What the group is based on was
    /// loaded when it began, and its commit finds out whether that has changed since.
    async fn join_workspace(
        &self,
        by: &ActorContext,
        workspace: &WorkspaceId,
        priority: Priority,
    ) -> Result<ChangeGuard<'_, Turn>, ChangeError> {
        let guard = self.take_turn(by, workspace, priority).await?;
        if self.groups.workspace(workspace).is_none() {
            self.load_workspace(workspace).await?;
        }
        Ok(guard)
    }

    async fn take_turn(
        &self,
        by: &ActorContext,
        workspace: &WorkspaceId,
        priority: Priority,
    ) -> Result<ChangeGuard<'_, Turn>, ChangeError> {
        let lock = self.chains.of(workspace).lock(priority).await;
        let gate = self.gate.read().await;
        let guard = self.begin_change(by, lock, gate).await?;
        // Its token may have been limited further since the request was authenticated: the workspace
        // was erased, and this one only has its id.
        match self.access.reaches(&by.actor, workspace) {
            true => Ok(guard),
            false => Err(ChangeError::WorkspaceUnknown),
        }
    }

    async fn load_workspace(&self, workspace: &WorkspaceId) -> Result<(), ChangeError> {
        if let Some(registration) = self.chains.existing(workspace) {
            let findings = self.read_workspace(workspace).await?;
            match self.report(findings).await {
                // The findings are made again. A damaged workspace can be erased all the same.
                Err(CommitError::NotBegun(error @ StorageError::Full { .. })) => {
                    tracing::error!(%workspace, %error, "the disk is full: what was found damaged is recorded later");
                }
                reported => reported?,
            }
            self.recover_workspace(workspace, &registration).await?;
        }
        Ok(())
    }

    /// Begins a change under `lock`. The actor's token may have been revoked after the request was
    /// authenticated, here or by another process, so it is checked again under the lock.
    ///
    /// Lock order: the workspace's chain, the gate, the installation's chain. With the gate first,
    /// a backup would wait for everything that waits for a workspace, and a revocation for the
    /// backup. A change that waits for its group holds none of them.
    pub(super) async fn begin_change<'a, L>(
        &'a self,
        by: &ActorContext,
        lock: L,
        gate: RwLockReadGuard<'a, ()>,
    ) -> Result<ChangeGuard<'a, L>, ChangeError> {
        Ok(ChangeGuard {
            on: self.admit(by).await?,
            lock,
            _gate: gate,
        })
    }

    /// Reads the installation's state, and refuses an actor that may not change anything as of it.
    pub(super) async fn admit(&self, by: &ActorContext) -> Result<Option<Arc<State>>, ChangeError> {
        // A read-only process would fail only when it commits, after it has changed the keyring.
        if self.keyring.signer().is_none() {
            return Err(StorageError::ReadOnly.into());
        }
        let on = self.refresh_installation_state().await?;
        self.expect_access(by)?;
        Ok(on)
    }

    /// Reloads the tokens and workspaces that other processes may have changed. Returns the
    /// installation's state that they are from: they may be newer, never older.
    pub(super) async fn refresh_installation_state(
        &self,
    ) -> Result<Option<Arc<State>>, CommitError> {
        let own = self.chains.installation();
        self.chains.refresh(own).await?;
        let mut tokens_state = self.tokens_state.lock().await;
        // Repeats until nothing changed during the read. Other readers of the chain do not load its
        // tokens.
        loop {
            let Some(state) = own.state() else {
                return Ok(None);
            };
            let before = tokens_state.as_ref();
            if before.is_some_and(|before| before.head == state.head) {
                return Ok(Some(state));
            }
            if before.is_none_or(|before| !tokens_in(before).eq(tokens_in(&state))) {
                let findings = self.read_tokens().await.map_err(CommitError::NotBegun)?;
                // A missing token may have been replaced concurrently.
                if !findings.is_empty() && self.chains.refresh(own).await?.is_some() {
                    continue;
                }
            }
            self.forget_erased();
            *tokens_state = Some(state);
        }
    }

    fn forget_erased(&self) {
        let registrations = self.chains.registrations();
        let gone = |id: &WorkspaceId| registrations.get(id).is_none_or(|it| !it.exists);
        let snapshot = self.snapshot.load_full();
        let ids = snapshot.workspaces.values().map(|it| &it.document.id);
        for id in ids.filter(|id| gone(id)) {
            self.snapshot.rcu(|snapshot| snapshot.without(id));
            self.duplicates.forget();
        }
    }

    /// Refuses an actor whose token is revoked or expired. Keyside itself acts without a token.
    pub(crate) fn expect_access(&self, by: &ActorContext) -> Result<(), ChangeError> {
        match self.access.has_ended(&by.actor) {
            true => Err(ChangeError::AccessEnded),
            false => Ok(()),
        }
    }

    /// Waits for changes in progress and blocks new ones while the guard is held.
    pub(crate) async fn block_changes(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    /// Commits a change of a workspace on the state that it was decided on.
    pub(super) async fn commit_in(
        &self,
        workspace: &WorkspaceEntry,
        drafts: Vec<Draft>,
        writes: Vec<Write>,
    ) -> Result<Arc<State>, CommitError> {
        // Linked at once as well: a replaced secret must not come back.
        let ends_use = drafts.iter().any(|draft| {
            draft.effect == Effect::EndsUse || draft.event == Event::CredentialRotated
        });
        let document = &workspace.document;
        let tracked = self.chains.of(&document.id);
        let untrusted = CommitError::Damaged(Damage::HeadGone);
        let on = workspace.at.as_ref().ok_or(untrusted)?;
        // From the signed head: the document that has it too may be lost.
        let incarnation = on.head.incarnation;
        let commit = self
            .chains
            .commit(&tracked, Some(on), incarnation, drafts, writes);
        let committed = commit.await;
        if let Err(CommitError::OutcomeUnknown { .. }) = &committed {
            self.links.mark_uncertain(document.id.clone());
        }
        let state = committed?;
        self.links.changed(&document.id, ends_use);
        Ok(state)
    }

    /// Commits an audit record that changes nothing in the workspace, and publishes the new state.
    pub(super) async fn commit_record(
        &self,
        workspace: &WorkspaceEntry,
        draft: Draft,
    ) -> Result<Arc<State>, ChangeError> {
        let state = self.commit_in(workspace, vec![draft], Vec::new()).await?;
        self.publish_committed(workspace.clone().at(state.clone()))
            .await?;
        Ok(state)
    }

    pub(super) fn sound_workspace(
        &self,
        id: &WorkspaceId,
    ) -> Result<Arc<WorkspaceEntry>, ChangeError> {
        let workspace = self
            .current_workspace(id)
            .ok_or_else(|| self.no_workspace(id))?;
        self.chains.sound_registration(id)?;
        match workspace.damage {
            Some(_) => Err(ChangeError::Damaged),
            None => Ok(workspace),
        }
    }

    /// Why a change finds no key of `workspace` to seal with. The keyring may be newer than the state
    /// that the change is decided on: another process may have erased the workspace and destroyed its
    /// key since. So it counts as a lost race unless the workspace is still the same.
    pub(super) async fn missing_key(&self, workspace: &WorkspaceId) -> ChangeError {
        let registered = |registry: &Self| {
            let registration = registry.chains.existing(workspace);
            registration.map(|it| it.incarnation)
        };
        let before = registered(self);
        if let Err(error) = self.refresh_installation_state().await {
            return error.into();
        }
        match registered(self) {
            after if after.is_none() || after != before => ChangeError::Raced,
            _ => ChangeError::KeyLost,
        }
    }

    /// Returns once everything is on disk that is known here of a chain, its anchor included. An answer
    /// that finds its change made waits for this: it must not confirm a commit whose outcome is unknown.
    pub(super) async fn confirm(&self, tracked: &Tracked) -> Result<(), ChangeError> {
        let confirmed = self.chains.confirm(tracked).await;
        confirmed.map_err(ChangeError::OutcomeUnknown)
    }

    /// Publishes a workspace to requests, unless a later state is known: a slow reader must not
    /// restore what was revoked meanwhile. Workspaces change concurrently, so the swap is retried.
    /// Returns whether it was published.
    pub(super) fn publish(&self, workspace: Arc<WorkspaceEntry>) -> bool {
        let tracked = self.chains.of(&workspace.document.id);
        let at = workspace.at.clone();
        self.publish_if(workspace, |_| {
            !at.as_ref().is_some_and(|at| tracked.is_newer_than(at))
        })
    }

    /// Publishes a workspace if `may_replace` holds for what is published of it at that moment. Returns
    /// whether it was published.
    pub(super) fn publish_if(
        &self,
        workspace: Arc<WorkspaceEntry>,
        may_replace: impl Fn(Option<&Arc<WorkspaceEntry>>) -> bool,
    ) -> bool {
        let mut is_published = false;
        self.snapshot.rcu(|snapshot| {
            is_published = may_replace(snapshot.workspaces.get(&workspace.document.id));
            match is_published {
                true => Snapshot::with(snapshot, workspace.clone()),
                false => Snapshot::clone(snapshot),
            }
        });
        is_published
    }

    /// Publishes a state that was just committed, so that requests see no older one when this
    /// returns. Where a later state is known, its reader may not have published it yet: then the
    /// chain is read and published here.
    pub(super) async fn publish_committed(
        &self,
        workspace: WorkspaceEntry,
    ) -> Result<(), CommitError> {
        let id = workspace.document.id.clone();
        let seq = workspace.at.as_ref().map_or(0, |at| at.head.seq);
        if self.publish(Arc::new(workspace)) {
            return Ok(());
        }
        let published = match self.read_workspace(&id).await {
            Ok(findings) => {
                let reported = self.report(findings).await;
                reported.map_err(CommitError::into_storage_error)
            }
            Err(error) => Err(error),
        };
        // Never an error that says that nothing has changed.
        published.map_err(|error| {
            self.links.mark_uncertain(id);
            CommitError::OutcomeUnknown { seq, error }
        })
    }

    /// Updates what is derived from one credential that was published.
    pub(super) fn credential_changed(
        &self,
        workspace: &WorkspaceEntry,
        entry: &Arc<CredentialEntry>,
    ) {
        let id = &entry.document.id;
        self.snapshot.load().locate(id, &workspace.document.id);
        let before = workspace.credentials.get(id);
        let fingerprint =
            |entry: &Arc<CredentialEntry>| Some(entry.metadata()?.fingerprint.clone());
        self.duplicates
            .note(id, before.and_then(fingerprint), fingerprint(entry));
        // Nobody waits for its first poll.
        self.follow_reference(entry, &Arc::new(Semaphore::new(0)));
    }
}

/// The token entries in a state of the installation's chain.
fn tokens_in(state: &State) -> impl Iterator<Item = &Entry> {
    state
        .documents()
        .filter(|entry| entry.name.starts_with(TOKEN))
}

/// The audit record of a change to a credential, without details.
pub(super) fn about(event: Event, by: &ActorContext, document: &CredentialDocument) -> Draft {
    Draft {
        workspace: Some(document.workspace.clone()),
        credential: Some(document.id.clone()),
        provider: Some(document.provider.clone()),
        ..Draft::new(event, by)
    }
}

/// The sealed part of a record, which becomes unreadable when the workspace is erased.
pub(super) fn detail(
    key: &Arc<SealingKey>,
    fingerprint: &Fingerprint,
) -> Option<(Arc<SealingKey>, Detail)> {
    let fingerprint = fingerprint.clone();
    Some((key.clone(), Detail { fingerprint }))
}

/// The workspace's document with `credential` as a default.
fn with_default(
    workspace: &WorkspaceDocument,
    credential: &CredentialDocument,
) -> WorkspaceDocument {
    let mut workspace = workspace.clone();
    workspace.revision += 1;
    let defaults = workspace
        .defaults
        .entry(credential.provider.clone())
        .or_default();
    defaults.set(credential.environment, credential.id.clone());
    workspace
}

fn other_label(default: Option<&CredentialEntry>, than: &CredentialId) -> Option<Label> {
    let other = default.filter(|default| default.document.id != *than)?;
    Some(other.document.label.clone())
}

/// `version 2`, `versions 2, 3`.
fn format_versions(versions: &[u32]) -> String {
    let plural = if versions.len() == 1 { "" } else { "s" };
    let numbers: Vec<_> = versions.iter().map(u32::to_string).collect();
    format!("version{plural} {}", numbers.join(", "))
}
