//! From what a request says to the one credential it may use.
//!
//! Once a request, from memory alone: no storage, no key service, no lock. The choice is deterministic, and every way it
//! can end without a credential is a [`Refusal`].

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use keyside_config::EnvironmentPin;

use crate::{
    clock::Ratchet,
    model::{CredentialId, Environment, Label, Refusal, WorkspaceId},
    secret::Secret,
    snapshot::{Choice, Choices, CredentialEntry, Snapshots, WorkspaceEntry, signals},
};

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct CredentialQuery<'a> {
    /// The workspace it is tagged with.
    pub workspace: &'a str,
    /// The provider it is for.
    pub provider: &'a str,
    /// A credential by name.
    pub label: Option<&'a str>,
    /// Live or sandbox.
    pub environment: Option<Environment>,
    /// What its listener may use.
    pub pin: EnvironmentPin,
}

/// Hands out grants. Cheap to clone; all clones see every change at once.
#[derive(Clone)]
pub struct Resolver {
    snapshots: Arc<dyn Snapshots>,
    clock: Arc<Ratchet>,
}

impl Resolver {
    pub(crate) fn new(snapshots: Arc<dyn Snapshots>, clock: Arc<Ratchet>) -> Self {
        Self { snapshots, clock }
    }

    /// The credential that `ask` leads to.
    ///
    /// # Errors
    /// Why there is none.
    pub fn resolve(&self, ask: &CredentialQuery<'_>) -> Result<Grant, Refusal> {
        let snapshot = self.snapshots.load();
        let workspace = snapshot
            .workspaces
            .get(ask.workspace)
            .ok_or(Refusal::WorkspaceUnknown)?;
        let entry = ask.choose(workspace)?;
        entry
            .check(|| self.clock.now())
            .inspect_err(|refusal| signals::attempt(entry, *refusal))?;
        Ok(Grant(entry.clone()))
    }

    /// Whether there is such a workspace.
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
        // What cannot be read might be what was asked for.
        let unless_lost = |refusal| match workspace.has_unrevoked_lost() {
            true => Refusal::CredentialUndecryptable,
            false => refusal,
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
        // The environment of a damaged one is only what it claims.
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
        let allowed = [Environment::Live, Environment::Sandbox]
            .into_iter()
            .filter(|environment| self.allows(*environment));
        match allowed
            .filter_map(|environment| choices.default(environment))
            .next()
        {
            Some(Choice::Credential(entry)) => Ok(entry),
            Some(Choice::Lost(refusal)) => Err(*refusal),
            None => Err(Refusal::CredentialMissing),
        }
    }

    /// Whether both the request and its listener allow it.
    fn allows(&self, environment: Environment) -> bool {
        let pinned = match self.pin {
            EnvironmentPin::Any => true,
            EnvironmentPin::Sandbox => environment == Environment::Sandbox,
            EnvironmentPin::Live => environment == Environment::Live,
        };
        pinned && self.environment.is_none_or(|asked| asked == environment)
    }
}

/// Leave to use one version of one credential, for one request. It stays with that version whatever happens meanwhile.
#[derive(Clone)]
pub struct Grant(Arc<CredentialEntry>);

impl Grant {
    /// Leave to try a version that requests may not get yet.
    pub(crate) fn on_trial(entry: CredentialEntry) -> Self {
        Self(Arc::new(entry))
    }

    /// The workspace that pays.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.0.document.workspace
    }

    /// The provider it is good for.
    pub fn provider(&self) -> &Arc<str> {
        &self.0.document.provider
    }

    /// The credential.
    pub fn credential_id(&self) -> &CredentialId {
        &self.0.document.id
    }

    /// The credential's name.
    pub fn label(&self) -> &Label {
        &self.0.document.label
    }

    /// Live or sandbox.
    pub fn environment(&self) -> Environment {
        self.0.document.environment
    }

    /// The version of the secret, from 1.
    pub fn version(&self) -> u32 {
        self.0.usable.as_ref().map_or(0, |usable| usable.version)
    }

    /// The host it is good for, where the provider leaves that to the credential.
    pub fn endpoint(&self) -> Option<&str> {
        self.0.document.endpoint.as_deref()
    }

    /// The secret in plaintext, until it is dropped. Once a request; about a microsecond.
    ///
    /// # Errors
    /// [`Refusal::CredentialUndecryptable`] when the sealed bytes are not the ones that were sealed for this place.
    pub fn open(&self) -> Result<Secret, Refusal> {
        let Ok(usable) = &self.0.usable else {
            return Err(Refusal::CredentialUndecryptable);
        };
        usable.open().map(Secret::unsealed).map_err(|error| {
            tracing::error!(credential = %self.credential_id(), %error, "a credential does not open");
            signals::attempt(&self.0, Refusal::CredentialUndecryptable);
            Refusal::CredentialUndecryptable
        })
    }

    /// The credential's other secrets in plaintext: the versions that are staged or in grace, which its provider may still
    /// know of and repeat. Once an answer, about a microsecond each. `now` is asked only where there are any; a version that
    /// has ended by then stays closed, and one that does not open is left out and logged.
    pub fn open_others(&self, now: impl FnOnce() -> Timestamp) -> Vec<Secret> {
        let opened = self.0.open_others(now).into_iter();
        let opened = opened.filter_map(|secret| {
            secret
                .inspect_err(|error| {
                    tracing::error!(credential = %self.credential_id(), %error, "an older version does not open");
                })
                .ok()
        });
        opened.map(Secret::unsealed).collect()
    }

    /// Returns once what is in flight on this credential has to stop; else never. Waiting costs a place in a list and
    /// no allocation, and holds nothing but a reference.
    pub fn cut(&self) -> impl Future<Output = ()> + Send + 'static {
        let signals = self.0.signals.clone();
        async move { signals.wait_for_cut().await }
    }

    /// Whether that is so already. One atomic load.
    pub fn is_cut(&self) -> bool {
        self.0.signals.is_cut()
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
