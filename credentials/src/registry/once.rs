//! The installation's `state` document: what is on record once for all, and what the clock was said to be.

use std::collections::BTreeSet;

use jiff::Timestamp;
use keyside_store::{
    StorageError,
    chain::{CommitError, State, Write},
};
use serde::{Deserialize, Serialize};

use super::Inner;
use crate::{
    chains::{Chains, RACES, not_begun, pause},
    record::Draft,
};

/// What the installation's chain remembers besides tokens and workspaces.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct InstallationState {
    /// Findings that are on record, so that each is put there once; the oldest may be forgotten.
    reported: BTreeSet<String>,
    /// The master key that everything is to be wrapped with, if it ever changed.
    pub(crate) master_key: Option<String>,
    /// Times up to this one, told by chains, are from a clock that was ahead.
    pub(crate) clock_was_ahead_until: Option<Timestamp>,
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

    fn remember(&mut self, mark: &str) {
        if self.reported.len() >= REMEMBERED {
            self.reported.pop_first();
        }
        self.reported.insert(mark.to_owned());
    }
}

impl Inner {
    /// Puts something on record, unless it is there already.
    pub(super) async fn once(&self, mark: &str, draft: Draft) -> Result<(), CommitError> {
        let _changing = self.chains.own().lock().await;
        self.chains
            .change_state(|state| {
                if state.reported.contains(mark) {
                    return None;
                }
                state.remember(mark);
                Some(draft.clone())
            })
            .await
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
        let _changing = self.own().lock().await;
        let accept = |state: &mut InstallationState| {
            state.clock_was_ahead_until = Some(log);
            Some(draft.clone())
        };
        self.change_state(accept).await
    }
}

const NAME: &str = "state";
/// Findings: each is some 150 bytes.
const REMEMBERED: usize = 500;
