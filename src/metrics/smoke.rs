//! Metrics of smoke runs, read from memory.

use std::sync::Arc;

use keyside_credentials::smoke::Smoke;

use super::scraped::Metrics;

/// Registers the results of smoke runs, by provider. Every known provider has all series.
pub(crate) fn register(
    metrics: &prometheus::Registry,
    smoke: Arc<Smoke>,
) -> prometheus::Result<()> {
    let mut shown = Metrics::default();
    let runs = shown.counters(
        "provider_smoke_runs_total",
        "Smoke checks that passed or failed, posted ones included.",
        LABELS,
    )?;
    let failures = shown.counters(
        "provider_smoke_failures_total",
        "Smoke checks that failed, posted ones included.",
        LABELS,
    )?;
    let consecutive = shown.gauges(
        "provider_smoke_consecutive_failures",
        "Failures in a row of the key that has most, over all workspaces.",
        LABELS,
    )?;
    let last_success = shown.gauges(
        "provider_smoke_last_success_timestamp_seconds",
        "When a smoke check passed last, in seconds since the epoch; 0 for never.",
        LABELS,
    )?;
    shown.register(metrics, move || {
        for figures in smoke.figures() {
            let label = &[figures.provider.as_str()];
            for (counter, counted) in [(&runs, figures.runs), (&failures, figures.failures)] {
                let counter = counter.with_label_values(label);
                counter.inc_by(counted.saturating_sub(counter.get()));
            }
            let in_a_row = consecutive.with_label_values(label);
            in_a_row.set(figures.consecutive_failures.into());
            let passed_at = figures.last_success_at.map_or(0, |at| at.as_second());
            last_success.with_label_values(label).set(passed_at);
        }
    })
}

const LABELS: &[&str] = &["provider"];
