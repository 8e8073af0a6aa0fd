//! The receipt of an erasing: what its record says, signed off by the installation.
//!
//! Nothing of it is kept. It is read off the record whenever it is asked for, so that it can be had again, and is the same
//! each time. The workspace's own key is no more, so what vouches for it is the installation's, and the log that holds
//! the record.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{Audit, Event, Head, KeyAct, Lead, Record, VerifyError};
use crate::{
    ActorId, WorkspaceId,
    authentic::Hash,
    documents::{CREDENTIALS, TOKENS},
    encoding::hex,
    sealing::{Place, SealingKey},
    storage::{Log, StorageError},
};

/// What was erased, confirmed by the installation that did it. It is given out once nothing of the workspace is left: no key,
/// no document, and no run record up to that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Receipt {
    /// Its own id, which the record has as its note.
    pub id: String,
    /// Whose audit log tells of it.
    pub installation: String,
    /// What was erased. Another one may have the name since.
    pub workspace: WorkspaceId,
    /// When.
    pub erased_at: Timestamp,
    /// By whom.
    pub erased_by: ActorId,
    /// In which request.
    pub request_id: String,
    /// The ids of the keys that are no more. Each is random, and stands in everything that its key had sealed: nothing that
    /// names one can be opened any more, wherever it lies.
    pub destroyed_keys: Vec<String>,
    /// How many credentials are gone.
    pub credentials: usize,
    /// Tokens that were for this workspace, alone or among others, and open it no more.
    pub tokens: Vec<ActorId>,
    /// Where the audit log tells of it: the record's position and hash.
    pub audit: Head,
    /// HMAC-SHA-256 of all this under the installation's key, in hex.
    pub mac: String,
}

impl Receipt {
    /// What a record attests; nothing if it is not that of an erasing.
    fn of(record: Record, hash: Hash, key: &SealingKey) -> Option<Self> {
        let (Event::WorkspaceErased, Some(KeyAct::Destroy(destroyed_keys))) =
            (record.event, record.keys)
        else {
            return None;
        };
        let leads = record.documents.iter();
        let mut receipt = Self {
            id: record.note?,
            installation: key.installation().to_owned(),
            workspace: record.workspace?,
            erased_at: record.at,
            erased_by: record.actor,
            request_id: record.request_id,
            destroyed_keys,
            credentials: leads.clone().filter(|lead| is_credential(lead)).count(),
            tokens: leads.filter_map(token).collect(),
            audit: Head {
                position: record.position,
                hash,
            },
            mac: String::new(),
        };
        receipt.mac = receipt.mac_under(key);
        Some(receipt)
    }

    fn mac_under(&self, key: &SealingKey) -> String {
        let unsigned = Self {
            mac: String::new(),
            ..self.clone()
        };
        let json = serde_json::to_vec(&unsigned).expect("our own types serialize");
        hex(&key.mac(&PLACE, &json))
    }
}

impl Audit {
    /// The receipt of the workspace that was erased last under this name, if one was.
    pub(crate) async fn receipt(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Option<Receipt>, StorageError> {
        match self.erased.last(workspace) {
            Some(position) => self.receipt_at(position).await,
            None => Ok(None),
        }
    }

    /// The receipt that the record at `position` makes.
    async fn receipt_at(&self, position: u64) -> Result<Option<Receipt>, StorageError> {
        let key = self.keyring.installation();
        let entries = self.storage.entries(Log::Audit, position, 1).await?;
        let entry = entries.first().filter(|(found, _)| *found == position);
        let record = entry.and_then(|(_, entry)| Record::from_entry(key, position, entry).ok());
        Ok(record.and_then(|(record, hash)| Receipt::of(record, hash, key)))
    }

    /// Holds a receipt against the installation's key, and against the log: that this one is what was written, and that it
    /// has the record.
    ///
    /// # Errors
    /// Why it is not confirmed, or storage's failure.
    pub async fn confirm(&self, receipt: &Receipt) -> Result<(), VerifyError> {
        let mac = receipt.mac_under(self.keyring.installation());
        if !bool::from(mac.as_bytes().ct_eq(receipt.mac.as_bytes())) {
            return Err(VerifyError::ReceiptForeign);
        }
        self.verify().await?;
        let found = self.receipt_at(receipt.audit.position).await?;
        match found.is_some_and(|found| found == *receipt) {
            true => Ok(()),
            false => Err(VerifyError::ReceiptNotInLog),
        }
    }
}

fn is_credential(lead: &Lead) -> bool {
    lead.key.starts_with(CREDENTIALS)
}

fn token(lead: &Lead) -> Option<ActorId> {
    lead.key.strip_prefix(TOKENS)?.parse().ok()
}

/// No document stands there.
const PLACE: Place<'_> = Place::Document { key: "receipt" };
