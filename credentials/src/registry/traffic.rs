//! Credentials that their providers reject in traffic. Kept in memory, and in a note, so that a
//! restart does not forget them. Nothing depends on the note.

use std::collections::BTreeMap;

use keyside_config::ProviderId;
use keyside_store::StorageError;
use tokio::sync::Mutex;

use super::Registry;
use crate::{
    model::{CredentialId, RejectedCredential, TrafficCounts},
    sealing::SealContext,
    snapshot::traffic::{self, StoredRejection},
};

/// The contents of the note, as this process wrote or read them last.
pub(super) struct RejectionNote(Mutex<Vec<u8>>);

impl Default for RejectionNote {
    fn default() -> Self {
        Self(Mutex::new(EMPTY.to_vec()))
    }
}

impl Registry {
    /// The credentials that their providers reject in traffic.
    pub fn rejected_in_traffic(&self) -> Vec<RejectedCredential> {
        traffic::rejected_credentials(&self.all().load())
    }

    /// The number of credentials by provider and state in traffic.
    pub fn traffic_counts(&self) -> BTreeMap<ProviderId, TrafficCounts> {
        traffic::counts(&self.all().load())
    }

    /// Takes over the rejections in the note, at a start. One that cannot be read counts as empty.
    pub(super) async fn load_rejections(&self) {
        let stored = match self.notes.get(NAME).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "rejections of keys in traffic could not be read");
                return;
            }
        };
        let opened = self.keyring.installation().open(&CONTEXT, &stored);
        let Ok(json) = opened else {
            return;
        };
        let rejections: BTreeMap<CredentialId, StoredRejection> =
            serde_json::from_slice(&json).unwrap_or_default();
        let snapshot = self.snapshot.load_full();
        for (id, stored) in rejections {
            if let Some((_, entry)) = snapshot.credential(&id) {
                traffic::restore(entry, stored);
            }
        }
        *self.rejection_note.0.lock().await = json.to_vec();
    }

    /// Writes the rejections of stored credentials to the note, if they have changed. After a
    /// failure, the next call retries.
    pub(super) async fn store_rejections(&self) {
        if let Err(error) = self.write_rejections().await {
            tracing::warn!(%error, "rejections of keys in traffic could not be stored");
        }
    }

    async fn write_rejections(&self) -> Result<(), StorageError> {
        let rejections = traffic::all_stored(&self.snapshot.load());
        let json = serde_json::to_vec(&rejections).expect("ids, times and numbers serialize");
        let mut written = self.rejection_note.0.lock().await;
        if *written == json {
            return Ok(());
        }
        let sealed = self.keyring.installation().seal(&CONTEXT, &json);
        let before = self.notes.get(NAME).await?;
        self.notes.swap(NAME, before.as_deref(), &sealed).await?;
        *written = json;
        Ok(())
    }
}

const NAME: &str = "traffic/rejections";
const CONTEXT: SealContext<'_> = SealContext::Document { key: NAME };
/// No rejections, as JSON.
const EMPTY: &[u8] = b"{}";
