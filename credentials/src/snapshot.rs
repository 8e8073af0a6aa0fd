//! The snapshot that requests are served from: all workspaces and credentials in memory,
//! authenticated, with secrets still sealed.
//!
//! Replaced on every change. Consecutive snapshots share everything unchanged, so that a change
//! costs the same for any size.

mod labels;
mod load;
mod locations;
mod lost;
mod overlay;
mod secret_in_use;
pub(crate) mod signals;
pub(crate) mod traffic;
mod vault_secret;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_store::chain::State;
use zeroize::Zeroizing;

pub(crate) use self::load::{DamageReport, WorkspaceLoader};
pub(crate) use self::lost::Lost;
pub(crate) use self::overlay::Overlay;
pub use self::overlay::Snapshots;
pub(crate) use self::secret_in_use::SecretInUse;
use self::{labels::Labels, locations::Locations, signals::Signals, vault_secret::PreviousSecret};
use crate::{
    damage::Damage,
    documents::{CredentialDocument, SecretMetadata, WorkspaceDocument},
    keyring::Keyring,
    model::{CredentialId, Declared, Environment, Refusal, VersionState, WorkspaceId},
    sealing::{SealError, SealingKey},
    shared_map::SharedMap,
    spend::Meter,
};

/// All workspaces.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(crate) workspaces: SharedMap<WorkspaceId, Arc<WorkspaceEntry>>,
    /// The stored and the declared snapshot that this one combines.
    combined_from: Option<[Arc<Self>; 2]>,
    /// Shared by all versions.
    locations: Arc<Locations>,
}

/// A workspace, prepared for resolving.
#[derive(Clone)]
pub(crate) struct WorkspaceEntry {
    /// The state of its chain; `None` if the workspace is declared, or its head is not trusted.
    pub(crate) at: Option<Arc<State>>,
    /// Unauthenticated if the workspace is damaged.
    pub(crate) document: WorkspaceDocument,
    pub(crate) damage: Option<Damage>,
    pub(crate) credentials: SharedMap<CredentialId, Arc<CredentialEntry>>,
    /// Credentials whose records cannot be read; disjoint from `credentials`.
    pub(crate) lost: SharedMap<CredentialId, Lost>,
    /// What requests with its credentials have spent; shared by all entries of the workspace.
    pub(crate) spend: Arc<Meter>,
    providers: HashMap<ProviderId, Choices>,
}

/// The credentials of one provider that requests can select.
#[derive(Clone, Default)]
pub(crate) struct Choices {
    live: Option<Choice>,
    sandbox: Option<Choice>,
    pub(crate) labels: Labels,
}

#[derive(Clone)]
pub(crate) enum Choice {
    Credential(Arc<CredentialEntry>),
    /// The default's record cannot be read: requests are refused with this reason.
    Lost(Refusal),
}

/// A credential.
#[derive(Clone)]
pub(crate) struct CredentialEntry {
    /// Unauthenticated if the credential is damaged.
    pub(crate) document: CredentialDocument,
    pub(crate) usable: Result<Usable, Unusable>,
    /// Shared by all entries of the credential.
    pub(crate) signals: Arc<Signals>,
    /// Other versions that are not destroyed, with the keys that open them.
    others: Box<[(u32, Arc<SealingKey>)]>,
    /// The previous secret, if it is kept elsewhere.
    previous: Option<Arc<PreviousSecret>>,
    /// The state of the secret's source, if it is kept elsewhere.
    pub(crate) declared: Option<Arc<Declared>>,
}

/// Why a credential has no usable secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// The record failed authentication.
    Damaged(Damage),
    /// The secret is missing at its source, or may not be read.
    Gone,
    /// The secret's source is unavailable.
    Unavailable,
}

/// Finds keys that open sealed blobs.
pub(crate) trait Keys {
    fn key(&self, workspace: &WorkspaceId, id: &str) -> Option<Arc<SealingKey>>;
}

impl Keys for Keyring {
    fn key(&self, workspace: &WorkspaceId, id: &str) -> Option<Arc<SealingKey>> {
        Self::key(self, workspace, id)
    }
}

