//! Where finished requests are counted and recorded.

use std::sync::Arc;

use keyside_credentials::{
    Clock,
    runs::{Run, Runs},
};

use crate::{metrics::Metrics, refusal::RefusalBudget};

/// Metrics, run records and the clock that all requests of a listener share.
pub(crate) struct Ledger {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) runs: Runs,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) refusals: RefusalBudget,
    /// What a request whose usage stays unknown counts towards a limit on tokens.
    pub(crate) unknown_tokens: u64,
}

impl Ledger {
    /// Records a refusal, unless its workspace has used up its [`RefusalBudget`] or run records
    /// cannot be written. Dropping the record is safe: nothing was forwarded, so no use of a key
    /// goes unrecorded.
    pub(crate) fn refused(&self, run: Run) {
        if self.runs.are_recorded() && self.refusals.spend(&run.workspace, run.at) {
            self.runs.record(run);
        }
    }
}
