//! From storage to a snapshot: every document is held against the audit log and its own MAC, and what fails is kept as
//! damaged, never left out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{CredentialEntry, Snapshot, WorkspaceEntry};
use crate::{
    ActorId, CredentialId, WorkspaceId,
    audit::Lead,
    authentic::{self, Hash},
    documents::{
        CREDENTIALS, CredentialDocument, Stored, WORKSPACES, WorkspaceDocument,
        parse_credential_key, parse_workspace_key,
    },
    journal::Unfinished,
    keyring::Keyring,
    ledger::{Damage, Ledger},
    sealing::Place,
    signals::{Notices, Signals},
    storage::{Document, Storage, StorageError},
};

/// A document that is not believed.
#[derive(Debug)]
pub(crate) struct Finding {
    /// Where it stands, and what stands there.
    pub(crate) lead: Lead,
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) credential: Option<CredentialId>,
    pub(crate) damage: Damage,
}

/// Reads all workspaces and credentials, with what is on record and not carried out yet. Those that were there `before` keep their signals.
pub(crate) async fn load(
    storage: &dyn Storage,
    unfinished: &Unfinished,
    keyring: &Keyring,
    ledger: &Ledger,
    before: &Snapshot,
    notices: &Arc<Notices>,
) -> Result<(Snapshot, Vec<Finding>), StorageError> {
    let mut loading = Loading {
        keyring,
        ledger,
        before,
        notices,
        workspaces: HashMap::new(),
        findings: Vec::new(),
    };
    let workspaces = unfinished.over(WORKSPACES, storage.list(WORKSPACES).await?);
    loading.gone(WORKSPACES, &workspaces);
    for (key, document) in workspaces {
        loading.workspace(&key, &document);
    }
    let credentials = unfinished.over(CREDENTIALS, storage.list(CREDENTIALS).await?);
    loading.gone(CREDENTIALS, &credentials);
    for (key, document) in credentials {
        loading.credential(&key, &document);
    }
    Ok(loading.finish())
}

struct Loading<'a> {
    keyring: &'a Keyring,
    ledger: &'a Ledger,
    before: &'a Snapshot,
    notices: &'a Arc<Notices>,
    workspaces: HashMap<WorkspaceId, Parts>,
    findings: Vec<Finding>,
}

/// A workspace while it is put together.
#[derive(Default)]
struct Parts {
    document: Option<WorkspaceDocument>,
    damage: Option<Damage>,
    credentials: Vec<Arc<CredentialEntry>>,
    unreadable: bool,
}

