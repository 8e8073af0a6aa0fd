//! Who did what: the records of all chains, to read, to take away, and to check.
//!
//! A record is written by the same swap as the change that it is about, and signed with the head. So there is nothing to keep
//! here: what is read, is read from the chains.

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
    error::{Break, ReceiptError, VerifyError},
    export::{Export, Line},
    export_file::{Checked, FileError as ExportError, verify_export},
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
};

/// The audit log.
pub struct Audit {
    chains: Arc<Chains>,
    keyring: Arc<Keyring>,
}

impl Audit {
    pub(crate) fn new(chains: Arc<Chains>, keyring: Arc<Keyring>) -> Self {
        Self { chains, keyring }
    }

    /// Notes that something was refused to a person: a wrong token, a change they may not make. On disk when it returns.
    ///
    /// # Errors
    /// The backend's.
    pub async fn refused(&self, by: &ActorContext, what: &str) -> Result<(), CommitError> {
        self.note(Event::Refused, by, None, what).await
    }

    /// Notes that records of this log are about to be taken away. On disk when it returns: nothing leaves before.
    ///
    /// # Errors
    /// The backend's.
    pub async fn exported(
        &self,
        by: &ActorContext,
        workspace: Option<&WorkspaceId>,
        what: &str,
    ) -> Result<(), CommitError> {
        self.note(Event::AuditExported, by, workspace, what).await
    }

    async fn note(
        &self,
        event: Event,
        by: &ActorContext,
        workspace: Option<&WorkspaceId>,
        note: &str,
    ) -> Result<(), CommitError> {
        let draft = Draft {
            workspace: workspace.cloned(),
            note: Some(note.to_owned()),
            ..Draft::new(event, by)
        };
        self.chains.append_record(draft).await
    }

    /// Whether a workspace of that name was erased: its records are still there.
    pub fn has_erased(&self, workspace: &WorkspaceId) -> bool {
        let registration = self.chains.registration(workspace);
        registration.is_some_and(|it| it.erased.is_some())
    }

    /// The key that checks every head of this installation. It is no secret: with it, an export is checked on another machine.
    pub fn public_key(&self) -> keyside_store::PublicKey {
        self.chains.public_key()
    }
}

#[cfg(test)]
mod tests;
