//! What is put on record once, however often it is found.

use keyside_store::chain::CommitError;

use super::Inner;
use crate::{chains::Priority, record::Draft};

impl Inner {
    /// Puts something on record, unless it is there already.
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
