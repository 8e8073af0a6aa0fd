//! All that requests are answered from: workspaces and credentials in memory, authenticated, secrets still sealed.
//!
//! Replaced as a whole on every change. A workspace is shared between one snapshot and the next unless it is what changed.

mod load;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use zeroize::Zeroizing;

pub(crate) use self::load::{Finding, load};
use crate::{
    CredentialId, Environment, Label, Refusal, WorkspaceId,
    documents::{CredentialDocument, Trace, WorkspaceDocument},
    keyring::Keyring,
    ledger::Damage,
    sealing::{SealError, SealingKey},
};

/// Everything there is.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) workspaces: HashMap<WorkspaceId, Arc<WorkspaceEntry>>,
}

/// One workspace, with what resolving needs laid ready.
pub(crate) struct WorkspaceEntry {
    /// What it claims to be, if it is damaged.
    pub(crate) document: WorkspaceDocument,
    pub(crate) damage: Option<Damage>,
    pub(crate) credentials: BTreeMap<CredentialId, Arc<CredentialEntry>>,
    /// Whether there are credentials so damaged that not even their names can be told.
    pub(crate) unreadable: bool,
    providers: HashMap<Arc<str>, Choices>,
}

/// What one provider's requests can be answered with.
#[derive(Default)]
pub(crate) struct Choices {
    live: Option<Choice>,
    sandbox: Option<Choice>,
    pub(crate) labels: HashMap<Label, Arc<CredentialEntry>>,
}

/// A default.
pub(crate) enum Choice {
    Credential(Arc<CredentialEntry>),
    /// It names a credential that is gone or unreadable.
    Lost,
}

/// One credential.
pub(crate) struct CredentialEntry {
    /// What it claims to be, if it is damaged.
    pub(crate) document: CredentialDocument,
    pub(crate) usable: Result<Usable, Damage>,
}

/// What it takes to open the current version.
pub(crate) struct Usable {
    pub(crate) version: u32,
    key: Arc<SealingKey>,
    /// Made here, once a change, so that it need not be made once a request.
    associated_data: Vec<u8>,
    sealed: Vec<u8>,
    /// Opened when someone first looks: at a start, nobody does.
    trace: OnceLock<Option<Trace>>,
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
        credentials: BTreeMap<CredentialId, Arc<CredentialEntry>>,
        unreadable: bool,
    ) -> Self {
        let mut providers = HashMap::<Arc<str>, Choices>::new();
        for entry in credentials.values() {
            let choices = providers
                .entry(entry.document.provider.clone())
                .or_default();
            choices
                .labels
                .insert(entry.document.label.clone(), entry.clone());
        }
        for (provider, defaults) in &document.defaults {
            let choice = |id: &CredentialId| {
                credentials
                    .get(id)
                    .cloned()
                    .map_or(Choice::Lost, Choice::Credential)
            };
            let choices = providers.entry(provider.as_str().into()).or_default();
            choices.live = defaults.live.as_ref().map(choice);
            choices.sandbox = defaults.sandbox.as_ref().map(choice);
        }
        Self {
            document,
            damage,
            credentials,
            unreadable,
            providers,
        }
    }

    /// This workspace with another document and one credential replaced.
    pub(crate) fn with(
        &self,
        document: WorkspaceDocument,
        credential: Arc<CredentialEntry>,
    ) -> Self {
        self.with_all(document, [credential])
    }

    /// This workspace with another document and some credentials replaced.
    pub(crate) fn with_all(
        &self,
        document: WorkspaceDocument,
        replaced: impl IntoIterator<Item = Arc<CredentialEntry>>,
    ) -> Self {
        let replaced = replaced
            .into_iter()
            .map(|entry| (entry.document.id.clone(), entry));
        let mut credentials = self.credentials.clone();
        credentials.extend(replaced);
        Self::new(document, self.damage, credentials, self.unreadable)
    }

    pub(crate) fn choices(&self, provider: &str) -> Option<&Choices> {
        self.providers.get(provider)
    }

    /// Whether a credential is the default of its provider and environment.
    pub(crate) fn is_default(&self, credential: &CredentialDocument) -> bool {
        let defaults = self.document.defaults.get(&*credential.provider);
        defaults.and_then(|defaults| defaults.of(credential.environment)) == Some(&credential.id)
    }

    /// Whether the provider has a default in `environment` that is worth keeping: one that was not revoked.
    pub(crate) fn has_default(&self, provider: &str, environment: Environment) -> bool {
        match self
            .choices(provider)
            .and_then(|choices| choices.default(environment))
        {
            None => false,
            Some(Choice::Lost) => true,
            Some(Choice::Credential(entry)) => entry.document.revoked_at.is_none(),
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
    pub(crate) fn new(document: CredentialDocument, keyring: &Keyring) -> Self {
        let usable = Usable::new(&document, keyring);
        Self { document, usable }
    }

    /// The entry of one that is not: nothing of it is used.
    pub(crate) fn damaged(document: CredentialDocument, damage: Damage) -> Self {
        Self {
            document,
            usable: Err(damage),
        }
    }

    /// What may be known of the current version's secret. Nothing while the credential is damaged.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        let usable = self.usable.as_ref().ok()?;
        let open = || {
            self.document
                .open_trace(&usable.key, self.document.current()?)
                .ok()
        };
        usable.trace.get_or_init(open).as_ref()
    }

    /// Whether a request may use it now. The time is only asked for where there is an end.
    pub(crate) fn check(&self, now: impl FnOnce() -> Timestamp) -> Result<(), Refusal> {
        if self.usable.is_err() {
            return Err(Refusal::CredentialUndecryptable);
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

impl Usable {
    fn new(document: &CredentialDocument, keyring: &Keyring) -> Result<Self, Damage> {
        let version = document.current().ok_or(SealError::Malformed)?;
        let id = SealingKey::id_in(&version.sealed).ok_or(SealError::Malformed)?;
        let key = keyring
            .key(&document.workspace, id)
            .ok_or(Damage::KeyGone)?;
        Ok(Self {
            version: version.number,
            associated_data: document
                .secret_place(version.number)
                .associated_data(key.installation()),
            sealed: version.sealed.clone(),
            trace: OnceLock::new(),
            key,
        })
    }

    /// Opens the secret. Once a request; about a microsecond, and one allocation.
    pub(crate) fn open(&self) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.key.open_with(&self.associated_data, &self.sealed)
    }
}
