//! The chains of an installation: one for itself, and one for each workspace.
//!
//! Adds what all commits have in common: the time, the signature, the installation's head that the
//! change was decided on, and the anchor outside the store. `queue.rs` serializes the changes of a
//! chain within this process.

mod accepted_clock;
mod anchors;
mod decided_on;
mod first_read;
mod queue;
mod reading;
mod record_group;
mod registration;
mod signing;
mod state;
mod unconfirmed;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use keyside_store::{
    Backend, PublicKey, StorageError, TrustedKeys,
    chain::{Chain, ChainName, Change, CommitError, Entry, LoadError, ObjectRef, State, Write},
};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use self::{
    accepted_clock::ACCEPTED, queue::Queue, record_group::WaitingRecords, unconfirmed::Unconfirmed,
};
pub(crate) use self::{
    accepted_clock::AcceptedClock,
    anchors::{Anchors, HEADS},
    decided_on::PutBack,
    queue::{Priority, Turn},
    registration::{Erasure, PendingCreation, Registration},
    state::InstallationState,
};
use crate::{clock::Ratchet, keyring::Keyring, model::WorkspaceId, record::Draft};

pub(crate) struct Chains {
    backend: Backend,
    keyring: Arc<Keyring>,
    clock: Arc<Ratchet>,
    pub(crate) anchors: Anchors,
    /// The epoch that this process writes in.
    epoch: u64,
    /// The chain of the installation itself.
    installation: Arc<Tracked>,
    workspaces: RwLock<HashMap<WorkspaceId, Arc<Tracked>>>,
    /// The registered workspaces, as of the installation's head. Updated before that state is
    /// published: a reader that loads the state first never sees older registrations.
    registrations: ArcSwap<Registrations>,
    /// Records that wait for the next commit to the installation's chain.
    waiting: Mutex<Vec<WaitingRecords>>,
    unconfirmed: Unconfirmed,
}

/// A chain and its last known state.
pub(crate) struct Tracked {
    pub(crate) chain: Chain,
    state: ArcSwapOption<State>,
    /// Held while this process changes the chain: one change at a time.
    changing: Arc<Queue>,
}

/// The registrations in a state of the installation's chain.
#[derive(Default)]
struct Registrations {
    /// Epoch and sequence number of that state.
    of: (u64, u64),
    all: Arc<BTreeMap<WorkspaceId, Registration>>,
    /// The object that each registration was read from, so that unchanged ones are not read again.
    objects: HashMap<WorkspaceId, ObjectRef>,
    /// Set if the clock was accepted.
    accepted: Option<Arc<AcceptedClock>>,
}

impl Tracked {
    fn new(name: ChainName, keyring: &Keyring, backend: &Backend) -> Arc<Self> {
        let installation = keyring.installation().installation().into();
        Arc::new(Self {
            chain: Chain::new(name, &installation, backend),
            state: ArcSwapOption::empty(),
            changing: Arc::default(),
        })
    }

    /// The last known state; `None` before the first.
    pub(crate) fn state(&self) -> Option<Arc<State>> {
        self.state.load_full()
    }

    /// Replaces the known state, unless it is newer: of two concurrent readers the slower one must
    /// not win.
    fn advance(&self, state: &Arc<State>) {
        self.state.rcu(|known| match known {
            Some(known) if order(known) > order(state) => Some(known.clone()),
            _ => Some(state.clone()),
        });
    }

    pub(crate) fn is_newer_than(&self, state: &State) -> bool {
        self.state()
            .is_some_and(|known| order(&known) > order(state))
    }

    /// Waits for the lock that serializes changes.
    pub(crate) async fn lock(&self, priority: Priority) -> Turn {
        self.changing.lock(priority).await
    }
}

