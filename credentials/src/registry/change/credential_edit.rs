//! A change of one credential: holds the locks, so nothing else changes it or its workspace.

use std::sync::Arc;

use keyside_config::Provider;

use super::{ChangeGuard, about, detail};
use crate::{
    chains::{Priority, Turn},
    damage::Damage,
    documents::{CredentialDocument, Document, SecretMetadata, WorkspaceDocument},
    keyring::Keyring,
    model::{ActorContext, CredentialId, WorkspaceId},
    record::{Draft, Event},
    registry::{
        ChangeError, Registry,
        checks::{SecretInUse, secret_in_use},
    },
    resolver::Grant,
    sealing::SealingKey,
    snapshot::{CredentialEntry, WorkspaceEntry},
};

/// A credential before and after a change.
pub(in crate::registry) struct CredentialEdit<'a> {
    registry: &'a Registry,
    /// The new document. Ended versions are already destroyed in it.
    pub(in crate::registry) document: CredentialDocument,
    /// The credential before the change.
    pub(in crate::registry) entry: Arc<CredentialEntry>,
    pub(in crate::registry) workspace: Arc<WorkspaceEntry>,
    /// The key that seals new data.
    pub(in crate::registry) key: Arc<SealingKey>,
    pub(in crate::registry) now: jiff::Timestamp,
    /// Records for versions that this change destroys because they ended.
    pub(in crate::registry) ended: Vec<Draft>,
    _guard: ChangeGuard<'a, Turn>,
}

impl Registry {
    pub(in crate::registry) async fn begin_edit(
        &self,
        by: &ActorContext,
        id: &CredentialId,
    ) -> Result<CredentialEdit<'_>, ChangeError> {
        self.begin_edit_with(Priority::Normal, by, id).await
    }

    pub(in crate::registry) async fn begin_edit_with(
        &self,
        priority: Priority,
        by: &ActorContext,
        id: &CredentialId,
    ) -> Result<CredentialEdit<'_>, ChangeError> {
        let of = self.workspace_of(id).await?;
        let guard = self.lock_workspace(by, &of, priority).await?;
        let snapshot = self.snapshot.load_full();
        let found = snapshot.credential(id);
        let (workspace, entry) = found.ok_or_else(|| match snapshot.workspace_of(id) {
            Some(_) => ChangeError::Damaged,
            None => ChangeError::CredentialUnknown,
        })?;
        if workspace.damage.is_some_and(Damage::is_of_chain) {
            return Err(ChangeError::Damaged);
        }
        let key = self.sealing_key(&of).await?;
        let is_sound = match entry.document.reference {
            Some(_) => entry.damage().is_none(),
            None => entry.metadata().is_some(),
        };
        if !is_sound {
            return Err(ChangeError::Damaged);
        }
        let now = self.clock.now();
        let mut document = entry.document.clone();
        if let (Some(_), Some(metadata)) = (entry.reference(), entry.metadata()) {
            let updated = document.update_metadata(&key, metadata, &self.keyring);
            updated.map_err(|_| ChangeError::Damaged)?;
        }
        let ended = document.destroy_ended(now);
        let ended = ended
            .into_iter()
            .map(|version| {
                self.destroyed(
                    &ActorContext::system("sweep"),
                    &entry.document,
                    version,
                    &key,
                )
            })
            .collect();
        Ok(CredentialEdit {
            registry: self,
            document,
            entry: entry.clone(),
            workspace: workspace.clone(),
            key,
            now,
            ended,
            _guard: guard,
        })
    }

    /// The workspace of a credential. If it is unknown, another process may have created it.
    pub(super) async fn workspace_of(&self, id: &CredentialId) -> Result<WorkspaceId, ChangeError> {
        let of = || {
            let snapshot = self.snapshot.load();
            let found = snapshot.workspace_of(id);
            found.map(|workspace| workspace.document.id.clone())
        };
        if let Some(of) = of() {
            return Ok(of);
        }
        self.catch_up().await?;
        of().ok_or_else(|| self.not_stored(id))
    }

    fn destroyed(
        &self,
        by: &ActorContext,
        document: &CredentialDocument,
        version: u32,
        key: &Arc<SealingKey>,
    ) -> Draft {
        let metadata = document.open_metadata(version, &self.keyring).ok();
        Draft {
            detail: metadata.and_then(|metadata| detail(key, &metadata.fingerprint)),
            note: Some(format!("version {version}")),
            ..about(Event::VersionDestroyed, by, document)
        }
    }
}