/// Opens one version. For a revoked credential, opening fails.
#[derive(Clone)]
pub(crate) struct Usable {
    pub(crate) version: u32,
    key: Arc<SealingKey>,
    sealed: Arc<[u8]>,
    /// Opened on first access, which a start does not need.
    metadata: OnceLock<Option<Box<SecretMetadata>>>,
}

impl Snapshot {
    /// The workspace and entry of a credential. May search all workspaces: for the control plane, not
    /// for requests.
    pub(crate) fn credential(
        &self,
        id: &CredentialId,
    ) -> Option<(&Arc<WorkspaceEntry>, &Arc<CredentialEntry>)> {
        let workspace = self.workspace_of(id)?;
        Some((workspace, workspace.credentials.get(id)?))
    }

    /// The workspace of a credential, lost or not. May search all workspaces, likewise.
    pub(crate) fn workspace_of(&self, id: &CredentialId) -> Option<&Arc<WorkspaceEntry>> {
        let has = |workspace: &&Arc<WorkspaceEntry>| {
            workspace.credentials.contains_key(id) || workspace.lost.contains_key(id)
        };
        let located = self.locations.of(id);
        let located = located.and_then(|workspace| self.workspaces.get(&workspace));
        if let Some(workspace) = located.filter(has) {
            return Some(workspace);
        }
        let workspace = self.workspaces.values().find(has)?;
        self.locate(id, &workspace.document.id);
        Some(workspace)
    }

    /// Notes where [`Self::workspace_of`] finds a credential, in all versions of this snapshot.
    pub(crate) fn locate(&self, id: &CredentialId, workspace: &WorkspaceId) {
        self.locations.note(id, workspace);
    }

    /// All credentials that are not lost, in no particular order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<CredentialEntry>> {
        let workspaces = self.workspaces.values();
        workspaces.flat_map(|workspace| workspace.credentials.values())
    }

    pub(crate) fn of(workspaces: impl IntoIterator<Item = Arc<WorkspaceEntry>>) -> Self {
        let workspaces = workspaces.into_iter();
        let by_id = workspaces.map(|workspace| (workspace.document.id.clone(), workspace));
        Self {
            workspaces: by_id.collect(),
            ..Self::default()
        }
    }

    pub(crate) fn without(&self, workspace: &WorkspaceId) -> Self {
        let mut changed = self.clone();
        changed.workspaces.remove(workspace);
        changed
    }

    pub(crate) fn with(&self, workspace: Arc<WorkspaceEntry>) -> Self {
        let mut changed = self.clone();
        changed
            .workspaces
            .insert(workspace.document.id.clone(), workspace);
        changed
    }
}

impl WorkspaceEntry {
    pub(crate) fn new(
        document: WorkspaceDocument,
        damage: Option<Damage>,
        credentials: impl IntoIterator<Item = Arc<CredentialEntry>>,
        lost: impl IntoIterator<Item = Lost>,
    ) -> Self {
        let lost = lost.into_iter().map(|lost| (lost.id.clone(), lost));
        let mut entry = Self {
            at: None,
            document,
            damage,
            credentials: SharedMap::default(),
            lost: lost.collect(),
            spend: Arc::default(),
            providers: HashMap::new(),
        };
        for credential in credentials {
            entry.place(credential);
        }
        entry.update_all_defaults();
        entry
    }

    /// This workspace with another document and some credentials replaced. The document's defaults
    /// may differ only for the providers of these credentials.
    pub(crate) fn with_all(
        &self,
        document: WorkspaceDocument,
        replaced: impl IntoIterator<Item = Arc<CredentialEntry>>,
    ) -> Self {
        let mut changed = self.clone();
        changed.document = document;
        for credential in replaced {
            let provider = credential.document.provider.clone();
            changed.place(credential);
            changed.update_defaults(provider);
        }
        changed
    }

    pub(crate) fn at(mut self, state: Arc<State>) -> Self {
        self.at = Some(state);
        self
    }

    /// This workspace with the counts of its previous entry, if that is the same workspace.
    fn counting_with(mut self, before: Option<&Self>) -> Self {
        let incarnation = self.document.incarnation;
        if let Some(before) = before.filter(|it| it.document.incarnation == incarnation) {
            self.spend = before.spend.clone();
        }
        self
    }

