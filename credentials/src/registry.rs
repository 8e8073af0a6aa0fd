//! The control plane's way in: every change to workspaces and credentials, and the views of them.

mod change;
mod duplicates;
mod erase;
mod error;
mod export;
mod follow;
mod housekeeping;
mod lifecycle;
mod links;
mod open;
mod record_once;
mod recovery;
mod references;
mod request;
mod reseal;
mod rewrap;
mod tokens;
mod view;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
};

use arc_swap::ArcSwap;
use keyside_config::{Catalogue, CredentialRules};
use keyside_store::{Backend, Notes, StorageError, chain::State};
use tokio::sync::RwLock;

use self::{
    change::ChangeOutcome,
    duplicates::DuplicateIndex,
    links::Links,
    open::{Opened, Role},
    references::References,
};
pub use self::{
    error::{ChangeError, OpenError},
    references::ReferenceOptions,
    request::{
        Edit, Filter, GRACE_DEFAULT, GRACE_LIMIT, Idempotency, NewCredential, NewSecret,
        NewWorkspace, Revocation, Rollback, Rotation, Saved,
    },
    reseal::Resealed,
};
use crate::{
    access::Access,
    audit::Audit,
    chains::Chains,
    clock::{Clock, Ratchet},
    declared::Declared as DeclaredCredentials,
    keyring::Keyring,
    kms::Kms,
    model::{ActorContext, Credential, CredentialId, Listed, Scope, Workspace, WorkspaceId},
    resolver::Resolver,
    runs::Runs,
    snapshot::{Overlay, Snapshot, Snapshots, signals::Notices},
};

/// What a registry is opened with.
pub struct OpenOptions {
    /// Where everything is kept.
    pub backend: Backend,
    /// The file of wrapped workspace keys. The owner's token (`admin-token`) and the heads that were acknowledged last
    /// (`heads`) stand beside it.
    pub keyring: PathBuf,
    /// What wraps the workspace keys.
    pub kms: Kms,
    /// The known providers.
    pub catalogue: Arc<Catalogue>,
    /// When a credential counts as expiring.
    pub rules: CredentialRules,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Workspaces and credentials, with the log of who changed them and the records of what they were used for.
pub struct Registry {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) chains: Arc<Chains>,
    notes: Arc<dyn Notes>,
    pub(crate) keyring: Arc<Keyring>,
    catalogue: Arc<Catalogue>,
    rules: CredentialRules,
    pub(crate) clock: Arc<Ratchet>,
    pub(crate) audit: Arc<Audit>,
    runs: Runs,
    pub(crate) access: Access,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Changes hold it shared; a backup holds it alone.
    gate: RwLock<()>,
    /// By provider, since the process began.
    rotations: Mutex<HashMap<Arc<str>, u64>>,
    notices: Arc<Notices>,
    duplicates: DuplicateIndex,
    declared: OnceLock<Overlaid>,
    references: References,
    links: Arc<Links>,
    /// The installation's state that tokens were read from. Locked while they are.
    tokens_state: tokio::sync::Mutex<Option<Arc<State>>>,
}

/// What the settings declare beside what is stored.
struct Overlaid {
    declared: Arc<DeclaredCredentials>,
    both: Arc<Overlay>,
}

impl Registry {
    /// Opens what is stored: unwraps the workspace keys, authenticates every document, finishes what a crash has cut off between
    /// two chains, and on the first start makes the owner's token. Call it on a runtime that lives as long as the
    /// process: tasks of it write run records and sweep what has ended.
    ///
    /// # Errors
    /// Each names its remedy.
    pub async fn open(options: OpenOptions) -> Result<Arc<Self>, OpenError> {
        let Opened { inner, notices } = Inner::open(options, Role::Authority).await?;
        housekeeping::start(&inner, notices);
        tokio::spawn(tokens::keep_last_used(Arc::downgrade(&inner)));
        Ok(Arc::new(Self { inner }))
    }

    /// Lays credentials that the settings declare over the stored ones, for requests and for people. Before
    /// [`Self::resolver`] is called, and once: a second time changes nothing.
    pub fn overlay_declared(&self, declared: Arc<DeclaredCredentials>) {
        let stored = self.inner.snapshot.clone();
        let both = Arc::new(Overlay::new(stored, declared.snapshot().clone()));
        // Ours is the first.
        let _ = self.inner.declared.set(Overlaid { declared, both });
    }

    /// Returns when what is written behind is on disk, or storage has failed to take it: run records, when tokens were
    /// last used, and how far workspaces have come.
    pub async fn flush(&self) {
        self.inner.store_last_used().await;
        self.inner.link(true).await;
        self.inner.runs.flush().await;
    }

    /// Makes a workspace, with a key of its own.
    ///
    /// # Errors
    /// When the id is taken, or storage fails; nothing has changed then.
    pub async fn create_workspace(
        &self,
        by: &ActorContext,
        new: NewWorkspace,
    ) -> Result<Workspace, ChangeError> {
        let by = by.clone();
        let entry = self
            .run_to_completion(|inner| async move { inner.create_workspace(&by, &new).await })
            .await?;
        Ok(view::workspace(&entry))
    }

