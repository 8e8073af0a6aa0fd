//! Metrics of the store: whether it can be written, what in it is damaged, and how old the keys are
//! that seal it.

use std::{sync::Arc, time::Duration};

use keyside_credentials::Registry;
use prometheus::{IntCounter, IntGauge};

use super::scraped::{Metrics, gauge_value};

pub(super) fn register(
    metrics: &prometheus::Registry,
    registry: Arc<Registry>,
) -> prometheus::Result<()> {
    let mut health = Metrics::default();
    let failed = health.add(IntGauge::new(
        "keyside_store_failed",
        "1 once a write to the store has failed: no change is accepted until a restart.",
    )?);
    let heads = health.add(IntGauge::new(
        "keyside_heads_behind",
        "Chains whose file in heads/ could not be written: a store put back to its state would not be detected.",
    )?);
    let unrecorded = health.add(IntCounter::new(
        "keyside_runs_unrecorded_total",
        "Requests that have no run record, because none could be written.",
    )?);
    let damaged = health.gauges(
        "keyside_damaged_records",
        "Stored workspaces and unrevoked credentials whose records failed authentication.",
        &["kind"],
    )?;
    let ages = health.gauges(
        "keyside_key_age_seconds",
        "How long the master key, and the oldest workspace key, are in use.",
        &["key"],
    )?;
    health.register(metrics, move || {
        failed.set(registry.storage_failure().is_some().into());
        heads.set(gauge_value(registry.anchors_behind()));
        let counted = registry.runs().unrecorded();
        unrecorded.inc_by(counted.saturating_sub(unrecorded.get()));
        let counts = registry.damage_counts();
        for (kind, count) in [
            ("workspace", counts.workspaces),
            ("credential", counts.credentials),
        ] {
            let gauge = damaged.with_label_values(&[kind]);
            gauge.set(gauge_value(count));
        }
        // An unknown age has no series: 0 would look like a new key.
        ages.reset();
        let known = registry.key_ages();
        for (key, age) in [
            ("master", known.master),
            ("workspace", known.oldest_workspace),
        ] {
            if let Some(age) = age.as_ref().map(Duration::as_secs) {
                ages.with_label_values(&[key]).set(gauge_value(age));
            }
        }
    })
}
