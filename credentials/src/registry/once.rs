//! What is put on record once, however often it is found.

use keyside_store::chain::CommitError;

use super::Inner;
use crate::{chains::Priority, record::Draft};

impl Inner {
    /// Puts something on record, unless it is there already.
    pub(super) async fn once(&self, mark: &str, draft: Draft) -> Result<(), CommitError> {
        let _changing = self.chains.own().lock(Priority::Normal).await;
        self.chains
            .change_state(|state| {
                if state.remembers(mark) {
                    return None;
                }
                state.remember(mark);
                Some(draft.clone())
            })
            .await
    }
}
