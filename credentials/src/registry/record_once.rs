//! Records a finding once, however often it is made.

use keyside_store::chain::CommitError;

use super::Inner;
use crate::{chains::Priority, record::Draft};

impl Inner {
    /// Commits `draft` to the installation's chain, unless `key` was recorded before.
    pub(super) async fn record_once(&self, key: &str, draft: Draft) -> Result<(), CommitError> {
        let _changing = self.chains.own().lock(Priority::Normal).await;
        self.chains
            .change_state(|state| {
                if state.remembers(key) {
                    return Vec::new();
                }
                state.remember(key);
                vec![draft.clone()]
            })
            .await
    }
}
