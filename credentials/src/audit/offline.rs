//! The audit log of a store that no process is serving: verifies it without starting anything, and
//! accepts the clock.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_store::{Backend, StorageError, chain::Damage};

use super::{Audit, Break, Receipt, Verified, VerifyError, verify::KEYS_LOST};
use crate::{
    chains::{Anchors, Chains, HEADS, Registration, Tracked},
    clock::{Clock, Ratchet, SystemClock},
    documents::WORKSPACE,
    keyring::Keyring,
    kms::{Kms, KmsSource},
    model::{ActorContext, WorkspaceId},
    record::{Draft, Event},
    snapshot::signals::Notices,
};

/// The audit log of a store that no process is serving.
pub struct OfflineAudit {
    audit: Audit,
    clock: Arc<Ratchet>,
    /// The `heads` folder with the last acknowledged heads.
    heads: PathBuf,
    /// The chains whose heads are not trusted, the installation's first.
    untrusted: Vec<Break>,
}

/// The state that a start reads: everything in a store except audit records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// What a start would refuse; heads first, then documents.
    pub damage: Vec<Break>,
    /// Provider and endpoint of each usable credential. For diagnosing connections, never for
    /// sending a secret.
    pub destinations: BTreeSet<(ProviderId, Option<String>)>,
}

/// A clock that is behind the log. A start uses the log's time until the clock has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockBehind {
    /// The clock's time.
    pub clock: Timestamp,
    /// The latest time in the log.
    pub log: Timestamp,
}

