//! Metrics that are read at each scrape, because what they show changes without a write.

use parking_lot::Mutex;
use prometheus::{
    IntCounterVec, IntGaugeVec, Opts, Registry, Result,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Metrics to register together.
#[derive(Default)]
pub(super) struct Metrics(Vec<Box<dyn Collector>>);

/// Registered metrics, and what sets them before they are collected.
struct Scraped {
    metrics: Vec<Box<dyn Collector>>,
    read: Box<dyn Fn() + Send + Sync>,
    scrape: Mutex<()>,
}

impl Metrics {
    /// Adds a metric, and returns it, to be set.
    pub(super) fn add<M: Collector + Clone + 'static>(&mut self, metric: M) -> M {
        self.0.push(Box::new(metric.clone()));
        metric
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec> {
        IntGaugeVec::new(Opts::new(name, help), labels).map(|gauges| self.add(gauges))
    }

    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec> {
        IntCounterVec::new(Opts::new(name, help), labels).map(|counters| self.add(counters))
    }

    /// Registers them. `read` sets them, and is called before each scrape.
    pub(super) fn register(
        self,
        registry: &Registry,
        read: impl Fn() + Send + Sync + 'static,
    ) -> Result<()> {
        registry.register(Box::new(Scraped {
            metrics: self.0,
            read: Box::new(read),
            scrape: Mutex::default(),
        }))
    }
}

/// What a gauge shows of a count.
pub(super) fn gauge_value(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

impl Collector for Scraped {
    fn desc(&self) -> Vec<&Desc> {
        let metrics = self.metrics.iter();
        metrics.flat_map(|metric| metric.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Two scrapes at the same time would each add the difference to a counter.
        let _alone = self.scrape.lock();
        (self.read)();
        let metrics = self.metrics.iter();
        metrics.flat_map(|metric| metric.collect()).collect()
    }
}