    fn place(&mut self, credential: Arc<CredentialEntry>) {
        let CredentialDocument { id, provider, .. } = &credential.document;
        let before = self.credentials.get(id).map(|entry| &entry.document);
        let choices = self.providers.entry(provider.clone()).or_default();
        choices.labels.place(&credential, before);
        self.credentials.insert(id.clone(), credential);
    }

    fn update_all_defaults(&mut self) {
        let providers: Vec<_> = self.document.defaults.keys().cloned().collect();
        for provider in providers {
            self.update_defaults(provider);
        }
    }

    fn update_defaults(&mut self, provider: ProviderId) {
        let Some(defaults) = self.document.defaults.get(&provider) else {
            return;
        };
        let choice = |id: &CredentialId| {
            let lost = self.lost.get(id).map(Lost::refusal);
            match self.credentials.get(id) {
                Some(credential) => Choice::Credential(credential.clone()),
                None => Choice::Lost(lost.unwrap_or(Refusal::CredentialUndecryptable)),
            }
        };
        let choices = self.providers.entry(provider).or_default();
        choices.live = defaults.live.as_ref().map(choice);
        choices.sandbox = defaults.sandbox.as_ref().map(choice);
    }

    pub(crate) fn choices(&self, provider: &str) -> Option<&Choices> {
        self.providers.get(provider)
    }

    pub(crate) fn is_default(&self, credential: &CredentialDocument) -> bool {
        let defaults = self.document.defaults.get(&credential.provider);
        defaults.and_then(|defaults| defaults.of(credential.environment)) == Some(&credential.id)
    }

    /// The provider's default in `environment`, unless it is lost or revoked.
    pub(crate) fn default(
        &self,
        provider: &str,
        environment: Environment,
    ) -> Option<&CredentialEntry> {
        match self.choices(provider)?.default(environment)? {
            Choice::Credential(entry) => {
                Some(&**entry).filter(|it| it.document.revoked_at.is_none())
            }
            Choice::Lost(_) => None,
        }
    }
}

impl Choices {
    pub(crate) fn default(&self, environment: Environment) -> Option<&Choice> {
        match environment {
            Environment::Live => self.live.as_ref(),
            Environment::Sandbox => self.sandbox.as_ref(),
        }
    }
}

impl CredentialEntry {
    /// The entry of an authentic document.
    pub(crate) fn new(
        document: CredentialDocument,
        keys: &impl Keys,
        signals: Arc<Signals>,
    ) -> Self {
        let current = document.current;
        Self::of_version(document, current, keys, signals)
    }

    /// An entry that uses another version than the current one, to test it before it becomes
    /// current.
    pub(crate) fn of_version(
        mut document: CredentialDocument,
        version: u32,
        keys: &impl Keys,
        signals: Arc<Signals>,
    ) -> Self {
        // serde reserves space for four versions, and most credentials have one.
        document.versions.shrink_to_fit();
        let usable = Usable::new(&document, version, keys).map_err(Unusable::Damaged);
        let others = others(&document, version, keys);
        let mut entry = Self {
            document,
            usable,
            signals,
            others,
            previous: None,
            declared: None,
        };
        // The record is sound, but its secret has not been read yet.
        if entry.reference().is_some() && entry.usable.is_ok() {
            entry.usable = Err(Unusable::Unavailable);
            entry = entry.with_source_status(None, None);
        }
        entry
    }

    pub(crate) fn without_secret(
        document: CredentialDocument,
        why: Unusable,
        signals: Arc<Signals>,
    ) -> Self {
        Self {
            document,
            usable: Err(why),
            signals,
            others: Box::default(),
            previous: None,
            declared: None,
        }
    }

    /// A copy without the source's state, which the caller sets.
    pub(crate) fn without_status(&self) -> Self {
        Self {
            declared: None,
            ..self.clone()
        }
    }

