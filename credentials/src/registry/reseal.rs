//! A new key for a workspace: all that the old ones have sealed and authenticated is sealed and authenticated anew.
//!
//! In commits of many records each, so that a crash leaves some done and some not: each blob names its key, so both are
//! served, and the next rotation goes on where this one was cut off.

use std::{collections::HashSet, sync::Arc};

use super::{ChangeError, Inner, Registry};
use crate::{
    chains::{MAX_RACES, Priority, pause},
    damage::Damage,
    documents::{CredentialDocument, Document, WorkspaceDocument},
    keyring::Keyring,
    model::{ActorContext, CredentialId, WorkspaceId},
    record::{Draft, Event},
    sealing::{SealContext, SealError, SealingKey},
    snapshot::{CredentialEntry, WorkspaceEntry},
};

/// What a new key for a workspace came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resealed {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The id of the key that seals now. Older ones stay in the keyring for what the audit log says of secrets.
    pub key: String,
    /// How many credentials were sealed anew.
    pub credentials: usize,
    /// How many were left as they are, because they do not open.
    pub damaged: usize,
}

impl Registry {
    /// Makes a new key for a workspace and seals everything of it anew. Requests do not wait, other changes for one of its
    /// commits. After a crash, calling it again goes on with what is left.
    ///
    /// # Errors
    /// When there is no such workspace, it is damaged, or storage fails; what was done until then stays done.
    pub async fn rotate_workspace_key(
        &self,
        by: &ActorContext,
        id: &WorkspaceId,
    ) -> Result<Resealed, ChangeError> {
        let (by, id) = (by.clone(), id.clone());
        self.run_to_completion(|inner| async move { inner.rotate_workspace_key(&by, &id).await })
            .await
    }
}

