//! One credential, held for a change: nobody else changes it or its workspace meanwhile.

use std::sync::Arc;

use keyside_config::Provider;
use tokio::sync::OwnedMutexGuard;

use super::{Begun, about, detail, write};
use crate::{
    Act, ChangeError, CredentialId, Grant,
    audit::{Draft, Event},
    documents::{CredentialDocument, Trace, WorkspaceDocument},
    registry::Inner,
    sealing::SealingKey,
    snapshot::{CredentialEntry, WorkspaceEntry},
};

/// A credential as it is, and as it is to be.
pub(super) struct Held<'a> {
    inner: &'a Inner,
    /// What it is made into. Versions whose time is over are destroyed in it already.
    pub(super) document: CredentialDocument,
    /// What it was.
    pub(super) entry: Arc<CredentialEntry>,
    pub(super) workspace: Arc<WorkspaceEntry>,
    /// Seals what is written.
    pub(super) key: Arc<SealingKey>,
    pub(super) now: jiff::Timestamp,
    /// The records of the versions that are destroyed with it, because their time is over or another takes their place.
    pub(super) ended: Vec<Draft>,
    _begun: Begun<'a, OwnedMutexGuard<()>>,
}

impl Inner {
    pub(super) async fn hold(&self, by: &Act, id: &CredentialId) -> Result<Held<'_>, ChangeError> {
        // Which workspace's lock it takes is looked up first, and must not be looked up in what is behind.
        drop(self.begin().await?);
        let of = self
            .snapshot
            .load()
            .credential(id)
            .map(|(workspace, _)| workspace.document.id.clone());
        let of = of.ok_or_else(|| self.not_stored(id))?;
        let begun = self.begin_in(by, &of).await?;
        let snapshot = self.snapshot.load();
        let (workspace, entry) = snapshot
            .credential(id)
            .ok_or(ChangeError::CredentialUnknown)?;
        let is_sound = match entry.document.reference {
            Some(_) => entry.damage().is_none(),
            None => entry.trace().is_some(),
        };
        if !is_sound {
            return Err(ChangeError::Damaged);
        }
        let key = self.keyring.current(&of).ok_or(ChangeError::Damaged)?;
        let now = self.clock.now();
        let mut document = entry.document.clone();
        if let (Some(_), Some(trace)) = (entry.reference(), entry.trace()) {
            let retraced = document.retrace(&key, trace, &self.keyring);
            retraced.map_err(|_| ChangeError::Damaged)?;
        }
        let ended = document.destroy_ended(now);
        let ended = ended
            .into_iter()
            .map(|version| self.destroyed(&Act::system("sweep"), &entry.document, version, &key))
            .collect();
        Ok(Held {
            inner: self,
            document,
            entry: entry.clone(),
            workspace: workspace.clone(),
            key,
            now,
            ended,
            _begun: begun,
        })
    }

    fn destroyed(
        &self,
        by: &Act,
        document: &CredentialDocument,
        version: u32,
        key: &Arc<SealingKey>,
    ) -> Draft {
        let was_used = document.version(version).is_some_and(|it| it.was_used());
        let event = match was_used {
            true => Event::VersionDestroyed,
            false => Event::RotationAbandoned,
        };
        let trace = document.open_trace(version, &self.keyring).ok();
        Draft {
            detail: trace.and_then(|trace| detail(key, &trace.fingerprint)),
            note: Some(format!("version {version}")),
            ..about(event, by, document)
        }
    }
}

impl Held<'_> {
    /// Refuses where whoever asks has seen another state, where it is withdrawn, and where its workspace is damaged.
    pub(super) fn expect_open(&self, expected: Option<u64>) -> Result<(), ChangeError> {
        self.expect(expected)?;
        if self.document.revoked_at.is_some() {
            return Err(ChangeError::Revoked);
        }
        match self.workspace.damage {
            Some(_) => Err(ChangeError::Damaged),
            None => Ok(()),
        }
    }

    /// Refuses where the secret is kept in Vault, and so replaced there.
    pub(super) fn expect_sealed(&self) -> Result<(), ChangeError> {
        match self.entry.reference() {
            Some(reference) => Err(ChangeError::KeptInVault { reference }),
            None => Ok(()),
        }
    }

    /// What tells which secret is in use.
    pub(super) fn in_use(&self) -> (u32, Option<String>) {
        let followed = self.entry.declared.as_ref();
        let version = followed.and_then(|followed| followed.version.clone());
        (self.document.current, version)
    }

    pub(super) fn expect(&self, expected: Option<u64>) -> Result<(), ChangeError> {
        let current = self.document.revision;
        match expected.is_none_or(|expected| expected == current) {
            true => Ok(()),
            false => Err(ChangeError::Superseded { current }),
        }
    }

    /// Destroys what another rotation is still trying.
    pub(super) fn abandon_staged(&mut self, by: &Act) {
        for version in self.document.destroy_staged(self.now) {
            let record = self.inner.destroyed(by, &self.document, version, &self.key);
            self.ended.push(record);
        }
    }

    pub(super) fn provider(&self) -> Result<Arc<Provider>, ChangeError> {
        let provider = self.inner.catalogue.get(&self.document.provider);
        provider.cloned().ok_or(ChangeError::ProviderUnknown)
    }

    /// What may be known of a version's secret.
    pub(super) fn trace(&self, version: u32) -> Result<Trace, ChangeError> {
        let trace = self.document.open_trace(version, &self.inner.keyring);
        trace.map_err(|_| ChangeError::Damaged)
    }

    /// Leave to try one version of it, whether or not requests get it.
    pub(super) fn on_trial(&self, version: u32) -> Grant {
        let (document, signals) = (self.document.clone(), self.entry.signals.clone());
        let keyring = &self.inner.keyring;
        Grant::on_trial(match self.entry.reference() {
            Some(_) => self.entry.with(document, keyring),
            None => CredentialEntry::of_version(document, version, keyring, signals),
        })
    }

    /// What its record begins with: the event, and the fingerprint of the secret that it is about.
    pub(super) fn record(&self, event: Event, by: &Act, trace: &Trace) -> Draft {
        Draft {
            detail: detail(&self.key, &trace.fingerprint),
            ..about(event, by, &self.document)
        }
    }

    /// Makes the change, and shows it. `settings` is the workspace's document, where that changes too.
    pub(super) async fn commit(
        mut self,
        draft: Draft,
        settings: Option<WorkspaceDocument>,
    ) -> Result<(), ChangeError> {
        self.document.revision += 1;
        let mut writes = vec![write(&self.key, &self.document)];
        writes.extend(settings.as_ref().map(|settings| write(&self.key, settings)));
        self.inner
            .journal
            .commit_all(draft, self.ended, writes)
            .await?;
        let entry = self.entry.with(self.document, &self.inner.keyring);
        let settings = settings.unwrap_or_else(|| self.workspace.document.clone());
        self.inner.show_credential(&self.workspace, settings, entry);
        Ok(())
    }
}