impl CredentialEdit<'_> {
    /// Refuses if the caller has seen another revision, the credential is revoked, or its workspace
    /// is damaged.
    pub(in crate::registry) fn expect_open(
        &self,
        expected: Option<u64>,
    ) -> Result<(), ChangeError> {
        self.expect(expected)?;
        if self.document.revoked_at.is_some() {
            return Err(ChangeError::Revoked);
        }
        match self.workspace.damage {
            Some(_) => Err(ChangeError::Damaged),
            None => Ok(()),
        }
    }

    /// Refuses if the secret is kept in Vault: it is replaced there.
    pub(in crate::registry) fn expect_sealed(&self) -> Result<(), ChangeError> {
        match self.entry.reference() {
            Some(reference) => Err(ChangeError::KeptInVault { reference }),
            None => Ok(()),
        }
    }

    /// The secret in use before the change.
    pub(in crate::registry) fn in_use(&self) -> SecretInUse {
        secret_in_use(&self.entry)
    }

    pub(in crate::registry) fn expect(&self, expected: Option<u64>) -> Result<(), ChangeError> {
        let current = self.document.revision;
        match expected.is_none_or(|expected| expected == current) {
            true => Ok(()),
            false => Err(ChangeError::Superseded { current }),
        }
    }

    pub(in crate::registry) fn provider(&self) -> Result<Arc<Provider>, ChangeError> {
        let provider = self.registry.catalogue.get(&self.document.provider);
        provider.cloned().ok_or(ChangeError::ProviderUnknown)
    }

    pub(in crate::registry) fn keyring(&self) -> &Keyring {
        &self.registry.keyring
    }

    /// The metadata of a version.
    pub(in crate::registry) fn metadata(
        &self,
        version: u32,
    ) -> Result<SecretMetadata, ChangeError> {
        let metadata = self.document.open_metadata(version, &self.registry.keyring);
        metadata.map_err(|_| ChangeError::Damaged)
    }

    /// A grant for testing one version, whether or not requests may use it.
    pub(in crate::registry) fn on_trial(&self, version: u32) -> Grant {
        let (document, signals) = (self.document.clone(), self.entry.signals.clone());
        let keyring = &self.registry.keyring;
        Grant::on_trial(match self.entry.reference() {
            Some(_) => self.entry.with(document, keyring),
            None => CredentialEntry::of_version(document, version, keyring, signals),
        })
    }

    /// An audit record with an event and the secret's fingerprint.
    pub(in crate::registry) fn record(
        &self,
        event: Event,
        by: &ActorContext,
        metadata: &SecretMetadata,
    ) -> Draft {
        Draft {
            detail: detail(&self.key, &metadata.fingerprint),
            ..about(event, by, &self.document)
        }
    }

    /// Commits and publishes the change. `settings` is the workspace's document, if it changes too.
    pub(in crate::registry) async fn commit(
        mut self,
        draft: Draft,
        settings: Option<WorkspaceDocument>,
    ) -> Result<(), ChangeError> {
        self.document.revision += 1;
        let mut writes = vec![self.document.write()];
        writes.extend(settings.as_ref().map(Document::write));
        let drafts = [draft].into_iter().chain(self.ended).collect();
        let state = self
            .registry
            .commit_in(&self.workspace, drafts, writes)
            .await?;
        let entry = self.entry.with(self.document, &self.registry.keyring);
        let settings = settings.unwrap_or_else(|| self.workspace.document.clone());
        self.registry
            .publish_credential(&self.workspace, settings, entry, state)
            .await
    }

    /// Commits an audit record without changing the credential.
    pub(in crate::registry) async fn note(self, draft: Draft) -> Result<(), ChangeError> {
        let recorded = self.registry.commit_record(&self.workspace, draft).await;
        recorded.map(drop)
    }
}
