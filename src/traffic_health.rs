//! A metric of the credentials that providers reject in traffic, counted at each scrape.

use keyside_config::{Catalogue, ProviderId};
use keyside_credentials::TrafficState;
use prometheus::{
    IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::backing::Backing;

/// Collects `keyside_credentials_traffic{provider,state}`.
pub(crate) struct TrafficHealth {
    backing: Backing,
    providers: Vec<ProviderId>,
    credentials: IntGaugeVec,
}

impl TrafficHealth {
    pub(crate) fn new(backing: Backing, catalogue: &Catalogue) -> prometheus::Result<Self> {
        let credentials = Opts::new(
            "keyside_credentials_traffic",
            "Keys that are not revoked, by whether the provider rejects them in traffic.",
        );
        Ok(Self {
            backing,
            providers: catalogue
                .iter()
                .map(|provider| provider.id.clone())
                .collect(),
            credentials: IntGaugeVec::new(credentials, &["provider", "state"])?,
        })
    }

    fn set(&self, provider: &ProviderId, state: TrafficState, count: u64) {
        let labels = [provider.as_str(), state.as_str()];
        let gauge = self.credentials.with_label_values(&labels);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

impl Collector for TrafficHealth {
    fn desc(&self) -> Vec<&Desc> {
        self.credentials.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // A stored credential is counted even if its provider is no longer in the settings.
        self.credentials.reset();
        for provider in &self.providers {
            for state in TrafficState::ALL {
                self.set(provider, state, 0);
            }
        }
        for (provider, counts) in self.backing.traffic_counts() {
            self.set(&provider, TrafficState::Ok, counts.ok);
            self.set(&provider, TrafficState::Rejected, counts.rejected);
        }
        self.credentials.collect()
    }
}
