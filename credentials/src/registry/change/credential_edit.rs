//! A change of one credential, decided under the lock of its workspace, so that nothing else changes
//! either.

use std::sync::Arc;

use keyside_config::Provider;

use super::{Decision, about, detail, group::Change};
use crate::{
    chains::Priority,
    damage::Damage,
    documents::{CredentialDocument, Document, SecretMetadata, WorkspaceDocument},
    keyring::Keyring,
    model::{ActorContext, CredentialId, WorkspaceId},
    record::{Draft, Event},
    registry::{ChangeError, Registry},
    resolver::Grant,
    sealing::SealingKey,
    secret::repeats_secret,
    snapshot::{CredentialEntry, SecretInUse, WorkspaceEntry},
};

/// A credential before and after a change.
pub(in crate::registry) struct CredentialEdit<'a> {
    registry: &'a Registry,
    /// The new document. Ended versions are already destroyed in it.
    pub(in crate::registry) document: CredentialDocument,
    pub(in crate::registry) entry: Arc<CredentialEntry>,
    pub(in crate::registry) workspace: Arc<WorkspaceEntry>,
    /// The key that seals new data. Only a revocation, which seals nothing, may do without.
    key: Option<Arc<SealingKey>>,
    pub(in crate::registry) now: jiff::Timestamp,
    /// Records for versions that this change destroys because they ended.
    pub(in crate::registry) ended: Vec<Draft>,
}

impl Registry {
    /// Decides a change of a credential, as in [`Self::change_workspace`].
    ///
    /// # Errors
    /// The credential does not exist or cannot be changed, `decide` refuses, or storage failed.
    /// [`ChangeError::Raced`] if it must be decided again.
    pub(in crate::registry) async fn change_credential<T>(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        priority: Priority,
        decide: impl FnOnce(CredentialEdit<'_>) -> Result<Decision<T>, ChangeError>,
    ) -> Result<T, ChangeError> {
        let of = self.workspace_of(id).await?;
        let decide = || decide(self.begin_edit(&of, id)?);
        self.change_workspace(by, &of, priority, decide).await
    }

    fn begin_edit(
        &self,
        of: &WorkspaceId,
        id: &CredentialId,
    ) -> Result<CredentialEdit<'_>, ChangeError> {
        let edit = self.begin_without_key(of, id)?;
        let entry = &edit.entry;
        let is_sound = match entry.document.reference {
            Some(_) => entry.damage().is_none(),
            None => entry.metadata().is_some(),
        };
        let has_key = edit.key.is_some();
        if !has_key && edit.workspace.damage.is_none() {
            return Err(ChangeError::KeyLost);
        }
        match has_key && is_sound {
            true => Ok(edit),
            false => Err(ChangeError::Damaged),
        }
    }

