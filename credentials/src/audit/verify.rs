//! Verifies all chains against their heads, and the heads against each other.

use std::{collections::BTreeMap, sync::Arc};

use keyside_store::{
    Hash, StorageError,
    chain::{Chain, ChainName, Link, LoadError, State},
};
use serde::{Deserialize, Serialize};

use super::{Audit, Break, VerifyError};
use crate::{
    chains::Tracked,
    documents::WORKSPACE,
    keyring::KeyringError,
    model::WorkspaceId,
    record::Record,
    snapshot::{WorkspaceEntry, WorkspaceLoader},
};

/// A position in a chain, and the chain hash at that position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// 0 before the first record.
    pub position: u64,
    /// The chain hash.
    pub hash: Hash,
}

/// The summary of a verified log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Number of records.
    pub records: u64,
    /// The head of each chain.
    pub heads: Vec<(ChainName, Head)>,
}

impl Audit {
    /// Reads all records of all chains, and compares them with the heads, and the heads with their
    /// anchors and with the links between chains.
    ///
    /// # Errors
    /// The first record that is not what was written, or a failure of the backend.
    pub async fn verify(&self) -> Result<Verified, VerifyError> {
        for _ in 0..MAX_RETRIES {
            let before = self.known_heads();
            let verified = self.verify_once().await;
            // Otherwise a concurrent commit may have removed what a head named.
            if verified.is_ok() || self.known_heads() == before {
                return verified;
            }
        }
        self.verify_once().await
    }

    /// The sequence number of each chain's last known head.
    fn known_heads(&self) -> Vec<Option<u64>> {
        let registrations = self.chains.registrations();
        let of_workspaces = registrations.keys().map(|id| self.chains.of(id));
        let chains = of_workspaces.chain([self.chains.installation().clone()]);
        chains
            .map(|tracked| Some(tracked.state()?.head.seq))
            .collect()
    }

    async fn verify_once(&self) -> Result<Verified, VerifyError> {
        let mut verified = Verified {
            records: 0,
            heads: Vec::new(),
        };
        // Another process may have added a key. A keyring that cannot be read is reported below.
        drop(self.keyring.catch_up().await);
        self.verify_one(self.chains.installation(), &mut verified)
            .await?;
        for id in self.chains.registrations().keys() {
            let tracked = self.chains.of(id);
            if self.has_lost_keys(id).await? {
                return Err(Break::of_chain(tracked.chain.name(), KEYS_LOST).into());
            }
            self.verify_one(&tracked, &mut verified).await?;
        }
        let put_back = self.chains.installation_put_back().await;
        if let Some(found) = put_back.map_err(unreadable)? {
            let chain = self.chains.installation().chain.name();
            return Err(Break::of_chain(chain, found.to_string()).into());
        }
        self.verify_links().await?;
        self.verify_keyring().await?;
        Ok(verified)
    }

    /// Whether the keyring file is the one that this process has read last, or its successor.
    async fn verify_keyring(&self) -> Result<(), VerifyError> {
        match self.keyring.catch_up().await {
            Err(error @ (KeyringError::Older { .. } | KeyringError::Damaged { .. })) => {
                let chain = self.chains.installation().chain.name();
                Err(Break::of_chain(chain, error.to_string()).into())
            }
            // A key that does not unwrap affects its own workspace, and no record.
            _ => Ok(()),
        }
    }

