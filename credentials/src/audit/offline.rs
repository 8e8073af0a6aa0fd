//! The log of a store that no process serves: to be checked without starting anything, and to be told that the clock is right.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use keyside_store::{
    Backend, StorageError,
    chain::{ChainName, LoadError},
};

use super::{Audit, Break, Receipt, Verified, VerifyError};
use crate::{
    chains::{Anchors, Chains, HEADS, Registration, Tracked},
    clock::{Clock, Ratchet, SystemClock},
    documents::WORKSPACE,
    keyring::Keyring,
    kms::{Kms, KmsSource},
    model::{ActorContext, WorkspaceId},
    record::{Draft, Event},
    snapshot::{WorkspaceLoader, signals::Notices},
};

/// The log of a store.
pub struct OfflineAudit {
    audit: Audit,
    chains: Arc<Chains>,
    keyring: Arc<Keyring>,
    clock: Arc<Ratchet>,
    /// The folder of the heads that were acknowledged last.
    heads: PathBuf,
    /// The chains whose heads are not believed, the installation's first.
    untrusted: Vec<Break>,
}

/// Everything in a store but the records: what a start reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// What a start would not believe; heads first, then documents.
    pub damage: Vec<Break>,
    /// The providers of the credentials that are sound and not revoked, each with its endpoint where it has one. For finding
    /// out what to look at, never for sending a secret there.
    pub destinations: BTreeSet<(String, Option<String>)>,
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

impl OfflineAudit {
    /// Opens what is kept in `backend`, and reads its heads. Writes nothing. Heads that are not believed are what
    /// [`inspect`](Self::inspect) and [`verify`](Self::verify) find.
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
        let keyring = Arc::new(Keyring::open_existing(keyring, kms).await?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let clock = Arc::new(Ratchet::new(clock));
        let chains = Chains::new(backend, keyring.clone(), clock.clone(), &heads).await;
        let chains = Arc::new(chains);
        let mut offline = Self {
            audit: Audit::new(chains.clone(), keyring.clone()),
            chains,
            keyring,
            clock,
            heads,
            untrusted: Vec::new(),
        };
        offline.untrusted = offline.read_heads().await?;
        Ok(offline)
    }

    async fn read_heads(&self) -> Result<Vec<Break>, StorageError> {
        let mut untrusted = Vec::new();
        untrusted.extend(self.read_own_head().await?);
        for (id, registration) in self.chains.registrations().iter() {
            untrusted.extend(self.read_head_of(id, registration).await?);
        }
        Ok(untrusted)
    }

    /// The installation's own chain, held against what a start holds it against.
    async fn read_own_head(&self) -> Result<Option<Break>, StorageError> {
        let own = self.chains.own();
        if let Some(found) = self.read_head(own).await? {
            return Ok(Some(found));
        }
        if own.state().is_some() || !self.keyring.has_workspaces() {
            return Ok(None);
        }
        let finding =
            "its head is gone, and the keyring has keys of workspaces that were in the store";
        Ok(Some(broken(own.chain.name(), finding)))
    }

    /// The chain of a workspace, held against what the installation's chain says of it.
    async fn read_head_of(
        &self,
        id: &WorkspaceId,
        registration: &Registration,
    ) -> Result<Option<Break>, StorageError> {
        let tracked = self.chains.of(id);
        if let Some(found) = self.read_head(&tracked).await? {
            return Ok(Some(found));
        }
        // Of one that is being created, the chain may be that of the one before, or none yet.
        if !registration.is_there || registration.pending.is_some() {
            return Ok(None);
        }
        let state = tracked.state();
        if state.is_none_or(|state| state.head.incarnation >= registration.incarnation) {
            return Ok(None);
        }
        let finding = "its head is that of an erased workspace with the same id";
        Ok(Some(broken(tracked.chain.name(), finding)))
    }

    async fn read_head(&self, tracked: &Tracked) -> Result<Option<Break>, StorageError> {
        let damage = match self.chains.refresh(tracked).await {
            Ok(_) => return Ok(None),
            Err(LoadError::Storage(error)) => return Err(error),
            Err(LoadError::Damaged(damage)) => damage,
        };
        let name = tracked.chain.name();
        let path = Anchors::path(&self.heads, name);
        let finding = match damage.is_of_anchor() {
            true => format!("{damage}. Put {} back from the newest copy", path.display()),
            false => format!(
                "{damage}; {} has the head that was acknowledged last",
                path.display()
            ),
        };
        Ok(Some(broken(name, finding)))
    }

