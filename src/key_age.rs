//! A metric of the age of the keys that seal the store, read at each scrape.

use std::{sync::Arc, time::Duration};

use keyside_credentials::Registry;
use prometheus::{
    IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Collects `keyside_key_age_seconds{key}`, where `key` is `master` or `workspace`.
pub(crate) struct KeyAge {
    registry: Arc<Registry>,
    ages: IntGaugeVec,
}

impl KeyAge {
    pub(crate) fn new(registry: Arc<Registry>) -> prometheus::Result<Self> {
        let ages = Opts::new(
            "keyside_key_age_seconds",
            "How long the master key, and the oldest workspace key, are in use.",
        );
        Ok(Self {
            registry,
            ages: IntGaugeVec::new(ages, &["key"])?,
        })
    }
}

impl Collector for KeyAge {
    fn desc(&self) -> Vec<&Desc> {
        self.ages.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let ages = self.registry.key_ages();
        // An unknown age has no series: 0 would look like a new key.
        self.ages.reset();
        for (key, age) in [
            ("master", ages.master),
            ("workspace", ages.oldest_workspace),
        ] {
            let Some(age) = age.as_ref().map(Duration::as_secs) else {
                continue;
            };
            let gauge = self.ages.with_label_values(&[key]);
            gauge.set(i64::try_from(age).unwrap_or(i64::MAX));
        }
        self.ages.collect()
    }
}
