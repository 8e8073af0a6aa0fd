//! Exports everything about a workspace except its secrets, as an archive in standard formats.

mod archive;
mod form;

use std::sync::Arc;

use keyside_store::chain::State;
use serde_json::json;

use self::archive::Archive;
use super::{ChangeError, Filter, Registry, change::retry_on_race};
use crate::{
    audit::{AuditFilter, Head, Line, ReadError},
    chains::Priority,
    model::{ActorContext, Scope, WorkspaceId},
    record::{AuditRecord, Draft, Event},
    snapshot::Snapshot,
};

impl Registry {
    /// A tar archive of a workspace: `workspace.json`, `credentials.json`, `audit.ndjson`,
    /// `runs.ndjson`, and `manifest.json` with the SHA-256 of each. Never contains secrets, sealed
    /// or not. The export is recorded first, and everything except the runs is as of that record.
    ///
    /// Built in memory: about 30 MB with 100,000 runs of this workspace.
    ///
    /// # Errors
    /// The workspace does not exist, or storage failed.
    pub async fn export_workspace(
        &self,
        by: &ActorContext,
        id: &WorkspaceId,
    ) -> Result<Vec<u8>, ChangeError> {
        let (state, snapshot) = retry_on_race!(self.begin_export(by, id))?;
        let head = Head {
            position: state.head.records,
            hash: state.head.hash,
        };
        let mut archive = Archive::at(self.clock.now());
        self.write_export(&mut archive, id, &state, &snapshot)
            .await?;
        Ok(archive.finish(json!({
            "format": "keyside-workspace-export/1",
            "installation": self.keyring.installation().installation(),
            "workspaceId": id,
            "exportedAt": self.clock.now(),
            "exportedBy": by.actor,
            "audit": head,
        })))
    }

    /// Records the export, and returns the state that it covers: the lock prevents changes in
    /// between.
    async fn begin_export(
        &self,
        by: &ActorContext,
        id: &WorkspaceId,
    ) -> Result<(Arc<State>, Arc<Snapshot>), ChangeError> {
        let _guard = self.lock_workspace(by, id, Priority::Normal).await?;
        let snapshot = self.snapshot.load_full();
        let workspace = snapshot.workspaces.get(id);
        let workspace = workspace.ok_or(ChangeError::WorkspaceUnknown)?;
        let exported = Draft {
            workspace: Some(id.clone()),
            ..Draft::new(Event::WorkspaceExported, by)
        };
        let state = self.commit_record(workspace, exported).await?;
        Ok((state, snapshot))
    }

    async fn write_export(
        &self,
        archive: &mut Archive,
        id: &WorkspaceId,
        state: &State,
        snapshot: &Snapshot,
    ) -> Result<(), ChangeError> {
        let workspace = snapshot.workspaces.get(id);
        archive.json("workspace.json", &workspace.map(|it| form::workspace(it)));
        let filter = Filter {
            workspace: Some(id.clone()),
            ..Filter::default()
        };
        let credentials = self.viewer().list_all(snapshot, &filter);
        let credentials: Vec<_> = credentials.iter().map(form::listed).collect();
        archive.json("credentials.json", &credentials);
        let records = self.records_of(id).await?;
        let records = records
            .iter()
            .filter(|it| it.chain.workspace_id().is_none() || it.position <= state.head.records);
        archive.lines("audit.ndjson", records.map(form::record));
        let runs = self.runs.of_workspace(id).await?;
        archive.lines("runs.ndjson", runs.iter().map(form::run));
        Ok(())
    }

    /// The audit records that a principal limited to this workspace may see, without those of
    /// erased predecessors.
    pub(super) async fn records_of(&self, id: &WorkspaceId) -> Result<Vec<AuditRecord>, ReadError> {
        let filter = AuditFilter {
            within: Scope::Only(Arc::new([id.clone()].into())),
            ..AuditFilter::default()
        };
        let mut export = self.audit.export(filter, None);
        let mut of_workspace = Vec::new();
        while let Some(lines) = export.next().await? {
            let records = lines.into_iter().filter_map(|line| match line {
                Line::Record(record) => Some(*record),
                Line::Hidden { .. } | Line::End { .. } => None,
            });
            of_workspace.extend(records);
        }
        of_workspace.sort_by_key(|record| (record.at, record.chain.clone(), record.position));
        Ok(of_workspace)
    }
}
