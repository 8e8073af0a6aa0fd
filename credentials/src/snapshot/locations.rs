//! Remembers which workspace a credential is in, so that a change does not search all workspaces
//! for it. A location may be out of date: users check it against their snapshot.

use std::collections::HashMap;

use parking_lot::RwLock;

use crate::model::{CredentialId, WorkspaceId};

#[derive(Default)]
pub(super) struct Locations(RwLock<HashMap<CredentialId, WorkspaceId>>);

impl Locations {
    pub(super) fn of(&self, id: &CredentialId) -> Option<WorkspaceId> {
        self.0.read().get(id).cloned()
    }

    pub(super) fn note(&self, id: &CredentialId, workspace: &WorkspaceId) {
        let mut known = self.0.write();
        // Those of erased workspaces must not accumulate.
        if known.len() >= MAX_LOCATIONS {
            known.clear();
        }
        known.insert(id.clone(), workspace.clone());
    }
}

/// About 3 MB of ids.
const MAX_LOCATIONS: usize = 32_768;
