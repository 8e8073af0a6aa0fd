//! Counts stored credentials at each scrape, since their status follows the
//! clock: one expires without anybody writing anything.

use keyside_config::Catalogue;
use keyside_credentials::{Filter, Registry, Status};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};
use std::sync::Arc;

/// `integration_credentials_total{provider,status}`: a gauge by nature.
pub(crate) struct Inventory {
    registry: Arc<Registry>,
    providers: Vec<String>,
    credentials: IntGaugeVec,
}

impl Inventory {
    pub(crate) fn new(registry: Arc<Registry>, catalogue: &Catalogue) -> prometheus::Result<Self> {
        let help = "Stored credentials, by provider and status.";
        let options = Opts::new("integration_credentials_total", help);
        Ok(Self {
            registry,
            providers: catalogue
                .iter()
                .map(|provider| provider.id.to_string())
                .collect(),
            credentials: IntGaugeVec::new(options, &["provider", "status"])?,
        })
    }

    fn count(&self) {
        for provider in &self.providers {
            for (_, status) in STATUSES {
                self.credentials
                    .with_label_values(&[provider, status])
                    .set(0);
            }
        }
        for credential in self.registry.list(&Filter::default()) {
            let named = STATUSES
                .iter()
                .find(|(status, _)| *status == credential.status);
            if let Some((_, status)) = named {
                self.credentials
                    .with_label_values(&[&credential.provider[..], status])
                    .inc();
            }
        }
    }
}

impl Collector for Inventory {
    fn desc(&self) -> Vec<&Desc> {
        self.credentials.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.count();
        self.credentials.collect()
    }
}

const STATUSES: [(Status, &str); 4] = [
    (Status::Active, "active"),
    (Status::Expiring, "expiring"),
    (Status::Expired, "expired"),
    (Status::Revoked, "revoked"),
];
