//! The receipt of an erasing: what its record says, signed by the installation.
//!
//! Nothing of it is kept. It is read off the record whenever it is asked for, so that it can be had again, and is the same
//! each time. Anyone with the installation's public key can check it, on another machine.

use jiff::Timestamp;
use keyside_store::{PublicKey, Signature, Signer, StorageError, chain::Stored};
use serde::{Deserialize, Serialize};

use super::{Audit, Break, Head, ReceiptError, VerifyError};
use crate::{
    chains::InstallationState,
    model::{ActorId, WorkspaceId},
    record::{Event, KeyOperation, Record},
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
    /// Which one of its name: each has a higher number than the one before.
    pub incarnation: u64,
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
    /// Where the installation's chain tells of it.
    pub audit: Head,
    /// What checks the signature.
    pub public_key: PublicKey,
    /// Ed25519 over all this.
    pub signature: Signature,
}

impl Receipt {
    /// What a record attests; nothing if it is not that of an erasing.
    fn of(stored: &Stored, installation: &str, key: &dyn Signer) -> Option<Self> {
        let record = Record::parse(stored)?;
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

    /// Whether the holder of `key` has given it out as it is. Says nothing of what the log holds.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.public_key == *key && key.verify(&self.message(), &self.signature)
    }
}

impl Audit {
    /// The receipt of the workspace that was erased last under this name, if one was.
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

    /// The receipt that the record at `position` makes.
    async fn receipt_at(&self, position: u64) -> Result<Option<Receipt>, VerifyError> {
        let own = self.chains.own();
        let Some(state) = own.state() else {
            return Ok(None);
        };
        let records = self.chains.records(own, &state.head, position, 1).await;
        let records = records.map_err(|error| match error {
            keyside_store::chain::LoadError::Storage(error) => VerifyError::Storage(error),
            keyside_store::chain::LoadError::Damaged(damage) => VerifyError::Broken(Break {
                chain: own.chain.name().clone(),
                position,
                finding: damage.to_string(),
            }),
        })?;
        let stored = records.first().filter(|stored| stored.position == position);
        let installation = self.keyring.installation().installation();
        let signing = self.keyring.signing().signer(&self.chains.public_key());
        let signing = signing.ok_or(StorageError::ReadOnly)?;
        Ok(stored.and_then(|stored| Receipt::of(stored, installation, &*signing)))
    }

    /// Whether the installation signs with this key, or has.
    async fn has_signed_with(&self, key: &PublicKey) -> Result<bool, StorageError> {
        if *key == self.chains.public_key() {
            return Ok(true);
        }
        match self.chains.own().state() {
            Some(own) => {
                let state = InstallationState::read(&self.chains, &own).await?;
                Ok(state.signing_keys.contains(key))
            }
            None => Ok(false),
        }
    }

    /// Holds a receipt against the key that has signed it, which the installation has to have used, and against the log: that
    /// this one is what was written, and that it has the record.
    ///
    /// # Errors
    /// Why it is not confirmed, or the backend's failure.
    pub async fn confirm(&self, receipt: &Receipt) -> Result<(), VerifyError> {
        let key = receipt.public_key;
        if !receipt.is_signed_by(&key) || !self.has_signed_with(&key).await? {
            return Err(ReceiptError::Foreign.into());
        }
        self.verify().await?;
        let found = self.receipt_at(receipt.audit.position).await?;
        // One from before a rotation of the signing key says the same, under the key of then.
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
