//! The installation's `state` document, and the record that accepts the clock.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use keyside_store::{
    PublicKey,
    chain::{CommitError, Damage, LoadError, State, Write},
};
use serde::{Deserialize, Serialize};

use super::{Chains, MAX_RACES, Priority, pause};
use crate::{model::CredentialId, record::Draft};

/// Facts about the installation that are not tokens or workspaces.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct InstallationState {
    /// Findings that were recorded, so that each is recorded once. The oldest may be dropped.
    reported: BTreeSet<String>,
    /// Declared credentials whose secrets are recorded as lost. Nothing else of them is stored.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    lost_declared: BTreeSet<CredentialId>,
    /// The master key that all keys must be wrapped with, if it was ever rotated.
    pub(crate) master_key: Option<String>,
    /// The public keys that have signed heads, oldest first, if the signing key was ever rotated.
    /// The last one is in use, or announced and to be adopted by every chain.
    pub(crate) signing_keys: Vec<PublicKey>,
}

impl InstallationState {
    /// Reads the document as of `state`.
    ///
    /// A document that is gone or edited is never replaced by an empty one. The findings could be
    /// forgotten, but not the keys: without them a rotation that is under way would count as
    /// finished, and the keyring would forget the key that chains are already signed with.
    ///
    /// # Errors
    /// [`Damage::DocumentGone`], also if a concurrent commit has replaced the document; or the
    /// backend failed.
    pub(super) async fn read(chains: &Chains, state: &State) -> Result<Self, LoadError> {
        let Some(entry) = state.document(NAME) else {
            return Ok(Self::default());
        };
        let read = chains.own_document(entry).await?;
        let gone = || Damage::DocumentGone {
            document: NAME.to_owned(),
        };
        Ok(read.ok_or_else(gone)?)
    }

    pub(crate) fn write(&self) -> Write {
        let body = serde_json::to_vec(self).expect("texts and times serialize");
        Write::put(NAME, body)
    }

    /// The last announced signing key, if it was ever rotated.
    pub(crate) fn announced(&self) -> Option<PublicKey> {
        self.signing_keys.last().copied()
    }

    /// Announces that `successor` replaces the signing key `current`.
    pub(crate) fn announce(&mut self, current: PublicKey, successor: PublicKey) {
        if self.signing_keys.last() != Some(&current) {
            self.signing_keys.push(current);
        }
        self.signing_keys.push(successor);
    }

    /// Remembers that the finding `key` is recorded. False if it was before.
    pub(crate) fn remember(&mut self, key: &str) -> bool {
        if self.reported.contains(key) {
            return false;
        }
        if self.reported.len() >= MAX_REPORTED {
            self.reported.pop_first();
        }
        self.reported.insert(key.to_owned())
    }

    /// Remembers whether a declared credential's secret is recorded as lost. False if it was
    /// recorded so before.
    pub(crate) fn remember_loss(&mut self, id: &CredentialId, is_lost: bool) -> bool {
        match is_lost {
            true => self.lost_declared.insert(id.clone()),
            false => self.lost_declared.remove(id),
        }
    }
}

impl Chains {
    /// The newest state of the installation's chain, and the `state` document in it.
    pub(crate) async fn installation_state(
        &self,
    ) -> Result<(Option<Arc<State>>, InstallationState), LoadError> {
        loop {
            self.refresh(self.installation()).await?;
            let Some(on) = self.installation().state() else {
                return Ok((None, InstallationState::default()));
            };
            let read = InstallationState::read(self, &on).await;
            match read {
                Err(LoadError::Damaged(damage)) => {
                    // A concurrent commit may have replaced it.
                    self.refresh(self.installation()).await?;
                    if !self.installation().is_newer_than(&on) {
                        return Err(damage.into());
                    }
                }
                read => return Ok((Some(on), read?)),
            }
        }
    }

    /// Changes the `state` document and commits the records that `change` returns; does nothing if
    /// there are none. The caller holds the chain's lock.
    pub(crate) async fn change_state(
        &self,
        mut change: impl FnMut(&mut InstallationState) -> Vec<Draft>,
    ) -> Result<(), CommitError> {
        for _ in 0..MAX_RACES {
            let (on, mut state) = self.installation_state().await?;
            let drafts = change(&mut state);
            if drafts.is_empty() {
                return Ok(());
            }
            let writes = vec![state.write()];
            match self
                .commit(self.installation(), on.as_ref(), 0, drafts, writes)
                .await
            {
                Err(CommitError::Raced) => pause().await,
                outcome => return outcome.map(drop),
            }
        }
        Err(CommitError::Raced)
    }

    /// Records that the clock is right, and that times up to `log` in the chains are not.
    pub(crate) async fn accept_clock(
        &self,
        draft: Draft,
        log: Timestamp,
    ) -> Result<(), CommitError> {
        let _changing = self.installation().lock(Priority::Normal).await;
        self.commit_to_installation(|on| {
            let accepted = self.accepted_now(on, log);
            (vec![draft.clone()], vec![accepted.write()])
        })
        .await
    }
}

const NAME: &str = "state";
/// Findings; about 150 bytes each.
const MAX_REPORTED: usize = 500;
