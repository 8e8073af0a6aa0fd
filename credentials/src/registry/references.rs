//! Follows the secrets of stored credentials that are kept in Vault. Requests never wait for it.
//!
//! One task for each credential. Secrets are sealed in memory and published under the workspace's
//! lock, like changes; they are not stored.

mod declared_sources;
mod recorded_source;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use keyside_config::AllowedReferences;
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::Semaphore, time::sleep};

use super::{ChangeError, Registry, change::InitialSecret};
use crate::{
    chains::Priority,
    declared::{
        SourceHealth, expect_usual_kind, process_key,
        state::{Change, State},
    },
    documents::{SecretMetadata, SourceDocument},
    model::{Credential, CredentialId, WorkspaceId},
    sealing::SealingKey,
    secret::Secret,
    snapshot::CredentialEntry,
    source::{self, CONCURRENT_READS, GRACE, Lookup, SecretSource, SourceError, VaultReference},
};

/// Options for following secrets in Vault.
pub struct ReferenceOptions {
    /// Reads secrets from Vault.
    pub vault: Option<Arc<dyn SecretSource>>,
    /// How often each secret is polled.
    pub poll: Duration,
    /// How long a secret is used while Vault is unavailable.
    pub outage: Duration,
    /// The paths that stored credentials may refer to.
    pub allowed: AllowedReferences,
}

pub(super) struct References {
    /// Seals secrets in this process's memory.
    key: Arc<SealingKey>,
    following: OnceLock<Following>,
    followers: Mutex<HashMap<CredentialId, Arc<Follower>>>,
}

struct Following {
    options: ReferenceOptions,
    registry: Weak<Registry>,
    /// The runtime for followers: changes come from other runtimes, which may end sooner.
    runtime: Handle,
    at_once: Semaphore,
}

struct Follower {
    workspace: WorkspaceId,
    /// Locked during a poll: a refresh waits for a poll in progress.
    known: tokio::sync::Mutex<Known>,
}

/// The state of a secret, and what the audit log says about it.
struct Known {
    state: State,
    /// `None` if it was not looked up since the start.
    recorded_source: Option<SourceDocument>,
}

impl Registry {
    /// Follows the secrets of stored credentials in Vault for as long as the runtime lives, and
    /// records losses and returns of declared ones. Returns once each stored one was polled once. Until then no credential can be created with a reference; later
    /// calls have no effect.
    pub async fn follow_references(self: &Arc<Self>, options: ReferenceOptions) {
        let following = Following {
            options,
            registry: Arc::downgrade(self),
            runtime: Handle::current(),
            at_once: Semaphore::new(CONCURRENT_READS),
        };
        if self.references.following.set(following).is_err() {
            return;
        }
        tokio::spawn(declared_sources::record(Arc::downgrade(self)));
        let first_poll = Arc::new(Semaphore::new(0));
        let started = {
            let snapshot = self.snapshot.load();
            let entries = snapshot.entries();
            let started = entries.filter(|entry| self.follow_reference(entry, &first_poll));
            u32::try_from(started.count()).unwrap_or(u32::MAX)
        };
        let _ = first_poll.acquire_many(started).await;
    }

    /// Polls the secret of a credential in Vault, and returns the credential.
    /// [`Declared::fault`](crate::Declared) says whether the read failed.
    ///
    /// # Errors
    /// The credential does not exist, is revoked, or its secret is not kept in Vault.
    pub async fn refresh(self: &Arc<Self>, id: &CredentialId) -> Result<Credential, ChangeError> {
        let wanted = id.clone();
        self.run_to_completion(|registry| async move { registry.check_and_poll(&wanted).await })
            .await?;
        self.credential(id).ok_or(ChangeError::CredentialUnknown)
    }

