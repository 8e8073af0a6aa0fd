//! Loads a workspace's entry from its chain. What fails authentication is kept as damaged, never
//! dropped.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use keyside_store::{
    Hash, StorageError,
    chain::{Chain, Entry, ObjectRef, State},
};

use super::{CredentialEntry, Lost, Unusable, WorkspaceEntry};
use crate::{
    chains::Registration,
    damage::Damage,
    documents::{
        CREDENTIAL, CredentialDocument, Document, LostDocument, WORKSPACE, WorkspaceDocument,
    },
    keyring::Keyring,
    model::{ActorId, CredentialId, Limits, WorkspaceId},
    snapshot::signals::{Notices, Signals},
};

/// A document that failed authentication.
#[derive(Clone, Debug)]
pub(crate) struct DamageReport {
    /// Chain and name of the document.
    pub(crate) location: String,
    /// The hash that the head names, or the hash of a damaged head: identifies the finding.
    pub(crate) hash: Option<Hash>,
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) credential: Option<CredentialId>,
    /// What is wrong, as text for people.
    pub(crate) damage: String,
}

/// What is stored as a document.
enum Body {
    /// What was written.
    Intact(Vec<u8>),
    /// Something else.
    Edited(Vec<u8>),
    Gone,
}

impl Body {
    fn read<D: Document>(&self, entry: &Entry) -> Result<D, Damage> {
        match self {
            Self::Intact(bytes) => D::read(entry, bytes),
            Self::Edited(_) => Err(Damage::Edited),
            Self::Gone => Err(Damage::Gone),
        }
    }

    /// What it claims to be, trusted or not.
    fn claims<D: Document>(&self) -> Option<D> {
        match self {
            Self::Intact(bytes) | Self::Edited(bytes) => serde_json::from_slice(bytes).ok(),
            Self::Gone => None,
        }
    }
}

/// The result of loading a credential's record.
enum LoadOutcome {
    /// Authentic, or damaged and still claiming to be this credential's record.
    Known(Arc<CredentialEntry>),
    /// Only the id is known. Without damage if a person has revoked it since.
    Lost(Lost, Option<Damage>),
}

pub(crate) struct WorkspaceLoader<'a> {
    pub(crate) keyring: &'a Keyring,
    pub(crate) notices: &'a Arc<Notices>,
    /// The workspace's registration, shown if its own chain is damaged.
    pub(crate) registration: Option<Registration>,
    /// The previous entry, from which unchanged parts are reused.
    pub(crate) before: Option<&'a WorkspaceEntry>,
}

