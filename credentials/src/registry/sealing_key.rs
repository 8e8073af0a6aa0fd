//! Selects the key that seals what is stored next in a workspace.

use std::sync::Arc;

use super::Registry;
use crate::{
    documents::{CredentialDocument, WorkspaceDocument},
    sealing::SealingKey,
    snapshot::WorkspaceEntry,
};

impl Registry {
    /// The key that the document of a workspace names, if the keyring has it. Somebody who can write
    /// the keyring, and knows an older key, could otherwise have new secrets sealed with that one.
    pub(super) fn sealing_key(&self, document: &WorkspaceDocument) -> Option<Arc<SealingKey>> {
        match &document.key {
            Some(id) => self.keyring.key(&document.id, id),
            None => self.keyring.last(&document.id),
        }
    }

    /// The key that seals what is stored next about a credential. The document of a damaged workspace
    /// is not trusted, and the key that it names may be missing in the keyring: the credential then
    /// keeps the key that it has, so that it can be revoked.
    pub(super) fn sealing_key_for(
        &self,
        workspace: &WorkspaceEntry,
        credential: &CredentialDocument,
    ) -> Option<Arc<SealingKey>> {
        if workspace.damage.is_none()
            && let Some(named) = self.sealing_key(&workspace.document)
        {
            return Some(named);
        }
        let version = credential.version(credential.current)?;
        let id = SealingKey::id_in(&version.metadata)?;
        self.keyring.key(&credential.workspace, id)
    }
}
