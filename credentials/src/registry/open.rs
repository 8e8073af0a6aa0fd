//! Opens the store: the installation's chain first, then each workspace's. Recovers what a crash
//! has interrupted.

pub(super) mod unregistered;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use keyside_store::{
    Backend, Hash, StorageError,
    chain::{self, ChainName, CommitError, LoadError, State},
    file,
};
use parking_lot::Mutex;
use tokio::{
    sync::{RwLock, Semaphore, mpsc},
    task::JoinSet,
};

use super::{
    OpenError, OpenOptions, Registry, change::Groups, checks::LastChecks,
    duplicates::DuplicateIndex, expiry::AnnouncedExpiries, housekeeping, references::References,
    spend::SpendWriter, traffic::RejectionNotes,
};
use crate::{
    access::{Access, EnsureOwnerError},
    audit::Audit,
    chains::{Anchors, Chains, HEADS, PutBack, pause},
    clock::Ratchet,
    damage::Damage,
    documents::WORKSPACE,
    keyring::{Keyring, KeyringFile},
    kms::Kms,
    model::WorkspaceId,
    notes::NoteStore,
    runs::Runs,
    snapshot::{
        DamageReport, Snapshot, WorkspaceEntry, WorkspaceLoader,
        signals::{Notice, Notices},
    },
};

/// How a process uses a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Reads and changes it, possibly beside other authorities.
    Authority,
    /// Only resolves from it.
    Reader,
}

impl Registry {
    /// Opens the store: unwraps the workspace keys, authenticates every document, recovers from a
    /// crash between two chains, and creates the owner token on the first start. The current
    /// runtime must live as long as the process: background tasks write run records and sweep ended
    /// versions.
    ///
    /// # Errors
    /// Each error names a remedy.
    pub async fn open(options: OpenOptions) -> Result<Arc<Self>, OpenError> {
        let (registry, notices) = Self::open_as(Role::Authority, options).await?;
        housekeeping::start(&registry, notices);
        Ok(registry)
    }

    /// Call this before creating a missing store: checks whether the keyring or the anchors belong
    /// to a store that was lost. Opens and creates nothing.
    ///
    /// # Errors
    /// [`OpenError::StoreMissing`], or a keyring that cannot be read.
    pub fn expect_no_store_lost(keyring: &Path) -> Result<(), OpenError> {
        let existing = KeyringFile::read(keyring)?;
        let has_workspaces = existing.is_some_and(|existing| existing.has_workspaces());
        let heads = keyring.with_file_name(HEADS);
        match has_workspaces || Anchors::path(&heads, &ChainName::installation()).exists() {
            true => Err(OpenError::StoreMissing(keyring.to_owned())),
            false => Ok(()),
        }
    }

    /// Opens the store as an authority or as a reader, without background tasks. A reader writes
    /// nothing. The receiver gets refused uses of credentials.
    pub(super) async fn open_as(
        role: Role,
        options: OpenOptions,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Notice>), OpenError> {
        let (path, backend) = (options.keyring, options.backend);
        let heads = path.with_file_name(HEADS);
        let now = options.clock.now();
        let (keyring, is_new) = open_keyring(role, &path, options.kms, &backend, now).await?;
        let keyring = Arc::new(keyring);
        let clock = Arc::new(Ratchet::new(options.clock));
        let chains = Chains::new(backend.clone(), keyring.clone(), clock.clone(), &heads).await;
        let chains = Arc::new(chains);
        if is_new && (keyring.has_workspaces() || chains.has_anchor(chains.installation())) {
            return Err(OpenError::StoreMissing(path));
        }
        // Before the installation's chain is read: another process registers a workspace before it
        // writes its anchor.
        let anchored = chains.anchors.workspaces();
        let refreshed = chains.refresh(chains.installation()).await;
        refreshed.map_err(|error| OpenError::of_installation_chain(error, &heads))?;
        if role == Role::Authority {
            chains.anchors.sweep().await;
            anchor_first_head(&chains, &heads).await?;
            unregistered::warn(&chains, &anchored, &keyring);
        }
        let (notices, noted) = Notices::new(clock.clone());
        let spend = SpendWriter::default();
        if role == Role::Authority {
            notices.store_spend_with(&spend.due);
        }
        let registry = Arc::new(Self {
            access: Access::new(clock.clone(), &path.with_file_name("admin-token")),
            audit: Arc::new(Audit::new(chains.clone(), keyring.clone(), notices.clone())),
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
            gate: RwLock::default(),
            groups: Groups::default(),
            rotations: Mutex::default(),
            notices,
            rejection_notes: RejectionNotes::default(),
            announced_expiries: AnnouncedExpiries::default(),
            checks: LastChecks::default(),
            duplicates: DuplicateIndex::default(),
            declared: OnceLock::new(),
            references: References::new(),
            links: Arc::default(),
            spend,
            tokens_state: tokio::sync::Mutex::default(),
            runs: match role {
                Role::Authority => Runs::start(backend.runs.clone(), erased(&chains, &clock)),
                Role::Reader => Runs::disabled(),
            },
            notes: Arc::new(NoteStore::new(backend.notes.clone(), keyring.clone())),
            chains,
            keyring,
            catalogue: options.catalogue,
            rules: options.rules,
            clock,
        });
        registry.read_all(role, &heads).await?;
        Ok((registry, noted))
    }

