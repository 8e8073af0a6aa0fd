//! Entries of stored credentials whose secrets stay in Vault. What was read there is sealed under a key of this process.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::{CredentialEntry, Followed, Keys, Unusable, Usable};
use crate::{
    documents::{CredentialDocument, Trace},
    sealing::SealingKey,
    secret::Secret,
    source::{SourceReference, VaultReference},
};

/// A secret that was replaced where it is kept. Its provider may still repeat it.
#[derive(Clone)]
pub(crate) struct Earlier {
    pub(super) usable: Usable,
    pub(super) until: Timestamp,
}

impl CredentialEntry {
    /// Where its secret is kept, if it is stored without one and still in use.
    pub(crate) fn reference(&self) -> Option<VaultReference> {
        let document = &self.document;
        let reference = document.reference.clone();
        reference
            .filter(|_| document.revoked_at.is_none())
            .map(VaultReference::from)
    }

    /// Why there is no secret to use, if it is kept elsewhere and was not read.
    pub(crate) fn unread(&self) -> Option<String> {
        let is_unread = matches!(self.usable, Err(Unusable::Gone | Unusable::Away));
        let said = self.declared.as_ref().and_then(|it| it.fault.clone());
        is_unread.then(|| said.unwrap_or_else(|| "Vault was not asked yet".to_owned()))
    }

    /// This credential with another document. A secret that is kept elsewhere is used as before.
    pub(crate) fn with(&self, document: CredentialDocument, keys: &impl Keys) -> Self {
        let goes_on = self.damage().is_none()
            && document.revoked_at.is_none()
            && document.reference.is_some()
            && document.reference == self.document.reference;
        let fresh = Self::new(document, keys, self.signals.clone());
        match goes_on && fresh.damage().is_none() {
            true => Self {
                usable: self.usable.clone(),
                earlier: self.earlier.clone(),
                declared: self.declared.clone(),
                ..fresh
            },
            false => fresh,
        }
    }

    /// This credential with the secret that was found where it is kept.
    pub(crate) fn with_secret(
        &self,
        secret: &Secret,
        trace: Trace,
        key: &Arc<SealingKey>,
        until: Timestamp,
    ) -> Self {
        let document = &self.document;
        let place = document.secret_place(document.current);
        let usable = Usable {
            version: document.current,
            associated_data: place.associated_data(key.installation()),
            sealed: key.seal_secret(&place, secret),
            trace: OnceLock::from(Some(trace)),
            key: key.clone(),
        };
        let before = self.usable.as_ref().ok().cloned();
        let earlier = before.map(|usable| Arc::new(Earlier { usable, until }));
        Self {
            usable: Ok(usable),
            earlier: earlier.or_else(|| self.earlier.clone()),
            ..self.told_anew()
        }
    }

    /// This credential without a secret to use.
    pub(crate) fn withdrawn(&self, why: Unusable) -> Self {
        Self {
            usable: Err(why),
            ..self.told_anew()
        }
    }

    /// This credential with something else to say of where its secret is kept.
    pub(crate) fn said_of(self, version: Option<&str>, fault: Option<String>) -> Self {
        let followed = self.reference().map(|reference| Followed {
            source: SourceReference::Vault(reference),
            version: version.map(str::to_owned),
            fault,
        });
        Self {
            declared: followed.map(Arc::new),
            ..self
        }
    }
}