impl Loading<'_> {
    /// Documents that should be there and are not.
    fn gone(&mut self, prefix: &str, there: &[(String, Document)]) {
        let there: HashSet<&str> = there.iter().map(|(key, _)| key.as_str()).collect();
        let ledger = self.ledger;
        for key in ledger.expected(prefix).filter(|key| !there.contains(key)) {
            self.found(key, None, Damage::Gone);
            if let Some(id) = parse_workspace_key(key) {
                self.parts(&id).damage = Some(Damage::Gone);
            } else if let Some((workspace, _)) = parse_credential_key(key) {
                self.parts(&workspace).unreadable = true;
            }
        }
    }

    fn workspace(&mut self, key: &str, stored: &Document) {
        let Some(id) = parse_workspace_key(key) else {
            return self.found(key, Some(stored), Damage::Misplaced);
        };
        let read = self.believe::<WorkspaceDocument>(&id, key, stored);
        let damage = read.as_ref().err().copied();
        if let Some(damage) = damage {
            self.found(key, Some(stored), damage);
        }
        let document = read
            .ok()
            .or_else(|| claims(stored))
            .filter(|document| document.id == id);
        let parts = self.parts(&id);
        parts.damage = damage;
        parts.document = document;
    }

    fn credential(&mut self, key: &str, stored: &Document) {
        let Some((workspace, id)) = parse_credential_key(key) else {
            return self.found(key, Some(stored), Damage::Misplaced);
        };
        let signals = self.signals(&workspace, &id);
        let entry = match self.believe::<CredentialDocument>(&workspace, key, stored) {
            Ok(document) => Some(match self.before(&workspace, &id) {
                Some(before) => before.with(document, self.keyring),
                None => CredentialEntry::new(document, self.keyring, signals),
            }),
            Err(damage) => claims::<CredentialDocument>(stored)
                .filter(|document| document.key() == key)
                .map(|document| CredentialEntry::damaged(document, damage, signals))
                .or_else(|| {
                    self.found(key, Some(stored), damage);
                    None
                }),
        };
        if let Some(damage) = entry.as_ref().and_then(CredentialEntry::damage) {
            self.found(key, Some(stored), damage);
        }
        let parts = self.parts(&workspace);
        match entry {
            Some(entry) => parts.credentials.push(Arc::new(entry)),
            None => parts.unreadable = true,
        }
    }

    fn signals(&self, workspace: &WorkspaceId, id: &CredentialId) -> Arc<Signals> {
        match self.before(workspace, id) {
            Some(entry) => entry.signals.clone(),
            None => Arc::new(Signals::new(self.notices.clone())),
        }
    }

    fn before(&self, workspace: &WorkspaceId, id: &CredentialId) -> Option<&CredentialEntry> {
        let workspace = self.before.workspaces.get(workspace)?;
        workspace.credentials.get(id).map(|entry| &**entry)
    }

    /// The document, if the log and its MAC vouch for it and it stands where it says.
    fn believe<T: DeserializeOwned + Stored>(
        &self,
        workspace: &WorkspaceId,
        key: &str,
        stored: &Document,
    ) -> Result<T, Damage> {
        let parsed = authentic::Stored::parse(&stored.body)?;
        let sealing = self
            .keyring
            .key(workspace, parsed.key)
            .ok_or(Damage::KeyGone)?;
        let document: T = parsed.verify(&sealing, &Place::Document { key })?;
        self.ledger.vouch(key, &stored.body)?;
        match document.key() == key && document.revision() == stored.revision {
            true => Ok(document),
            false => Err(Damage::Misplaced),
        }
    }

    fn parts(&mut self, workspace: &WorkspaceId) -> &mut Parts {
        self.workspaces.entry(workspace.clone()).or_default()
    }

    fn found(&mut self, key: &str, stored: Option<&Document>, damage: Damage) {
        let hash = stored.map(|document| Hash::of(&document.body));
        let (workspace, credential) = match parse_credential_key(key) {
            Some((workspace, credential)) => (Some(workspace), Some(credential)),
            None => (parse_workspace_key(key), None),
        };
        self.findings.push(Finding {
            lead: Lead {
                key: key.to_owned(),
                hash,
            },
            workspace,
            credential,
            damage,
        });
    }

    fn finish(self) -> (Snapshot, Vec<Finding>) {
        let entries = self
            .workspaces
            .into_iter()
            .map(|(id, parts)| (id.clone(), Arc::new(parts.entry(id))));
        (
            Snapshot {
                workspaces: entries.collect(),
                made_from: None,
            },
            self.findings,
        )
    }
}

impl Parts {
    fn entry(self, id: WorkspaceId) -> WorkspaceEntry {
        // Credentials without a workspace mean that its document is gone, whether or not the log remembers it.
        let damage = self
            .damage
            .or(self.document.is_none().then_some(Damage::Gone));
        let document = self.document.unwrap_or_else(|| nameless(id));
        WorkspaceEntry::new(document, damage, self.credentials, self.unreadable)
    }
}

/// Stands in for a workspace of which nothing is left but its id.
fn nameless(id: WorkspaceId) -> WorkspaceDocument {
    WorkspaceDocument {
        name: id.as_str().to_owned(),
        id,
        incarnation: 0,
        created_by: ActorId::system(),
        created_at: Timestamp::UNIX_EPOCH,
        revision: 0,
        defaults: BTreeMap::new(),
    }
}

fn claims<T: DeserializeOwned>(stored: &Document) -> Option<T> {
    authentic::Stored::parse(&stored.body).ok()?.claims()
}
