//! Announces credentials that expire within `credentials.expiring_days`: once for each credential
//! and end, after a restart too, and however many processes share the store.
//!
//! A note for each announced credential holds the announced end. The process whose compare-and-swap
//! of the note succeeds makes the announcement, so no lease is needed. Without a subscriber nothing
//! is announced or noted.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use keyside_store::StorageError;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Registry;
use crate::{
    model::{CredentialEvent, CredentialEventKind, CredentialId, Status, WorkspaceId},
    notes::Kind,
};

/// The announced ends that this process knows of, so that it reads each note once.
#[derive(Default)]
pub(super) struct AnnouncedExpiries {
    known: Mutex<HashMap<CredentialId, Timestamp>>,
    /// Wakes the task that calls [`Registry::announce_expiring`].
    pub(super) due: Arc<Notify>,
}

impl Registry {
    /// Announces what expires soon and was not announced. After a storage failure, the next call
    /// retries.
    pub(super) async fn announce_expiring(&self) {
        if !self.notices.has_subscribers() {
            return;
        }
        let mut claimed = Vec::new();
        for (id, end, event) in self.expiring() {
            match self.claim_announcement(&event.workspace, &id, end).await {
                Ok(is_first) => {
                    self.announced_expiries.known.lock().insert(id, end);
                    claimed.extend(is_first.then_some(event));
                }
                Err(error) => {
                    tracing::warn!(%error, "a credential that expires soon could not be announced yet");
                    break;
                }
            }
        }
        if claimed.is_empty() {
            return;
        }
        // What is claimed is published in any case, because nobody else will.
        if let Err(error) = self.notes.sync().await {
            tracing::warn!(%error, "after a crash, credentials that expire soon may be announced again");
        }
        for event in claimed {
            self.notices.publish(event);
        }
    }

    /// The credentials that expire soon, without those that are known to be announced.
    fn expiring(&self) -> Vec<(CredentialId, Timestamp, CredentialEvent)> {
        let (snapshot, viewer) = (self.all().load(), self.viewer());
        let mut known = self.announced_expiries.known.lock();
        known.retain(|id, _| snapshot.credential(id).is_some());
        let expiring = snapshot.entries().filter_map(|entry| {
            let document = &entry.document;
            let end = document.expires_at?;
            let is_new = viewer.status(document) == Status::Expiring
                && known.get(&document.id) != Some(&end);
            let event = || document.event(CredentialEventKind::Expiring(end), self.clock.now());
            is_new.then(|| (document.id.clone(), end, event()))
        });
        expiring.collect()
    }

    /// Notes that this end is announced. Returns whether nobody has done so before.
    async fn claim_announcement(
        &self,
        workspace: &WorkspaceId,
        id: &CredentialId,
        end: Timestamp,
    ) -> Result<bool, StorageError> {
        // Called again after a race, so that the other process announces it.
        let claim = |announced: &mut Option<Timestamp>| announced.replace(end) != Some(end);
        let name = Kind::Expiring.name(workspace, id);
        self.notes.update(&name, claim).await
    }
}
