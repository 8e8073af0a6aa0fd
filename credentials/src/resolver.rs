//! Resolves a request to the one credential that it may use.
//!
//! Runs once per request, from memory alone: no storage, no key service, no lock. The choice is
//! deterministic, and every failure is a [`Refusal`].

mod budget;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use keyside_config::{EnvironmentPin, ProviderId};

pub use self::budget::Budget;
use self::budget::WorkspaceBudget;
use crate::{
    clock::{Clock, Ratchet},
    model::{CredentialId, Environment, Label, Refusal, RejectionCause, WorkspaceId},
    runs::Used,
    secret::Secret,
    snapshot::{Choice, Choices, CredentialEntry, Snapshots, WorkspaceEntry, signals, traffic},
};

/// What a request selects.
#[derive(Clone, Copy, Debug)]
pub struct CredentialQuery<'a> {
    /// The workspace that it is tagged with.
    pub workspace: &'a str,
    /// The provider's id.
    pub provider: &'a str,
    /// The label of a credential; `None` for the default.
    pub label: Option<&'a str>,
    /// The required environment; `None` for any.
    pub environment: Option<Environment>,
    /// The environments that its listener may use.
    pub pin: EnvironmentPin,
}

/// Resolves requests to grants. Cheap to clone; changes are visible in all clones at once.
#[derive(Clone)]
pub struct Resolver {
    snapshots: Arc<dyn Snapshots>,
    clock: Arc<Ratchet>,
}

impl Resolver {
    pub(crate) fn new(snapshots: Arc<dyn Snapshots>, clock: Arc<Ratchet>) -> Self {
        Self { snapshots, clock }
    }

    /// The clock that decides. What a request spends must be counted by it too: where a limit is
    /// checked on one day and counted on another, it holds on neither.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// The credential that `query` selects.
    ///
    /// # Errors
    /// Why there is none.
    pub fn resolve(&self, query: &CredentialQuery<'_>) -> Result<Grant, Refusal> {
        let snapshot = self.snapshots.load();
        let workspace = snapshot
            .workspaces
            .get(query.workspace)
            .ok_or(Refusal::WorkspaceUnknown)?;
        let entry = query.choose(workspace)?;
        entry
            .check(|| self.clock.now())
            .inspect_err(|refusal| signals::attempt(entry, *refusal))?;
        let grant = Grant {
            entry: entry.clone(),
            workspace: WorkspaceBudget::of(workspace),
        };
        grant.check_budget(|| self.clock.now())?;
        Ok(grant)
    }

    /// Whether the workspace exists.
    pub fn knows(&self, workspace: &str) -> bool {
        self.snapshots.load().workspaces.contains_key(workspace)
    }
}

impl CredentialQuery<'_> {
    fn choose<'w>(
        &self,
        workspace: &'w WorkspaceEntry,
    ) -> Result<&'w Arc<CredentialEntry>, Refusal> {
        if workspace.damage.is_some() {
            return Err(Refusal::CredentialUndecryptable);
        }
        // The lost credential might be the selected one.
        let unless_lost = |refusal| match workspace.unrevoked_lost().next() {
            Some(_) => Refusal::CredentialUndecryptable,
            None => refusal,
        };
        let Some(choices) = workspace.choices(self.provider) else {
            return Err(unless_lost(Refusal::CredentialMissing));
        };
        match self.label {
            Some(label) => self.labelled(choices, label).map_err(unless_lost),
            None => self.default(choices),
        }
    }

    fn labelled<'w>(
        &self,
        choices: &'w Choices,
        label: &str,
    ) -> Result<&'w Arc<CredentialEntry>, Refusal> {
        let entry = choices.labels.get(label).ok_or(Refusal::LabelUnknown)?;
        // The environment of a damaged credential is unauthenticated.
        match entry.damage().is_some() || self.allows(entry.document.environment) {
            true => Ok(entry),
            false => Err(Refusal::EnvironmentNotAllowed),
        }
    }

    fn default<'w>(&self, choices: &'w Choices) -> Result<&'w Arc<CredentialEntry>, Refusal> {
        if self
            .environment
            .is_some_and(|environment| !self.allows(environment))
        {
            return Err(Refusal::EnvironmentNotAllowed);
        }
        let mut allowed = Environment::ALL
            .into_iter()
            .filter(|environment| self.allows(*environment));
        match allowed.find_map(|environment| choices.default(environment)) {
            Some(Choice::Credential(entry)) => Ok(entry),
            Some(Choice::Lost(refusal)) => Err(*refusal),
            None => Err(Refusal::CredentialMissing),
        }
    }

    fn allows(&self, environment: Environment) -> bool {
        environment.is_allowed_by(self.pin)
            && self.environment.is_none_or(|asked| asked == environment)
    }
}