impl WorkspaceLoader<'_> {
    pub(crate) async fn read(
        &self,
        id: &WorkspaceId,
        chain: &Chain,
        state: Arc<State>,
    ) -> Result<(WorkspaceEntry, Vec<DamageReport>), StorageError> {
        let changed: Vec<&Entry> = state
            .documents()
            .filter(|entry| !self.is_unchanged(entry))
            .collect();
        let objects: HashSet<_> = changed.iter().map(|entry| entry.object).collect();
        let bodies = chain.read(changed.iter().copied()).await?;
        let mut read = LoadedWorkspace::new(id, chain, self.registration.as_ref());
        for (entry, body) in changed.into_iter().zip(bodies) {
            let body = match body {
                Some(body) => Body::Intact(body),
                None => {
                    let stored = chain.read_unverified(entry).await?;
                    stored.map_or(Body::Gone, Body::Edited)
                }
            };
            read.take(self, entry, &body);
        }
        if let Some(before) = self.before {
            read.reuse_unchanged(before, &state, &objects);
        }
        let findings = std::mem::take(&mut read.findings);
        let entry = read.entry().counting_with(self.before);
        Ok((entry.at(state), findings))
    }

    /// The entry of a workspace whose chain is damaged: as before, but not used.
    pub(crate) fn damaged(
        &self,
        id: &WorkspaceId,
        kind: Damage,
        found: String,
    ) -> (WorkspaceEntry, DamageReport) {
        let finding = DamageReport {
            location: format!("workspace/{id}"),
            hash: None,
            workspace: Some(id.clone()),
            credential: None,
            damage: found,
        };
        let mut entry = match self.before {
            Some(before) => before.clone(),
            None => {
                let document = placeholder_document(id.clone(), self.registration.as_ref());
                WorkspaceEntry::new(document, None, [], [])
            }
        };
        entry.damage = Some(kind);
        entry.at = None;
        (entry, finding)
    }

    /// Whether the previous entry is from the same document, and trusted.
    fn is_unchanged(&self, entry: &Entry) -> bool {
        let Some((before, at)) = self.before.and_then(|it| Some((it, it.at.as_ref()?))) else {
            return false;
        };
        if at.document(&entry.name).map(|before| before.object) != Some(entry.object) {
            return false;
        }
        match credential_of(entry) {
            Some(id) => {
                let known = before.credentials.get(&id);
                known.is_some_and(|known| known.damage().is_none())
            }
            None => before.damage.is_none(),
        }
    }

    fn signals(&self, id: &CredentialId) -> Arc<Signals> {
        let before = self.before.and_then(|before| {
            let known = before.credentials.get(id).map(|entry| &entry.signals);
            known.or_else(|| before.lost.get(id).map(|lost| &lost.signals))
        });
        match before {
            Some(signals) => signals.clone(),
            None => Arc::new(Signals::new(self.notices.clone())),
        }
    }

    fn credential(
        &self,
        workspace: &WorkspaceId,
        entry: &Entry,
        id: CredentialId,
        body: &Body,
        neighbour: Option<&CredentialEntry>,
    ) -> LoadOutcome {
        let of_workspace = |document: &CredentialDocument| document.workspace == *workspace;
        let damage = match body.read::<CredentialDocument>(entry) {
            Ok(mut document) if of_workspace(&document) => {
                document.workspace = workspace.clone();
                if let Some(neighbour) = neighbour {
                    share_ids(&mut document, &neighbour.document);
                }
                return LoadOutcome::Known(Arc::new(self.authentic(document)));
            }
            Ok(_) => Damage::Misplaced,
            Err(damage) => damage,
        };
        let signals = self.signals(&id);
        let claims = body.claims::<CredentialDocument>();
        let claims =
            claims.filter(|document| document.name() == *entry.name && of_workspace(document));
        if let Some(claims) = claims {
            let damaged =
                CredentialEntry::without_secret(claims, Unusable::Damaged(damage), signals);
            return LoadOutcome::Known(Arc::new(damaged));
        }
        let left = body.read::<LostDocument>(entry).ok();
        let left = left.filter(|document| document.workspace == *workspace);
        let revoked_at = left.map(|document| document.revoked_at);
        let lost = Lost {
            id,
            revision: entry.revision,
            revoked_at,
            signals,
        };
        LoadOutcome::Lost(lost, revoked_at.is_none().then_some(damage))
    }

    fn authentic(&self, document: CredentialDocument) -> CredentialEntry {
        let before = self
            .before
            .and_then(|before| before.credentials.get(&document.id));
        match before {
            Some(before) => before.with(document, self.keyring),
            None => {
                let signals = self.signals(&document.id);
                CredentialEntry::new(document, self.keyring, signals)
            }
        }
    }
}

struct LoadedWorkspace<'a> {
    id: &'a WorkspaceId,
    chain: &'a Chain,
    registration: Option<&'a Registration>,
    document: Option<WorkspaceDocument>,
    damage: Option<Damage>,
    credentials: Vec<Arc<CredentialEntry>>,
    lost: Vec<Lost>,
    findings: Vec<DamageReport>,
}

