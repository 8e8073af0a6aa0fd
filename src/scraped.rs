//! Metrics that are read at each scrape, because what they show changes without a write.

use parking_lot::Mutex;
use prometheus::{
    Registry, Result,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Metrics to register together.
pub(crate) type Metrics = Vec<Box<dyn Collector>>;

/// Metrics, and what sets them before they are collected.
struct Scraped {
    metrics: Metrics,
    read: Box<dyn Fn() + Send + Sync>,
    scrape: Mutex<()>,
}

/// Registers `metrics`. `read` sets them, and is called before each scrape.
pub(crate) fn register(
    registry: &Registry,
    metrics: Metrics,
    read: impl Fn() + Send + Sync + 'static,
) -> Result<()> {
    registry.register(Box::new(Scraped {
        metrics,
        read: Box::new(read),
        scrape: Mutex::default(),
    }))
}

/// What a gauge shows of a count.
pub(crate) fn gauge_value(count: impl TryInto<i64>) -> i64 {
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