    /// Reads the state, and as an authority records what was found and finishes what a crash
    /// interrupted.
    async fn read_all(self: &Arc<Self>, role: Role, heads: &Path) -> Result<(), OpenError> {
        let findings = self.read_workspaces().await?;
        self.load_rejections().await;
        self.load_checks().await;
        self.expect_newest_installation_head(heads).await?;
        self.clock.at_least(self.chains.latest());
        if role == Role::Authority {
            self.restore_spend().await;
            tolerate_full_disk("what was found damaged", self.report_state().await)?;
            tolerate_full_disk("what was found damaged", self.report(findings).await)?;
            tolerate_full_disk("the restore", self.record_restore().await)?;
            self.ensure_owner().await?;
            anchor_first_head(&self.chains, heads).await?;
            if let Err(error) = self.recover().await {
                tracing::error!(%error, "recovery from a crash failed: a later start retries");
            }
            if let Err(error) = self.chains.sync_anchors_left_unsynced().await {
                tracing::warn!(%error, "the anchors of a killed process are not synced yet: the next change of a chain syncs its own");
            }
        }
        let own = self
            .chains
            .installation()
            .state()
            .map(|own| own.head.link());
        let head = own.map_or_else(String::new, |own| {
            format!("installation {}:{}", own.records, own.hash)
        });
        tracing::info!(
            workspaces = self.snapshot.load().workspaces.len(),
            audit_head = %head,
            "opened the credential store"
        );
        Ok(())
    }

    /// Loads the tokens from the installation's chain. Tokens that fail authentication are dropped.
    pub(super) async fn read_tokens(&self) -> Result<Vec<DamageReport>, StorageError> {
        let findings = self.access.read(self.chains.installation()).await?;
        let last_used = &self.access.last_used;
        last_used.load(&self.notes, self.clock.now()).await;
        Ok(findings)
    }

    async fn read_workspaces(self: &Arc<Self>) -> Result<Vec<DamageReport>, StorageError> {
        let registrations = self.chains.registrations();
        let mut waiting = registrations.keys().cloned();
        let (mut reading, mut findings) = (JoinSet::new(), self.read_tokens().await?);
        loop {
            while reading.len() < CONCURRENT_READS
                && let Some(id) = waiting.next()
            {
                let registry = self.clone();
                reading.spawn(async move { registry.read_workspace(&id).await });
            }
            let Some(read) = reading.join_next().await else {
                return Ok(findings);
            };
            let read = read.map_err(StorageError::unavailable)?;
            findings.extend(read?);
        }
    }

    /// Refuses an installation's chain that is older than what the workspaces' heads were decided
    /// on.
    async fn expect_newest_installation_head(&self, heads: &Path) -> Result<(), OpenError> {
        let found = match self.chains.installation_put_back().await {
            Ok(None) => return Ok(()),
            Ok(Some(found)) => found,
            Err(error) => return Err(OpenError::of_installation_chain(error, heads)),
        };
        let PutBack { shown_by, damage } = found;
        tracing::error!(%shown_by, %damage, "a workspace was changed on a newer state of the installation");
        Err(OpenError::of_installation_chain(damage.into(), heads))
    }

    /// Reads a workspace's chain, and publishes the workspace if it has changed. A workspace that
    /// fails authentication is published as damaged.
    pub(super) async fn read_workspace(
        &self,
        id: &WorkspaceId,
    ) -> Result<Vec<DamageReport>, StorageError> {
        let tracked = self.chains.of(id);
        let refreshed = self.chains.refresh(&tracked).await;
        let Some(registration) = self.chains.existing(id) else {
            // Only the audit records of an erased workspace are left.
            if let Err(LoadError::Damaged(damage)) = refreshed {
                let file = self.chains.anchor_file(id);
                tracing::error!(
                    workspace = %id, %damage, file = %file.display(),
                    "the audit log of an erased workspace failed verification: {RESTORE}"
                );
            }
            return Ok(Vec::new());
        };
        // Again: the registration may have been damaged since the chain was first read.
        let readable = registration.check_readable(id.as_str());
        if let Err(error) = refreshed.and_then(|_| Ok(readable?)) {
            return self.refuse_workspace(id, &error.into_damage()?).await;
        }
        let Some(state) = tracked.state() else {
            // Registered, but not begun yet.
            return Ok(Vec::new());
        };
        if state.head.incarnation < registration.incarnation {
            if registration.pending.is_some() {
                // Until it begins, the chain is that of its predecessor.
                return Ok(Vec::new());
            }
            let damage = "the head of an erased workspace was put in the place of its successor's";
            tracing::error!(workspace = %id, damage, "a workspace failed verification and is not used: {REMEDY}");
            let damage = damage.to_owned();
            return self.publish_damaged(id, Damage::Head, damage).await;
        }
        self.publish_state(id, state).await
    }

