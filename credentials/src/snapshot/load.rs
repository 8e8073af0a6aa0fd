//! From a chain to the entry of its workspace. What fails authentication is kept as damaged, never left out.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use keyside_store::{
    Hash, StorageError,
    chain::{Chain, Entry, ObjectRef, State},
};

use super::{CredentialEntry, WorkspaceEntry};
use crate::{
    chains::Mark,
    damage::Damage,
    documents::{CREDENTIAL, CredentialDocument, Document, WORKSPACE, WorkspaceDocument},
    keyring::Keyring,
    model::{ActorId, CredentialId, WorkspaceId},
    snapshot::signals::{Notices, Signals},
};

/// A document that is not believed.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// Its chain and name.
    pub(crate) stands_at: String,
    /// What its head says stands there: the same finding is known by it.
    pub(crate) hash: Option<Hash>,
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) credential: Option<CredentialId>,
    /// What is wrong with it, in words.
    pub(crate) damage: String,
}

/// What entries are made with.
pub(crate) struct Loading<'a> {
    pub(crate) keyring: &'a Keyring,
    pub(crate) notices: &'a Arc<Notices>,
    /// What the installation says of the workspace: shown where its own chain tells nothing.
    pub(crate) mark: Option<Mark>,
    /// How the workspace was before, if it was: what has not changed since is taken over.
    pub(crate) before: Option<&'a WorkspaceEntry>,
}

impl Loading<'_> {
    /// Reads a workspace as `state` has it.
    pub(crate) async fn read(
        &self,
        id: &WorkspaceId,
        chain: &Chain,
        state: Arc<State>,
    ) -> Result<(WorkspaceEntry, Vec<Finding>), StorageError> {
        let changed: Vec<&Entry> = state
            .documents()
            .filter(|entry| !self.is_unchanged(entry))
            .collect();
        let objects: HashSet<_> = changed.iter().map(|entry| entry.object).collect();
        let bodies = chain.read(changed.iter().copied()).await?;
        let mut read = Read::new(id, chain, self.mark.as_ref());
        for (entry, body) in changed.into_iter().zip(bodies) {
            let body = match body {
                Some(body) => Ok(body),
                None => Err(chain.claims(entry).await?),
            };
            read.take(self, entry, body);
        }
        if let Some(before) = self.before {
            read.take_over(before, &state, &objects);
        }
        let findings = std::mem::take(&mut read.findings);
        Ok((read.entry().at(state), findings))
    }

    /// A workspace whose chain is not what was written, with what is wrong with it: as it was before, and nothing of it is
    /// used.
    pub(crate) fn damaged(&self, id: &WorkspaceId, damage: String) -> (WorkspaceEntry, Finding) {
        let finding = Finding {
            stands_at: format!("workspace/{id}"),
            hash: None,
            workspace: Some(id.clone()),
            credential: None,
            damage,
        };
        let mut entry = match self.before {
            Some(before) => before.clone(),
            None => {
                let document = nameless(id.clone(), self.mark.as_ref());
                WorkspaceEntry::new(document, None, [], true)
            }
        };
        entry.damage = Some(Damage::Head);
        entry.at = None;
        (entry, finding)
    }

    /// Whether it is the document that the entry before was made from, and that one is believed.
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
        let before = self.before.and_then(|before| before.credentials.get(id));
        match before {
            Some(entry) => entry.signals.clone(),
            None => Arc::new(Signals::new(self.notices.clone())),
        }
    }

    fn credential(
        &self,
        workspace: &WorkspaceId,
        entry: &Entry,
        body: Result<&[u8], Option<&[u8]>>,
    ) -> Result<CredentialEntry, (Damage, Option<Box<CredentialEntry>>)> {
        let read = match body {
            Ok(body) => CredentialDocument::read(entry, body),
            Err(Some(_)) => Err(Damage::Edited),
            Err(None) => Err(Damage::Gone),
        };
        let of_workspace = |document: &CredentialDocument| document.workspace == *workspace;
        let read = read.and_then(|document| match of_workspace(&document) {
            true => Ok(document),
            false => Err(Damage::Misplaced),
        });
        match read {
            Ok(document) => {
                let before = self.before.and_then(|it| it.credentials.get(&document.id));
                Ok(match before {
                    Some(before) => before.with(document, self.keyring),
                    None => {
                        let signals = self.signals(&document.id);
                        CredentialEntry::new(document, self.keyring, signals)
                    }
                })
            }
            Err(damage) => {
                let claims = body.ok().or(body.err().flatten());
                let claims: Option<CredentialDocument> =
                    claims.and_then(|body| serde_json::from_slice(body).ok());
                let claims = claims
                    .filter(|document| document.name() == *entry.name && of_workspace(document));
                let damaged = claims.map(|document| {
                    let signals = self.signals(&document.id);
                    Box::new(CredentialEntry::damaged(document, damage, signals))
                });
                Err((damage, damaged))
            }
        }
    }
}

