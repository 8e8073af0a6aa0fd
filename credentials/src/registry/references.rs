//! Follows the secrets of stored credentials that stay in Vault. Requests never wait for any of it.
//!
//! One task a credential. What it reads is sealed in memory and shown under the workspace's lock, as a change is; nothing of
//! it is stored.

mod on_record;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use keyside_config::AllowedReferences;
use tokio::{runtime::Handle, sync::Semaphore, time::sleep};

use self::on_record::OnRecord;
use super::{ChangeError, Inner, Registry, change::FirstReading};
use crate::{
    chains::Priority,
    declared::{
        Standing, process_key,
        state::{Change, State},
    },
    documents::Trace,
    model::{Credential, CredentialId, WorkspaceId, refused_kind},
    sealing::SealingKey,
    secret::Secret,
    snapshot::CredentialEntry,
    source::{self, AT_ONCE, Found, GRACE, SecretSource, SourceError, VaultReference},
};

/// How secrets of stored credentials that stay in Vault are followed.
pub struct ReferenceOptions {
    /// Where they are read.
    pub vault: Option<Arc<dyn SecretSource>>,
    /// How often each is looked at.
    pub poll: Duration,
    /// How long a secret is used that cannot be read any more, while nobody says that it is gone.
    pub outage: Duration,
    /// Which paths new credentials may name.
    pub allowed: AllowedReferences,
}

/// All that are followed.
pub(super) struct References {
    /// Seals what was read, in this process alone.
    key: Arc<SealingKey>,
    following: OnceLock<Following>,
    followers: Mutex<HashMap<CredentialId, Arc<Follower>>>,
}

struct Following {
    options: ReferenceOptions,
    inner: Weak<Inner>,
    /// Changes come from other runtimes, which may end sooner.
    runtime: Handle,
    at_once: Semaphore,
}

struct Follower {
    workspace: WorkspaceId,
    /// Locked while the secret is looked at: a refresh waits for a look that is under way.
    known: tokio::sync::Mutex<Known>,
}

/// What is known of a secret, here and in the audit log.
struct Known {
    state: State,
    on_record: OnRecord,
}

impl Registry {
    /// Follows the secrets of stored credentials that stay in Vault, for as long as the runtime lives. Returns once each was
    /// looked for once. Before it is called no credential can be stored by reference; a second time changes nothing.
    pub async fn follow_references(&self, options: ReferenceOptions) {
        let following = Following {
            options,
            inner: Arc::downgrade(&self.inner),
            runtime: Handle::current(),
            at_once: Semaphore::new(AT_ONCE),
        };
        if self.inner.references.following.set(following).is_err() {
            return;
        }
        let looked = Arc::new(Semaphore::new(0));
        let started = self.inner.follow_all(&looked);
        let _ = looked.acquire_many(started).await;
    }

    /// Looks at once for the secret of a credential that stays in Vault, and returns what is known then. Whether it was read
    /// is told by [`Declared::fault`](crate::Declared).
    ///
    /// # Errors
    /// When there is no such credential, it was revoked, or its secret is not kept in Vault.
    pub async fn refresh(&self, id: &CredentialId) -> Result<Credential, ChangeError> {
        let wanted = id.clone();
        self.to_its_end(|inner| async move { inner.refresh(&wanted).await })
            .await?;
        self.credential(id).ok_or(ChangeError::CredentialUnknown)
    }

