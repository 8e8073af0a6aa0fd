//! A metric of the credentials that providers reject in traffic.

use keyside_config::{Catalogue, ProviderId};
use keyside_credentials::TrafficState;

use super::scraped::{Metrics, gauge_value};
use crate::backing::Backing;

pub(super) fn register(
    metrics: &prometheus::Registry,
    backing: Backing,
    catalogue: &Catalogue,
) -> prometheus::Result<()> {
    let mut health = Metrics::default();
    let credentials = health.gauges(
        "keyside_credentials_traffic",
        "Keys that are not revoked, by whether the provider rejects them in traffic.",
        &["provider", "state"],
    )?;
    let providers = catalogue.iter().map(|provider| provider.id.clone());
    let providers: Vec<_> = providers.collect();
    health.register(metrics, move || {
        let set = |provider: &ProviderId, state: TrafficState, count: u64| {
            let labels = [provider.as_str(), state.as_str()];
            let gauge = credentials.with_label_values(&labels);
            gauge.set(gauge_value(count));
        };
        // A stored credential is counted even if its provider is no longer in the settings.
        credentials.reset();
        for provider in &providers {
            for state in TrafficState::ALL {
                set(provider, state, 0);
            }
        }
        for (provider, counts) in backing.traffic_counts() {
            set(&provider, TrafficState::Ok, counts.ok);
            set(&provider, TrafficState::Rejected, counts.rejected);
        }
    })
}