    async fn check_and_poll(&self, id: &CredentialId) -> Result<(), ChangeError> {
        let entry = {
            let snapshot = self.snapshot.load();
            let found = snapshot.credential(id).map(|(_, entry)| entry.clone());
            found.ok_or_else(|| self.not_stored(id))?
        };
        if entry.damage().is_some() {
            return Err(ChangeError::Damaged);
        }
        if entry.document.revoked_at.is_some() {
            return Err(ChangeError::Revoked);
        }
        if entry.reference().is_none() {
            return Err(ChangeError::NotKeptInVault);
        }
        self.poll_once(id).await;
        Ok(())
    }

    /// The state of each stored credential's secret in Vault.
    pub fn reference_health(&self) -> Vec<SourceHealth> {
        let snapshot = self.snapshot.load();
        let entries = snapshot.entries();
        entries.filter_map(|entry| health(entry)).collect()
    }
}

impl Following {
    /// Reads a secret, unless the version in use is current.
    async fn look_up(
        &self,
        entry: &CredentialEntry,
        reference: &VaultReference,
    ) -> Result<Lookup, SourceError> {
        let vault = self.options.vault.as_deref();
        // The settings may have changed since the credential was created. Without a Vault,
        // `read_vault` says that it is missing.
        let (allowed, workspace) = (&self.options.allowed, entry.document.workspace.as_str());
        if vault.is_some() && !allowed.permit(workspace, &reference.path) {
            let error = ChangeError::ReferenceNotAllowed(allowed.of_workspace(workspace));
            return Err(SourceError::Gone(format!("{reference}: {error}")));
        }
        // The semaphore is never closed.
        let _turn = self.at_once.acquire().await;
        source::read_vault(vault, reference, in_use(entry).as_deref()).await
    }
}

impl References {
    pub(super) fn new() -> Self {
        Self {
            key: process_key(),
            following: OnceLock::new(),
            followers: Mutex::default(),
        }
    }
}

impl Registry {
    /// Reads the secret of a new credential, if the settings allow its path.
    pub(super) async fn read_initial_secret(
        &self,
        workspace: &WorkspaceId,
        reference: &VaultReference,
    ) -> Result<InitialSecret, ChangeError> {
        let following = self.references.following.get();
        let options = following.map(|following| &following.options);
        let is_allowed = |options: &&ReferenceOptions| {
            options.allowed.permit(workspace.as_str(), &reference.path)
        };
        let Some(options) = options.filter(is_allowed) else {
            let allowed = options.map(|options| options.allowed.of_workspace(workspace.as_str()));
            return Err(ChangeError::ReferenceNotAllowed(
                allowed.unwrap_or_default(),
            ));
        };
        match source::read_vault(options.vault.as_deref(), reference, None).await {
            Ok(Lookup::Changed { version, secret }) => Ok(InitialSecret { version, secret }),
            // Cannot happen: no version was given to compare with.
            Ok(Lookup::Unchanged) => Err(ChangeError::SecretUnread(
                "Vault did not send it".to_owned(),
            )),
            Err(SourceError::Gone(reason)) => Err(ChangeError::ReferenceRefused(reason)),
            Err(SourceError::Unavailable(reason)) => Err(ChangeError::SecretUnread(reason)),
        }
    }

    pub(super) fn with_initial_secret(
        &self,
        entry: &CredentialEntry,
        first: &InitialSecret,
        metadata: SecretMetadata,
    ) -> CredentialEntry {
        let now = self.clock.now();
        entry
            .with_secret(&first.secret, metadata, &self.references.key, now)
            .with_source_status(Some(&first.version), None)
    }