impl<'a> LoadedWorkspace<'a> {
    fn new(id: &'a WorkspaceId, chain: &'a Chain, registration: Option<&'a Registration>) -> Self {
        Self {
            id,
            chain,
            registration,
            document: None,
            damage: None,
            credentials: Vec::new(),
            lost: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn take(&mut self, loader: &WorkspaceLoader<'_>, entry: &Entry, body: &Body) {
        if &*entry.name == WORKSPACE {
            return self.workspace(loader, entry, body);
        }
        let Some(id) = credential_of(entry) else {
            // No release has written a document with this name.
            return self.found(entry, Damage::Misplaced);
        };
        let neighbour = self.credentials.last().map(|it| &**it);
        let damage = match loader.credential(self.id, entry, id, body, neighbour) {
            LoadOutcome::Known(read) => {
                let damage = read.damage();
                self.credentials.push(read);
                damage
            }
            LoadOutcome::Lost(lost, damage) => {
                self.lost.push(lost);
                damage
            }
        };
        if let Some(damage) = damage {
            self.found(entry, damage);
        }
    }

    fn workspace(&mut self, loader: &WorkspaceLoader<'_>, entry: &Entry, body: &Body) {
        let id = self.id;
        let is_ours = |document: &WorkspaceDocument| document.id == *id;
        let read = match body.read::<WorkspaceDocument>(entry) {
            Ok(document) if !is_ours(&document) => Err(Damage::Misplaced),
            read => read,
        };
        match read {
            Ok(document) => {
                let key = document.key.as_ref();
                if key.is_some_and(|key| loader.keyring.key(id, key).is_none()) {
                    // What is stored can be used, but nothing can be sealed.
                    self.found(entry, Damage::KeyGone);
                }
                self.document = Some(document);
            }
            Err(damage) => {
                self.found(entry, damage);
                self.damage = Some(damage);
                self.document = body.claims().filter(is_ours);
            }
        }
    }

    /// Reuses unchanged parts of the previous entry. Parts that changed and cannot be read are not
    /// reused.
    fn reuse_unchanged(
        &mut self,
        before: &WorkspaceEntry,
        state: &State,
        changed: &HashSet<ObjectRef>,
    ) {
        if self.document.is_none() && self.damage.is_none() {
            self.document = Some(before.document.clone());
        }
        let names = state
            .documents()
            .filter(|entry| !changed.contains(&entry.object));
        let kept = names.filter_map(credential_of);
        let kept = kept.filter_map(|id| before.credentials.get(&id).cloned());
        let sound = kept.filter(|entry| entry.damage().is_none());
        self.credentials.extend(sound);
    }

    fn found(&mut self, entry: &Entry, damage: Damage) {
        self.findings.push(DamageReport {
            location: format!("{}/{}", self.chain.name(), entry.name),
            hash: Some(entry.object.hash),
            workspace: Some(self.id.clone()),
            credential: credential_of(entry),
            damage: damage.to_string(),
        });
    }

    fn entry(mut self) -> WorkspaceEntry {
        // If two credentials have the same label, the newer one gets it: see `Labels::is_taken`.
        self.credentials.sort_unstable_by(|one, other| {
            let (one, other) = (&one.document, &other.document);
            (one.created_at, &one.id).cmp(&(other.created_at, &other.id))
        });
        let damage = self
            .damage
            .or(self.document.is_none().then_some(Damage::Gone));
        let (id, registration) = (self.id, self.registration);
        let document = self
            .document
            .unwrap_or_else(|| placeholder_document(id.clone(), registration));
        WorkspaceEntry::new(document, damage, self.credentials, self.lost)
    }
}

/// Uses the texts of another document of the workspace where they are equal: most credentials of a
/// workspace have one provider and one creator.
fn share_ids(document: &mut CredentialDocument, with: &CredentialDocument) {
    if document.provider == with.provider {
        document.provider = with.provider.clone();
    }
    if document.created_by == with.created_by {
        document.created_by = with.created_by.clone();
    }
}

fn credential_of(entry: &Entry) -> Option<CredentialId> {
    entry.name.strip_prefix(CREDENTIAL)?.parse().ok()
}

/// Replaces the document of a workspace of which only the registration is left.
fn placeholder_document(id: WorkspaceId, registration: Option<&Registration>) -> WorkspaceDocument {
    let created_at = registration.and_then(|it| it.created_at);
    WorkspaceDocument {
        name: id.as_str().to_owned(),
        id,
        incarnation: registration.map_or(0, |it| it.incarnation),
        created_by: ActorId::system(),
        // If the registration is damaged too, the time is unknown.
        created_at: created_at.unwrap_or(Timestamp::UNIX_EPOCH),
        key_rotated_at: None,
        key: None,
        revision: 0,
        defaults: BTreeMap::new(),
        limits: Limits::default(),
    }
}
