//! Maps labels to credentials.
//!
//! A label is unique among the credentials of a workspace and provider that are not revoked.
//! Revoking a credential frees its label: the replacement of a leaked key can take it, so that
//! clients need no change.

use std::sync::Arc;

use jiff::Timestamp;

use super::CredentialEntry;
use crate::{
    documents::CredentialDocument,
    model::{CredentialId, Label},
    shared_map::SharedMap,
};

/// One provider's credentials in a workspace, by label.
#[derive(Clone, Default)]
pub(crate) struct Labels(SharedMap<Label, Holders>);

/// The credentials that have, or had, a label.
#[derive(Clone, Default)]
struct Holders {
    /// The one that requests get.
    current: Option<Arc<CredentialEntry>>,
    /// The one that requests are refused for while there is no current one. Revoked and damaged
    /// credentials are never edited, so the one of the highest rank is all that must be kept.
    past: Option<Arc<CredentialEntry>>,
}

impl Labels {
    /// The credential for `label`, usable or not. No lock and no allocation.
    pub(crate) fn get(&self, label: &str) -> Option<&Arc<CredentialEntry>> {
        let holders = self.0.get(label)?;
        holders.current.as_ref().or(holders.past.as_ref())
    }

    /// Whether `label` is taken. A damaged credential keeps its label: its revocation is
    /// unauthenticated.
    ///
    /// A lost credential ([`Lost`](super::Lost)) does not: its label is unknown, so to keep it, all
    /// labels of all providers would have to be refused, and no replacement could be created.
    /// Nothing wrong is served because of that: requests for the label are refused until another
    /// credential has it, and then get the one that a person chose. If the record comes back, two
    /// credentials have the label. The newer one keeps it, as the later decision; the other is
    /// listed, and is served again once it has a label of its own.
    pub(crate) fn is_taken(&self, label: &Label) -> bool {
        let found = self.get(label.as_str());
        found.is_some_and(|entry| is_damaged(entry) || entry.document.revoked_at.is_none())
    }

    /// Adds a credential under its label. `before` is its previous document, if any.
    pub(super) fn place(
        &mut self,
        entry: &Arc<CredentialEntry>,
        before: Option<&CredentialDocument>,
    ) {
        if let Some(before) = before {
            self.release(before);
        }
        let label = &entry.document.label;
        let mut holders = self.0.get(label).cloned().unwrap_or_default();
        holders.take(entry);
        self.0.insert(label.clone(), holders);
    }

    /// Frees a label that the credential may lose by a revocation or an edit.
    fn release(&mut self, credential: &CredentialDocument) {
        let label = &credential.label;
        let Some(Holders { current, past }) = self.0.get(label).cloned() else {
            return;
        };
        if current.is_none_or(|current| current.document.id != credential.id) {
            return;
        }
        match past {
            None => self.0.remove(label),
            past => self.0.insert(
                label.clone(),
                Holders {
                    current: None,
                    past,
                },
            ),
        }
    }
}

impl Holders {
    fn take(&mut self, entry: &Arc<CredentialEntry>) {
        if !is_damaged(entry) && entry.document.revoked_at.is_none() {
            self.current = Some(entry.clone());
            return;
        }
        let stays = self
            .past
            .as_ref()
            .is_some_and(|past| past.document.id != entry.document.id && rank(past) > rank(entry));
        if !stays {
            self.past = Some(entry.clone());
        }
    }
}

/// Ranks credentials that are not usable: a damaged one first, because it may be the requested one,
/// then the last revoked. The other fields make the order the same after every start.
fn rank(entry: &CredentialEntry) -> (bool, Option<Timestamp>, Timestamp, &CredentialId) {
    let document = &entry.document;
    (
        is_damaged(entry),
        document.revoked_at,
        document.created_at,
        &document.id,
    )
}

fn is_damaged(entry: &CredentialEntry) -> bool {
    entry.damage().is_some()
}
