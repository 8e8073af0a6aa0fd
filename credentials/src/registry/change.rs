//! The changes: each reads the snapshot under the workspace's lock, makes the new documents, has the journal commit them,
//! and shows the result to the data plane.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use keyside_config::{BaseUrl, Catalogue, Provider, Upstream};
use serde::Serialize;
use tokio::sync::{OwnedMutexGuard, RwLockReadGuard, RwLockWriteGuard};

use super::{Act, ChangeError, Inner, NewCredential, NewWorkspace, Warning};
use crate::{
    CredentialId, Secret, WorkspaceId,
    audit::{Detail, Draft, Event},
    authentic,
    documents::{CredentialDocument, Stored, WorkspaceDocument},
    journal::{Body, Write},
    model::has_usual_form,
    sealing::{Place, SealingKey},
    snapshot::{CredentialEntry, Snapshot, WorkspaceEntry},
};

impl Inner {
    pub(super) async fn create_workspace(
        &self,
        by: &Act,
        new: NewWorkspace,
    ) -> Result<Arc<WorkspaceEntry>, ChangeError> {
        if !is_fit(&new.name) {
            return Err(ChangeError::NameUnfit);
        }
        let _begun = self.begin().await?;
        let _lock = self.locks.lock(&new.id).await;
        if self.snapshot.load().workspaces.contains_key(&new.id) {
            return Err(ChangeError::WorkspaceExists);
        }
        // Before the document: a key without a workspace does no harm, a workspace without a key would be lost.
        let key = self.keyring.add(&new.id).await?;
        let document = WorkspaceDocument {
            id: new.id.clone(),
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
        let entry = Arc::new(WorkspaceEntry::new(document, None, BTreeMap::new(), false));
        self.show(entry.clone());
        Ok(entry)
    }

    pub(super) async fn add(
        &self,
        by: &Act,
        new: NewCredential,
    ) -> Result<(CredentialId, Vec<Warning>), ChangeError> {
        let provider = self
            .catalogue
            .get(&new.provider)
            .cloned()
            .ok_or(ChangeError::ProviderUnknown)?;
        let endpoint = endpoint(&provider, new.endpoint.as_deref())?;
        let _begun = self.begin().await?;
        let _lock = self.locks.lock(&new.workspace).await;
        let workspace = self.sound_workspace(&new.workspace)?;
        let key = self
            .keyring
            .current(&new.workspace)
            .ok_or(ChangeError::Damaged)?;
        let now = self.clock.now();
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(ChangeError::ExpiryPast);
        }
        if workspace
            .choices(&new.provider)
            .is_some_and(|choices| choices.labels.contains_key(&new.label))
        {
            return Err(ChangeError::LabelTaken { label: new.label });
        }
        let mut document = CredentialDocument {
            id: CredentialId::random(),
            workspace: new.workspace.clone(),
            provider: new.provider.as_str().into(),
            label: new.label,
            environment: new.environment,
            usage_tag: new.usage_tag,
            expires_at: new.expires_at,
            endpoint,
            created_by: by.actor.clone(),
            created_at: now,
            last_rotated_at: None,
            last_verified_at: None,
            verification: None,
            revoked_at: None,
            revision: 1,
            versions: Vec::new(),
        };
        let (version, trace) = document.seal(&key, 1, &new.secret, &provider.key.prefix, now);
        document.versions.push(version);
        let mut writes = vec![write(&key, &document)];
        let becomes_default = new.default || !workspace.has_default(&new.provider, new.environment);
        let settings = becomes_default.then(|| with_default(&workspace.document, &document));
        writes.extend(settings.as_ref().map(|settings| write(&key, settings)));
        let draft = Draft {
            detail: Some((
                key,
                Detail {
                    fingerprint: trace.fingerprint,
                },
            )),
            ..about(Event::CredentialCreated, by, &document)
        };
        self.journal.commit(draft, writes).await?;
        let id = document.id.clone();
        let entry = Arc::new(CredentialEntry::new(document, &self.keyring));
        let settings = settings.unwrap_or_else(|| workspace.document.clone());
        self.show(Arc::new(workspace.with(settings, entry)));
        Ok((id, warnings(&provider, &new.secret)))
    }

    pub(super) async fn revoke(&self, by: &Act, id: &CredentialId) -> Result<(), ChangeError> {
        let _begun = self.begin().await?;
        let of = self
            .snapshot
            .load()
            .credential(id)
            .map(|(workspace, _)| workspace.document.id.clone());
        let of = of.ok_or(ChangeError::CredentialUnknown)?;
        let _lock = self.locks.lock(&of).await;
        let snapshot = self.snapshot.load_full();
        let (workspace, entry) = snapshot
            .credential(id)
            .ok_or(ChangeError::CredentialUnknown)?;
        let trace = entry.trace().ok_or(ChangeError::Damaged)?;
        if entry.document.revoked_at.is_some() {
            return Ok(());
        }
        let key = self.keyring.current(&of).ok_or(ChangeError::Damaged)?;
        let mut document = entry.document.clone();
        document.revision += 1;
        document.revoked_at = Some(self.clock.now());
        let draft = Draft {
            detail: Some((
                key.clone(),
                Detail {
                    fingerprint: trace.fingerprint.clone(),
                },
            )),
            ..about(Event::CredentialRevoked, by, &document)
        };
        self.journal
            .commit(draft, vec![write(&key, &document)])
            .await?;
        let entry = Arc::new(CredentialEntry::new(document, &self.keyring));
        self.show(Arc::new(workspace.with(workspace.document.clone(), entry)));
        Ok(())
    }