    pub(super) async fn publish_state(
        &self,
        id: &WorkspaceId,
        mut state: Arc<State>,
    ) -> Result<Vec<DamageReport>, StorageError> {
        let tracked = self.chains.of(id);
        let mut retries = MAX_RETRIES;
        loop {
            let before = self.snapshot.load().workspaces.get(id).cloned();
            let is_shown = before.as_ref().is_some_and(|before| {
                let at = before.at.as_ref();
                before.damage.is_none() && at.is_some_and(|at| at.head == state.head)
            });
            if is_shown {
                return Ok(Vec::new());
            }
            if state.document(WORKSPACE).is_none() {
                // Erased, but not yet recorded in the installation's chain.
                self.snapshot.rcu(|snapshot| snapshot.without(id));
                self.duplicates.forget();
                return Ok(Vec::new());
            }
            // Another process may have created the workspace, or a key: keys must be known before
            // the state is published.
            if let Err(error) = self.keyring.catch_up().await {
                tracing::warn!(workspace = %id, %error, "the keyring could not be read again");
            }
            let loader = self.loader(id, before.as_deref());
            let read = loader.read(id, &tracked.chain, state.clone()).await?;
            let (entry, findings) = read;
            if !findings.is_empty() {
                // A concurrent commit may have removed what this state named.
                match self.chains.refresh(&tracked).await {
                    Err(LoadError::Storage(error)) => return Err(error),
                    // Another commit is in progress.
                    Err(LoadError::Damaged(_)) if retries > 0 => {
                        retries -= 1;
                        pause().await;
                        continue;
                    }
                    _ => {}
                }
                let newest = tracked.state();
                if let Some(newest) = newest.filter(|newest| newest.head != state.head) {
                    state = newest;
                    continue;
                }
            }
            // Only in place of the entry that it was made from: a secret that its source has withdrawn
            // meanwhile is in no document, and would be used again.
            let entry = Arc::new(entry);
            let is_published = self.publish_if(entry.clone(), |published| {
                let is_before = published.map(Arc::as_ptr) == before.as_ref().map(Arc::as_ptr);
                is_before && !tracked.is_newer_than(&state)
            });
            self.duplicates.forget();
            // A later state is known, but perhaps not published yet: on return, the published state
            // must not be older than what this process has seen.
            if let Some(newest) = tracked.state().filter(|_| tracked.is_newer_than(&state)) {
                state = newest;
                continue;
            }
            if !is_published {
                continue;
            }
            // Nobody waits for the first poll of credentials that reappear.
            let first_poll = Arc::new(Semaphore::new(0));
            for credential in entry.credentials.values() {
                self.follow_reference(credential, &first_poll);
            }
            return Ok(findings);
        }
    }

    /// Publishes a workspace whose chain failed verification.
    async fn refuse_workspace(
        &self,
        id: &WorkspaceId,
        damage: &chain::Damage,
    ) -> Result<Vec<DamageReport>, StorageError> {
        let (kind, remedy) = match damage {
            chain::Damage::PageGone => (Damage::Map, REMEDY),
            chain::Damage::DocumentGone { .. } => (Damage::Registration, RESTORE),
            _ => (Damage::Head, REMEDY),
        };
        tracing::error!(workspace = %id, %damage, "a workspace failed verification and is not used: {remedy}");
        self.publish_damaged(id, kind, damage.to_string()).await
    }

    async fn publish_damaged(
        &self,
        id: &WorkspaceId,
        kind: Damage,
        found: String,
    ) -> Result<Vec<DamageReport>, StorageError> {
        let before = self.snapshot.load().workspaces.get(id).cloned();
        let loader = self.loader(id, before.as_deref());
        let (entry, mut finding) = loader.damaged(id, kind, found);
        if kind == Damage::Registration && self.has_ended(id).await? {
            self.snapshot.rcu(|snapshot| snapshot.without(id));
        } else {
            self.publish(Arc::new(entry));
        }
        // The hash distinguishes this damaged head from the next one, so that both are recorded.
        let head = self.chains.of(id).chain.head_bytes().await?;
        finding.hash = head.map(|bytes| Hash::of(&bytes));
        Ok(vec![finding])
    }

