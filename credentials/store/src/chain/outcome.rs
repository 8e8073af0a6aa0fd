//! The outcome of a commit whose swap got no answer. Only what signed heads prove counts; where
//! they prove nothing, the outcome is unknown.

use std::sync::Arc;

use super::{Chain, Damage, LoadError, State};
use crate::{
    error::StorageError,
    signing::{Signer, TrustedKeys},
};

impl Chain {
    /// Whether `state` was committed on top of `on` and is an ancestor of the current head. False
    /// only if another commit has taken its place, so that it was never made.
    ///
    /// # Errors
    /// The backend failed, or the current head proves neither.
    pub(super) async fn is_ancestor_of_head(
        &self,
        on: Option<&Arc<State>>,
        state: &Arc<State>,
        key: &dyn Signer,
    ) -> Result<bool, StorageError> {
        let trust = TrustedKeys::from(key.public());
        let outcome = match self.refresh(state, &trust).await {
            Ok(Some(now)) if now.head.epoch > state.head.epoch => {
                self.expect_in_backup(state, &now).await.map(|()| true)
            }
            Ok(_) => Ok(true),
            Err(LoadError::Damaged(Damage::Forked)) => {
                let replaced = self.expect_replaced(on, state, &trust).await;
                replaced.map(|()| false)
            }
            Err(error) => Err(error),
        };
        outcome.map_err(|error| match error.into_damage() {
            Ok(damage) => StorageError::unavailable(damage),
            Err(error) => error,
        })
    }

    /// Checks that a head of a later epoch contains `state`. A restore signs the head of the backup
    /// again, with its records, in the next epoch. A state that is not among them may have been
    /// committed after the backup, so that the restore has thrown it away, or never.
    async fn expect_in_backup(&self, state: &State, now: &State) -> Result<(), LoadError> {
        let contained = self.check_leads_on(state.head.link(), &now.head).await;
        contained.map_err(|error| match error {
            LoadError::Damaged(Damage::Forked) => {
                LoadError::Storage(StorageError::unavailable(RESTORED))
            }
            error => error,
        })
    }

    /// Checks that the head continues `on`. If it does so without `state`, that was not committed: a
    /// chain leaves each of its states by one swap.
    async fn expect_replaced(
        &self,
        on: Option<&Arc<State>>,
        state: &State,
        trust: &TrustedKeys,
    ) -> Result<(), LoadError> {
        let now = match on {
            Some(on) => self.refresh(on, trust).await?,
            None => self.load(trust).await?,
        };
        match now.is_some_and(|now| now.head.epoch == state.head.epoch) {
            true => Ok(()),
            false => Err(Damage::Forked.into()),
        }
    }
}

const RESTORED: &str = "a backup was restored meanwhile, and the change is not in it";
