//! Metrics of stored credentials. Counted at each scrape, because a credential's status changes
//! with time alone: it expires without a write.

use std::sync::Arc;

use keyside_config::{Catalogue, ProviderId};
use keyside_credentials::{Credential, Filter, Registry, Status};
use prometheus::{IntCounterVec, IntGaugeVec};

use super::scraped::Metrics;

/// The counts, expiry times and rotations of stored credentials.
struct Inventory {
    registry: Arc<Registry>,
    providers: Vec<ProviderId>,
    /// A gauge, whatever its name says.
    credentials: IntGaugeVec,
    /// Of credentials that expire and are not revoked.
    expiries: IntGaugeVec,
    rotations: IntCounterVec,
}

pub(super) fn register(
    metrics: &prometheus::Registry,
    registry: Arc<Registry>,
    catalogue: &Catalogue,
) -> prometheus::Result<()> {
    let mut counts = Metrics::default();
    let providers = catalogue.iter().map(|provider| provider.id.clone());
    let inventory = Inventory {
        registry,
        providers: providers.collect(),
        credentials: counts.gauges(
            "integration_credentials_total",
            "Stored credentials, by provider and status.",
            &["provider", "status"],
        )?,
        expiries: counts.gauges(
            "integration_credential_expiry_timestamp_seconds",
            "When a credential stops being used, in seconds since the epoch.",
            &["workspace", "provider", "label"],
        )?,
        rotations: counts.counters(
            "credential_rotations_total",
            "How often a secret was replaced by a new one.",
            &["provider"],
        )?,
    };
    counts.register(metrics, move || inventory.count())
}

impl Inventory {
    fn count(&self) {
        // A stored credential is counted even if its provider is no longer in the settings.
        self.credentials.reset();
        for provider in self.providers.iter().map(ProviderId::as_str) {
            for status in Status::ALL {
                self.credentials
                    .with_label_values(&[provider, status.as_str()])
                    .set(0);
            }
            self.rotations.with_label_values(&[provider]);
        }
        // Revoked credentials, and those that no longer expire, have no series.
        self.expiries.reset();
        for credential in self.registry.list(&Filter::default()) {
            self.count_one(&credential);
        }
        for (provider, rotations) in self.registry.rotations() {
            let counter = self.rotations.with_label_values(&[provider.as_str()]);
            counter.inc_by(rotations.saturating_sub(counter.get()));
        }
    }

    fn count_one(&self, credential: &Credential) {
        self.credentials
            .with_label_values(&[credential.provider.as_str(), credential.status.as_str()])
            .inc();
        let end = credential.expires_at;
        if let Some(end) = end.filter(|_| credential.status != Status::Revoked) {
            let (workspace, label) = (credential.workspace.as_str(), credential.label.as_str());
            self.expiries
                .with_label_values(&[workspace, credential.provider.as_str(), label])
                .set(end.as_second());
        }
    }
}
