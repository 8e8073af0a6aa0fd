//! The control plane's entry point: all changes to workspaces and credentials, and their views.

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
use keyside_config::{Catalogue, CredentialRules, ProviderId};
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

/// Options for opening a registry.
pub struct OpenOptions {
    /// The storage of objects, segments, runs and notes.
    pub backend: Backend,
    /// The file of wrapped workspace keys. The owner token (`admin-token`) and the anchors
    /// (`heads`) are beside it.
    pub keyring: PathBuf,
    /// The key service.
    pub kms: Kms,
    /// The known providers.
    pub catalogue: Arc<Catalogue>,
    /// When a credential counts as expiring.
    pub rules: CredentialRules,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

/// Workspaces and credentials, with their audit log and run records.
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
    /// Changes hold it shared; a backup holds it exclusively.
    gate: RwLock<()>,
    /// Rotations since the process started, by provider.
    rotations: Mutex<HashMap<ProviderId, u64>>,
    notices: Arc<Notices>,
    duplicates: DuplicateIndex,
    declared: OnceLock<Overlaid>,
    references: References,
    links: Arc<Links>,
    /// The installation's state that tokens were loaded from. Locked while they are loaded.
    tokens_state: tokio::sync::Mutex<Option<Arc<State>>>,
}

/// Declared credentials, and their overlay over the stored ones.
struct Overlaid {
    declared: Arc<DeclaredCredentials>,
    both: Arc<Overlay>,
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
        let Opened { inner, notices } = Inner::open(options, Role::Authority).await?;
        housekeeping::start(&inner, notices);
        tokio::spawn(tokens::keep_last_used(Arc::downgrade(&inner)));
        Ok(Arc::new(Self { inner }))
    }

    /// Overlays declared credentials over the stored ones. Call it before [`Self::resolver`]; later
    /// calls have no effect.
    pub fn overlay_declared(&self, declared: Arc<DeclaredCredentials>) {
        let stored = self.inner.snapshot.clone();
        let both = Arc::new(Overlay::new(stored, declared.snapshot().clone()));
        // A second overlay is ignored.
        let _ = self.inner.declared.set(Overlaid { declared, both });
    }

    /// Waits until pending writes are on disk or have failed: run records, times of last use, and
    /// links.
    pub async fn flush(&self) {
        self.inner.store_last_used().await;
        self.inner.link(true).await;
        self.inner.runs.flush().await;
    }

    /// Creates a workspace with a key of its own.
    ///
    /// # Errors
    /// The id is taken, or storage failed; nothing has changed then.
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

    /// The workspaces in `within`, ordered by id.
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

    /// The workspace with this id, in any scope.
    pub fn workspace(&self, id: &WorkspaceId) -> Option<Workspace> {
        let snapshot = self.inner.all().load();
        let entry = snapshot.workspaces.get(id)?;
        Some(view::workspace(entry))
    }

    /// How often the installation was restored from a backup. After a restore, revisions repeat
    /// with other content.
    pub fn epoch(&self) -> u64 {
        self.inner.chains.epoch()
    }

    /// Creates a credential.
    ///
    /// # Errors
    /// The request is invalid, or storage failed; nothing has changed then.
    pub async fn add(&self, by: &ActorContext, new: NewCredential) -> Result<Saved, ChangeError> {
        let by = by.clone();
        let outcome = self
            .run_to_completion(|inner| async move { inner.add(&by, &new).await })
            .await?;
        self.saved(outcome)
    }

    /// The credentials that match `filter`, in [list order](Credential::list_order), without
    /// [lost](Listed::Lost) ones.
    pub fn list(&self, filter: &Filter) -> Vec<Credential> {
        let snapshot = self.inner.all().load();
        let viewer = self.viewer();
        let mut credentials = viewer.list(&snapshot, filter);
        in_order(&mut credentials);
        credentials
    }

    /// The credentials that match `filter`, in [list order](Listed::list_order), including lost
    /// ones. A lost credential matches only if every field that the filter selects is known.
    pub fn list_all(&self, filter: &Filter) -> Vec<Listed> {
        let snapshot = self.inner.all().load();
        self.viewer().list_all(&snapshot, filter)
    }

    /// The credential with this id, lost or not.
    pub fn find(&self, id: &CredentialId) -> Option<Listed> {
        let snapshot = self.inner.all().load();
        let workspace = snapshot.workspace_of(id)?;
        self.viewer().find(workspace, id)
    }

    /// The credential with this id, unless it is lost.
    pub fn credential(&self, id: &CredentialId) -> Option<Credential> {
        let snapshot = self.inner.all().load();
        let (workspace, entry) = snapshot.credential(id)?;
        Some(self.viewer().credential(workspace, entry))
    }

    /// Resolves requests for the data plane.
    pub fn resolver(&self) -> Resolver {
        Resolver::new(self.inner.all(), self.inner.clock.clone())
    }

    /// The error of a failed write, if there was one. Until a restart no change is accepted then,
    /// but requests are still served.
    pub fn storage_failure(&self) -> Option<String> {
        self.inner.chains.backend().storage.failure()
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// The run records.
    pub fn runs(&self) -> &Runs {
        &self.inner.runs
    }

    /// The tokens for the admin API.
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

    /// Runs a change in its own task, so that it completes even if the caller disconnects.
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
    /// Stored and declared credentials together.
    fn all(&self) -> Arc<dyn Snapshots> {
        match self.declared.get() {
            Some(overlaid) => overlaid.both.clone(),
            None => self.snapshot.clone(),
        }
    }

    /// The error for a credential that is not stored.
    pub(super) fn not_stored(&self, id: &CredentialId) -> ChangeError {
        let declared = self.declared.get();
        match declared.is_some_and(|overlaid| overlaid.declared.holds(id)) {
            true => ChangeError::Declared,
            false => ChangeError::CredentialUnknown,
        }
    }

    /// The error for a workspace that is not stored.
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
