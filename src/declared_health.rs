//! How declared credentials stand, read at each scrape.

use keyside_credentials::DeclaredCredentials;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};
use std::sync::Arc;

/// `keyside_declared_credential_usable{workspace,provider,label}`.
pub(crate) struct DeclaredHealth {
    declared: Arc<DeclaredCredentials>,
    usable: IntGaugeVec,
}

impl DeclaredHealth {
    pub(crate) fn new(declared: Arc<DeclaredCredentials>) -> prometheus::Result<Self> {
        let usable = Opts::new(
            "keyside_declared_credential_usable",
            "1 while requests can use a credential that the settings declare, 0 while its secret cannot be read.",
        );
        Ok(Self {
            declared,
            usable: IntGaugeVec::new(usable, &["workspace", "provider", "label"])?,
        })
    }
}

impl Collector for DeclaredHealth {
    fn desc(&self) -> Vec<&Desc> {
        self.usable.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for standing in self.declared.standings() {
            let labels = [
                standing.workspace.as_str(),
                &standing.provider,
                standing.label.as_str(),
            ];
            let usable = self.usable.with_label_values(&labels);
            usable.set(standing.usable.into());
        }
        self.usable.collect()
    }
}