/// Permission to use one version of one credential for one request. The version stays the same
/// whatever changes meanwhile.
#[derive(Clone)]
pub struct Grant {
    entry: Arc<CredentialEntry>,
    /// The workspace's own count of spend, if the workspace has limits.
    workspace: Option<WorkspaceBudget>,
}

impl Grant {
    /// A grant for testing a version that requests may not use yet.
    pub(crate) fn on_trial(entry: CredentialEntry) -> Self {
        Self {
            entry: Arc::new(entry),
            workspace: None,
        }
    }

    /// The workspace of the request.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.entry.document.workspace
    }

    /// The provider that the secret may be sent to.
    pub fn provider(&self) -> &ProviderId {
        &self.entry.document.provider
    }

    /// The credential's id.
    pub fn credential_id(&self) -> &CredentialId {
        &self.entry.document.id
    }

    /// The credential's label.
    pub fn label(&self) -> &Label {
        &self.entry.document.label
    }

    /// The credential's environment.
    pub fn environment(&self) -> Environment {
        self.entry.document.environment
    }

    /// The version's number, from 1.
    pub fn version(&self) -> u32 {
        self.entry
            .usable
            .as_ref()
            .map_or(0, |usable| usable.version)
    }

    /// The credential, for a run record.
    pub fn used(&self) -> Used {
        Used {
            credential: self.credential_id().clone(),
            version: self.version(),
            label: self.label().clone(),
            environment: self.environment(),
        }
    }

    /// The URL that the secret may be sent to, if the provider's customers have their own.
    pub fn endpoint(&self) -> Option<&str> {
        self.entry.document.endpoint.as_deref()
    }

    /// Opens the secret. Once per request; about a microsecond. The plaintext is wiped when
    /// dropped.
    ///
    /// # Errors
    /// [`Refusal::CredentialUndecryptable`] if the sealed bytes are not authentic for this context.
    pub fn open(&self) -> Result<Secret, Refusal> {
        let opened = self.entry.open().ok_or(Refusal::CredentialUndecryptable)?;
        opened.map(Secret::unsealed).map_err(|error| {
            tracing::error!(credential = %self.credential_id(), %error, "a credential cannot be opened");
            signals::attempt(&self.entry, Refusal::CredentialUndecryptable);
            Refusal::CredentialUndecryptable
        })
    }

    /// Opens the credential's other secrets: the versions in grace, which the provider
    /// may still know and echo. Once per response; about a microsecond each. `now` is called only
    /// if there are any. Versions that have ended are skipped; one that cannot be opened is logged.
    pub fn open_others(&self, now: impl FnOnce() -> Timestamp) -> Vec<Secret> {
        let opened = self.entry.open_others(now).into_iter();
        let opened = opened.filter_map(|secret| {
            secret
                .inspect_err(|error| {
                    tracing::error!(credential = %self.credential_id(), %error, "an older version cannot be opened");
                })
                .ok()
        });
        opened.map(Secret::unsealed).collect()
    }

    /// Notes that the provider accepted a request with this secret. Once per response; one atomic
    /// load, unless the provider rejected the credential before.
    pub fn accepted(&self) {
        traffic::accepted(&self.entry);
    }

    /// Notes that the provider rejected this secret, which is not a refusal of one request but of
    /// the credential. Once per response.
    pub fn rejected(&self, cause: RejectionCause) {
        traffic::rejected(&self.entry, cause);
    }

    /// Completes once responses on this credential must be cut off; otherwise never. Waiting takes
    /// an entry in a list and no allocation.
    pub fn cut(&self) -> impl Future<Output = ()> + Send + 'static {
        let signals = self.entry.signals.clone();
        async move { signals.wait_for_cut().await }
    }

    /// Whether [`Self::cut`] has completed. One atomic load.
    pub fn is_cut(&self) -> bool {
        self.entry.signals.is_cut()
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("workspace", self.workspace())
            .field("credential", self.credential_id())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