    /// Starts to follow a published credential's secret, unless it is followed already or not kept
    /// in Vault. Returns whether it did; `first_poll` gets a permit after the first poll.
    pub(super) fn follow_reference(
        &self,
        entry: &CredentialEntry,
        first_poll: &Arc<Semaphore>,
    ) -> bool {
        let Some(following) = self.references.following.get() else {
            return false;
        };
        if entry.reference().is_none() || entry.damage().is_some() {
            return false;
        }
        let id = entry.document.id.clone();
        let mut followers = self.references.followers.lock();
        if followers.contains_key(&id) {
            return false;
        }
        let mut state = State::default();
        if let Some(version) = in_use(entry) {
            state.replaced(version);
        }
        // The credential's creation was recorded with the version in use.
        let recorded_source = state.answer();
        let is_read = recorded_source.is_some();
        let follower = Follower {
            workspace: entry.document.workspace.clone(),
            known: tokio::sync::Mutex::new(Known {
                state,
                recorded_source,
            }),
        };
        followers.insert(id.clone(), Arc::new(follower));
        let poll = following.options.poll;
        let registry = following.registry.clone();
        let task = keep_following(registry, id, poll, is_read, first_poll.clone());
        following.runtime.spawn(task);
        true
    }

    /// Whether to keep following. If not, the follower is removed under the same lock, so that a
    /// credential that reappears gets a new one.
    fn is_still_followed(&self, id: &CredentialId) -> bool {
        let mut followers = self.references.followers.lock();
        let entry = followers
            .get(id)
            .and_then(|follower| self.entry_of(follower, id));
        let is_still_followed = entry.is_some_and(|entry| entry.reference().is_some());
        if !is_still_followed {
            followers.remove(id);
        }
        is_still_followed
    }

    fn entry_of(&self, follower: &Follower, id: &CredentialId) -> Option<Arc<CredentialEntry>> {
        let snapshot = self.snapshot.load();
        let workspace = snapshot.workspaces.get(&follower.workspace)?;
        workspace.credentials.get(id).cloned()
    }

    async fn poll_once(&self, id: &CredentialId) {
        let follower = self.references.followers.lock().get(id).cloned();
        let (Some(following), Some(follower)) = (self.references.following.get(), follower) else {
            return;
        };
        let mut known = follower.known.lock().await;
        let Some(entry) = self.entry_of(&follower, id) else {
            return;
        };
        let Some(reference) = entry.reference() else {
            return;
        };
        let found = following.look_up(&entry, &reference).await;
        let provider = self.catalogue.get(&entry.document.provider);
        let found = found.and_then(|found| expect_usual_kind(found, &reference, provider));
        let state = &mut known.state;
        let change = match found {
            Ok(Lookup::Changed { version, secret }) => {
                state.replaced(version.clone());
                self.replace(&follower, &entry, &version, &secret).await;
                Change::Nothing
            }
            Ok(Lookup::Unchanged) => state.unchanged(),
            Err(error) => state.not_read(error, Instant::now(), following.options.outage),
        };
        self.carry_out(&follower, id, change, state).await;
        self.record_source_change(&follower, id, &mut known).await;
    }

    async fn replace(
        &self,
        follower: &Follower,
        entry: &CredentialEntry,
        version: &str,
        secret: &Secret,
    ) {
        let document = &entry.document;
        let provider = self.catalogue.get(&document.provider);
        let prefixes: &[String] = provider.map_or(&[], |provider| provider.key.prefix.as_slice());
        let metadata = SecretMetadata::of(secret, prefixes, None);
        let until = self.clock.now() + GRACE;
        let key = &self.references.key;
        let change = |entry: &CredentialEntry| {
            entry
                .with_secret(secret, metadata.clone(), key, until)
                .with_source_status(Some(version), None)
        };
        self.update_entry(follower, &document.id, Priority::Normal, change)
            .await;
        tracing::info!(
            workspace = %document.workspace,
            credential = %document.id,
            label = %document.label,
            version,
            "the secret of a stored credential was read from Vault"
        );
        if let Some(warning) = secret.wrapping() {
            let workspace = &document.workspace;
            tracing::warn!(%workspace, credential = %document.id, "the secret of a stored credential is probably not only a key: {warning}");
        }
    }

