//! Rotates the key of a workspace: seals everything again under a new key.
//!
//! Each commit covers many documents. After a crash some are done and some are not: each blob names
//! its key, so both can be opened, and the next rotation continues.

use std::{collections::HashSet, sync::Arc};

use super::{ChangeError, Registry, change::retry_on_race};
use crate::{
    chains::Priority,
    damage::Damage,
    documents::{CredentialDocument, Document, WorkspaceDocument},
    keyring::Keyring,
    model::{ActorContext, CredentialId, WorkspaceId},
    record::{Draft, Event},
    sealing::{SealContext, SealError, SealingKey},
    snapshot::{CredentialEntry, WorkspaceEntry},
};

/// The result of a rotation of a workspace's key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resealed {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The id of the new key. Older ones stay in the keyring for sealed details in the audit log.
    pub key: String,
    /// Number of credentials that were sealed again.
    pub credentials: usize,
    /// Number of credentials that were left unchanged because they cannot be opened. Without revoked
    /// ones whose key is lost.
    pub damaged: usize,
}

impl Registry {
    /// Creates a new key for a workspace and seals everything again. Requests do not wait; other
    /// changes wait for one commit at most. After a crash, another call continues.
    ///
    /// # Errors
    /// The workspace does not exist, is damaged, or storage failed; finished commits stay.
    pub async fn rotate_workspace_key(
        self: &Arc<Self>,
        by: &ActorContext,
        id: &WorkspaceId,
    ) -> Result<Resealed, ChangeError> {
        let (by, id) = (by.clone(), id.clone());
        self.run_to_completion(|registry| async move { registry.reseal_all(&by, &id).await })
            .await
    }

    async fn reseal_all(
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
        let (mut unopenable, mut added) = (HashSet::new(), None);
        loop {
            let is_unfinished = retry_on_race!(self.reseal_next_batch(
                by,
                &mut so_far,
                &mut unopenable,
                &mut added
            ))?;
            if !is_unfinished {
                return Ok(so_far);
            }
        }
    }

    /// Makes the next commit, if anything is left. Other changes may come in between, even another
    /// rotation: everything ends up under the key that the workspace's document names. `added` is the
    /// key that this rotation has added to the keyring.
    async fn reseal_next_batch(
        &self,
        by: &ActorContext,
        so_far: &mut Resealed,
        unopenable: &mut HashSet<CredentialId>,
        added: &mut Option<Arc<SealingKey>>,
    ) -> Result<bool, ChangeError> {
        let _guard = self
            .lock_workspace(by, &so_far.workspace, Priority::Normal)
            .await?;
        let workspace = self.sound_workspace(&so_far.workspace)?;
        let Some(mut key) = self.sealing_key(&workspace.document) else {
            return Err(self.missing_key(&so_far.workspace).await);
        };
        let begins = so_far.key.is_empty();
        let mut fresh = self.reseal_batch(&workspace, &key, unopenable);
        // Continues an unfinished rotation first, unless only unopenable credentials are left.
        if begins && fresh.is_empty() {
            // The commit that names it has lost a race, perhaps to an erasure that destroyed it.
            let added_before = added.take().filter(|added| {
                let known = self.keyring.key(&so_far.workspace, added.id());
                known.is_some()
            });
            key = match added_before {
                Some(added) => added,
                None => self.add_key(&so_far.workspace).await?,
            };
            *added = Some(key.clone());
            fresh = self.reseal_batch(&workspace, &key, unopenable);
        }
        if fresh.is_empty() && !begins {
            key.id().clone_into(&mut so_far.key);
            let damaged = workspace.credentials.values();
            let damaged = damaged.filter(|entry| entry.damage().is_some()).count();
            so_far.damaged = damaged + workspace.unrevoked_lost().count() + unopenable.len();
            return Ok(false);
        }
        let resealed = fresh.len();
        // The workspace's own document is in the first commit: it does not show whether the rest is
        // done.
        let settings = begins.then(|| WorkspaceDocument {
            key_rotated_at: Some(self.clock.now()),
            key: Some(key.id().to_owned()),
            revision: workspace.document.revision + 1,
            ..workspace.document.clone()
        });
        self.commit_resealed(by, &workspace, &key, settings, fresh)
            .await?;
        // Not before: a commit that loses a race is made again, and is still the first one.
        so_far.credentials += resealed;
        key.id().clone_into(&mut so_far.key);
        Ok(true)
    }