    /// Begins a change that needs no key, unless the record was edited.
    pub(super) fn begin_without_key(
        &self,
        of: &WorkspaceId,
        id: &CredentialId,
    ) -> Result<CredentialEdit<'_>, ChangeError> {
        let workspace = self.current_workspace(of);
        let workspace = workspace.ok_or(ChangeError::CredentialUnknown)?;
        let entry = workspace.credentials.get(id).cloned();
        let entry = entry.ok_or_else(|| match workspace.lost.contains_key(id) {
            true => ChangeError::Damaged,
            false => ChangeError::CredentialUnknown,
        })?;
        let is_edited = entry.damage().is_some_and(|damage| !damage.is_of_key());
        if is_edited || workspace.damage.is_some_and(Damage::is_of_chain) {
            return Err(ChangeError::Damaged);
        }
        let key = self.sealing_key_for(&workspace, &entry.document);
        let now = self.clock.now();
        let mut document = entry.document.clone();
        if let (Some(_), Some(metadata), Some(key)) = (entry.reference(), entry.metadata(), &key) {
            let updated = document.update_metadata(key, metadata, &self.keyring);
            updated.map_err(|_| ChangeError::Damaged)?;
        }
        let ended = document.destroy_ended(now).into_iter();
        let ended = ended
            .map(|version| self.destroyed(&entry.document, version, key.as_ref()))
            .collect();
        Ok(CredentialEdit {
            registry: self,
            document,
            entry,
            workspace,
            key,
            now,
            ended,
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

    /// The record of a version that has ended.
    fn destroyed(
        &self,
        document: &CredentialDocument,
        version: u32,
        key: Option<&Arc<SealingKey>>,
    ) -> Draft {
        let metadata = document.open_metadata(version, &self.keyring).ok();
        let by = ActorContext::system("sweep");
        Draft {
            detail: key
                .zip(metadata)
                .and_then(|(key, metadata)| detail(key, &metadata.fingerprint)),
            note: Some(format!("version {version}")),
            ..about(Event::VersionDestroyed, &by, document)
        }
    }
}

impl CredentialEdit<'_> {
    /// Refuses if the caller has seen another revision, the credential is revoked, its workspace is
    /// damaged, or the keyring lacks the key that the workspace names.
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
            None => self.expect_named_key(),
        }
    }

    /// Refuses to seal anything new under another key than the one that the workspace names.
    pub(in crate::registry) fn expect_named_key(&self) -> Result<(), ChangeError> {
        let named = self.registry.sealing_key(&self.workspace.document);
        named.map(drop).ok_or(ChangeError::KeyLost)
    }

    /// Refuses if the secret is kept in Vault: it is replaced there.
    pub(in crate::registry) fn expect_sealed(&self) -> Result<(), ChangeError> {
        match self.entry.reference() {
            Some(reference) => Err(ChangeError::KeptInVault(reference)),
            None => Ok(()),
        }
    }

    /// The key that seals new data.
    pub(in crate::registry) fn sealing_key(&self) -> Result<&SealingKey, ChangeError> {
        self.key.as_deref().ok_or(ChangeError::KeyLost)
    }

    pub(in crate::registry) fn in_use(&self) -> SecretInUse {
        self.entry.secret_in_use()
    }

    pub(in crate::registry) fn expect(&self, expected: Option<u64>) -> Result<(), ChangeError> {
        let current = self.document.revision;
        match expected.is_none_or(|expected| expected == current) {
            true => Ok(()),
            false => Err(ChangeError::Superseded(current)),
        }
    }

    pub(in crate::registry) fn provider(&self) -> Result<Arc<Provider>, ChangeError> {
        let provider = self.registry.catalogue.get(&self.document.provider);
        provider.cloned().ok_or(ChangeError::ProviderUnknown)
    }

    /// Whether a text repeats a secret of the credential: the one in use, or one in grace. One that
    /// cannot be opened now is not compared.
    pub(in crate::registry) fn is_secret_in(&self, text: &str) -> bool {
        let opened = self.entry.open().into_iter();
        let mut opened = opened.chain(self.entry.open_others(|| self.now)).flatten();
        opened.any(|secret| repeats_secret(text, &secret))
    }

    pub(in crate::registry) fn keyring(&self) -> &Keyring {
        &self.registry.keyring
    }

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
        let keyring = self.keyring();
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
        let key = self.key.as_ref();
        Draft {
            detail: key.and_then(|key| detail(key, &metadata.fingerprint)),
            ..about(event, by, &self.document)
        }
    }

    /// Commits the change, and then returns `answer`. `settings` is the workspace's document, if it
    /// changes too.
    pub(in crate::registry) fn commit<T>(
        mut self,
        draft: Draft,
        settings: Option<WorkspaceDocument>,
        answer: T,
    ) -> Decision<T> {
        self.document.revision += 1;
        let write = self.document.write();
        let drafts = [draft].into_iter().chain(self.ended).collect();
        let entry = self.entry.with(self.document, &*self.registry.keyring);
        let change = Change::of_credential(self.workspace, settings, (entry, write), drafts);
        Decision::commit(change, answer)
    }

    /// Commits an audit record without changing the credential, and then returns `answer`.
    pub(in crate::registry) fn note<T>(self, draft: Draft, answer: T) -> Decision<T> {
        Decision::commit(Change::record(self.workspace, draft), answer)
    }
}
