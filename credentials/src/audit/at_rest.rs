//! The log of a data folder that no process serves: to be checked without starting anything, and to be told that the clock
//! is right.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use jiff::Timestamp;

use super::{Audit, Draft, Event, Head, Receipt, VerifyError};
use crate::{
    Act, Clock, Kms, KmsSource, SystemClock,
    authentic::Stored,
    clock::Ratchet,
    documents::{CREDENTIALS, CredentialDocument},
    keyring::Keyring,
    ledger::Ledger,
    storage::SledStorage,
};

/// The log of an embedded store.
pub struct AtRest(Audit);

/// A clock that is behind the log: a start lets the log's time count until the clock has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockBehind {
    /// What the clock says.
    pub clock: Timestamp,
    /// The latest time that the log tells.
    pub log: Timestamp,
}

impl AtRest {
    /// Opens the store in the folder `store`. Reads nothing yet, and writes nothing.
    ///
    /// # Errors
    /// What keeps it from being read, such as a process that serves it.
    pub async fn open(store: &Path, keyring: &Path, kms: &KmsSource) -> Result<Self, VerifyError> {
        // Opening what is not there would make it.
        if let Some(missing) = [keyring, store].into_iter().find(|path| !path.exists()) {
            return Err(VerifyError::NothingThere {
                path: missing.to_owned(),
            });
        }
        let anchor = keyring.with_file_name("audit-head");
        let kms = Kms::open(kms, keyring)?;
        let keyring = Keyring::open_or_create(keyring, kms).await?;
        let storage = SledStorage::open(store).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self(Audit::new(
            Arc::new(storage),
            Arc::new(keyring),
            Arc::new(Ratchet::new(clock)),
            &anchor,
        )))
    }

    /// Reads the whole log, and holds it against the head that is kept beside the keyring.
    ///
    /// # Errors
    /// The first record that is not what was written, or storage's failure.
    pub async fn verify(&self) -> Result<Head, VerifyError> {
        self.0.verify().await
    }

    /// Holds a receipt against the log, as [`Audit::confirm`] does.
    ///
    /// # Errors
    /// Why it is not confirmed, or storage's failure.
    pub async fn confirm(&self, receipt: &Receipt) -> Result<(), VerifyError> {
        self.0.confirm(receipt).await
    }

    /// Whether the clock is behind the log.
    ///
    /// # Errors
    /// Storage's.
    pub async fn clock_behind(&self) -> Result<Option<ClockBehind>, VerifyError> {
        self.0.clock_behind().await
    }

    /// The providers that credentials are stored for, each with its endpoint where it has one; without those that are revoked. What
    /// the documents claim: for finding out what to look at, never for sending a secret there.
    ///
    /// # Errors
    /// Storage's.
    pub async fn destinations(&self) -> Result<BTreeSet<(String, Option<String>)>, VerifyError> {
        let stored = self.0.storage.list(CREDENTIALS).await?;
        let claims = stored.iter().filter_map(|(_, document)| {
            let stored = Stored::parse(&document.body).ok()?;
            stored.claims::<CredentialDocument>()
        });
        Ok(claims
            .filter(|credential| credential.revoked_at.is_none())
            .map(|credential| (credential.provider.to_string(), credential.endpoint))
            .collect())
    }

    /// Puts it on record that the clock is right where it is behind the log, and the log was ahead: from the next start on
    /// the clock counts, and no time before this record. On disk when it returns.
    ///
    /// # Errors
    /// Storage's.
    pub async fn accept_clock(&self, behind: ClockBehind) -> Result<Head, VerifyError> {
        self.0.accept_clock(behind).await
    }
}

impl Audit {
    pub(crate) async fn clock_behind(&self) -> Result<Option<ClockBehind>, VerifyError> {
        let log = Ledger::read(self, &[].into()).await?.latest;
        let clock = self.clock.now();
        Ok((clock < log).then_some(ClockBehind { clock, log }))
    }

    /// Once the log was read: the record goes to its end.
    pub(crate) async fn accept_clock(&self, behind: ClockBehind) -> Result<Head, VerifyError> {
        let draft = Draft {
            note: Some(format!("the log was at {}", behind.log)),
            ..Draft::new(Event::ClockAccepted, &Act::system("clock accept"))
        };
        Ok(self.put_on_record(draft).await?)
    }
}
