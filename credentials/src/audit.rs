//! The audit log: reads, exports and verifies the records of all chains.
//!
//! A record is committed in the same swap as its change and signed with the head. This module
//! therefore stores nothing itself and reads everything from the chains.

mod error;
mod export;
mod export_file;
mod offline;
mod receipt;
mod search;
mod verify;

use std::sync::Arc;

use keyside_store::chain::CommitError;

pub use self::{
    error::{Break, ReadError, ReceiptError, VerifyError},
    export::{Export, Line},
    export_file::{Checked, FileError as ExportError, LineError as ExportLineError, verify_export},
    offline::{ClockBehind, Inspection, OfflineAudit},
    receipt::Receipt,
    search::{AuditFilter, AuditPage, Cursor},
    verify::{Head, Verified},
};
pub use crate::record::{AuditRecord, Event};
use crate::{
    chains::Chains,
    keyring::Keyring,
    model::{ActorContext, WorkspaceId},
    record::Draft,
    snapshot::signals::Notices,
};

/// The audit log.
pub struct Audit {
    chains: Arc<Chains>,
    keyring: Arc<Keyring>,
    /// Of the entries that a verification loads and drops.
    notices: Arc<Notices>,
}

impl Audit {
    pub(crate) fn new(chains: Arc<Chains>, keyring: Arc<Keyring>, notices: Arc<Notices>) -> Self {
        Self {
            chains,
            keyring,
            notices,
        }
    }

    /// Records that a caller was refused: an invalid token, or a change that is not permitted. The
    /// record is on disk when this returns.
    ///
    /// # Errors
    /// The backend failed.
    pub async fn refused(&self, by: &ActorContext, what: &str) -> Result<(), CommitError> {
        self.note(Event::Refused, by, what).await
    }

    /// Records that a person signed in to the admin page. The record is on disk when this returns.
    ///
    /// # Errors
    /// The backend failed.
    pub async fn signed_in(&self, by: &ActorContext, how: &str) -> Result<(), CommitError> {
        self.note(Event::SignedIn, by, how).await
    }

    /// Records that a person proved again who they are. The record is on disk when this returns.
    ///
    /// # Errors
    /// The backend failed.
    pub async fn reauthenticated(&self, by: &ActorContext, how: &str) -> Result<(), CommitError> {
        self.note(Event::Reauthenticated, by, how).await
    }

    /// Records that audit records are about to be exported: one record for each workspace, or for
    /// none if all are. All of them are on disk when this returns, before any data leaves.
    ///
    /// # Errors
    /// The backend failed.
    pub async fn exported(
        &self,
        by: &ActorContext,
        workspaces: &[Option<&WorkspaceId>],
        what: &str,
    ) -> Result<(), CommitError> {
        let drafts = workspaces.iter().map(|workspace| Draft {
            workspace: workspace.cloned(),
            ..Draft::noted(Event::AuditExported, by, what)
        });
        self.chains.append_records(drafts.collect()).await
    }

    async fn note(&self, event: Event, by: &ActorContext, note: &str) -> Result<(), CommitError> {
        let drafts = vec![Draft::noted(event, by, note)];
        self.chains.append_records(drafts).await
    }

    /// Whether a workspace with this id was erased. Its records remain.
    pub fn has_erased(&self, workspace: &WorkspaceId) -> bool {
        let registration = self.chains.registration(workspace);
        registration.is_some_and(|it| it.erased.is_some())
    }

    /// The public key that verifies every head of this installation. It is not secret: an auditor
    /// uses it to verify an export on another machine.
    pub fn public_key(&self) -> keyside_store::PublicKey {
        self.chains.public_key()
    }
}

#[cfg(test)]
mod tests;
