//! Anchors and keys of workspaces that are not registered. They are not used.

use std::path::PathBuf;

use crate::{chains::Chains, keyring::Keyring, model::WorkspaceId};

/// The workspaces that have a key and are not registered.
pub(in crate::registry) fn keys(chains: &Chains, keyring: &Keyring) -> Vec<WorkspaceId> {
    let registrations = chains.registrations();
    let mut unnamed = keyring.workspaces();
    unnamed.retain(|id| !registrations.contains_key(id));
    unnamed
}

/// Warns about them.
pub(super) fn warn(chains: &Chains, anchored: &[(WorkspaceId, PathBuf)], keyring: &Keyring) {
    let registrations = chains.registrations();
    let unnamed = anchored
        .iter()
        .filter(|(id, _)| !registrations.contains_key(id));
    for (id, path) in unnamed {
        tracing::warn!(
            workspace = %id,
            file = %path.display(),
            "this file is the head of a workspace that this installation has never had, and no workspace can be created with \
             that id while it is there: move it away"
        );
    }
    for id in keys(chains, keyring) {
        tracing::warn!(
            workspace = %id,
            "the keyring has a key for a workspace that this installation has never had. A crash or a full disk while \
             the workspace was created leaves one behind, which does no harm: creating the workspace uses it. If there was such a workspace, \
             the store and heads/ were put back to a state before it: put back the newest copy of the whole data folder"
        );
    }
}