impl Inner {
    async fn rotate_workspace_key(
        &self,
        by: &ActorContext,
        id: &WorkspaceId,
    ) -> Result<Resealed, ChangeError> {
        let mut so_far = Resealed {
            workspace: id.clone(),
            key: String::new(),
            credentials: 0,
            damaged: 0,
        };
        let mut unopenable = HashSet::new();
        let mut races = 0;
        loop {
            match self
                .reseal_next_batch(by, &mut so_far, &mut unopenable)
                .await
            {
                Ok(true) => {}
                Ok(false) => break,
                Err(ChangeError::Raced) if races < MAX_RACES => {
                    races += 1;
                    pause().await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(so_far)
    }

    /// One commit, if there is anything left for one. Other changes come between two, and a second rotation too: whatever
    /// the current key is then, everything ends under it.
    async fn reseal_next_batch(
        &self,
        by: &ActorContext,
        so_far: &mut Resealed,
        unopenable: &mut HashSet<CredentialId>,
    ) -> Result<bool, ChangeError> {
        let _guard = self
            .lock_workspace(by, &so_far.workspace, Priority::Normal)
            .await?;
        let workspace = self.sound_workspace(&so_far.workspace)?;
        let current = self.keyring.current(&so_far.workspace);
        let mut key = current.ok_or(ChangeError::Damaged)?;
        let begins = so_far.key.is_empty();
        let mut fresh = self.reseal_batch(&workspace, &key, unopenable);
        // What an earlier rotation has left is gone on with, unless it is left because it does not open.
        if begins && fresh.is_empty() {
            key = self.keyring.add_next(&so_far.workspace).await?;
            fresh = self.reseal_batch(&workspace, &key, unopenable);
        }
        key.id().clone_into(&mut so_far.key);
        if fresh.is_empty() && !begins {
            let damaged = workspace.credentials.values();
            let damaged = damaged.filter(|entry| entry.damage().is_some()).count();
            let lost = workspace.lost.values();
            let lost = lost.filter(|lost| lost.revoked_at.is_none()).count();
            so_far.damaged = damaged + lost + unopenable.len();
            return Ok(false);
        }
        so_far.credentials += fresh.len();
        // The workspace's own document goes with the first: it says nothing of whether the rest is done.
        let settings = begins.then(|| next_revision(&workspace.document));
        self.commit_resealed(by, &workspace, &key, settings, fresh)
            .await?;
        Ok(true)
    }

    /// As many as go into one commit, sealed under `key`; those that do not open are noted, and passed over from then on.
    fn reseal_batch(
        &self,
        workspace: &WorkspaceEntry,
        key: &SealingKey,
        unopenable: &mut HashSet<CredentialId>,
    ) -> Vec<CredentialDocument> {
        let credentials = workspace.credentials.values();
        let behind = credentials.filter(|entry| is_behind(entry, key));
        let seal = |entry: &Arc<CredentialEntry>| {
            let document = &entry.document;
            if unopenable.contains(&document.id) {
                return None;
            }
            let sealed = reseal(document, &self.keyring, key);
            let sealed = sealed.inspect_err(|damage| {
                tracing::error!(credential = %document.id, %damage, "left as it is");
                unopenable.insert(document.id.clone());
            });
            sealed.ok()
        };
        behind
            .filter_map(seal)
            .take(CREDENTIALS_PER_COMMIT)
            .collect()
    }

    async fn commit_resealed(
        &self,
        by: &ActorContext,
        workspace: &WorkspaceEntry,
        key: &SealingKey,
        settings: Option<WorkspaceDocument>,
        fresh: Vec<CredentialDocument>,
    ) -> Result<(), ChangeError> {
        let mut writes: Vec<_> = fresh.iter().map(Document::write).collect();
        writes.extend(settings.as_ref().map(Document::write));
        let draft = Draft {
            workspace: Some(workspace.document.id.clone()),
            note: Some(format!("{} credentials under {}", fresh.len(), key.id())),
            ..Draft::new(Event::WorkspaceKeyRotated, by)
        };
        let state = self.commit_in(workspace, vec![draft], writes).await?;
        let settings = settings.unwrap_or_else(|| workspace.document.clone());
        let entries = fresh.into_iter().filter_map(|document| {
            let before = workspace.credentials.get(&document.id)?;
            Some(Arc::new(before.with(document, &self.keyring)))
        });
        self.publish(Arc::new(workspace.with_all(settings, entries).at(state)));
        Ok(())
    }
}

/// Whether anything of a sound credential is sealed under another key.
fn is_behind(entry: &CredentialEntry, key: &SealingKey) -> bool {
    let other = |blob: &[u8]| !blob.is_empty() && SealingKey::id_in(blob) != Some(key.id());
    let mut versions = entry.document.versions.iter();
    entry.damage().is_none()
        && versions.any(|version| other(&version.sealed) || other(&version.metadata))
}

fn next_revision(workspace: &WorkspaceDocument) -> WorkspaceDocument {
    WorkspaceDocument {
        revision: workspace.revision + 1,
        ..workspace.clone()
    }
}

fn reseal(
    document: &CredentialDocument,
    keyring: &Keyring,
    to: &SealingKey,
) -> Result<CredentialDocument, Damage> {
    let seal = |context: &SealContext<'_>, blob: &[u8]| match blob {
        [] => Ok(Vec::new()),
        blob => {
            let id = SealingKey::id_in(blob).ok_or(SealError::Malformed)?;
            let from = keyring.key(&document.workspace, id);
            let plaintext = from.ok_or(Damage::KeyGone)?.open(context, blob)?;
            Ok::<_, Damage>(to.seal(context, &plaintext))
        }
    };
    let mut fresh = document.clone();
    fresh.revision += 1;
    for version in &mut fresh.versions {
        version.sealed = seal(&document.secret_context(version.number), &version.sealed)?;
        version.metadata = seal(
            &document.metadata_context(version.number),
            &version.metadata,
        )?;
    }
    Ok(fresh)
}

/// Credentials in one commit: some 200 KB, and one wait for the disk.
const CREDENTIALS_PER_COMMIT: usize = 100;
