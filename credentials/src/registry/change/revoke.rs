//! Revokes a credential, which is final. Goes before other waiting changes of the workspace.

use std::sync::Arc;

use super::{Decision, about, credential_edit::CredentialEdit, format_versions};
use crate::{
    chains::Priority,
    documents::{Document, LostDocument},
    model::{ActorContext, Credential, CredentialId, Listed},
    record::{Draft, Event},
    registry::{ChangeError, Registry, Revocation},
    snapshot::{Lost, WorkspaceEntry, signals::Signals},
};

impl Registry {
    /// Revokes a credential and destroys all versions of its secret, which is final. Its record
    /// stays. Needs no key, so it works if the one that seals the secret is lost. Revoking twice
    /// changes nothing.
    ///
    /// # Errors
    /// The credential does not exist, or storage failed.
    pub async fn revoke(
        self: &Arc<Self>,
        by: &ActorContext,
        id: &CredentialId,
        revocation: Revocation,
    ) -> Result<Credential, ChangeError> {
        let (by, wanted) = (by.clone(), id.clone());
        self.run_to_completion(|registry| async move {
            retry_on_race!(registry.revoke_once(&by, &wanted, &revocation))
        })
        .await?;
        self.credential(id).ok_or(ChangeError::CredentialUnknown)
    }

    /// Revoking twice changes nothing, except that the second may cut off responses.
    async fn revoke_once(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        revocation: &Revocation,
    ) -> Result<(), ChangeError> {
        let of = self.workspace_of(id).await?;
        let decide = || {
            self.begin_without_key(&of, id)?
                .decide_revocation(by, revocation)
        };
        let decided = self.change_workspace(by, &of, Priority::High, decide);
        let signals = decided.await?;
        if revocation.cut {
            signals.cut();
        }
        Ok(())
    }

    /// Revokes a [lost credential](Listed::Lost), which is final. Its id stays listed. Revoking
    /// twice changes nothing.
    ///
    /// # Errors
    /// The credential does not exist, or storage failed. [`ChangeError::Superseded`] if its record
    /// is back.
    pub async fn revoke_lost(
        self: &Arc<Self>,
        by: &ActorContext,
        id: &CredentialId,
        revocation: Revocation,
    ) -> Result<Listed, ChangeError> {
        let (by, wanted) = (by.clone(), id.clone());
        self.run_to_completion(|registry| async move {
            retry_on_race!(registry.revoke_lost_once(&by, &wanted, &revocation))
        })
        .await?;
        self.find(id).ok_or(ChangeError::CredentialUnknown)
    }

    /// Writes only that the credential is revoked, in place of its lost record.
    async fn revoke_lost_once(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        revocation: &Revocation,
    ) -> Result<(), ChangeError> {
        let of = self.workspace_of(id).await?;
        let _guard = self.lock_workspace(by, &of, Priority::High).await?;
        let snapshot = self.snapshot.load_full();
        let workspace = snapshot.workspaces.get(&of);
        let workspace = workspace.ok_or(ChangeError::CredentialUnknown)?;
        if let Some(found) = workspace.credentials.get(id) {
            // The record is back: it must be revoked instead.
            let current = found.document.revision;
            return Err(ChangeError::Superseded(current));
        }
        let lost = workspace.lost.get(id);
        let lost = lost.ok_or(ChangeError::CredentialUnknown)?;
        let current = lost.revision;
        if revocation.expected.is_some_and(|seen| seen != current) {
            return Err(ChangeError::Superseded(current));
        }
        let is_first = lost.revoked_at.is_none();
        let cuts = revocation.cut && !lost.signals.is_cut();
        let notes: Vec<_> = [(is_first, LOST), (cuts, CUT)]
            .into_iter()
            .filter_map(|(is_so, text)| is_so.then_some(text))
            .collect();
        if notes.is_empty() {
            self.confirm(&self.chains.of(&of)).await?;
        } else {
            let draft = Draft {
                workspace: Some(of.clone()),
                credential: Some(id.clone()),
                note: Some(notes.join("; ")),
                ..Draft::new(Event::CredentialRevoked, by)
            };
            self.commit_lost(workspace, lost, draft).await?;
            if is_first {
                self.publish_lost_revocation(&of, id);
            }
        }
        if revocation.cut {
            lost.signals.cut();
        }
        Ok(())
    }

    /// Records the revocation, and writes it unless it was written before.
    async fn commit_lost(
        &self,
        workspace: &WorkspaceEntry,
        lost: &Lost,
        draft: Draft,
    ) -> Result<(), ChangeError> {
        let mut lost = lost.clone();
        let mut writes = Vec::new();
        if lost.revoked_at.is_none() {
            let revoked_at = self.clock.now();
            lost.revoked_at = Some(revoked_at);
            lost.revision += 1;
            let left = LostDocument {
                id: lost.id.clone(),
                workspace: workspace.document.id.clone(),
                revoked_at,
                revision: lost.revision,
            };
            writes.push(left.write());
        }
        let state = self.commit_in(workspace, vec![draft], writes).await?;
        let revoked = workspace.with_lost(lost).at(state);
        Ok(self.publish_committed(revoked).await?)
    }
}

impl CredentialEdit<'_> {
    fn decide_revocation(
        mut self,
        by: &ActorContext,
        revocation: &Revocation,
    ) -> Result<Decision<Arc<Signals>>, ChangeError> {
        self.expect(revocation.expected)?;
        let signals = self.entry.signals.clone();
        let mut draft = match self.metadata(self.document.current) {
            Ok(metadata) => self.record(Event::CredentialRevoked, by, &metadata),
            Err(_) => about(Event::CredentialRevoked, by, &self.document),
        };
        if self.document.revoked_at.is_none() {
            let destroyed = self.document.destroy_all(self.now);
            self.document.revoked_at = Some(self.now);
            draft.note = Some(match self.entry.reference() {
                Some(reference) => format!("{reference} stays in Vault"),
                None => format!("{} destroyed", format_versions(&destroyed)),
            });
            if revocation.cut {
                draft.note = draft.note.map(|note| format!("{note}; {CUT}"));
            }
            return Ok(self.commit(draft, None, signals));
        }
        if revocation.cut && !signals.is_cut() {
            draft.note = Some(CUT.to_owned());
            return Ok(self.note(draft, signals));
        }
        Ok(Decision::unchanged(signals))
    }
}

const LOST: &str = "its record was lost before";
const CUT: &str = "responses in flight are cut off";
