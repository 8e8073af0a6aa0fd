//! Which credential a label leads to.
//!
//! A label is unique among the credentials of a workspace and provider that are not revoked. A revoked one gives its label
//! up: the replacement of a leaked key takes it, and the clients that ask for it need no change.

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

/// The credentials that have one label.
#[derive(Clone, Default)]
struct Holders {
    /// The one that requests get.
    current: Option<Arc<CredentialEntry>>,
    /// The one that requests are refused for while there is no other. It keeps its label for good, as nothing edits a
    /// revoked or damaged credential, so the highest rank is all that has to be known of any number of them.
    past: Option<Arc<CredentialEntry>>,
}

impl Labels {
    /// The credential that a request for `label` gets, or is refused for. No lock and no allocation.
    pub(crate) fn get(&self, label: &str) -> Option<&Arc<CredentialEntry>> {
        let holders = self.0.get(label)?;
        holders.current.as_ref().or(holders.past.as_ref())
    }

    /// Whether `label` can be given to no other credential. A damaged one keeps it: that it was revoked is only what the
    /// store claims.
    ///
    /// A lost credential ([`Lost`](super::Lost)) keeps none. Its label is not known, so to keep it free, all labels of all
    /// providers would have to be closed, and nobody could put another key in its place. Nothing wrong can be served
    /// because of that: until another credential has the label, requests for it are refused, and then they get the one that
    /// a person has given it. Should the record come back, there are two of one label. The one that was created later keeps
    /// it, as that was decided last; the other one is listed, and gets requests again once it has a label of its own.
    pub(crate) fn is_taken(&self, label: &Label) -> bool {
        let found = self.get(label.as_str());
        found.is_some_and(|entry| is_damaged(entry) || entry.document.revoked_at.is_none())
    }

    /// Puts a credential under its label. `before` is what it was, if it was here.
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

    /// Takes the label from a credential that may have lost it, by a revocation or by an edit.
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

/// Which of several that are not used answers: a damaged one, which may be the one that was asked for, then the one that
/// was revoked last. The rest makes it the same one after every start.
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
