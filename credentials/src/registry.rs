//! The control plane's entry point: all changes to workspaces and credentials, and their views.
//! Each public operation is in the file of its concern.

mod change;
mod checks;
mod duplicates;
mod erase;
mod error;
mod events;
mod expiry;
mod export;
mod follow;
mod health;
mod housekeeping;
mod key_rotation;
mod links;
mod open;
mod readiness;
mod record_once;
mod recovery;
mod references;
mod request;
mod reseal;
mod sealing_key;
mod spend;
mod tokens;
mod traffic;
mod view;

use std::{
    collections::HashMap,
    panic::resume_unwind,
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use keyside_config::{Catalogue, CredentialRules, ProviderId};
use keyside_store::{Backend, StorageError, chain::State};
use parking_lot::Mutex;
use tokio::sync::RwLock;

use self::{
    change::Groups, checks::LastChecks, duplicates::DuplicateIndex, expiry::AnnouncedExpiries,
    links::Links, references::References, spend::SpendWriter, traffic::RejectionNotes,
};
pub use self::{
    checks::LastCheck,
    error::{ChangeError, OpenError},
    health::{DamageCounts, KeyAges},
    readiness::{Readiness, ReadinessStatus},
    references::ReferenceOptions,
    request::{
        CheckBeforeSave, Edit, Filter, GRACE_DEFAULT, GRACE_LIMIT, Idempotency, NewCredential,
        NewSecret, NewWorkspace, Revocation, Rollback, Rotation, Saved, WorkspaceEdit,
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
    model::{CredentialId, WorkspaceId},
    notes::NoteStore,
    request_context::RequestContext,
    resolver::Resolver,
    runs::Runs,
    snapshot::{Overlay, Snapshot, Snapshots, signals::Notices},
    spend::Stored,
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
    pub(crate) chains: Arc<Chains>,
    pub(crate) notes: Arc<NoteStore>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) catalogue: Arc<Catalogue>,
    rules: CredentialRules,
    pub(crate) clock: Arc<Ratchet>,
    pub(crate) audit: Arc<Audit>,
    runs: Runs,
    pub(crate) access: Access,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Changes hold it shared; a backup holds it exclusively.
    gate: RwLock<()>,
    /// Changes that are decided and wait for the commit that they share.
    groups: Groups,
    /// Rotations since the process started, by provider.
    rotations: Mutex<HashMap<ProviderId, u64>>,
    notices: Arc<Notices>,
    rejection_notes: RejectionNotes,
    checks: LastChecks,
    announced_expiries: AnnouncedExpiries,
    duplicates: DuplicateIndex,
    declared: OnceLock<Overlaid>,
    references: References,
    links: Arc<Links>,
    spend: SpendWriter,
    /// The installation's state that tokens were loaded from. Locked while they are loaded.
    tokens_state: tokio::sync::Mutex<Option<Arc<State>>>,
}

/// Declared credentials, and their overlay over the stored ones.
struct Overlaid {
    declared: Arc<DeclaredCredentials>,
    both: Arc<Overlay>,
}

impl Registry {
    /// Overlays declared credentials over the stored ones. Call it before [`Self::resolver`]; later
    /// calls have no effect.
    pub fn overlay_declared(&self, declared: Arc<DeclaredCredentials>) {
        self.notices.adopt(&declared.notices);
        declared.notices.store_spend_with(&self.spend.due);
        let stored = self.snapshot.clone();
        let both = Arc::new(Overlay::new(stored, declared.snapshot.clone()));
        // A second overlay is ignored.
        let _ = self.declared.set(Overlaid { declared, both });
    }

    /// Waits until pending writes are on disk or have failed: run records, times of last use,
    /// results of checks, rejections in traffic, links, anchors, and counts of spend.
    pub async fn flush(&self) {
        if let Err(error) = self.store_spend(Stored::Exact).await {
            tracing::error!(%error, "what was spent today could not be stored");
        }
        self.store_last_used().await;
        self.store_rejections().await;
        self.store_checks().await;
        self.link(true).await;
        self.chains.anchors.sync_unsynced().await;
        self.runs.flush().await;
    }

    /// How often the installation was restored from a backup. After a restore, revisions repeat
    /// with other content.
    pub fn epoch(&self) -> u64 {
        self.chains.epoch()
    }

    /// The current time, by the clock that decides what has expired.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Resolves requests for the data plane.
    pub fn resolver(&self) -> Resolver {
        Resolver::new(self.all(), self.clock.clone())
    }

    /// The error of a failed write, if there was one. Until a restart no change is accepted then,
    /// but requests are still served.
    pub fn storage_failure(&self) -> Option<String> {
        self.chains.backend().storage.failure()
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The run records.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// The tokens for the admin API.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// All credentials in memory. The same `Arc` as before if none has changed.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.all().load())
    }

    /// Runs a change in its own task, so that it completes even if the caller disconnects.
    pub(crate) async fn run_to_completion<T, F>(
        self: &Arc<Self>,
        change: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, ChangeError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ChangeError>> + Send + 'static,
    {
        match RequestContext::spawn(change(self.clone())).await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // Its task was ended at some step.
                Err(_) => {
                    let stopping = StorageError::unavailable("the process is stopping");
                    Err(ChangeError::OutcomeUnknown(stopping))
                }
            },
        }
    }

    /// Stored and declared credentials together.
    fn all(&self) -> Arc<dyn Snapshots> {
        match self.declared.get() {
            Some(overlaid) => overlaid.both.clone(),
            None => self.snapshot.clone(),
        }
    }

    fn not_stored(&self, id: &CredentialId) -> ChangeError {
        let declared = self.declared.get();
        match declared.is_some_and(|overlaid| overlaid.declared.holds(id)) {
            true => ChangeError::Declared,
            false => ChangeError::CredentialUnknown,
        }
    }

    fn no_workspace(&self, id: &WorkspaceId) -> ChangeError {
        let declared = self.declared.get();
        let declared = declared.map(|overlaid| overlaid.declared.snapshot.load());
        match declared.is_some_and(|declared| declared.workspaces.contains_key(id)) {
            true => ChangeError::Declared,
            false => ChangeError::WorkspaceUnknown,
        }
    }
}

/// The registry after a background task has waited; `None` if it was dropped meanwhile.
async fn after<T>(
    wait: impl Future<Output = T>,
    registry: &Weak<Registry>,
) -> Option<Arc<Registry>> {
    wait.await;
    registry.upgrade()
}

#[cfg(test)]
pub(crate) mod tests;
