//! Metrics of the store's health, read at each scrape.

use std::sync::{Arc, Mutex, PoisonError};

use keyside_credentials::Registry;
use prometheus::{
    IntCounter, IntGauge,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Collects whether writes to the store fail, and how many requests have no run record.
pub(crate) struct StoreHealth {
    registry: Arc<Registry>,
    /// `keyside_store_failed`.
    failed: IntGauge,
    /// `keyside_runs_unrecorded_total`.
    unrecorded: IntCounter,
    scrape: Mutex<()>,
}

impl StoreHealth {
    pub(crate) fn new(registry: Arc<Registry>) -> prometheus::Result<Self> {
        let failed = IntGauge::new(
            "keyside_store_failed",
            "1 once a write to the store has failed: no change is accepted until a restart.",
        )?;
        let unrecorded = IntCounter::new(
            "keyside_runs_unrecorded_total",
            "Requests that have no run record, because none could be written.",
        )?;
        Ok(Self {
            registry,
            failed,
            unrecorded,
            scrape: Mutex::default(),
        })
    }
}

impl Collector for StoreHealth {
    fn desc(&self) -> Vec<&Desc> {
        let all: [&dyn Collector; 2] = [&self.failed, &self.unrecorded];
        all.into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let has_failed = self.registry.storage_failure().is_some();
        self.failed.set(has_failed.into());
        // Two scrapes at the same time would each add the difference.
        let _alone = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        let unrecorded = self.registry.runs().unrecorded();
        let counted = self.unrecorded.get();
        self.unrecorded.inc_by(unrecorded.saturating_sub(counted));
        let all: [&dyn Collector; 2] = [&self.failed, &self.unrecorded];
        all.into_iter().flat_map(Collector::collect).collect()
    }
}