    /// Adds a key to the keyring, unless that has too many of the workspace: all workspaces share the
    /// file, which is replaced as a whole, and a start unwraps every key in it.
    async fn add_key(&self, workspace: &WorkspaceId) -> Result<Arc<SealingKey>, ChangeError> {
        match self.keyring.ids(workspace).await.len() < MAX_KEYS {
            true => Ok(self.keyring.add_next(workspace).await?),
            false => Err(ChangeError::TooManyKeys),
        }
    }

    /// The documents for one commit, sealed under `key`. Credentials that cannot be opened are
    /// noted and skipped.
    fn reseal_batch(
        &self,
        workspace: &WorkspaceEntry,
        key: &SealingKey,
        unopenable: &mut HashSet<CredentialId>,
    ) -> Vec<CredentialDocument> {
        let credentials = workspace.credentials.values();
        let behind = credentials.filter(|entry| is_behind(entry, &self.keyring, key));
        let seal = |entry: &Arc<CredentialEntry>| {
            let document = &entry.document;
            if unopenable.contains(&document.id) {
                return None;
            }
            let sealed = reseal(document, &self.keyring, key);
            let sealed = sealed.inspect_err(|damage| {
                tracing::error!(credential = %document.id, %damage, "a credential cannot be opened and is left unchanged");
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
            Some(Arc::new(before.with(document, &*self.keyring)))
        });
        let resealed = workspace.with_all(settings, entries).at(state);
        Ok(self.publish_committed(resealed).await?)
    }
}

/// Whether a sound credential has anything to seal again.
fn is_behind(entry: &CredentialEntry, keyring: &Keyring, key: &SealingKey) -> bool {
    let other = |blob: &[u8]| {
        let is_under_it = SealingKey::id_in(blob) == Some(key.id());
        !blob.is_empty() && !is_under_it && !stays(&entry.document, keyring, blob)
    };
    let mut versions = entry.document.versions.iter();
    entry.damage().is_none()
        && versions.any(|version| other(&version.sealed) || other(&version.metadata))
}

/// Whether a blob stays as it is: its key is lost, and nothing of a revoked credential has to be read
/// any more.
fn stays(document: &CredentialDocument, keyring: &Keyring, blob: &[u8]) -> bool {
    let is_lost = |key: &str| keyring.key(&document.workspace, key).is_none();
    document.revoked_at.is_some() && SealingKey::id_in(blob).is_some_and(is_lost)
}

fn reseal(
    document: &CredentialDocument,
    keyring: &Keyring,
    to: &SealingKey,
) -> Result<CredentialDocument, Damage> {
    let seal = |context: &SealContext<'_>, blob: &[u8]| match blob {
        [] => Ok(Arc::default()),
        blob if stays(document, keyring, blob) => Ok(blob.into()),
        blob => {
            let id = SealingKey::id_in(blob).ok_or(SealError::Malformed)?;
            let from = keyring.key(&document.workspace, id);
            let plaintext = from.ok_or(Damage::KeyGone)?.open(context, blob)?;
            Ok::<Arc<[u8]>, Damage>(to.seal(context, &plaintext).into())
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

/// Keys of a workspace: one a day for more than two years. About 200 KB of the keyring.
const MAX_KEYS: usize = 1_000;
/// Some 200 KB, and one fsync.
const CREDENTIALS_PER_COMMIT: usize = 100;
