//! Finds credentials with the same secret: an index by fingerprint, so that the cost does not
//! depend on the number of credentials.
//!
//! Fingerprints are sealed, so the index is built on first use. Results are checked against the
//! snapshot.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use parking_lot::Mutex;

use super::{Registry, view::in_order};
use crate::{
    model::{Credential, CredentialId, Fingerprint},
    snapshot::Snapshot,
};

impl Registry {
    /// Other credentials with the same secret, in any workspace: in use, or in use when they were
    /// revoked. Only for callers that may see all workspaces.
    pub fn duplicates(&self, id: &CredentialId) -> Vec<Credential> {
        let load = || self.snapshot.load_full();
        let Some(fingerprint) = self.credential(id).and_then(|it| it.fingerprint) else {
            return Vec::new();
        };
        let candidates = self.duplicates.candidates(&fingerprint, load);
        let others = candidates.iter().filter(|other| *other != id);
        let mut duplicates: Vec<_> = others
            .filter_map(|other| self.credential(other))
            .filter(|duplicate| duplicate.fingerprint.as_ref() == Some(&fingerprint))
            .collect();
        in_order(&mut duplicates);
        duplicates
    }
}

#[derive(Default)]
pub(super) struct DuplicateIndex(Mutex<Option<Index>>);

type Index = HashMap<Fingerprint, HashSet<CredentialId>>;

impl DuplicateIndex {
    /// Records a changed secret. Called after the snapshot was published.
    pub(super) fn note(
        &self,
        id: &CredentialId,
        before: Option<Fingerprint>,
        now: Option<Fingerprint>,
    ) {
        let mut index = self.0.lock();
        let Some(index) = &mut *index else {
            return;
        };
        if let Some(before) = before
            && let Entry::Occupied(mut having) = index.entry(before)
        {
            having.get_mut().remove(id);
            if having.get().is_empty() {
                having.remove();
            }
        }
        if let Some(now) = now {
            index.entry(now).or_default().insert(id.clone());
        }
    }

    /// Drops the index after a bulk change.
    pub(super) fn forget(&self) {
        *self.0.lock() = None;
    }

    /// Credentials that may have this fingerprint. `load` returns the snapshot; it is called under
    /// the index's lock.
    pub(super) fn candidates<S: AsRef<Snapshot>>(
        &self,
        fingerprint: &Fingerprint,
        load: impl FnOnce() -> S,
    ) -> Vec<CredentialId> {
        let mut index = self.0.lock();
        let index = index.get_or_insert_with(|| index_of(load().as_ref()));
        let having = index.get(fingerprint).into_iter().flatten();
        having.cloned().collect()
    }
}

fn index_of(snapshot: &Snapshot) -> Index {
    let mut index = Index::new();
    for entry in snapshot.entries() {
        if let Some(metadata) = entry.metadata() {
            let having = index.entry(metadata.fingerprint.clone()).or_default();
            having.insert(entry.document.id.clone());
        }
    }
    index
}