    /// How each stored credential stands whose secret stays in Vault.
    pub fn reference_standings(&self) -> Vec<Standing> {
        let snapshot = self.inner.snapshot.load();
        let workspaces = snapshot.workspaces.values();
        let entries = workspaces.flat_map(|workspace| workspace.credentials.values());
        entries.filter_map(|entry| standing(entry)).collect()
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

    /// What a panic leaves is what was there before it.
    fn followers(&self) -> MutexGuard<'_, HashMap<CredentialId, Arc<Follower>>> {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Reads the secret of a new credential, if its workspace's credentials may name it.
    pub(super) async fn read_first(
        &self,
        workspace: &WorkspaceId,
        reference: &VaultReference,
    ) -> Result<FirstReading, ChangeError> {
        let following = self.references.following.get();
        let options = following.map(|following| &following.options);
        let is_allowed = |options: &&ReferenceOptions| {
            options.allowed.permit(workspace.as_str(), &reference.path)
        };
        let Some(options) = options.filter(is_allowed) else {
            let allowed = options.map(|options| options.allowed.of_workspace(workspace.as_str()));
            return Err(ChangeError::ReferenceNotAllowed {
                allowed: allowed.unwrap_or_default(),
            });
        };
        match source::read_vault(options.vault.as_deref(), reference, None).await {
            Ok(Found::Another { version, secret }) => Ok(FirstReading { version, secret }),
            // No version was known that it could be the same as.
            Ok(Found::Same) => Err(ChangeError::SecretUnread {
                reason: "Vault did not send it".to_owned(),
            }),
            Err(SourceError::Gone(reason)) => Err(ChangeError::ReferenceRefused { reason }),
            Err(SourceError::Away(reason)) => Err(ChangeError::SecretUnread { reason }),
        }
    }

    /// The same credential with its first secret.
    pub(super) fn with_first(
        &self,
        entry: &CredentialEntry,
        first: &FirstReading,
        trace: Trace,
    ) -> CredentialEntry {
        let now = self.clock.now();
        entry
            .with_secret(&first.secret, trace, &self.references.key, now)
            .said_of(Some(&first.version), None)
    }

    /// Follows all that are not followed yet, and says how many. `looked` gets a permit once each was looked for.
    pub(super) fn follow_all(&self, looked: &Arc<Semaphore>) -> u32 {
        let snapshot = self.snapshot.load();
        let workspaces = snapshot.workspaces.values();
        let entries = workspaces.flat_map(|workspace| workspace.credentials.values());
        let started = entries.filter(|entry| self.follow(entry, looked)).count();
        u32::try_from(started).unwrap_or(u32::MAX)
    }

    /// Starts to follow the secret of a credential that is in the snapshot, unless that goes on already or there is none to
    /// follow.
    pub(super) fn follow(&self, entry: &CredentialEntry, looked: &Arc<Semaphore>) -> bool {
        let Some(following) = self.references.following.get() else {
            return false;
        };
        if entry.reference().is_none() || entry.damage().is_some() {
            return false;
        }
        let id = entry.document.id.clone();
        let mut followers = self.references.followers();
        if followers.contains_key(&id) {
            return false;
        }
        let mut state = State::default();
        let version = in_use(entry);
        let is_read = version.is_some();
        let mut on_record = OnRecord::default();
        if let Some(version) = version {
            // The record of its creation tells of it.
            on_record = OnRecord::Version(version.clone());
            state.replaced(version);
        }
        let follower = Follower {
            workspace: entry.document.workspace.clone(),
            known: tokio::sync::Mutex::new(Known { state, on_record }),
        };
        followers.insert(id.clone(), Arc::new(follower));
        let poll = following.options.poll;
        let inner = following.inner.clone();
        let task = keep_following(inner, id, poll, is_read, looked.clone());
        following.runtime.spawn(task);
        true
    }

    async fn refresh(&self, id: &CredentialId) -> Result<(), ChangeError> {
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
        self.look(id).await;
        Ok(())
    }

    /// Whether there is still something to follow. If not, the follower is removed under the same lock, so that a credential
    /// that is shown again gets a new one.
    fn goes_on(&self, id: &CredentialId) -> bool {
        let mut followers = self.references.followers();
        let entry = followers
            .get(id)
            .and_then(|follower| self.entry_of(follower, id));
        let goes_on = entry.is_some_and(|entry| entry.reference().is_some());
        if !goes_on {
            followers.remove(id);
        }
        goes_on
    }

    fn entry_of(&self, follower: &Follower, id: &CredentialId) -> Option<Arc<CredentialEntry>> {
        let snapshot = self.snapshot.load();
        let workspace = snapshot.workspaces.get(&follower.workspace)?;
        workspace.credentials.get(id).cloned()
    }

    async fn look(&self, id: &CredentialId) {
        let follower = self.references.followers().get(id).cloned();
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
        // Never closed.
        let turn = following.at_once.acquire().await;
        let vault = following.options.vault.as_deref();
        let found = source::read_vault(vault, &reference, in_use(&entry).as_deref()).await;
        drop(turn);
        let found = found.and_then(|found| self.expect_usual_kind(&entry, &reference, found));
        let state = &mut known.state;
        let change = match found {
            Ok(Found::Another { version, secret }) => {
                state.replaced(version.clone());
                self.replace(&follower, &entry, &version, &secret).await;
                Change::Nothing
            }
            Ok(Found::Same) => state.unchanged(),
            Err(error) => state.not_read(error, Instant::now(), following.options.outage),
        };
        self.carry_out(&follower, id, change, state).await;
        self.put_on_record(&follower, id, &mut known).await;
    }

    /// A key that administers is not used, wherever it is kept.
    fn expect_usual_kind(
        &self,
        entry: &CredentialEntry,
        reference: &VaultReference,
        found: Found,
    ) -> Result<Found, SourceError> {
        let provider = self.catalogue.get(&entry.document.provider);
        let kind = match (&found, provider) {
            (Found::Another { secret, .. }, Some(provider)) => refused_kind(secret, &provider.key),
            _ => None,
        };
        match kind {
            Some(kind) => Err(SourceError::Gone(format!("{reference}: {}", kind.why))),
            None => Ok(found),
        }
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
        let trace = Trace::of(secret, prefixes, None);
        let until = self.clock.now() + GRACE;
        let key = &self.references.key;
        let change = |entry: &CredentialEntry| {
            entry
                .with_secret(secret, trace, key, until)
                .said_of(Some(version), None)
        };
        self.publish(follower, &document.id, Priority::Normal, change)
            .await;
        tracing::info!(
            workspace = %document.workspace,
            credential = %document.id,
            label = %document.label,
            version,
            "the secret of a stored credential was read from Vault"
        );
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
            Change::Told | Change::Nothing => Priority::Normal,
        };
        let change = |entry: &CredentialEntry| {
            let entry = match change {
                Change::Withdraw(why) => entry.withdrawn(why),
                Change::Told | Change::Nothing => entry.told_anew(),
            };
            entry.said_of(version, fault)
        };
        self.publish(follower, id, priority, change).await;
    }

