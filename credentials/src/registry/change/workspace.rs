//! Making workspaces.

use std::{collections::BTreeMap, sync::Arc};

use super::write;
use crate::{
    Act, ChangeError, NewWorkspace,
    audit::{Draft, Event},
    documents::WorkspaceDocument,
    entropy,
    registry::Inner,
    snapshot::WorkspaceEntry,
};

impl Inner {
    pub(in crate::registry) async fn create_workspace(
        &self,
        by: &Act,
        new: NewWorkspace,
    ) -> Result<Arc<WorkspaceEntry>, ChangeError> {
        if !is_fit(&new.name) {
            return Err(ChangeError::NameUnfit);
        }
        let _begun = self.begin_in(by, &new.id).await?;
        if self.snapshot.load().workspaces.contains_key(&new.id) {
            return Err(ChangeError::WorkspaceExists);
        }
        // Before the document: a key without a workspace does no harm, a workspace without a key would be lost.
        let key = self.keyring.add(&new.id).await?;
        let document = WorkspaceDocument {
            id: new.id.clone(),
            incarnation: entropy::number(),
            name: new.name,
            created_by: by.actor.clone(),
            created_at: self.clock.now(),
            revision: 1,
            defaults: BTreeMap::new(),
        };
        let draft = Draft {
            workspace: Some(new.id),
            ..Draft::new(Event::WorkspaceCreated, by)
        };
        self.journal
            .commit(draft, vec![write(&key, &document)])
            .await?;
        let entry = Arc::new(WorkspaceEntry::new(document, None, [], false));
        self.show(entry.clone());
        Ok(entry)
    }
}

fn is_fit(name: &str) -> bool {
    (1..=200).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}
