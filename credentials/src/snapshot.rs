//! All that requests are answered from: workspaces and credentials in memory, authenticated, secrets still sealed.
//!
//! Replaced on every change. One snapshot and the next share all that did not change, so that a change costs the same
//! whatever else there is.

mod labels;
mod load;
mod lost;
mod overlay;
pub(crate) mod signals;
mod vault_secret;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use keyside_store::chain::State;
use zeroize::Zeroizing;

pub(crate) use self::load::{Finding, WorkspaceLoader};
pub(crate) use self::lost::Lost;
pub(crate) use self::overlay::Overlay;
pub use self::overlay::Snapshots;
use self::{labels::Labels, signals::Signals, vault_secret::PreviousSecret};
use crate::{
    damage::Damage,
    documents::{CredentialDocument, SecretMetadata, WorkspaceDocument},
    keyring::Keyring,
    model::{CredentialId, Environment, Refusal, VersionState, WorkspaceId},
    sealing::{SealError, SealingKey},
    shared_map::SharedMap,
    source::SourceReference,
};

/// Everything there is.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(crate) workspaces: SharedMap<WorkspaceId, Arc<WorkspaceEntry>>,
    /// The stored one and the declared one that it was combined from.
    combined_from: Option<[Arc<Self>; 2]>,
}

/// One workspace, with what resolving needs laid ready.
#[derive(Clone)]
pub(crate) struct WorkspaceEntry {
    /// The state of its chain that it was made from; none of one that is declared, or whose head is not believed.
    pub(crate) at: Option<Arc<State>>,
    /// What it claims to be, if it is damaged.
    pub(crate) document: WorkspaceDocument,
    pub(crate) damage: Option<Damage>,
    pub(crate) credentials: SharedMap<CredentialId, Arc<CredentialEntry>>,
    /// Those whose records cannot be read. None of them is among the others.
    pub(crate) lost: SharedMap<CredentialId, Lost>,
    providers: HashMap<Arc<str>, Choices>,
}

/// What one provider's requests can be answered with.
#[derive(Clone, Default)]
pub(crate) struct Choices {
    live: Option<Choice>,
    sandbox: Option<Choice>,
    pub(crate) labels: Labels,
}

/// A default.
#[derive(Clone)]
pub(crate) enum Choice {
    Credential(Arc<CredentialEntry>),
    /// It names a credential whose record cannot be read: why requests are refused.
    Lost(Refusal),
}

/// One credential.
pub(crate) struct CredentialEntry {
    /// What it claims to be, if it is damaged.
    pub(crate) document: CredentialDocument,
    pub(crate) usable: Result<Usable, Unusable>,
    /// The same for every entry that this credential has in its life.
    pub(crate) signals: Arc<Signals>,
    /// The other versions that are not destroyed, each with the key that opens it.
    others: Vec<(u32, Arc<SealingKey>)>,
    /// The secret before, where it is kept elsewhere.
    previous: Option<Arc<PreviousSecret>>,
    /// Where its secret is kept, if not here.
    pub(crate) declared: Option<Arc<SourceStatus>>,
}

/// Why no secret of a credential is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// The record is not believed.
    Damaged(Damage),
    /// Its secret is not where it is kept, or may not be read.
    Gone,
    /// Where its secret is kept cannot be reached.
    Unavailable,
}

/// What is known of a secret that is kept elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct SourceStatus {
    pub(crate) source: SourceReference,
    /// The version that is used, as the source counts.
    pub(crate) version: Option<String>,
    /// Why it was not read the last time.
    pub(crate) fault: Option<String>,
}

/// Where keys are found that open what was sealed.
pub(crate) trait Keys {
    /// The key of a workspace with this id.
    fn key(&self, workspace: &WorkspaceId, id: &str) -> Option<Arc<SealingKey>>;
}

impl Keys for Keyring {
    fn key(&self, workspace: &WorkspaceId, id: &str) -> Option<Arc<SealingKey>> {
        Self::key(self, workspace, id)
    }
}

impl<K: Keys> Keys for Arc<K> {
    fn key(&self, workspace: &WorkspaceId, id: &str) -> Option<Arc<SealingKey>> {
        (**self).key(workspace, id)
    }
}

/// What it takes to open one version; a revoked credential has one that does not open.
#[derive(Clone)]
pub(crate) struct Usable {
    pub(crate) version: u32,
    key: Arc<SealingKey>,
    /// Made here, once a change, so that it need not be made once a request.
    associated_data: Vec<u8>,
    sealed: Vec<u8>,
    /// Opened when someone first looks: at a start, nobody does.
    metadata: OnceLock<Option<SecretMetadata>>,
}

impl Snapshot {
    /// The workspace and entry of a credential. Looks into every workspace: for people, not for requests.
    pub(crate) fn credential(
        &self,
        id: &CredentialId,
    ) -> Option<(&Arc<WorkspaceEntry>, &Arc<CredentialEntry>)> {
        self.workspaces
            .values()
            .find_map(|workspace| Some((workspace, workspace.credentials.get(id)?)))
    }

    /// The workspace of a credential, whether or not its record can be read. Looks into every workspace, likewise.
    pub(crate) fn workspace_of(&self, id: &CredentialId) -> Option<&Arc<WorkspaceEntry>> {
        self.workspaces.values().find(|workspace| {
            workspace.credentials.contains_key(id) || workspace.lost.contains_key(id)
        })
    }

