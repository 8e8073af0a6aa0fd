//! The installation's `state` document: what is on record once for all, and that the clock is right.

use std::collections::BTreeSet;

use jiff::Timestamp;
use keyside_store::{
    StorageError,
    chain::{CommitError, State, Write},
};
use serde::{Deserialize, Serialize};

use super::{Accepted, Chains, Priority, RACES, not_begun, pause};
use crate::record::Draft;

/// What the installation's chain remembers besides tokens and workspaces.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct InstallationState {
    /// Findings that are on record, so that each is put there once; the oldest may be forgotten.
    reported: BTreeSet<String>,
    /// The master key that everything is to be wrapped with, if it ever changed.
    pub(crate) master_key: Option<String>,
}

impl InstallationState {
    pub(crate) async fn read(chains: &Chains, state: &State) -> Result<Self, StorageError> {
        let Some(entry) = state.document(NAME) else {
            return Ok(Self::default());
        };
        let body = chains.own().chain.read([entry]).await?.pop().flatten();
        let read = body.and_then(|body| serde_json::from_slice(&body).ok());
        Ok(read.unwrap_or_default())
    }

    pub(crate) fn write(&self) -> Write {
        let body = serde_json::to_vec(self).expect("texts and times serialize");
        Write::put(NAME, body)
    }

    /// Whether `mark` is remembered.
    pub(crate) fn remembers(&self, mark: &str) -> bool {
        self.reported.contains(mark)
    }

    pub(crate) fn remember(&mut self, mark: &str) {
        if self.reported.len() >= REMEMBERED {
            self.reported.pop_first();
        }
        self.reported.insert(mark.to_owned());
    }
}

impl Chains {
    /// Changes the installation's state, with a record of it; nothing where `change` says that there is nothing to do. The
    /// installation's lock is held by who asks.
    pub(crate) async fn change_state(
        &self,
        mut change: impl FnMut(&mut InstallationState) -> Option<Draft>,
    ) -> Result<(), CommitError> {
        for _ in 0..RACES {
            self.refresh(self.own()).await.map_err(not_begun)?;
            let on = self.own().state();
            let mut state = match &on {
                Some(on) => {
                    let read = InstallationState::read(self, on).await;
                    read.map_err(CommitError::NotBegun)?
                }
                None => InstallationState::default(),
            };
            let Some(draft) = change(&mut state) else {
                return Ok(());
            };
            let writes = vec![state.write()];
            match self
                .commit(self.own(), on.as_ref(), 0, vec![draft], writes)
                .await
            {
                Err(CommitError::Raced) => pause().await,
                outcome => return outcome.map(drop),
            }
        }
        Err(CommitError::Raced)
    }

    /// Puts on record that the clock is right, and chains tell times up to `log` that were not.
    pub(crate) async fn accept_clock(
        &self,
        draft: Draft,
        log: Timestamp,
    ) -> Result<(), CommitError> {
        let _changing = self.own().lock(Priority::Normal).await;
        for _ in 0..RACES {
            self.refresh(self.own()).await.map_err(not_begun)?;
            let on = self.own().state();
            let accepted = Accepted {
                ahead_until: log,
                seq: on.as_ref().map_or(0, |on| on.head.seq) + 1,
            };
            let (drafts, writes) = (vec![draft.clone()], vec![accepted.write()]);
            let commit = self.commit(self.own(), on.as_ref(), 0, drafts, writes);
            match commit.await {
                Err(CommitError::Raced) => pause().await,
                outcome => return outcome.map(drop),
            }
        }
        Err(CommitError::Raced)
    }
}

const NAME: &str = "state";
/// Findings: each is some 150 bytes.
const REMEMBERED: usize = 500;
