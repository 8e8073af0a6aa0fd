//! Metrics of smoke runs, read from memory at each scrape.

use std::sync::{Arc, Mutex, PoisonError};

use keyside_credentials::smoke::{Figures, Smoke};
use prometheus::{
    IntCounterVec, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Collects the results of smoke runs, by provider. Every known provider has all series.
pub(crate) struct SmokeFigures {
    smoke: Arc<Smoke>,
    /// `provider_smoke_runs_total{provider}`.
    runs: IntCounterVec,
    /// `provider_smoke_failures_total{provider}`.
    failures: IntCounterVec,
    /// `provider_smoke_consecutive_failures{provider}`.
    consecutive: IntGaugeVec,
    /// `provider_smoke_last_success_timestamp_seconds{provider}`; 0 for never.
    last_success: IntGaugeVec,
    scrape: Mutex<()>,
}

impl SmokeFigures {
    pub(crate) fn new(smoke: Arc<Smoke>) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), LABELS);
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), LABELS);
        Ok(Self {
            smoke,
            runs: counter(
                "provider_smoke_runs_total",
                "Smoke checks that passed or failed, posted ones included.",
            )?,
            failures: counter(
                "provider_smoke_failures_total",
                "Smoke checks that failed, posted ones included.",
            )?,
            consecutive: gauge(
                "provider_smoke_consecutive_failures",
                "Failures in a row of the key that has most, over all workspaces.",
            )?,
            last_success: gauge(
                "provider_smoke_last_success_timestamp_seconds",
                "When a smoke check passed last, in seconds since the epoch; 0 for never.",
            )?,
            scrape: Mutex::default(),
        })
    }

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

    fn all(&self) -> [&dyn Collector; 4] {
        [
            &self.runs,
            &self.failures,
            &self.consecutive,
            &self.last_success,
        ]
    }
}

impl Collector for SmokeFigures {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Two scrapes at the same time would each add the difference to a counter.
        let _alone = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        for figures in self.smoke.figures() {
            self.set(&figures);
        }
        self.all()
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }
}

const LABELS: &[&str] = &["provider"];