    /// Why the record is not trusted or cannot be used, if it is damaged. A revoked one no longer
    /// needs its key.
    pub(crate) fn damage(&self) -> Option<Damage> {
        match self.usable {
            Err(Unusable::Damaged(damage))
                if damage.is_of_key() && self.document.revoked_at.is_some() =>
            {
                None
            }
            Err(Unusable::Damaged(damage)) => Some(damage),
            _ => None,
        }
    }

    /// The metadata of the version in use; `None` if the credential is damaged.
    pub(crate) fn metadata(&self) -> Option<&SecretMetadata> {
        let usable = self.usable.as_ref().ok()?;
        let open = || {
            let version = self.document.version(usable.version)?;
            let opened = self.document.open_metadata_with(version, &usable.key);
            opened.ok().map(Box::new)
        };
        usable.metadata.get_or_init(open).as_deref()
    }

    /// Opens the secret in use, if there is one. Once per request: about a microsecond.
    pub(crate) fn open(&self) -> Option<Result<Zeroizing<Vec<u8>>, SealError>> {
        let usable = self.usable.as_ref().ok()?;
        Some(usable.open(&self.document))
    }

    /// Opens the secrets of other versions that are not destroyed yet. `now` is called only if
    /// there are any.
    pub(crate) fn open_others(
        &self,
        now: impl FnOnce() -> Timestamp,
    ) -> Vec<Result<Zeroizing<Vec<u8>>, SealError>> {
        if self.others.is_empty() && self.previous.is_none() {
            return Vec::new();
        }
        let now = now();
        let previous = self.previous.iter().filter(|previous| now < previous.until);
        let previous = previous.map(|previous| previous.usable.open(&self.document));
        let others = self.others.iter();
        let kept = others.filter_map(|(number, key)| {
            let version = self.document.version(*number)?;
            let state = self.document.state(version, now);
            (state != VersionState::Destroyed).then_some((version, key))
        });
        kept.map(|(version, key)| {
            let context = self.document.secret_context(version.number);
            key.open(&context, &version.sealed)
        })
        .chain(previous)
        .collect()
    }

    /// Whether a request may use the credential now. `now` is called only if there is an expiry.
    pub(crate) fn check(&self, now: impl FnOnce() -> Timestamp) -> Result<(), Refusal> {
        match self.usable {
            Err(Unusable::Damaged(_)) if self.damage().is_some() => {
                return Err(Refusal::CredentialUndecryptable);
            }
            Err(Unusable::Gone) => return Err(Refusal::SecretGone),
            Err(Unusable::Unavailable) => return Err(Refusal::SecretUnavailable),
            Ok(_) | Err(Unusable::Damaged(_)) => {}
        }
        if self.document.revoked_at.is_some() {
            return Err(Refusal::CredentialRevoked);
        }
        match self.document.expires_at {
            Some(end) if end <= now() => Err(Refusal::CredentialExpired),
            _ => Ok(()),
        }
    }
}

/// Versions other than `used` that still have sealed bytes: those in grace.
fn others(
    document: &CredentialDocument,
    used: u32,
    keys: &impl Keys,
) -> Box<[(u32, Arc<SealingKey>)]> {
    let others = document.versions.iter();
    let others = others.filter(|version| version.number != used && version.destroyed_at.is_none());
    let with_key = others.filter_map(|version| {
        let id = SealingKey::id_in(&version.sealed)?;
        Some((version.number, keys.key(&document.workspace, id)?))
    });
    with_key.collect()
}

impl Usable {
    fn new(document: &CredentialDocument, version: u32, keys: &impl Keys) -> Result<Self, Damage> {
        let version = document.version(version).ok_or(SealError::Malformed)?;
        // Only the metadata is left of a revoked secret, or of one that is kept elsewhere.
        let named = match document.revoked_at.is_some() || document.reference.is_some() {
            true => &version.metadata,
            false => &version.sealed,
        };
        let id = SealingKey::id_in(named).ok_or(SealError::Malformed)?;
        let key = keys.key(&document.workspace, id).ok_or(Damage::KeyGone)?;
        Ok(Self {
            version: version.number,
            sealed: version.sealed.clone(),
            metadata: OnceLock::new(),
            key,
        })
    }

    fn open(&self, document: &CredentialDocument) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.key
            .open(&document.secret_context(self.version), &self.sealed)
    }
}
