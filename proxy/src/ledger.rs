//! Where finished requests are counted and recorded.

use std::sync::Arc;

use keyside_credentials::{
    Clock,
    runs::{Run, Runs},
};

use crate::{metrics::Metrics, refusal::RefusalBudget};

/// Where accounts are written.
pub(crate) struct Ledger {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) runs: Runs,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) refusals: RefusalBudget,
}

impl Ledger {
    /// Records a refusal, unless its workspace has used up its [`RefusalBudget`] or records cannot be written: nothing was served, so
    /// a missing record hides no use of a key.
    pub(crate) fn refused(&self, run: Run) {
        if self.runs.are_recorded() && self.refusals.spend(&run.workspace, run.at) {
            self.runs.record(run);
        }
    }
}