    /// The snapshot of these.
    pub(crate) fn of(workspaces: impl IntoIterator<Item = Arc<WorkspaceEntry>>) -> Self {
        let mut snapshot = Self::default();
        for workspace in workspaces {
            snapshot
                .workspaces
                .insert(workspace.document.id.clone(), workspace);
        }
        snapshot
    }

    /// This snapshot without one of its workspaces.
    pub(crate) fn without(&self, workspace: &WorkspaceId) -> Self {
        let mut changed = self.clone();
        changed.workspaces.remove(workspace);
        changed
    }

    /// This snapshot with one workspace replaced.
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
            providers: HashMap::new(),
        };
        for credential in credentials {
            entry.place(credential);
        }
        entry.update_all_defaults();
        entry
    }

    /// This workspace with another document and some credentials replaced. The defaults of their providers are all that the
    /// document may differ in, apart from what is its own.
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

    /// The same, made from a state of its chain.
    pub(crate) fn at(mut self, state: Arc<State>) -> Self {
        self.at = Some(state);
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
        let providers: Vec<Arc<str>> = {
            let providers = self.document.defaults.keys();
            providers.map(|provider| provider.as_str().into()).collect()
        };
        for provider in providers {
            self.update_defaults(provider);
        }
    }

    fn update_defaults(&mut self, provider: Arc<str>) {
        let Some(defaults) = self.document.defaults.get(&*provider) else {
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

    /// Whether a credential is the default of its provider and environment.
    pub(crate) fn is_default(&self, credential: &CredentialDocument) -> bool {
        let defaults = self.document.defaults.get(&*credential.provider);
        defaults.and_then(|defaults| defaults.of(credential.environment)) == Some(&credential.id)
    }

    /// The provider's default in `environment`, if it is worth keeping: one that is there and was not revoked.
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

    /// The same with another version than the current one: for looking at it before it becomes current.
    pub(crate) fn of_version(
        document: CredentialDocument,
        version: u32,
        keys: &impl Keys,
        signals: Arc<Signals>,
    ) -> Self {
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
        // The record is sound, and its secret is still to be read.
        if entry.reference().is_some() && entry.usable.is_ok() {
            entry.usable = Err(Unusable::Unavailable);
            entry = entry.with_source_status(None, None);
        }
        entry
    }

    /// The entry of one whose secret is not used.
    pub(crate) fn without_secret(
        document: CredentialDocument,
        why: Unusable,
        signals: Arc<Signals>,
    ) -> Self {
        Self {
            document,
            usable: Err(why),
            signals,
            others: Vec::new(),
            previous: None,
            declared: None,
        }
    }

    /// The same, to be told something else of.
    pub(crate) fn without_status(&self) -> Self {
        Self {
            document: self.document.clone(),
            usable: self.usable.clone(),
            signals: self.signals.clone(),
            others: self.others.clone(),
            previous: self.previous.clone(),
            declared: None,
        }
    }

    /// What is wrong with its record, if it is not believed.
    pub(crate) fn damage(&self) -> Option<Damage> {
        match self.usable {
            Err(Unusable::Damaged(damage)) => Some(damage),
            _ => None,
        }
    }

    /// What may be known of its version's secret. Nothing while the credential is damaged.
    pub(crate) fn metadata(&self) -> Option<&SecretMetadata> {
        let usable = self.usable.as_ref().ok()?;
        let open = || {
            let version = self.document.version(usable.version)?;
            self.document.open_metadata_with(version, &usable.key).ok()
        };
        usable.metadata.get_or_init(open).as_ref()
    }

    /// Opens the secrets of the other versions that are not destroyed by now. The time is only asked for where there are
    /// any.
    pub(crate) fn open_others(
        &self,
        now: impl FnOnce() -> Timestamp,
    ) -> Vec<Result<Zeroizing<Vec<u8>>, SealError>> {
        if self.others.is_empty() && self.previous.is_none() {
            return Vec::new();
        }
        let now = now();
        let previous = self.previous.iter().filter(|previous| now < previous.until);
        let previous = previous.map(|previous| previous.usable.open());
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

    /// Whether a request may use it now. The time is only asked for where there is an end.
    pub(crate) fn check(&self, now: impl FnOnce() -> Timestamp) -> Result<(), Refusal> {
        match self.usable {
            Err(Unusable::Damaged(_)) => return Err(Refusal::CredentialUndecryptable),
            Err(Unusable::Gone) => return Err(Refusal::SecretGone),
            Err(Unusable::Unavailable) => return Err(Refusal::SecretUnavailable),
            Ok(_) => {}
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

/// The versions of a credential besides the one that is `used` whose sealed bytes are still here: staged, or in grace.
fn others(
    document: &CredentialDocument,
    used: u32,
    keys: &impl Keys,
) -> Vec<(u32, Arc<SealingKey>)> {
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
        // Of a revoked one the trace is all that is left, and all there is of one whose secret is kept elsewhere.
        let named = match document.revoked_at.is_some() || document.reference.is_some() {
            true => &version.metadata,
            false => &version.sealed,
        };
        let id = SealingKey::id_in(named).ok_or(SealError::Malformed)?;
        let key = keys.key(&document.workspace, id).ok_or(Damage::KeyGone)?;
        Ok(Self {
            version: version.number,
            associated_data: document
                .secret_context(version.number)
                .associated_data(key.installation()),
            sealed: version.sealed.clone(),
            metadata: OnceLock::new(),
            key,
        })
    }

    /// Opens the secret. Once a request; about a microsecond, and one allocation.
    pub(crate) fn open(&self) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.key.open_with(&self.associated_data, &self.sealed)
    }
}
