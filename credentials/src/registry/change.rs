//! The changes: each reads the snapshot under the workspace's lock, makes the new documents, has the journal commit them,
//! and shows the result to the data plane. One file a concern; what they share is here and in `held.rs`.

mod add;
mod edit;
mod held;
mod repetition;
mod revoke;
mod rollback;
mod rotate;
mod sweep;
mod verify;
mod workspace;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use tokio::sync::{OwnedMutexGuard, RwLockReadGuard, RwLockWriteGuard, Semaphore};

use super::{Act, ChangeError, Inner, Warning};
use crate::{
    CredentialId, Fingerprint, Label, WorkspaceId,
    audit::{Detail, Draft, Event},
    authentic,
    documents::{CredentialDocument, Stored, WorkspaceDocument},
    journal::{Body, Write},
    sealing::{Place, SealingKey},
    snapshot::{CredentialEntry, Snapshot, WorkspaceEntry},
};

/// What a change came to: the credential, what there is to be said of it, and whether it was made before.
pub(super) struct Made {
    pub(super) id: CredentialId,
    pub(super) warnings: Vec<Warning>,
    pub(super) repeated: bool,
}

/// Leave to make a change, with the lock of what it changes.
pub(super) struct Begun<'a, L> {
    _lock: L,
    _gate: RwLockReadGuard<'a, ()>,
}

impl Inner {
    /// Leave to change a workspace, and what is in it.
    pub(super) async fn begin_in(
        &self,
        by: &Act,
        workspace: &WorkspaceId,
    ) -> Result<Begun<'_, OwnedMutexGuard<()>>, ChangeError> {
        self.begin_under(by, || self.locks.lock(workspace)).await
    }

    /// Leave to change what `lock` guards. Whoever had the lock before may have stopped half-way while this one waited for
    /// it, and nothing may be made on top of what is in memory then: it begins once more. The actor's token may have been
    /// revoked since the request was authenticated, so it is looked at once the lock is held.
    pub(super) async fn begin_under<L, F>(
        &self,
        by: &Act,
        lock: impl Fn() -> F,
    ) -> Result<Begun<'_, L>, ChangeError>
    where
        F: Future<Output = L>,
    {
        loop {
            let gate = self.begin().await?;
            let begun = Begun {
                _lock: lock().await,
                _gate: gate,
            };
            if !self.journal.is_unsettled() {
                self.expect_access(by)?;
                return Ok(begun);
            }
        }
    }

    /// Refuses an actor whose token is revoked or has expired. Keyside itself acts without a token.
    pub(crate) fn expect_access(&self, by: &Act) -> Result<(), ChangeError> {
        match self.access.has_ended(&by.actor) {
            true => Err(ChangeError::AccessEnded),
            false => Ok(()),
        }
    }

    /// Leave to begin something. If an earlier change stopped half-way, everything is read anew first.
    pub(super) async fn begin(&self) -> Result<RwLockReadGuard<'_, ()>, ChangeError> {
        loop {
            let begun = self.gate.read().await;
            if !self.journal.is_unsettled() {
                return Ok(begun);
            }
            drop(begun);
            drop(self.begin_alone().await?);
        }
    }

    /// Leave to look at everything while no change is under way.
    pub(crate) async fn begin_alone(&self) -> Result<RwLockWriteGuard<'_, ()>, ChangeError> {
        let alone = self.gate.write().await;
        if self.journal.is_unsettled() {
            self.reload().await?;
        }
        Ok(alone)
    }

    pub(super) fn sound_workspace(
        &self,
        id: &WorkspaceId,
    ) -> Result<Arc<WorkspaceEntry>, ChangeError> {
        let snapshot = self.snapshot.load();
        let workspace = snapshot
            .workspaces
            .get(id)
            .ok_or_else(|| self.no_workspace(id))?;
        match workspace.damage {
            Some(_) => Err(ChangeError::Damaged),
            None => Ok(workspace.clone()),
        }
    }

    /// From here on requests see it. Workspaces change side by side, so the swap is tried until none came between.
    pub(super) fn show(&self, workspace: Arc<WorkspaceEntry>) {
        self.snapshot
            .rcu(|snapshot| Snapshot::with(snapshot, workspace.clone()));
    }

    /// The same for a workspace of which one credential has changed, and perhaps its own document.
    pub(super) fn show_credential(
        &self,
        workspace: &WorkspaceEntry,
        settings: WorkspaceDocument,
        entry: CredentialEntry,
    ) {
        let entry = Arc::new(entry);
        self.show(Arc::new(workspace.with(settings, entry.clone())));
        let id = &entry.document.id;
        let before = workspace.credentials.get(id);
        let fingerprint = |entry: &Arc<CredentialEntry>| Some(entry.trace()?.fingerprint.clone());
        self.twins
            .note(id, before.and_then(fingerprint), fingerprint(&entry));
        // Nobody waits for its first look.
        self.follow(&entry, &Arc::new(Semaphore::new(0)));
    }
}

/// One change at a time in a workspace: labels are unique and defaults single within it.
#[derive(Default)]
pub(super) struct WorkspaceLocks(Mutex<HashMap<WorkspaceId, Arc<tokio::sync::Mutex<()>>>>);

impl WorkspaceLocks {
    pub(super) async fn lock(&self, workspace: &WorkspaceId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for are of no use: ids that never became workspaces must not pile up.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(workspace.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }
}

/// What the record of a change to a credential says of it.
pub(super) fn about(event: Event, by: &Act, document: &CredentialDocument) -> Draft {
    Draft {
        workspace: Some(document.workspace.clone()),
        credential: Some(document.id.clone()),
        provider: Some(document.provider.to_string()),
        ..Draft::new(event, by)
    }
}

/// The part of a record that goes when the workspace is erased.
pub(super) fn detail(
    key: &Arc<SealingKey>,
    fingerprint: &Fingerprint,
) -> Option<(Arc<SealingKey>, Detail)> {
    let fingerprint = fingerprint.clone();
    Some((key.clone(), Detail { fingerprint }))
}

pub(super) fn write<T: Stored + Serialize>(sealing: &SealingKey, document: &T) -> Write {
    let key = document.key();
    let body = authentic::write(sealing, &Place::Document { key: &key }, document);
    Write {
        key,
        expected: document.revision() - 1,
        body: Some(Body(body)),
    }
}

/// The workspace's document with `credential` as the default of its provider and environment.
fn with_default(
    workspace: &WorkspaceDocument,
    credential: &CredentialDocument,
) -> WorkspaceDocument {
    let mut workspace = workspace.clone();
    workspace.revision += 1;
    let defaults = workspace
        .defaults
        .entry(credential.provider.to_string())
        .or_default();
    defaults.set(credential.environment, credential.id.clone());
    workspace
}

/// The label that a default has, where it is another credential.
fn other_label(default: Option<&CredentialEntry>, than: &CredentialId) -> Option<Label> {
    let other = default.filter(|default| default.document.id != *than)?;
    Some(other.document.label.clone())
}

/// A name that people can read in a table.
pub(super) fn is_fit(name: &str) -> bool {
    (1..=200).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// `version 2`, `versions 2, 3`.
fn in_words(versions: &[u32]) -> String {
    let plural = if versions.len() == 1 { "" } else { "s" };
    let numbers: Vec<_> = versions.iter().map(u32::to_string).collect();
    format!("version{plural} {}", numbers.join(", "))
}