    /// The workspaces in `within`, by id.
    pub fn workspaces(&self, within: &Scope) -> Vec<Workspace> {
        let snapshot = self.inner.all().load();
        let mut workspaces: Vec<_> = snapshot
            .workspaces
            .values()
            .filter(|entry| within.holds(&entry.document.id))
            .map(|entry| view::workspace(entry))
            .collect();
        workspaces.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        workspaces
    }

    /// One workspace, in whatever scope.
    pub fn workspace(&self, id: &WorkspaceId) -> Option<Workspace> {
        let snapshot = self.inner.all().load();
        let entry = snapshot.workspaces.get(id)?;
        Some(view::workspace(entry))
    }

    /// How often the installation was restored from a backup. What is stored then goes through revisions that it had
    /// before, with another content.
    pub fn epoch(&self) -> u64 {
        self.inner.chains.epoch()
    }

    /// Stores a credential.
    ///
    /// # Errors
    /// What is wrong with it, or storage's failure; nothing has changed then.
    pub async fn add(&self, by: &ActorContext, new: NewCredential) -> Result<Saved, ChangeError> {
        let by = by.clone();
        let outcome = self
            .run_to_completion(|inner| async move { inner.add(&by, &new).await })
            .await?;
        self.saved(outcome)
    }

    /// The credentials that pass `filter`, in [their order](Credential::list_order), but for those that are
    /// [lost](Listed::Lost).
    pub fn list(&self, filter: &Filter) -> Vec<Credential> {
        let snapshot = self.inner.all().load();
        let viewer = self.viewer();
        let mut credentials = viewer.list(&snapshot, filter);
        in_order(&mut credentials);
        credentials
    }

    /// The same with those that are lost, in [their order](Listed::list_order). What is not known of these is not what a filter
    /// asks for.
    pub fn list_all(&self, filter: &Filter) -> Vec<Listed> {
        let snapshot = self.inner.all().load();
        self.viewer().list_all(&snapshot, filter)
    }

    /// One credential, lost or not.
    pub fn find(&self, id: &CredentialId) -> Option<Listed> {
        let snapshot = self.inner.all().load();
        let workspace = snapshot.workspace_of(id)?;
        self.viewer().find(workspace, id)
    }

    /// One credential, unless it is lost.
    pub fn credential(&self, id: &CredentialId) -> Option<Credential> {
        let snapshot = self.inner.all().load();
        let (workspace, entry) = snapshot.credential(id)?;
        Some(self.viewer().credential(workspace, entry))
    }

    /// What hands out grants to the data plane.
    pub fn resolver(&self) -> Resolver {
        Resolver::new(self.inner.all(), self.inner.clock.clone())
    }

    /// What the disk said when it failed to write a change, if it ever did: no change is accepted then before a restart, and
    /// requests are answered all the same.
    pub fn storage_failure(&self) -> Option<String> {
        self.inner.chains.backend().storage.failure()
    }

    /// Who did what.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// What credentials were used for.
    pub fn runs(&self) -> &Runs {
        &self.inner.runs
    }

    /// Who may use the admin API.
    pub fn access(&self) -> &Access {
        &self.inner.access
    }

    fn saved(&self, outcome: ChangeOutcome) -> Result<Saved, ChangeError> {
        let credential = self.credential(&outcome.id);
        Ok(Saved {
            credential: credential.ok_or(ChangeError::CredentialUnknown)?,
            warnings: outcome.warnings,
            repeated: outcome.repeated,
        })
    }

    fn viewer(&self) -> view::Viewer<'_> {
        view::Viewer {
            runs: &self.inner.runs,
            rules: &self.inner.rules,
            now: self.inner.clock.now(),
        }
    }

    /// Runs a change in a task of its own: whoever asked may hang up, and a change that has begun is still carried through.
    pub(crate) async fn run_to_completion<T, F>(
        &self,
        change: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<T, ChangeError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ChangeError>> + Send + 'static,
    {
        match tokio::spawn(change(self.inner.clone())).await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(stopping().into()),
            },
        }
    }
}

impl Inner {
    /// What requests and people see: stored and declared.
    fn all(&self) -> Arc<dyn Snapshots> {
        match self.declared.get() {
            Some(overlaid) => overlaid.both.clone(),
            None => self.snapshot.clone(),
        }
    }

    /// Why a credential that is not stored cannot be changed.
    pub(super) fn not_stored(&self, id: &CredentialId) -> ChangeError {
        let declared = self.declared.get();
        match declared.is_some_and(|overlaid| overlaid.declared.holds(id)) {
            true => ChangeError::Declared,
            false => ChangeError::CredentialUnknown,
        }
    }

    /// Why a workspace that is not stored cannot be changed.
    pub(super) fn no_workspace(&self, id: &WorkspaceId) -> ChangeError {
        let declared = self.declared.get();
        let declared = declared.map(|overlaid| overlaid.declared.snapshot().load());
        match declared.is_some_and(|declared| declared.workspaces.contains_key(id)) {
            true => ChangeError::Declared,
            false => ChangeError::WorkspaceUnknown,
        }
    }
}

fn in_order(credentials: &mut [Credential]) {
    credentials.sort_unstable_by(|one, other| one.list_order().cmp(&other.list_order()));
}

fn stopping() -> StorageError {
    StorageError::unavailable("the process is stopping")
}

#[cfg(test)]
mod tests;