/// A workspace while it is put together.
struct Read<'a> {
    id: &'a WorkspaceId,
    chain: &'a Chain,
    mark: Option<&'a Mark>,
    document: Option<WorkspaceDocument>,
    damage: Option<Damage>,
    credentials: Vec<Arc<CredentialEntry>>,
    unreadable: bool,
    findings: Vec<Finding>,
}

impl<'a> Read<'a> {
    fn new(id: &'a WorkspaceId, chain: &'a Chain, mark: Option<&'a Mark>) -> Self {
        Self {
            id,
            chain,
            mark,
            document: None,
            damage: None,
            credentials: Vec::new(),
            unreadable: false,
            findings: Vec::new(),
        }
    }

    fn take(
        &mut self,
        loading: &Loading<'_>,
        entry: &Entry,
        body: Result<Vec<u8>, Option<Vec<u8>>>,
    ) {
        let body = match &body {
            Ok(body) => Ok(body.as_slice()),
            Err(claims) => Err(claims.as_deref()),
        };
        if &*entry.name == WORKSPACE {
            return self.workspace(entry, body);
        }
        match loading.credential(self.id, entry, body) {
            Ok(read) => {
                if let Some(damage) = read.damage() {
                    self.found(entry, damage);
                }
                self.credentials.push(Arc::new(read));
            }
            Err((damage, claims)) => {
                self.found(entry, damage);
                self.unreadable |= claims.is_none();
                self.credentials
                    .extend(claims.map(|claims| Arc::new(*claims)));
            }
        }
    }

    fn workspace(&mut self, entry: &Entry, body: Result<&[u8], Option<&[u8]>>) {
        let read = match body {
            Ok(body) => WorkspaceDocument::read(entry, body),
            Err(Some(_)) => Err(Damage::Edited),
            Err(None) => Err(Damage::Gone),
        };
        let read = read.and_then(|document| match document.id == *self.id {
            true => Ok(document),
            false => Err(Damage::Misplaced),
        });
        match read {
            Ok(document) => self.document = Some(document),
            Err(damage) => {
                self.found(entry, damage);
                self.damage = Some(damage);
                let claims = body.ok().or(body.err().flatten());
                let claims = claims.and_then(|body| serde_json::from_slice(body).ok());
                self.document = claims.filter(|claims: &WorkspaceDocument| claims.id == *self.id);
            }
        }
    }

    /// What has not changed since the entry before. What has changed and cannot be read is not what it was.
    fn take_over(&mut self, before: &WorkspaceEntry, state: &State, changed: &HashSet<ObjectRef>) {
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
        self.findings.push(Finding {
            stands_at: format!("{}/{}", self.chain.name(), entry.name),
            hash: Some(entry.object.hash),
            workspace: Some(self.id.clone()),
            credential: credential_of(entry),
            damage: damage.to_string(),
        });
    }

    fn entry(self) -> WorkspaceEntry {
        let damage = self
            .damage
            .or(self.document.is_none().then_some(Damage::Gone));
        let (id, mark) = (self.id, self.mark);
        let document = self.document.unwrap_or_else(|| nameless(id.clone(), mark));
        WorkspaceEntry::new(document, damage, self.credentials, self.unreadable)
    }
}

/// The credential that a document is of.
fn credential_of(entry: &Entry) -> Option<CredentialId> {
    entry.name.strip_prefix(CREDENTIAL)?.parse().ok()
}

/// In the place of a workspace of which nothing is left but what the installation says of it.
fn nameless(id: WorkspaceId, mark: Option<&Mark>) -> WorkspaceDocument {
    let created_at = mark.and_then(|mark| mark.created_at);
    WorkspaceDocument {
        name: id.as_str().to_owned(),
        id,
        incarnation: mark.map_or(0, |mark| mark.incarnation),
        created_by: ActorId::system(),
        // Where the mark is damaged too, nothing tells.
        created_at: created_at.unwrap_or(Timestamp::UNIX_EPOCH),
        revision: 0,
        defaults: BTreeMap::new(),
    }
}