    async fn carry_out(
        &self,
        follower: &Follower,
        id: &CredentialId,
        change: Change,
        state: &State,
    ) {
        let (version, fault) = (state.version(), state.fault());
        if change == Change::Nothing {
            return;
        }
        if let Some(fault) = &fault {
            let usable = state.is_usable();
            let workspace = &follower.workspace;
            tracing::warn!(%workspace, credential = %id, usable, fault, "the secret of a stored credential cannot be read");
        }
        let priority = match change {
            Change::Withdraw(_) => Priority::High,
            Change::StatusOnly | Change::Nothing => Priority::Normal,
        };
        let change = |entry: &CredentialEntry| {
            let entry = match change {
                Change::Withdraw(why) => entry.unusable(why),
                Change::StatusOnly | Change::Nothing => entry.without_status(),
            };
            entry.with_source_status(version, fault.clone())
        };
        self.update_entry(follower, id, priority, change).await;
    }

    /// Changes an entry and publishes it, under the same locks as a change. What is published may be
    /// replaced meanwhile, by a reader of a later state: then that is changed.
    async fn update_entry(
        &self,
        follower: &Follower,
        id: &CredentialId,
        priority: Priority,
        change: impl Fn(&CredentialEntry) -> CredentialEntry,
    ) {
        let tracked = self.chains.of(&follower.workspace);
        let _lock = tracked.lock(priority).await;
        let _gate = self.gate.read().await;
        // It was decided on entries from before this change. Its members get the outcome.
        let _ = self.commit_group(&follower.workspace).await;
        loop {
            let snapshot = self.snapshot.load_full();
            let Some(workspace) = snapshot.workspaces.get(&follower.workspace) else {
                return;
            };
            // It may have been revoked or found damaged meanwhile.
            let is_followed = |entry: &&Arc<CredentialEntry>| {
                entry.reference().is_some() && entry.damage().is_none()
            };
            let Some(entry) = workspace.credentials.get(id).filter(is_followed) else {
                return;
            };
            let entry = Arc::new(change(entry));
            let settings = workspace.document.clone();
            let changed = Arc::new(workspace.with_all(settings, [entry.clone()]));
            let is_same = |published: &Arc<_>| Arc::ptr_eq(published, workspace);
            if self.publish_if(changed, |published| published.is_some_and(is_same)) {
                self.credential_changed(workspace, &entry);
                return;
            }
        }
    }
}

async fn keep_following(
    registry: Weak<Registry>,
    id: CredentialId,
    poll: Duration,
    mut is_read: bool,
    first_poll: Arc<Semaphore>,
) {
    let mut first = Some(first_poll);
    loop {
        let is_still_followed = match registry.upgrade() {
            Some(registry) if registry.is_still_followed(&id) => {
                if !std::mem::take(&mut is_read) {
                    registry.poll_once(&id).await;
                }
                true
            }
            _ => false,
        };
        if let Some(first_poll) = first.take() {
            first_poll.add_permits(1);
        }
        if !is_still_followed {
            return;
        }
        sleep(source::next_poll_delay(poll)).await;
    }
}

/// The version that requests use.
fn in_use(entry: &CredentialEntry) -> Option<String> {
    let followed = entry.declared.as_ref().filter(|_| entry.usable.is_ok());
    followed.and_then(|followed| followed.version.clone())
}

fn health(entry: &CredentialEntry) -> Option<SourceHealth> {
    let reference = entry.reference()?;
    let followed = entry.declared.as_ref();
    let fault = followed.and_then(|followed| followed.fault.clone());
    Some(SourceHealth {
        workspace: entry.document.workspace.clone(),
        provider: entry.document.provider.clone(),
        label: entry.document.label.clone(),
        source: reference.to_string(),
        usable: entry.usable.is_ok(),
        unknown: entry.usable.is_err() && fault.is_none(),
        fault,
        // Logged when the secret is read.
        warning: None,
        // Only declared credentials are cached.
        cached: None,
    })
}