impl OfflineAudit {
    /// Opens `backend` and reads its heads, without writing. [`inspect`](Self::inspect) and
    /// [`verify`](Self::verify) report heads that are not trusted.
    ///
    /// # Errors
    /// The store, the keyring or the key service cannot be read.
    pub async fn open(
        backend: Backend,
        keyring: &Path,
        kms: &KmsSource,
    ) -> Result<Self, VerifyError> {
        // Opening a missing keyring would create it.
        if !keyring.exists() {
            return Err(VerifyError::NothingThere(keyring.to_owned()));
        }
        let kms = Kms::open(kms, keyring)?;
        let heads = keyring.with_file_name(HEADS);
        let keyring = Arc::new(Keyring::open_existing(keyring, kms).await?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let clock = Arc::new(Ratchet::new(clock));
        let chains = Chains::new(backend, keyring.clone(), clock.clone(), &heads).await;
        let (notices, _) = Notices::new(clock.clone());
        let mut offline = Self {
            audit: Audit::new(Arc::new(chains), keyring, notices),
            clock,
            heads,
            untrusted: Vec::new(),
        };
        offline.untrusted = offline.read_heads().await?;
        Ok(offline)
    }

    async fn read_heads(&self) -> Result<Vec<Break>, StorageError> {
        let mut untrusted = Vec::new();
        untrusted.extend(self.read_installation_head().await?);
        let is_installation_trusted = untrusted.is_empty();
        for (id, registration) in self.audit.chains.registrations().iter() {
            untrusted.extend(self.read_head_of(id, registration).await?);
        }
        if is_installation_trusted && let Some(found) = self.installation_put_back().await? {
            untrusted.insert(0, found);
        }
        Ok(untrusted)
    }

    /// Checks the installation's chain against the heads of workspaces.
    async fn installation_put_back(&self) -> Result<Option<Break>, StorageError> {
        let finding = match self.audit.chains.installation_put_back().await {
            Ok(None) => return Ok(None),
            Ok(Some(found)) => found.to_string(),
            Err(error) => error.into_damage()?.to_string(),
        };
        let name = self.audit.chains.installation().chain.name();
        let finding = format!("{finding}. {PUT_BACK}");
        Ok(Some(Break::of_chain(name, finding)))
    }

    /// Checks the installation's chain as a start does.
    async fn read_installation_head(&self) -> Result<Option<Break>, StorageError> {
        let own = self.audit.chains.installation();
        if let Some(found) = self.read_head(own).await? {
            return Ok(Some(found));
        }
        if own.state().is_some() || !self.audit.keyring.has_workspaces() {
            return Ok(None);
        }
        let finding =
            "its head is gone, and the keyring has keys of workspaces that were in the store";
        Ok(Some(Break::of_chain(own.chain.name(), finding)))
    }

    /// Checks the chain of a workspace against its registration.
    async fn read_head_of(
        &self,
        id: &WorkspaceId,
        registration: &Registration,
    ) -> Result<Option<Break>, StorageError> {
        let tracked = self.audit.chains.of(id);
        if let Some(found) = self.read_head(&tracked).await? {
            return Ok(Some(found));
        }
        // While a workspace is being created, its chain may be missing or still belong to its
        // erased predecessor.
        if !registration.exists || registration.pending.is_some() {
            return Ok(None);
        }
        let state = tracked.state();
        if state.is_none_or(|state| state.head.incarnation >= registration.incarnation) {
            return Ok(None);
        }
        let finding = "its head is that of an erased workspace with the same id";
        Ok(Some(Break::of_chain(tracked.chain.name(), finding)))
    }

    async fn read_head(&self, tracked: &Tracked) -> Result<Option<Break>, StorageError> {
        let Err(error) = self.audit.chains.refresh(tracked).await else {
            return Ok(None);
        };
        let damage = error.into_damage()?;
        let name = tracked.chain.name();
        let path = Anchors::path(&self.heads, name);
        let path = path.display();
        let finding = match damage {
            _ if damage.is_anchor_damage() => {
                format!("{damage}. Put {path} back from the newest copy")
            }
            Damage::DocumentGone { .. } | Damage::HeadOlder { .. } => {
                format!("{damage}. {PUT_BACK}")
            }
            _ => format!(
                "{damage}. {path} is the copy of the head that was acknowledged last, unless it was replaced too"
            ),
        };
        Ok(Some(Break::of_chain(name, finding)))
    }

    /// Reads every document, by the same rules as a start.
    ///
    /// # Errors
    /// The backend failed. Damage is listed in the result.
    pub async fn inspect(&self) -> Result<Inspection, VerifyError> {
        let mut inspection = Inspection {
            damage: self.untrusted.clone(),
            ..Inspection::default()
        };
        self.inspect_installation(&mut inspection).await?;
        for (id, registration) in self.audit.chains.registrations().iter() {
            if registration.exists && self.expect_trusted(&self.audit.chains.of(id)).is_ok() {
                self.inspect_workspace(id, &mut inspection).await?;
            }
        }
        Ok(inspection)
    }

    async fn inspect_installation(&self, inspection: &mut Inspection) -> Result<(), StorageError> {
        let chain = &self.audit.chains.installation().chain;
        let Some(state) = self.audit.chains.installation().state() else {
            return Ok(());
        };
        let bodies = chain.read(state.documents()).await?;
        for (entry, body) in state.documents().zip(bodies) {
            if body.is_none() {
                let finding = format!("its document {} is gone or edited", entry.name);
                inspection
                    .damage
                    .push(Break::of_chain(chain.name(), finding));
            }
        }
        Ok(())
    }

    async fn inspect_workspace(
        &self,
        id: &WorkspaceId,
        inspection: &mut Inspection,
    ) -> Result<(), StorageError> {
        let tracked = self.audit.chains.of(id);
        let name = tracked.chain.name();
        let state = tracked.state();
        // Without its own document the workspace is erased; the next start records that in the
        // installation's chain.
        let Some(state) = state.filter(|state| state.document(WORKSPACE).is_some()) else {
            return Ok(());
        };
        if self.audit.has_lost_keys(id).await? {
            inspection.damage.push(Break::of_chain(name, KEYS_LOST));
        }
        let (entry, damage) = self.audit.load(id, state).await?;
        inspection.damage.extend(damage);
        for credential in entry.credentials.values() {
            let document = &credential.document;
            if credential.damage().is_none() && document.revoked_at.is_none() {
                let destination = (document.provider.clone(), document.endpoint.clone());
                inspection.destinations.insert(destination);
            }
        }
        Ok(())
    }

    /// Refuses a chain whose head is not trusted.
    fn expect_trusted(&self, tracked: &Tracked) -> Result<(), VerifyError> {
        let name = tracked.chain.name();
        match self.untrusted.iter().find(|found| found.chain == *name) {
            Some(found) => Err(found.clone().into()),
            None => Ok(()),
        }
    }

    /// Reads the whole log and all documents, and compares them with the heads in the store and
    /// beside the keyring.
    ///
    /// # Errors
    /// The first record or document that is not what was written, or a failure of the backend.
    pub async fn verify(&self) -> Result<Verified, VerifyError> {
        match self.inspect().await?.damage.into_iter().next() {
            Some(found) => Err(found.into()),
            None => self.audit.verify().await,
        }
    }

    /// The log, for reading and exporting.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Verifies a receipt against the log, as [`Audit::confirm`] does. A log that may be out of
    /// date confirms nothing.
    ///
    /// # Errors
    /// Why the receipt is not confirmed, or a failure of the backend.
    pub async fn confirm(&self, receipt: &Receipt) -> Result<(), VerifyError> {
        self.audit.confirm(receipt).await?;
        self.expect_trusted(self.audit.chains.installation())
    }

    /// The times of the clock and the log, if the clock is behind.
    pub fn clock_behind(&self) -> Option<ClockBehind> {
        let log = self.audit.chains.latest();
        let clock = self.clock.now();
        (clock < log).then_some(ClockBehind { clock, log })
    }

    /// Records that the clock is right and the log was ahead. The next start trusts the clock, and
    /// ignores the times of earlier records. On disk when this returns.
    ///
    /// # Errors
    /// The backend failed, or the installation's chain is damaged: a new commit would hide the
    /// damage from the next start.
    pub async fn accept_clock(&self, behind: ClockBehind) -> Result<(), VerifyError> {
        self.expect_trusted(self.audit.chains.installation())?;
        let by = ActorContext::system("clock accept");
        let note = format!("the log was at {}", behind.log);
        let draft = Draft::noted(Event::ClockAccepted, &by, note);
        let accepted = self.audit.chains.accept_clock(draft, behind.log).await;
        let name = self.audit.chains.installation().chain.name();
        Ok(accepted.map_err(|error| Break::of_chain(name, error.to_string()))?)
    }
}

/// The remedy for what no single file in `heads/` mends.
const PUT_BACK: &str = "Put back the newest copy of the whole data folder, or restore a backup";
