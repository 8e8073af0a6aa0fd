//! The log of a store that no process serves: to be checked without starting anything, and to be told that the clock is right.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use jiff::Timestamp;
use keyside_store::{Backend, StorageError, chain::LoadError};

use super::{Audit, Break, Receipt, Verified, VerifyError};
use crate::{
    chains::{Chains, HEADS},
    clock::{Clock, Ratchet, SystemClock},
    documents::{CREDENTIAL, CredentialDocument},
    keyring::Keyring,
    kms::{Kms, KmsSource},
    model::Act,
    record::{Draft, Event},
};

/// The log of a store.
pub struct AtRest {
    audit: Audit,
    chains: Arc<Chains>,
    clock: Arc<Ratchet>,
}

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
    /// Opens what is kept in `backend`, and reads its heads. Writes nothing.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub async fn open(
        backend: Backend,
        keyring: &Path,
        kms: &KmsSource,
    ) -> Result<Self, VerifyError> {
        // Opening what is not there would make it.
        if !keyring.exists() {
            return Err(VerifyError::NothingThere {
                path: keyring.to_owned(),
            });
        }
        let kms = Kms::open(kms, keyring)?;
        let heads = keyring.with_file_name(HEADS);
        let keyring = Arc::new(Keyring::open_or_create(keyring, kms).await?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let clock = Arc::new(Ratchet::new(clock));
        let chains = Chains::new(backend, keyring.clone(), clock.clone(), &heads).await;
        let chains = Arc::new(chains);
        let at_rest = Self {
            audit: Audit::new(chains.clone(), keyring),
            chains,
            clock,
        };
        at_rest.read_heads().await?;
        Ok(at_rest)
    }

    /// What cannot be read is found by `verify`.
    async fn read_heads(&self) -> Result<(), StorageError> {
        let storage = |outcome| match outcome {
            Err(LoadError::Storage(error)) => Err(error),
            _ => Ok(()),
        };
        storage(self.chains.refresh(self.chains.own()).await.map(drop))?;
        for id in self.chains.marks().keys() {
            let tracked = self.chains.of(id);
            storage(self.chains.refresh(&tracked).await.map(drop))?;
        }
        Ok(())
    }

    /// Reads the whole log, and holds it against its heads and the anchors beside the keyring.
    ///
    /// # Errors
    /// The first record that is not what was written, or the backend's failure.
    pub async fn verify(&self) -> Result<Verified, VerifyError> {
        self.audit.verify().await
    }

    /// The log, to be read and exported.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Holds a receipt against the log, as [`Audit::confirm`] does.
    ///
    /// # Errors
    /// Why it is not confirmed, or the backend's failure.
    pub async fn confirm(&self, receipt: &Receipt) -> Result<(), VerifyError> {
        self.audit.confirm(receipt).await
    }

    /// Whether the clock is behind the log.
    pub fn clock_behind(&self) -> Option<ClockBehind> {
        let log = self.chains.latest();
        let clock = self.clock.now();
        (clock < log).then_some(ClockBehind { clock, log })
    }

    /// The providers that credentials are stored for, each with its endpoint where it has one; without those that are revoked. What
    /// the documents claim: for finding out what to look at, never for sending a secret there.
    ///
    /// # Errors
    /// The backend's.
    pub async fn destinations(&self) -> Result<BTreeSet<(String, Option<String>)>, VerifyError> {
        let mut destinations = BTreeSet::new();
        for id in self.chains.marks().keys() {
            let tracked = self.chains.of(id);
            let Some(state) = tracked.state() else {
                continue;
            };
            let credentials: Vec<_> = state
                .documents()
                .filter(|entry| entry.name.starts_with(CREDENTIAL))
                .collect();
            let bodies = tracked.chain.read(credentials).await?;
            let documents = bodies.into_iter().flatten();
            let documents = documents
                .filter_map(|body| serde_json::from_slice::<CredentialDocument>(&body).ok());
            destinations.extend(
                documents
                    .filter(|credential| credential.revoked_at.is_none())
                    .map(|credential| (credential.provider.to_string(), credential.endpoint)),
            );
        }
        Ok(destinations)
    }

    /// Puts it on record that the clock is right where it is behind the log, and the log was ahead: from the next start on
    /// the clock counts, and no time before this record. On disk when it returns.
    ///
    /// # Errors
    /// The backend's.
    pub async fn accept_clock(&self, behind: ClockBehind) -> Result<(), VerifyError> {
        let draft = Draft {
            note: Some(format!("the log was at {}", behind.log)),
            ..Draft::new(Event::ClockAccepted, &Act::system("clock accept"))
        };
        let accepted = self.chains.accept_clock(draft, behind.log).await;
        accepted.map_err(|error| {
            VerifyError::Broken(Break {
                chain: self.chains.own().chain.name().clone(),
                position: 0,
                finding: error.to_string(),
            })
        })
    }
}