    /// Leave to begin a change. If an earlier one stopped half-way, everything is read anew first.
    pub(super) async fn begin(&self) -> Result<RwLockReadGuard<'_, ()>, ChangeError> {
        loop {
            let begun = self.gate.read().await;
            if !self.journal.is_unsettled() {
                return Ok(begun);
            }
            drop(begun);
            drop(self.begin_alone().await?);
        }
    }

    /// Leave to look at everything while no change is under way.
    pub(crate) async fn begin_alone(&self) -> Result<RwLockWriteGuard<'_, ()>, ChangeError> {
        let alone = self.gate.write().await;
        if self.journal.is_unsettled() {
            self.reload().await?;
        }
        Ok(alone)
    }

    pub(super) fn sound_workspace(
        &self,
        id: &WorkspaceId,
    ) -> Result<Arc<WorkspaceEntry>, ChangeError> {
        let snapshot = self.snapshot.load();
        let workspace = snapshot
            .workspaces
            .get(id)
            .ok_or(ChangeError::WorkspaceUnknown)?;
        match workspace.damage {
            Some(_) => Err(ChangeError::Damaged),
            None => Ok(workspace.clone()),
        }
    }

    /// From here on requests see it. Workspaces change side by side, so the swap is tried until none came between.
    pub(super) fn show(&self, workspace: Arc<WorkspaceEntry>) {
        self.snapshot
            .rcu(|snapshot| Snapshot::with(snapshot, workspace.clone()));
    }
}

/// One change at a time in a workspace: labels are unique and defaults single within it.
#[derive(Default)]
pub(super) struct WorkspaceLocks(Mutex<HashMap<WorkspaceId, Arc<tokio::sync::Mutex<()>>>>);

impl WorkspaceLocks {
    pub(super) async fn lock(&self, workspace: &WorkspaceId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for are of no use: ids that never became workspaces must not pile up.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(workspace.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }
}

/// What the record of a change to a credential says of it.
fn about(event: Event, by: &Act, document: &CredentialDocument) -> Draft {
    Draft {
        workspace: Some(document.workspace.clone()),
        credential: Some(document.id.clone()),
        provider: Some(document.provider.to_string()),
        ..Draft::new(event, by)
    }
}

pub(super) fn write<T: Stored + Serialize>(sealing: &SealingKey, document: &T) -> Write {
    let key = document.key();
    let body = authentic::write(sealing, &Place::Document { key: &key }, document);
    Write {
        key,
        expected: document.revision() - 1,
        body: Some(Body(body)),
    }
}

fn with_default(
    workspace: &WorkspaceDocument,
    credential: &CredentialDocument,
) -> WorkspaceDocument {
    let mut workspace = workspace.clone();
    workspace.revision += 1;
    let defaults = workspace
        .defaults
        .entry(credential.provider.to_string())
        .or_default();
    defaults.set(credential.environment, credential.id.clone());
    workspace
}

/// The endpoint as it is stored and sealed: the URL that the provider's rule made of what was given.
fn endpoint(provider: &Provider, given: Option<&str>) -> Result<Option<String>, ChangeError> {
    match (&provider.upstream, given) {
        (Upstream::PerCredential(rule), Some(given)) => {
            rule.accept(given).map(origin).map_err(ChangeError::from)
        }
        (Upstream::PerCredential(rule), None) => Err(ChangeError::EndpointMissing {
            example: rule.example.clone(),
        }),
        (Upstream::Fixed(_), None) => Ok(None),
        // The settings may have sent all of a provider's credentials to one host. An endpoint is then not used, and kept for
        // the day they no longer do.
        (Upstream::Fixed(_), Some(given)) => match Catalogue::builtin()
            .get(provider.id.as_str())
            .map(|of| &of.upstream)
        {
            Some(Upstream::PerCredential(rule)) => Ok(rule.accept(given).ok().and_then(origin)),
            _ => Err(ChangeError::EndpointNotTaken),
        },
    }
}

fn origin(url: BaseUrl) -> Option<String> {
    Some(format!("https://{}", url.authority()))
}

fn warnings(provider: &Provider, secret: &Secret) -> Vec<Warning> {
    match has_usual_form(secret, &provider.key) {
        true => Vec::new(),
        false => vec![Warning::SecretUnusualForm],
    }
}

/// A name that people can read in a table.
pub(super) fn is_fit(name: &str) -> bool {
    (1..=200).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}
