//! Lost credentials: their records cannot be read. Only their ids are known, from the workspace's
//! map, so they can be listed, refused and revoked.

use std::sync::Arc;

use jiff::Timestamp;

use super::{WorkspaceEntry, signals::Signals};
use crate::model::{CredentialId, Refusal};

/// A credential whose record is missing, truncated, or belongs to something else.
#[derive(Clone)]
pub(crate) struct Lost {
    pub(crate) id: CredentialId,
    /// Number of writes of the record, from the map.
    pub(crate) revision: u64,
    /// When it was revoked; always after it was lost.
    pub(crate) revoked_at: Option<Timestamp>,
    /// The signals from before it was lost, if this process knows them.
    pub(crate) signals: Arc<Signals>,
}

impl Lost {
    pub(crate) fn refusal(&self) -> Refusal {
        match self.revoked_at {
            Some(_) => Refusal::CredentialRevoked,
            None => Refusal::CredentialUndecryptable,
        }
    }
}

impl WorkspaceEntry {
    pub(crate) fn with_lost(&self, lost: Lost) -> Self {
        let mut changed = self.clone();
        changed.lost.insert(lost.id.clone(), lost);
        changed.update_all_defaults();
        changed
    }

    /// The lost credentials that may still be in use: they might be the requested one. Requests ask
    /// only before they are refused.
    pub(crate) fn unrevoked_lost(&self) -> impl Iterator<Item = &Lost> {
        self.lost.values().filter(|lost| lost.revoked_at.is_none())
    }
}
