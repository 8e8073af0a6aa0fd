//! Everything there is about one workspace, but its secrets, as one archive that any system opens.

mod archive;
mod form;

use std::sync::Arc;

use serde_json::json;

use self::archive::Archive;
use super::{Act, ChangeError, Filter, Inner, Registry, in_order};
use crate::{
    AuditRecord, Scope, WorkspaceId,
    audit::{AuditFilter, Draft, Event, Head},
    snapshot::Snapshot,
    storage::StorageError,
};

impl Registry {
    /// A tar archive of what is kept of a workspace: `workspace.json`, `credentials.json`, `audit.ndjson`, `runs.ndjson`,
    /// and `manifest.json` with the SHA-256 of each. Never a secret, sealed or not. It is put on record first, and all but the
    /// runs is as it stood then.
    ///
    /// Made in memory: about 30 MB where 100,000 runs are kept of this one workspace.
    ///
    /// # Errors
    /// When there is no such workspace, or storage fails.
    pub async fn export_workspace(
        &self,
        by: &Act,
        id: &WorkspaceId,
    ) -> Result<Vec<u8>, ChangeError> {
        let (head, snapshot) = self.inner.begin_export(by, id).await?;
        let mut archive = Archive::at(self.inner.clock.now());
        self.write(&mut archive, id, head, &snapshot).await?;
        Ok(archive.finish(json!({
            "format": "keyside-workspace-export/1",
            "installation": self.inner.keyring.installation().installation(),
            "workspaceId": id,
            "exportedAt": self.inner.clock.now(),
            "exportedBy": by.actor,
            "audit": head,
        })))
    }

    async fn write(
        &self,
        archive: &mut Archive,
        id: &WorkspaceId,
        head: Head,
        snapshot: &Snapshot,
    ) -> Result<(), StorageError> {
        let workspace = snapshot.workspaces.get(id);
        archive.json("workspace.json", &workspace.map(|it| form::workspace(it)));
        let filter = Filter {
            workspace: Some(id.clone()),
            ..Filter::default()
        };
        let mut credentials = self.viewer().list(snapshot, &filter);
        in_order(&mut credentials);
        let credentials: Vec<_> = credentials.iter().map(form::credential).collect();
        archive.json("credentials.json", &credentials);
        let records = self.inner.records_of(id).await?;
        let records = records.iter().filter(|it| it.position <= head.position);
        archive.lines("audit.ndjson", records.map(form::record));
        let runs = self.inner.runs.of_workspace(id).await?;
        archive.lines("runs.ndjson", runs.iter().map(form::run));
        Ok(())
    }
}

impl Inner {
    /// Nobody changes the workspace between its record and what is shown of it.
    async fn begin_export(
        &self,
        by: &Act,
        id: &WorkspaceId,
    ) -> Result<(Head, Arc<Snapshot>), ChangeError> {
        let _begun = self.begin_in(by, id).await?;
        let snapshot = self.snapshot.load_full();
        if !snapshot.workspaces.contains_key(id) {
            return Err(ChangeError::WorkspaceUnknown);
        }
        let exported = Draft {
            workspace: Some(id.clone()),
            ..Draft::new(Event::WorkspaceExported, by)
        };
        Ok((self.audit.put_on_record(exported).await?, snapshot))
    }

    /// As whoever is limited to the workspace sees them: none is of an earlier one of its name.
    pub(super) async fn records_of(
        &self,
        id: &WorkspaceId,
    ) -> Result<Vec<AuditRecord>, StorageError> {
        let filter = AuditFilter {
            within: Scope::Only(Arc::new([id.clone()].into())),
            ..AuditFilter::default()
        };
        let mut export = self.audit.export(filter, 1).await;
        let mut of_workspace = Vec::new();
        while let Some(records) = export.next().await? {
            of_workspace.extend(records);
        }
        Ok(of_workspace)
    }
}
