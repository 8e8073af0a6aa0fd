//! Credentials that their providers reject in traffic. Kept in memory, and in a note for each, so
//! that a restart does not forget them. Nothing depends on the notes.

use std::collections::BTreeMap;

use keyside_config::ProviderId;
use keyside_store::StorageError;
use tokio::sync::Mutex;

use super::Registry;
use crate::{
    model::{CredentialId, RejectedCredential, TrafficCounts},
    notes::Kind,
    snapshot::{
        CredentialEntry,
        traffic::{self, StoredRejection},
    },
};

type Rejected = (CredentialId, StoredRejection);

/// The notes by name, as this process wrote or read them last.
#[derive(Default)]
pub(super) struct RejectionNotes(Mutex<BTreeMap<String, Rejected>>);

impl Registry {
    /// The credentials that their providers reject in traffic.
    pub fn rejected_in_traffic(&self) -> Vec<RejectedCredential> {
        traffic::rejected_credentials(&self.all().load())
    }

    /// The number of credentials by provider and state in traffic.
    pub fn traffic_counts(&self) -> BTreeMap<ProviderId, TrafficCounts> {
        traffic::counts(&self.all().load())
    }

    /// Takes over the rejections in the notes, at a start. What cannot be read counts as missing.
    pub(super) async fn load_rejections(&self) {
        let prefix = Kind::Rejections.prefix();
        let stored = match self.notes.under::<Option<Rejected>>(prefix).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(%error, "rejections of keys in traffic could not be read");
                return;
            }
        };
        let mut written = self.rejection_notes.0.lock().await;
        let snapshot = self.snapshot.load_full();
        for (id, stored) in stored.into_iter().filter_map(|(_, stored)| stored) {
            if let Some((_, entry)) = snapshot.credential(&id) {
                traffic::restore(entry, stored.clone());
                written.insert(note(entry), (id, stored));
            }
        }
    }

    /// Writes the rejections of stored credentials that have changed, and removes those that have
    /// ended. After a failure, the next call retries.
    pub(super) async fn store_rejections(&self) {
        if let Err(error) = self.write_rejections().await {
            tracing::warn!(%error, "rejections of keys in traffic could not be stored");
        }
    }

    async fn write_rejections(&self) -> Result<(), StorageError> {
        let mut written = self.rejection_notes.0.lock().await;
        let snapshot = self.snapshot.load_full();
        let rejected = snapshot.entries().filter_map(|entry| {
            let stored = traffic::stored(entry)?;
            Some((note(entry), (entry.document.id.clone(), stored)))
        });
        let rejected: BTreeMap<String, Rejected> = rejected.collect();
        for (name, rejected) in &rejected {
            if written.get(name) == Some(rejected) {
                continue;
            }
            let replace = |stored: &mut Option<Rejected>| *stored = Some(rejected.clone());
            self.notes.update(name, replace).await?;
            written.insert(name.clone(), rejected.clone());
        }
        let ended = written.keys().filter(|name| !rejected.contains_key(*name));
        let ended: Vec<_> = ended.cloned().collect();
        for name in ended {
            self.notes.remove(&name).await?;
            written.remove(&name);
        }
        Ok(())
    }
}

fn note(entry: &CredentialEntry) -> String {
    let document = &entry.document;
    Kind::Rejections.name(&document.workspace, &document.id)
}