    /// Whether a workspace whose registration cannot be read was erased: its chain has ended, and
    /// the keyring has no key of it.
    async fn has_ended(&self, id: &WorkspaceId) -> Result<bool, StorageError> {
        if !self.keyring.ids(id).await.is_empty() {
            return Ok(false);
        }
        let trust = self.keyring.trust();
        match self.chains.of(id).chain.load(&trust).await {
            Ok(state) => Ok(state.is_some_and(|state| state.document(WORKSPACE).is_none())),
            Err(error) => error.into_damage().map(|_| false),
        }
    }

    fn loader<'a>(
        &'a self,
        id: &WorkspaceId,
        before: Option<&'a WorkspaceEntry>,
    ) -> WorkspaceLoader<'a> {
        WorkspaceLoader {
            keyring: &self.keyring,
            notices: &self.notices,
            registration: self.chains.registration(id),
            before,
        }
    }

    /// If the disk is full, the next start creates the token. A new installation does not start
    /// without one: it has nothing else.
    async fn ensure_owner(self: &Arc<Self>) -> Result<(), OpenError> {
        match self.make_owner().await {
            Err(EnsureOwnerError::Commit(error))
                if self.chains.installation().state().is_some() =>
            {
                tolerate_full_disk("an owner token", Err(error))
            }
            Err(EnsureOwnerError::Commit(error)) => Err(error.into_storage_error().into()),
            Err(EnsureOwnerError::File(error)) => Err(OpenError::TokenFile(error)),
            Ok(()) => Ok(()),
        }
    }
}

/// Opens the keyring, and tells whether the store is new.
async fn open_keyring(
    role: Role,
    path: &Path,
    kms: Kms,
    backend: &Backend,
    now: Timestamp,
) -> Result<(Keyring, bool), OpenError> {
    let folder = path.parent();
    if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty())
        && role == Role::Authority
    {
        file::create_folder(folder).map_err(|error| OpenError::Keyring(error.into()))?;
    }
    let is_new = backend.storage.get("installation/head").await?.is_none();
    // Checked first: a missing keyring must never be replaced by a new one while there is data.
    if !path.exists() && !is_new {
        return Err(OpenError::KeyringMissing(path.to_owned()));
    }
    let keyring = match role {
        Role::Authority => Keyring::open_or_create(path, kms, now).await?,
        Role::Reader => Keyring::open_to_read(path, kms).await?,
    };
    Ok((keyring, is_new))
}

/// When each erased workspace was. If the clock was ahead at the erasure and is right now, the runs
/// of a successor must not be removed.
fn erased(chains: &Chains, clock: &Ratchet) -> HashMap<WorkspaceId, Timestamp> {
    let now = clock.now().max(chains.latest());
    let registrations = chains.registrations();
    let erased = registrations.iter().filter_map(|(id, registration)| {
        let erased = registration.erased.as_ref()?;
        Some((id.clone(), erased.at.min(now)))
    });
    erased.collect()
}

/// After the second commit, an installation does not start without an anchor, so before its first
/// anchor is on disk nothing is committed on the first head, and no workspace gets a key.
async fn anchor_first_head(chains: &Chains, heads: &Path) -> Result<(), OpenError> {
    let own = chains.installation();
    if own.state().is_none_or(|state| state.head.seq > 1) {
        return Ok(());
    }
    let written = chains.write_first_anchor(own).await;
    written.map_err(|error| OpenError::first_anchor_not_written(error, heads))
}

/// A full disk must not prevent a start: a later start makes the record.
fn tolerate_full_disk(what: &str, outcome: Result<(), CommitError>) -> Result<(), OpenError> {
    match outcome {
        Err(CommitError::NotBegun(error @ StorageError::Full { .. })) => {
            tracing::error!(%error, "the disk is full: {what} is recorded at a later start");
            Ok(())
        }
        Err(error) => Err(error.into_storage_error().into()),
        Ok(()) => Ok(()),
    }
}

/// For a workspace whose chain failed verification.
const REMEDY: &str =
    "put back the newest copy of the whole data folder, restore a backup, or erase the workspace";
/// For what only a newer copy of the data mends.
pub(super) const RESTORE: &str =
    "put back the newest copy of the whole data folder, or restore a backup";
/// How often to read again while a state's documents are being replaced.
const MAX_RETRIES: u32 = 20;
/// Workspaces that are read at the same time. Each thread that reads has memory of its own.
const CONCURRENT_READS: usize = 4;
