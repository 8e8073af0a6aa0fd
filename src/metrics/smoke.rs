//! Metrics of smoke runs, read from memory.

use std::sync::Arc;

use keyside_credentials::smoke::{Figures, Smoke};
use prometheus::{IntCounterVec, IntGaugeVec};

use super::scraped::Metrics;

/// The results of smoke runs, by provider. Every known provider has all series.
struct SmokeFigures {
    runs: IntCounterVec,
    failures: IntCounterVec,
    consecutive: IntGaugeVec,
    /// 0 for never.
    last_success: IntGaugeVec,
}

pub(crate) fn register(
    metrics: &prometheus::Registry,
    smoke: Arc<Smoke>,
) -> prometheus::Result<()> {
    let mut figures = Metrics::default();
    let shown = SmokeFigures {
        runs: figures.counters(
            "provider_smoke_runs_total",
            "Smoke checks that passed or failed, posted ones included.",
            LABELS,
        )?,
        failures: figures.counters(
            "provider_smoke_failures_total",
            "Smoke checks that failed, posted ones included.",
            LABELS,
        )?,
        consecutive: figures.gauges(
            "provider_smoke_consecutive_failures",
            "Failures in a row of the key that has most, over all workspaces.",
            LABELS,
        )?,
        last_success: figures.gauges(
            "provider_smoke_last_success_timestamp_seconds",
            "When a smoke check passed last, in seconds since the epoch; 0 for never.",
            LABELS,
        )?,
    };
    figures.register(metrics, move || {
        for figures in smoke.figures() {
            shown.set(&figures);
        }
    })
}

impl SmokeFigures {
    fn set(&self, figures: &Figures) {
        let label = &[figures.provider.as_str()];
        for (counter, counted) in [
            (&self.runs, figures.runs),
            (&self.failures, figures.failures),
        ] {
            let counter = counter.with_label_values(label);
            counter.inc_by(counted.saturating_sub(counter.get()));
        }
        let last_success = figures.last_success_at.map_or(0, |at| at.as_second());
        self.consecutive
            .with_label_values(label)
            .set(figures.consecutive_failures.into());
        self.last_success.with_label_values(label).set(last_success);
    }
}

const LABELS: &[&str] = &["provider"];