    /// From here on requests see it. Under the lock that changes take: none comes between.
    async fn publish(
        &self,
        follower: &Follower,
        id: &CredentialId,
        priority: Priority,
        change: impl FnOnce(&CredentialEntry) -> CredentialEntry,
    ) {
        let tracked = self.chains.of(&follower.workspace);
        let _lock = tracked.lock(priority).await;
        let _gate = self.gate.read().await;
        let snapshot = self.snapshot.load_full();
        let Some(workspace) = snapshot.workspaces.get(&follower.workspace) else {
            return;
        };
        let Some(entry) = workspace.credentials.get(id) else {
            return;
        };
        // It may have been revoked or found damaged meanwhile.
        if entry.reference().is_some() && entry.damage().is_none() {
            let entry = change(entry);
            self.show_credential(workspace, workspace.document.clone(), entry, None);
        }
    }
}

async fn keep_following(
    inner: Weak<Inner>,
    id: CredentialId,
    poll: Duration,
    mut is_read: bool,
    looked: Arc<Semaphore>,
) {
    let mut first = Some(looked);
    loop {
        let goes_on = match inner.upgrade() {
            Some(inner) if inner.goes_on(&id) => {
                if !std::mem::take(&mut is_read) {
                    inner.look(&id).await;
                }
                true
            }
            _ => false,
        };
        if let Some(looked) = first.take() {
            looked.add_permits(1);
        }
        if !goes_on {
            return;
        }
        sleep(source::until_next_look(poll)).await;
    }
}

/// The version that requests use.
fn in_use(entry: &CredentialEntry) -> Option<String> {
    let followed = entry.declared.as_ref().filter(|_| entry.usable.is_ok());
    followed.and_then(|followed| followed.version.clone())
}

fn standing(entry: &CredentialEntry) -> Option<Standing> {
    let reference = entry.reference()?;
    let followed = entry.declared.as_ref();
    let fault = followed.and_then(|followed| followed.fault.clone());
    Some(Standing {
        workspace: entry.document.workspace.clone(),
        provider: entry.document.provider.clone(),
        label: entry.document.label.clone(),
        source: reference.to_string(),
        usable: entry.usable.is_ok(),
        unknown: entry.usable.is_err() && fault.is_none(),
        fault,
        // Only declared credentials are kept in the cache.
        cached: None,
    })
}