impl Chains {
    pub(crate) async fn new(
        backend: Backend,
        keyring: Arc<Keyring>,
        clock: Arc<Ratchet>,
        heads: &Path,
    ) -> Self {
        Self {
            installation: Tracked::new(ChainName::installation(), &keyring, &backend),
            anchors: Anchors::in_folder(heads, keyring.clone()),
            epoch: keyring.epoch().await,
            backend,
            keyring,
            clock,
            workspaces: RwLock::default(),
            registrations: ArcSwap::default(),
            waiting: Mutex::default(),
            unconfirmed: Unconfirmed::default(),
        }
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The key that verifies this installation's heads. During a rotation of the signing key,
    /// workspaces' heads may still be signed with the previous key.
    pub(crate) fn public_key(&self) -> PublicKey {
        let own = self.installation.state();
        own.map_or_else(|| self.keyring.public_key(), |own| own.signer())
    }

    pub(crate) fn installation(&self) -> &Arc<Tracked> {
        &self.installation
    }

    /// The chain of a workspace, whether or not it exists.
    pub(crate) fn of(&self, workspace: &WorkspaceId) -> Arc<Tracked> {
        let known = self.workspaces.read();
        if let Some(known) = known.get(workspace) {
            return known.clone();
        }
        drop(known);
        let name = ChainName::workspace(workspace.as_str());
        let mut known = self.workspaces.write();
        // Ids that never became workspaces must not accumulate.
        if known.len() == known.capacity() {
            known.retain(|_, chain| chain.state().is_some() || Arc::strong_count(chain) > 1);
        }
        let tracked = known.entry(workspace.clone());
        tracked
            .or_insert_with(|| Tracked::new(name, &self.keyring, &self.backend))
            .clone()
    }

    /// All registered workspaces, including erased ones.
    pub(crate) fn registrations(&self) -> Arc<BTreeMap<WorkspaceId, Registration>> {
        self.registrations.load().all.clone()
    }

    pub(crate) fn registration(&self, workspace: &WorkspaceId) -> Option<Registration> {
        self.registrations.load().all.get(workspace).cloned()
    }

    /// The registration of a workspace that exists.
    pub(crate) fn existing(&self, workspace: &WorkspaceId) -> Option<Registration> {
        self.registration(workspace).filter(|it| it.exists)
    }

    /// The registration of a workspace that is about to be changed, if it has one.
    ///
    /// # Errors
    /// [`CommitError::Damaged`] if the registration is gone or edited.
    pub(crate) fn sound_registration(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Option<Registration>, CommitError> {
        let registration = self.registration(workspace);
        if let Some(registration) = &registration {
            let readable = registration.check_readable(workspace.as_str());
            readable.map_err(CommitError::Damaged)?;
        }
        Ok(registration)
    }

    /// Whether this is the installation's own chain.
    fn is_own(&self, tracked: &Tracked) -> bool {
        tracked.chain.name() == self.installation.chain.name()
    }

    /// Reads a chain, trusting heads that are signed with a key of `trust`.
    async fn refresh_under(
        &self,
        tracked: &Tracked,
        trust: &TrustedKeys,
    ) -> Result<Option<Arc<State>>, LoadError> {
        let changed = match tracked.state() {
            Some(known) => tracked.chain.refresh(&known, trust).await?,
            None => self.first_read(tracked, trust).await?,
        };
        let Some(mut state) = changed else {
            return Ok(None);
        };
        if self.is_own(tracked) {
            let (mut registrations, mut is_complete) = self.registrations_in(&state).await?;
            // A concurrent commit may have removed what this state named.
            while !is_complete && let Some(newer) = tracked.chain.refresh(&state, trust).await? {
                state = newer;
                (registrations, is_complete) = self.registrations_in(&state).await?;
            }
            registrations.accepted = match state.document(ACCEPTED) {
                Some(entry) => self.own_document(entry).await?.map(Arc::new),
                None => None,
            };
            self.publish_registrations(registrations);
        }
        tracked.advance(&state);
        Ok(Some(state))
    }

    /// The registrations in a state, and whether all of them could be read.
    async fn registrations_in(&self, state: &State) -> Result<(Registrations, bool), StorageError> {
        let before = self.registrations.load_full();
        let mut all = BTreeMap::new();
        let (mut objects, mut changed) = (HashMap::new(), Vec::new());
        for entry in state.documents() {
            let id = entry.name.strip_prefix(registration::PREFIX);
            let Some(id) = id.and_then(|id| id.parse::<WorkspaceId>().ok()) else {
                continue;
            };
            objects.insert(id.clone(), entry.object);
            match before.all.get(&id) {
                Some(registration) if before.objects.get(&id) == Some(&entry.object) => {
                    all.insert(id, registration.clone());
                }
                _ => changed.push((id, entry)),
            }
        }
        let entries = changed.iter().map(|(_, entry)| *entry);
        let bodies = self
            .installation
            .chain
            .read(entries.collect::<Vec<_>>())
            .await?;
        let is_complete = bodies.iter().all(Option::is_some);
        for ((id, entry), body) in changed.into_iter().zip(bodies) {
            let registration = body.and_then(|body| serde_json::from_slice(&body).ok());
            if registration.is_none() {
                tracing::error!(
                    workspace = %id,
                    document = %entry.name,
                    "the registration of a workspace is missing or edited, and the workspace is not used: put back the newest \
                     copy of the whole data folder, or restore a backup"
                );
                objects.remove(&id);
            }
            all.insert(id, registration.unwrap_or_else(Registration::unreadable));
        }
        let registrations = Registrations {
            of: order(state),
            all: Arc::new(all),
            objects,
            accepted: before.accepted.clone(),
        };
        Ok((registrations, is_complete))
    }

    /// A document of the installation's chain; `None` if it is gone or edited.
    async fn own_document<T: DeserializeOwned>(
        &self,
        entry: &Entry,
    ) -> Result<Option<T>, StorageError> {
        let body = self.installation.chain.read([entry]).await?.pop().flatten();
        Ok(body.and_then(|body| serde_json::from_slice(&body).ok()))
    }

    fn publish_registrations(&self, registrations: Registrations) {
        let registrations = Arc::new(registrations);
        self.registrations
            .rcu(|known| match known.of > registrations.of {
                true => known.clone(),
                false => registrations.clone(),
            });
    }

    /// Commits a change on top of the state that it was decided on. On disk when this returns.
    ///
    /// # Errors
    /// [`CommitError::Raced`] if another commit came first: decide again on the new state.
    pub(crate) async fn commit(
        &self,
        tracked: &Tracked,
        on: Option<&Arc<State>>,
        incarnation: u64,
        drafts: Vec<Draft>,
        writes: Vec<Write>,
    ) -> Result<Arc<State>, CommitError> {
        if let Some(on) = on {
            // Restored under this process: its commits would be of the epoch before, and refused.
            self.check_epoch(&on.head).map_err(CommitError::Damaged)?;
        }
        let at = self.time_on(tracked, on, &drafts);
        let first = on.map_or(0, |on| on.head.records) + 1;
        // What must not use the disk's reserve must not use it beside what may.
        let effect = drafts.iter().map(|draft| draft.effect).min();
        let records = (first..).zip(drafts);
        let change = Change {
            at: at.as_microsecond(),
            epoch: self.epoch,
            incarnation,
            effect: effect.unwrap_or(keyside_store::Effect::Adds),
            records: records
                .map(|(position, draft)| draft.record(position, at).to_bytes())
                .collect(),
            writes,
            decided_on: self.installation.state().map(|own| own.head.link()),
        };
        let key = self.signer(tracked, on).await?;
        let chain = &tracked.chain;
        let prepared = chain.prepare(on, &*key, change).await?;
        let state = prepared.state().clone();
        if let Err(error) = chain.write(&prepared, &*key).await {
            if let CommitError::OutcomeUnknown { .. } = &error {
                self.unconfirmed.note();
            }
            return Err(error);
        }
        if self.is_own(tracked) {
            match self.registrations_in(&state).await {
                Ok((registrations, true)) => {
                    // `accepted` is kept as it was: the clock is accepted only while no process
                    // serves.
                    self.publish_registrations(registrations);
                    tracked.advance(&state);
                }
                // Another process has already committed on top: the next refresh loads both.
                Ok((_, false)) => {}
                Err(error) => tracing::warn!(%error, "a commit cannot be read back"),
            }
        } else {
            tracked.advance(&state);
        }
        let head = state.head.link();
        tracing::info!(
            audit_head = %format_args!("{} {}:{}", chain.name(), head.records, head.hash),
            "audit record on disk"
        );
        tokio::join!(
            self.anchors.record(chain.name(), &state),
            chain.tidy(&prepared)
        );
        Ok(state)
    }

    /// Commits what `decide` returns for the newest state of the installation's chain, and decides
    /// again after a lost race. Does nothing if there is nothing to record. The caller holds the
    /// chain's lock.
    pub(crate) async fn commit_to_installation(
        &self,
        mut decide: impl FnMut(Option<&Arc<State>>) -> (Vec<Draft>, Vec<Write>),
    ) -> Result<(), CommitError> {
        for _ in 0..MAX_RACES {
            self.refresh(&self.installation).await?;
            // Loaded before `decide` reads registrations: none of them may be older than this
            // state.
            let on = self.installation.state();
            let (drafts, writes) = decide(on.as_ref());
            if drafts.is_empty() {
                return Ok(());
            }
            let commit = self.commit(&self.installation, on.as_ref(), 0, drafts, writes);
            match commit.await {
                Err(CommitError::Raced) => pause().await,
                outcome => return outcome.map(drop),
            }
        }
        Err(CommitError::Raced)
    }

    /// The latest time in any chain, ignoring times from a clock that was ahead and has been
    /// corrected.
    pub(crate) fn latest(&self) -> Timestamp {
        let accepted = self.registrations.load().accepted.clone();
        let is_believed = |state: &State| {
            let accepted = accepted.as_ref();
            accepted.is_none_or(|it| it.believes(&state.head))
        };
        let own = self.installation.state().map_or(0, |own| own.head.at);
        let workspaces = self.workspaces.read();
        let states = workspaces.values().filter_map(|chain| chain.state());
        let believed = states.filter(|state| is_believed(state));
        // The installation's chain continued when the clock was accepted.
        let latest = believed
            .map(|state| state.head.at)
            .max()
            .unwrap_or(0)
            .max(own);
        Timestamp::from_microsecond(latest).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// All chains, and those of ids that are not registered.
    fn all(&self) -> Vec<Arc<Tracked>> {
        let workspaces = self.workspaces.read();
        let chains = workspaces.values().chain([&self.installation]);
        chains.cloned().collect()
    }

    /// Removes all objects that no head names.
    pub(crate) async fn sweep(&self) -> Result<usize, StorageError> {
        let mut removed = 0;
        for tracked in self.all() {
            // While the chain is locked, objects for its next commit are left over from a crash.
            let _changing = tracked.lock(Priority::Normal).await;
            if let Some(state) = tracked.state() {
                removed += tracked.chain.sweep(&state).await?;
            }
        }
        Ok(removed)
    }
}

/// The order of states of one chain.
fn order(state: &State) -> (u64, u64) {
    (state.head.epoch, state.head.seq)
}

/// Waits up to 10 ms, chosen at random, so that two racing processes do not collide again.
pub(crate) async fn pause() {
    let jitter = crate::entropy::number() % 10_000;
    sleep(Duration::from_micros(jitter)).await;
}

/// How often a change is decided again after a lost race.
pub(crate) const MAX_RACES: usize = 50;
