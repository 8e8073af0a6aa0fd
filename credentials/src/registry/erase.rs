//! Erasing a workspace: its keys are destroyed, its records and runs go, and what the audit log keeps of it can no longer be
//! opened.
//!
//! The record comes first and says which keys are to go, so that a crash at any moment after it is finished at the next
//! start, and one before it has changed nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Act, ChangeError, Inner, Registry};
use crate::{
    ActorId, WorkspaceId,
    access::TokenDocument,
    audit::{Draft, Event, Head, KeyAct},
    documents::{CREDENTIALS, workspace_key},
    encoding::hex,
    journal::Write,
    keyring::Keyring,
    model::random_id,
    sealing::Place,
    storage::StorageError,
};

/// What was erased, confirmed by the installation that did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Receipt {
    /// Its own id.
    pub id: String,
    /// Whose audit log tells of it.
    pub installation: String,
    /// What was erased.
    pub workspace: WorkspaceId,
    /// When.
    pub erased_at: Timestamp,
    /// By whom.
    pub erased_by: ActorId,
    /// In which request.
    pub request_id: String,
    /// The ids of the keys that are no more. Without them nothing that they had sealed can be opened, wherever it lies.
    pub destroyed_keys: Vec<String>,
    /// How many credentials are gone.
    pub credentials: usize,
    /// How many run records are gone; nothing while storage could not be asked, and the rest goes at the next start.
    pub runs: Option<usize>,
    /// Tokens that were for this workspace alone, and are good no more.
    pub revoked_tokens: Vec<ActorId>,
    /// Where the audit log tells of it.
    pub audit: Head,
    /// HMAC-SHA-256 of all this under the installation's key, in hex.
    pub mac: String,
}

impl Registry {
    /// Erases a workspace for good: destroys its keys, then removes what they opened, and its runs. Requests that are under
    /// way end as they began. What stays is the audit log, whose details of this workspace nobody can open any more.
    ///
    /// # Errors
    /// When there is no such workspace, when its revision is not the `expected` one, or when storage fails: either nothing has
    /// changed then, or it is on record and is carried out before the next change, or at the next start.
    pub async fn erase_workspace(
        &self,
        by: &Act,
        id: &WorkspaceId,
        expected: Option<u64>,
    ) -> Result<Receipt, ChangeError> {
        let (by, id) = (by.clone(), id.clone());
        self.to_its_end(|inner| async move {
            let mut receipt = inner.erase_workspace(&by, &id, expected).await?;
            receipt.runs = inner.runs.erase(id, inner.clock.now()).await;
            receipt.confirm(&inner.keyring);
            Ok(receipt)
        })
        .await
    }

    /// Whether this installation has given out `receipt`, as it is.
    pub fn confirms(&self, receipt: &Receipt) -> bool {
        let mut anew = receipt.clone();
        anew.confirm(&self.inner.keyring);
        subtle::ConstantTimeEq::ct_eq(anew.mac.as_bytes(), receipt.mac.as_bytes()).into()
    }
}

impl Inner {
    async fn erase_workspace(
        &self,
        by: &Act,
        id: &WorkspaceId,
        expected: Option<u64>,
    ) -> Result<Receipt, ChangeError> {
        let both = || async { (self.locks.lock(id).await, self.access.changing.lock().await) };
        let _begun = self.begin_under(both).await?;
        let workspace = self.snapshot.load().workspaces.get(id).cloned();
        let current = workspace.ok_or(ChangeError::WorkspaceUnknown)?;
        let current = current.document.revision;
        if expected.is_some_and(|expected| expected != current) {
            return Err(ChangeError::Superseded { current });
        }
        let mut writes = self.removals(id).await?;
        let now = self.clock.now();
        let tokens = self.access.without(id, now);
        let was_good = |token: &&TokenDocument| {
            let before = self.access.token(&token.id);
            before.is_some_and(|before| before.revoked_at.is_none())
        };
        let revoked = tokens
            .iter()
            .filter(|token| token.revoked_at.is_some())
            .filter(was_good);
        let keys = self.keyring.ids(id).await;
        let mut receipt = Receipt {
            id: random_id("ers_"),
            installation: self.keyring.installation().installation().to_owned(),
            workspace: id.clone(),
            erased_at: now,
            erased_by: by.actor.clone(),
            request_id: by.request_id.clone(),
            destroyed_keys: keys.clone(),
            credentials: writes.iter().filter(|write| is_credential(write)).count(),
            runs: None,
            revoked_tokens: revoked.map(|token| token.id.clone()).collect(),
            audit: Head::default(),
            mac: String::new(),
        };
        writes.extend(tokens.iter().map(|token| token.write(&self.keyring)));
        let draft = Draft {
            workspace: Some(id.clone()),
            note: Some(receipt.id.clone()),
            keys: Some(KeyAct::Destroy(keys.clone())),
            ..Draft::new(Event::WorkspaceErased, by)
        };
        receipt.audit = self.journal.commit(draft, writes).await?;
        self.snapshot.rcu(|snapshot| snapshot.without(id));
        // It has fingerprints of what is gone.
        self.twins.forget();
        tokens.iter().for_each(|token| self.access.show(token));
        let destroyed = self.keyring.destroy(&keys.into_iter().collect()).await;
        destroyed.inspect_err(|_| self.journal.unsettle())?;
        Ok(receipt)
    }

    /// Everything that stands under the workspace, whether or not it is believed.
    async fn removals(&self, id: &WorkspaceId) -> Result<Vec<Write>, StorageError> {
        let mut found = self.storage.list(&format!("{CREDENTIALS}{id}/")).await?;
        let key = workspace_key(id);
        let workspace = self.storage.read(&key).await?;
        found.extend(workspace.map(|document| (key, document)));
        let removal = |(key, document): (String, crate::storage::Document)| Write {
            key,
            expected: document.revision,
            body: None,
        };
        Ok(found.into_iter().map(removal).collect())
    }
}

impl Receipt {
    fn confirm(&mut self, keyring: &Keyring) {
        self.mac = String::new();
        let json = serde_json::to_vec(self).expect("our own types serialize");
        self.mac = hex(&keyring.installation().mac(&PLACE, &json));
    }
}

fn is_credential(write: &Write) -> bool {
    write.key.starts_with(CREDENTIALS)
}

/// No document stands there.
const PLACE: Place<'_> = Place::Document { key: "receipt" };
