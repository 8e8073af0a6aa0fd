//! Metrics of declared credentials.

use std::sync::Arc;

use keyside_credentials::DeclaredCredentials;
use prometheus::{IntGauge, IntGaugeVec, Opts};

use crate::scraped::{self, Metrics};

/// Registers whether requests can use them, and with a cache also whether they are served from it.
pub(crate) fn register(
    metrics: &prometheus::Registry,
    declared: Arc<DeclaredCredentials>,
) -> prometheus::Result<()> {
    let usable = gauge(
        "keyside_declared_credential_usable",
        "1 while requests can use a credential that the settings declare, 0 while its secret cannot be read.",
    )?;
    let served = gauge(
        "keyside_declared_credential_from_cache",
        "1 while a declared credential is served from vault.cache, because Vault did not answer since the start.",
    )?;
    let failed = IntGauge::new(
        "keyside_vault_cache_failed",
        "1 while vault.cache cannot be read or written, or was found damaged and not replaced yet.",
    )?;
    let mut all: Metrics = vec![Box::new(usable.clone())];
    if declared.has_cache() {
        all.push(Box::new(served.clone()));
        all.push(Box::new(failed.clone()));
    }
    scraped::register(metrics, all, move || {
        for health in declared.source_health() {
            let labels = [
                health.workspace.as_str(),
                health.provider.as_str(),
                health.label.as_str(),
            ];
            let usable = usable.with_label_values(&labels);
            usable.set(health.usable.into());
            let served = served.with_label_values(&labels);
            served.set(health.cached.is_some().into());
        }
        failed.set(declared.cache_fault().is_some().into());
    })
}

fn gauge(name: &str, help: &str) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(Opts::new(name, help), &["workspace", "provider", "label"])
}