    /// Whether the keyring has no key of an existing workspace: it was put back to a state from
    /// before the workspace was created. The workspace's chain must have been read.
    pub(crate) async fn has_lost_keys(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<bool, KeyringError> {
        if !self.lacks_keys(workspace).await {
            return Ok(false);
        }
        // Another process may have created the workspace since the keyring was read, or erased it
        // since its chain was read. A damaged chain is reported elsewhere.
        self.keyring.catch_up().await?;
        drop(self.chains.refresh(&self.chains.of(workspace)).await);
        Ok(self.lacks_keys(workspace).await)
    }

    async fn lacks_keys(&self, workspace: &WorkspaceId) -> bool {
        let Some(registration) = self.chains.existing(workspace) else {
            return false;
        };
        let state = self.chains.of(workspace).state();
        // Without its own document, the workspace is being created or erased.
        if state.is_none_or(|state| state.document(WORKSPACE).is_none()) {
            return false;
        }
        // An old keyring may still have the keys of an erased workspace with this id.
        let destroyed = registration.erased.map(|erased| erased.keys);
        let destroyed = destroyed.unwrap_or_default();
        let keys = self.keyring.ids(workspace).await;
        keys.iter().all(|key| destroyed.contains(key))
    }

    async fn verify_one(
        &self,
        tracked: &Tracked,
        verified: &mut Verified,
    ) -> Result<(), VerifyError> {
        let chain = &tracked.chain;
        let failed = |error: LoadError| match error.into_damage() {
            Ok(damage) => Break::of_chain(chain.name(), damage.to_string()).into(),
            Err(error) => VerifyError::from(error),
        };
        // Reads the head from the store, so that an edit since the last refresh is found.
        drop(self.chains.refresh(tracked).await.map_err(failed)?);
        let mut attempts = 1;
        let (state, records) = loop {
            let Some(state) = tracked.state() else {
                // Registered, but the first commit was interrupted: the next start makes it.
                return Ok(());
            };
            let found = match self.verify_state(chain, &state).await? {
                Ok(records) => break (state, records),
                Err(found) => found,
            };
            // A commit removes what it replaces, so missing objects count only if the head is still
            // the same.
            if let Err(LoadError::Storage(error)) = self.chains.refresh(tracked).await {
                return Err(error.into());
            }
            let is_replaced = tracked.state().is_some_and(|now| now.head != state.head);
            if !is_replaced || attempts == MAX_RETRIES {
                return Err(found.into());
            }
            attempts += 1;
        };
        // The anchor may have been edited or removed since this process read it.
        let checked = self.chains.check_as_at_start(tracked).await;
        checked.map_err(failed)?;
        verified.records += records;
        let end = Head {
            position: state.head.records,
            hash: state.head.hash,
        };
        verified.heads.push((chain.name().clone(), end));
        Ok(())
    }

    /// Verifies what a state names, documents first. Returns the number of records, or the first
    /// finding.
    async fn verify_state(
        &self,
        chain: &Chain,
        state: &Arc<State>,
    ) -> Result<Result<u64, Break>, StorageError> {
        for (entry, body) in state.documents().zip(chain.read(state.documents()).await?) {
            if body.is_none() {
                let finding = format!("its document {} is gone or edited", entry.name);
                return Ok(Err(Break::of_chain(chain.name(), finding)));
            }
        }
        let id: Option<WorkspaceId> = chain.name().workspace_id().and_then(|id| id.parse().ok());
        // Without its own document, the workspace is being created, or was erased.
        if let Some(id) = id
            && state.document(WORKSPACE).is_some()
            && let Some(found) = self.load(&id, state.clone()).await?.1.into_iter().next()
        {
            return Ok(Err(found));
        }
        let verified = chain.verify(&state.head).await?;
        Ok(verified.map_err(|found| Break::at(chain.name(), found.position, found.finding)))
    }

    /// Reads the documents of a workspace as a start does. Returns what a start would refuse too,
    /// such as a document whose key is not in the keyring.
    pub(super) async fn load(
        &self,
        id: &WorkspaceId,
        state: Arc<State>,
    ) -> Result<(WorkspaceEntry, Vec<Break>), StorageError> {
        let tracked = self.chains.of(id);
        let chain = &tracked.chain;
        let loader = WorkspaceLoader {
            keyring: &self.keyring,
            notices: &self.notices,
            registration: self.chains.registration(id),
            before: None,
        };
        let (entry, findings) = loader.read(id, chain, state).await?;
        let damage = findings.into_iter().map(|found| {
            let finding = format!("the document {}: {}", found.location, found.damage);
            Break::of_chain(chain.name(), finding)
        });
        Ok((entry, damage.collect()))
    }

    /// Checks that every state that the installation's chain has recorded of a workspace's chain is
    /// in that chain.
    async fn verify_links(&self) -> Result<(), VerifyError> {
        let own = self.chains.installation();
        let Some(state) = own.state() else {
            return Ok(());
        };
        let mut next = 1;
        loop {
            let records = self.chains.records(own, &state.head, next, BATCH).await;
            let records = records.map_err(unreadable)?;
            let Some(last) = records.last() else {
                own.chain.forget_records();
                return Ok(());
            };
            next = last.position + 1;
            // One chain after another, so that the records of one are in memory at a time.
            let mut links = BTreeMap::<_, Vec<_>>::new();
            for record in records.iter().filter_map(Record::parse) {
                for (workspace, link) in record.links {
                    links.entry(workspace).or_default().push(link);
                }
            }
            for (workspace, links) in links {
                let tracked = self.chains.of(&workspace);
                let verified = self.verify_links_to(&tracked, links).await;
                tracked.chain.forget_records();
                verified?;
            }
        }
    }

    async fn verify_links_to(
        &self,
        tracked: &Tracked,
        links: Vec<Link>,
    ) -> Result<(), VerifyError> {
        for link in links {
            // Another process may have committed to it since it was read.
            if tracked
                .state()
                .is_some_and(|it| it.head.records < link.records)
            {
                self.chains.refresh(tracked).await.map_err(unreadable)?;
            }
            let Some(state) = tracked.state() else {
                continue;
            };
            let at = self
                .chains
                .records(tracked, &state.head, link.records, 1)
                .await;
            let at = at.map_err(unreadable)?;
            if at.first().is_none_or(|at| at.hash != link.hash) {
                let finding = "is not the one that the installation's chain has linked";
                return Err(Break::at(tracked.chain.name(), link.records, finding).into());
            }
        }
        Ok(())
    }
}

/// For a chain that was readable a moment ago.
fn unreadable(error: LoadError) -> StorageError {
    match error.into_damage() {
        Ok(damage) => StorageError::unavailable(damage),
        Err(error) => error,
    }
}

/// What [`Audit::has_lost_keys`] finds.
pub(super) const KEYS_LOST: &str = "the keyring has no key of this workspace: put back the newest copy of the whole data folder, or restore a backup";
/// Records of the installation's chain that are read at a time.
const BATCH: usize = 1024;
/// How often to verify again while a log keeps changing.
const MAX_RETRIES: usize = 20;
