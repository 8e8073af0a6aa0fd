//! Compares the installation's chain with the heads of the workspaces. Each of these names the
//! installation's head that its commit was decided on. If the installation's chain does not have
//! that state, it was put back to an older one, perhaps together with its anchor.

use keyside_store::{
    StorageError,
    chain::{ChainName, Damage, Link, LoadError},
};

use super::{Chains, order};

/// Evidence that the installation's chain was put back to an older state.
#[derive(Debug, thiserror::Error)]
#[error("{damage}; the head of {shown_by} shows that")]
pub(crate) struct PutBack {
    /// The workspace's chain whose head was decided on a state that is gone.
    pub(crate) shown_by: ChainName,
    pub(crate) damage: Damage,
}

impl Chains {
    /// Checks that the installation's chain has the newest state that the head of a workspace was
    /// decided on. Call it after the workspaces' chains were read.
    pub(crate) async fn installation_put_back(&self) -> Result<Option<PutBack>, LoadError> {
        let Some((shown_by, known)) = self.newest_decision().await? else {
            return Ok(None);
        };
        let known_order = (known.epoch, known.seq);
        if self
            .installation
            .state()
            .is_none_or(|own| order(&own) < known_order)
        {
            // Another process may have committed to it since it was read here.
            self.refresh(&self.installation).await?;
        }
        let Some(own) = self.installation.state() else {
            return Ok(None);
        };
        let found = order(&own);
        if found < known_order {
            let known = known_order;
            let damage = Damage::Older { found, known };
            return Ok(Some(PutBack { shown_by, damage }));
        }
        if found.0 > known.epoch {
            // Restored since: commits of the epoch before cannot be compared with this chain.
            return Ok(None);
        }
        let at = self
            .records(&self.installation, &own.head, known.records, 1)
            .await;
        let is_known = match at {
            Ok(records) => records.first().is_some_and(|at| at.hash == known.hash),
            // A record that is gone is found by `verify`, and proves nothing here.
            Err(LoadError::Damaged(_)) => true,
            Err(error) => return Err(error),
        };
        let damage = Damage::Forked;
        Ok((!is_known).then_some(PutBack { shown_by, damage }))
    }

    /// The newest of the installation's states that the heads of workspaces were decided on, and
    /// the chain of that workspace. A head that is refused because its anchor is missing counts too:
    /// it is signed.
    async fn newest_decision(&self) -> Result<Option<(ChainName, Link)>, StorageError> {
        let mut newest: Option<(ChainName, Link)> = None;
        for id in self.registrations().keys() {
            let tracked = self.of(id);
            let state = match tracked.state() {
                Some(state) => Some(state),
                None => self.load_ignoring_anchor(&tracked).await?,
            };
            let Some(decided_on) = state.and_then(|state| state.head.decided_on) else {
                continue;
            };
            let is_newer = newest.as_ref().is_none_or(|(_, newest)| {
                (decided_on.epoch, decided_on.seq) > (newest.epoch, newest.seq)
            });
            if is_newer {
                newest = Some((tracked.chain.name().clone(), decided_on));
            }
        }
        Ok(newest)
    }
}