    /// Reads every document, by the same rules as a start.
    ///
    /// # Errors
    /// The backend's. Damage is no error: the answer lists it.
    pub async fn inspect(&self) -> Result<Inspection, VerifyError> {
        let mut inspection = Inspection {
            damage: self.untrusted.clone(),
            ..Inspection::default()
        };
        self.inspect_own(&mut inspection).await?;
        let (notices, _) = Notices::new(self.clock.clone());
        for (id, registration) in self.chains.registrations().iter() {
            if registration.is_there && self.expect_trusted(&self.chains.of(id)).is_ok() {
                self.inspect_workspace(id, &notices, &mut inspection)
                    .await?;
            }
        }
        Ok(inspection)
    }

    async fn inspect_own(&self, inspection: &mut Inspection) -> Result<(), StorageError> {
        let chain = &self.chains.own().chain;
        let Some(state) = self.chains.own().state() else {
            return Ok(());
        };
        let bodies = chain.read(state.documents()).await?;
        for (entry, body) in state.documents().zip(bodies) {
            if body.is_none() {
                let finding = format!("its document {} is gone or edited", entry.name);
                inspection.damage.push(broken(chain.name(), finding));
            }
        }
        Ok(())
    }

    async fn inspect_workspace(
        &self,
        id: &WorkspaceId,
        notices: &Arc<Notices>,
        inspection: &mut Inspection,
    ) -> Result<(), StorageError> {
        let tracked = self.chains.of(id);
        let name = tracked.chain.name();
        let state = tracked.state();
        // Without its own document it is erased, and the next start says so in the installation's chain.
        let Some(state) = state.filter(|state| state.document(WORKSPACE).is_some()) else {
            return Ok(());
        };
        let loader = WorkspaceLoader {
            keyring: &self.keyring,
            notices,
            before: None,
            registration: self.chains.registration(id),
        };
        let (entry, findings) = loader.read(id, &tracked.chain, state).await?;
        for found in findings {
            let finding = format!("what is at {}: {}", found.location, found.damage);
            inspection.damage.push(broken(name, finding));
        }
        for credential in entry.credentials.values() {
            let document = &credential.document;
            if credential.damage().is_none() && document.revoked_at.is_none() {
                let destination = (document.provider.to_string(), document.endpoint.clone());
                inspection.destinations.insert(destination);
            }
        }
        Ok(())
    }

    /// Refuses a chain whose head is not believed.
    fn expect_trusted(&self, tracked: &Tracked) -> Result<(), VerifyError> {
        let name = tracked.chain.name();
        match self.untrusted.iter().find(|found| found.chain == *name) {
            Some(found) => Err(VerifyError::Broken(found.clone())),
            None => Ok(()),
        }
    }

    /// Reads the whole log and all documents, and holds them against the heads in the store and beside the keyring.
    ///
    /// # Errors
    /// The first thing that is not what was written, or the backend's failure.
    pub async fn verify(&self) -> Result<Verified, VerifyError> {
        match self.inspect().await?.damage.into_iter().next() {
            Some(found) => Err(VerifyError::Broken(found)),
            None => self.audit.verify().await,
        }
    }

    /// The log, to be read and exported.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Holds a receipt against the log, as [`Audit::confirm`] does. A log that is not known to be the newest confirms none.
    ///
    /// # Errors
    /// Why it is not confirmed, or the backend's failure.
    pub async fn confirm(&self, receipt: &Receipt) -> Result<(), VerifyError> {
        self.audit.confirm(receipt).await?;
        self.expect_trusted(self.chains.own())
    }

    /// Whether the clock is behind the log.
    pub fn clock_behind(&self) -> Option<ClockBehind> {
        let log = self.chains.latest();
        let clock = self.clock.now();
        (clock < log).then_some(ClockBehind { clock, log })
    }

    /// Puts it on record that the clock is right where it is behind the log, and the log was ahead: from the next start on
    /// the clock counts, and no time before this record. On disk when it returns.
    ///
    /// # Errors
    /// The backend's, or what is wrong with the installation's chain: what is written now would hide it from the next start.
    pub async fn accept_clock(&self, behind: ClockBehind) -> Result<(), VerifyError> {
        self.expect_trusted(self.chains.own())?;
        let draft = Draft {
            note: Some(format!("the log was at {}", behind.log)),
            ..Draft::new(Event::ClockAccepted, &ActorContext::system("clock accept"))
        };
        let accepted = self.chains.accept_clock(draft, behind.log).await;
        accepted.map_err(|error| {
            VerifyError::Broken(broken(self.chains.own().chain.name(), error.to_string()))
        })
    }
}

/// Something about a chain as a whole.
fn broken(chain: &ChainName, finding: impl Into<String>) -> Break {
    Break {
        chain: chain.clone(),
        position: 0,
        finding: finding.into(),
    }
}
