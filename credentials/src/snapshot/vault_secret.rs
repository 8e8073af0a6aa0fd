//! Entries of stored credentials whose secrets are kept in Vault. Secrets are sealed in memory
//! under a key of this process.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::{CredentialEntry, Keys, Unusable, Usable};
use crate::{
    documents::{CredentialDocument, SecretMetadata},
    model::Declared,
    sealing::SealingKey,
    secret::Secret,
    source::{SourceReference, VaultReference},
};

/// A secret that was replaced in Vault. Its provider may still echo it.
#[derive(Clone)]
pub(crate) struct PreviousSecret {
    pub(super) usable: Usable,
    pub(super) until: Timestamp,
}

impl CredentialEntry {
    /// The secret's place in Vault, unless the credential is revoked.
    pub(crate) fn reference(&self) -> Option<VaultReference> {
        let document = &self.document;
        let reference = document.reference.as_deref().cloned();
        reference.filter(|_| document.revoked_at.is_none())
    }

    /// Why no secret was read, if it is kept in Vault.
    pub(crate) fn unread(&self) -> Option<String> {
        let is_unread = matches!(self.usable, Err(Unusable::Gone | Unusable::Unavailable));
        let fault = self.declared.as_ref().and_then(|it| it.fault.clone());
        is_unread.then(|| fault.unwrap_or_else(|| "Vault was not asked yet".to_owned()))
    }

    /// This credential with another document. A secret in Vault stays in use.
    pub(crate) fn with(&self, document: CredentialDocument, keys: &impl Keys) -> Self {
        let keeps_secret = self.damage().is_none()
            && document.revoked_at.is_none()
            && document.reference.is_some()
            && document.reference == self.document.reference;
        let fresh = Self::new(document, keys, self.signals.clone());
        match keeps_secret && fresh.damage().is_none() {
            true => Self {
                usable: self.usable.clone(),
                previous: self.previous.clone(),
                declared: self.declared.clone(),
                ..fresh
            },
            false => fresh,
        }
    }

    /// This credential with a secret that was read from Vault.
    pub(crate) fn with_secret(
        &self,
        secret: &Secret,
        metadata: SecretMetadata,
        key: &Arc<SealingKey>,
        until: Timestamp,
    ) -> Self {
        let document = &self.document;
        let context = document.secret_context(document.current);
        let usable = Usable {
            version: document.current,
            associated_data: context.associated_data(key.installation()).into(),
            sealed: key.seal_secret(&context, secret).into(),
            metadata: OnceLock::from(Some(Box::new(metadata))),
            key: key.clone(),
        };
        let before = self.usable.as_ref().ok().cloned();
        let previous = before.map(|usable| Arc::new(PreviousSecret { usable, until }));
        Self {
            usable: Ok(usable),
            previous: previous.or_else(|| self.previous.clone()),
            ..self.without_status()
        }
    }

    /// This credential without a usable secret.
    pub(crate) fn unusable(&self, why: Unusable) -> Self {
        Self {
            usable: Err(why),
            ..self.without_status()
        }
    }

    /// This credential with another state of its source.
    pub(crate) fn with_source_status(self, version: Option<&str>, fault: Option<String>) -> Self {
        let followed = self.reference().map(|reference| Declared {
            source: SourceReference::Vault(reference).to_string(),
            version: version.map(str::to_owned),
            fault,
        });
        Self {
            declared: followed.map(Arc::new),
            ..self
        }
    }
}
