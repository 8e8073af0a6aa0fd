//! The receipt for erasing a workspace: the content of its audit record, signed by the
//! installation.
//!
//! Receipts are not stored. Each is derived from the audit record on request and is the same every
//! time. An auditor who has the installation's public key can verify it on another machine.

use jiff::Timestamp;
use keyside_store::{
    PublicKey, Signature, Signer, StorageError,
    chain::{LoadError, State, StoredRecord},
};
use serde::{Deserialize, Serialize};

use super::{Audit, Break, Head, ReceiptError, VerifyError};
use crate::{
    chains::Tracked,
    model::{ActorId, WorkspaceId},
    record::{Event, KeyOperation, Record},
};

/// Confirms that a workspace was erased. Issued once no key, document or earlier run record of the
/// workspace is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Receipt {
    /// The receipt's id, which is the note of the audit record.
    pub id: String,
    /// The installation whose audit log has the record.
    pub installation: String,
    /// The erased workspace. A later workspace may have the same id.
    pub workspace: WorkspaceId,
    /// Counts the workspaces that had this id, from 1.
    pub incarnation: u64,
    /// When it was erased.
    pub erased_at: Timestamp,
    /// The actor that erased it.
    pub erased_by: ActorId,
    /// The request that erased it.
    pub request_id: String,
    /// The ids of the destroyed keys. They are random, and every sealed blob names its key's id:
    /// any blob that names one of these cannot be opened any more.
    pub destroyed_keys: Vec<String>,
    /// Number of credentials that were erased.
    pub credentials: usize,
    /// The tokens whose scope had the workspace, alone or among others.
    pub tokens: Vec<ActorId>,
    /// The audit record in the installation's chain.
    pub audit: Head,
    /// The key that verifies the signature.
    pub public_key: PublicKey,
    /// Ed25519 signature over all other fields.
    pub signature: Signature,
}

impl Receipt {
    /// The longest receipt, in bytes of JSON: the installation's chain and the keyring have fewer than
    /// 34,000 ids of tokens and keys that it can list, each of some 40 bytes if indented.
    pub const MAX_LEN: usize = 2 << 20;

    /// The receipt that an audit record proves; `None` if it is not a record of erasing.
    fn of(
        (stored, record): (StoredRecord, Record),
        installation: &str,
        key: &dyn Signer,
    ) -> Option<Self> {
        let (Event::WorkspaceErased, Some(KeyOperation::Destroy(destroyed_keys)), Some(gone)) =
            (record.event, record.keys, record.erased)
        else {
            return None;
        };
        let mut receipt = Self {
            id: record.note?,
            installation: installation.to_owned(),
            workspace: record.workspace?,
            incarnation: gone.incarnation,
            erased_at: record.at,
            erased_by: record.actor,
            request_id: record.request_id,
            destroyed_keys,
            credentials: gone.credentials,
            tokens: gone.tokens,
            audit: Head {
                position: record.position,
                hash: stored.hash,
            },
            public_key: key.public(),
            signature: [0; 64].into(),
        };
        receipt.signature = key.sign(&receipt.message());
        Some(receipt)
    }

    fn message(&self) -> Vec<u8> {
        let unsigned = Self {
            signature: [0; 64].into(),
            ..self.clone()
        };
        let json = serde_json::to_vec(&unsigned).expect("our own types serialize");
        [&b"keyside receipt\0"[..], &json].concat()
    }

    /// Whether the holder of `key` signed this receipt. Does not check the log.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.public_key == *key && key.verify(&self.message(), &self.signature)
    }
}

impl Audit {
    /// The receipt of the workspace that was erased last under this id.
    pub(crate) async fn receipt(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Option<Receipt>, VerifyError> {
        let registration = self.chains.registration(workspace);
        match registration.and_then(|it| it.erased) {
            Some(erased) => self.receipt_at(erased.position).await,
            None => Ok(None),
        }
    }

    async fn receipt_at(&self, position: u64) -> Result<Option<Receipt>, VerifyError> {
        let own = self.chains.installation();
        let Some(state) = own.state() else {
            return Ok(None);
        };
        let found = self.erasure_until(own, &state, position).await;
        let found = found.map_err(|error| self.installation_damaged(position, error))?;
        let installation = self.keyring.installation().installation();
        let signing = self.keyring.signing().signer(&self.chains.public_key());
        let signing = signing.ok_or(StorageError::ReadOnly)?;
        Ok(found.and_then(|found| Receipt::of(found, installation, &*signing)))
    }

    /// The record of an erasure whose last part is at `last`, with the lists of all its parts.
    pub(crate) async fn erasure_until(
        &self,
        tracked: &Tracked,
        state: &State,
        last: u64,
    ) -> Result<Option<(StoredRecord, Record)>, LoadError> {
        let Some((stored, mut record)) = self.record_at(tracked, state, last).await? else {
            return Ok(None);
        };
        let mut position = last;
        while let Some((_, part)) = self.record_at(tracked, state, position - 1).await?
            && part.continues(&record)
        {
            record.prepend(part);
            position -= 1;
        }
        Ok(Some((stored, record)))
    }

    async fn record_at(
        &self,
        tracked: &Tracked,
        state: &State,
        position: u64,
    ) -> Result<Option<(StoredRecord, Record)>, LoadError> {
        let records = self
            .chains
            .records(tracked, &state.head, position, 1)
            .await?;
        let stored = records.into_iter().next();
        let stored = stored.filter(|stored| stored.position == position);
        Ok(stored.and_then(|stored| {
            let record = Record::parse(&stored)?;
            Some((stored, record))
        }))
    }

    /// Whether the installation signs, or has signed, with this key.
    async fn has_signed_with(&self, key: &PublicKey) -> Result<bool, VerifyError> {
        if *key == self.chains.public_key() {
            return Ok(true);
        }
        let read = self.chains.installation_state().await;
        let (_, state) = read.map_err(|error| self.installation_damaged(0, error))?;
        Ok(state.signing_keys.contains(key))
    }

    fn installation_damaged(&self, position: u64, error: LoadError) -> VerifyError {
        let name = self.chains.installation().chain.name();
        match error.into_damage() {
            Ok(damage) => Break::at(name, position, damage.to_string()).into(),
            Err(error) => error.into(),
        }
    }

    /// Verifies a receipt: the signature, by a key that the installation uses or has used, then the
    /// whole log, then that the log has the record.
    ///
    /// # Errors
    /// Why the receipt is not confirmed, or a failure of the backend.
    pub async fn confirm(&self, receipt: &Receipt) -> Result<(), VerifyError> {
        let key = receipt.public_key;
        if !receipt.is_signed_by(&key) || !self.has_signed_with(&key).await? {
            return Err(ReceiptError::Foreign.into());
        }
        self.verify().await?;
        let found = self.receipt_at(receipt.audit.position).await?;
        // A receipt from before a rotation of the signing key differs only in key and signature.
        let found = found.map(|found| Receipt {
            public_key: key,
            signature: receipt.signature,
            ..found
        });
        match found.is_some_and(|found| found == *receipt) {
            true => Ok(()),
            false => Err(ReceiptError::NotInLog.into()),
        }
    }
}
