//! A metric of the stored records that are not trusted, counted at each scrape.

use std::sync::Arc;

use keyside_credentials::Registry;
use prometheus::{
    IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Collects `keyside_damaged_records{kind}`, where `kind` is `workspace` or `credential`.
pub(crate) struct Damage {
    registry: Arc<Registry>,
    records: IntGaugeVec,
}

impl Damage {
    pub(crate) fn new(registry: Arc<Registry>) -> prometheus::Result<Self> {
        let records = Opts::new(
            "keyside_damaged_records",
            "Stored workspaces and unrevoked credentials whose records failed authentication.",
        );
        Ok(Self {
            registry,
            records: IntGaugeVec::new(records, &["kind"])?,
        })
    }
}

impl Collector for Damage {
    fn desc(&self) -> Vec<&Desc> {
        self.records.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counts = self.registry.damage_counts();
        for (kind, count) in [
            ("workspace", counts.workspaces),
            ("credential", counts.credentials),
        ] {
            let gauge = self.records.with_label_values(&[kind]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.records.collect()
    }
}
