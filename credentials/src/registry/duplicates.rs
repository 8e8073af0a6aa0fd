//! Who else has the same secret: an index by fingerprint, so that asking costs the same however many credentials there are.
//!
//! Fingerprints stand sealed, so it is made when someone first asks. What it names is held against the snapshot again.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Mutex, PoisonError},
};

use crate::{
    model::{CredentialId, Fingerprint},
    snapshot::Snapshot,
};

#[derive(Default)]
pub(super) struct DuplicateIndex(Mutex<Option<Index>>);

type Index = HashMap<Fingerprint, HashSet<CredentialId>>;

impl DuplicateIndex {
    /// A credential has another secret from now on. Called once the snapshot shows it.
    pub(super) fn note(
        &self,
        id: &CredentialId,
        before: Option<Fingerprint>,
        now: Option<Fingerprint>,
    ) {
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Everything was read anew, or a part of it is gone for good.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Credentials that may have it. `load` gives the snapshot as it is while no note can come between.
    pub(super) fn candidates<S: AsRef<Snapshot>>(
        &self,
        fingerprint: &Fingerprint,
        load: impl FnOnce() -> S,
    ) -> Vec<CredentialId> {
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = index.get_or_insert_with(|| index_of(load().as_ref()));
        let having = index.get(fingerprint).into_iter().flatten();
        having.cloned().collect()
    }
}

fn index_of(snapshot: &Snapshot) -> Index {
    let mut index = Index::new();
    let workspaces = snapshot.workspaces.values();
    for entry in workspaces.flat_map(|workspace| workspace.credentials.values()) {
        if let Some(metadata) = entry.metadata() {
            let having = index.entry(metadata.fingerprint.clone()).or_default();
            having.insert(entry.document.id.clone());
        }
    }
    index
}
