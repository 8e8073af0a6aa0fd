//! Credentials whose records cannot be read. The workspace's map names them, and that is all that is known: they are listed,
//! refused and revoked by their ids.

use std::sync::Arc;

use jiff::Timestamp;

use super::{WorkspaceEntry, signals::Signals};
use crate::model::{CredentialId, Refusal};

/// A credential whose record is gone, cut short, or the record of something else.
#[derive(Clone)]
pub(crate) struct Lost {
    pub(crate) id: CredentialId,
    /// How often its record was written, as the map says.
    pub(crate) revision: u64,
    /// When a person revoked it. That can only be after it was lost.
    pub(crate) revoked_at: Option<Timestamp>,
    /// Those that it had before it was lost, if this process has seen it then.
    pub(crate) signals: Arc<Signals>,
}

impl Lost {
    /// Why requests for it are refused.
    pub(crate) fn refusal(&self) -> Refusal {
        match self.revoked_at {
            Some(_) => Refusal::CredentialRevoked,
            None => Refusal::CredentialUndecryptable,
        }
    }
}

impl WorkspaceEntry {
    /// This workspace with one lost credential replaced.
    pub(crate) fn with_lost(&self, lost: Lost) -> Self {
        let mut changed = self.clone();
        changed.lost.insert(lost.id.clone(), lost);
        changed.update_all_defaults();
        changed
    }

    /// Whether a lost credential might be the one that a request asks for. Only on the way to a refusal.
    pub(crate) fn has_unrevoked_lost(&self) -> bool {
        self.lost.values().any(|lost| lost.revoked_at.is_none())
    }
}
