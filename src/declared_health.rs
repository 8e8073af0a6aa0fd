//! Metrics of declared credentials, and of other credentials whose secrets are kept elsewhere.

use prometheus::{IntGauge, IntGaugeVec, Opts};

use crate::{
    backing::Backing,
    scraped::{self, Metrics},
};

/// Registers whether requests can use them and whether their sources can be read, and with a cache
/// also whether they are served from it.
pub(crate) fn register(metrics: &prometheus::Registry, backing: Backing) -> prometheus::Result<()> {
    let declared = backing.declared().clone();
    let source_failed = gauge(
        "keyside_credential_source_failed",
        "1 while the secret of a credential, kept in a file or in Vault, cannot be read. One that was read before may still be used.",
    )?;
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
    let mut all: Metrics = vec![Box::new(usable.clone()), Box::new(source_failed.clone())];
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
        // Stored credentials come and go.
        source_failed.reset();
        for health in backing.source_health() {
            let labels = [
                health.workspace.as_str(),
                health.provider.as_str(),
                health.label.as_str(),
            ];
            let source_failed = source_failed.with_label_values(&labels);
            source_failed.set(health.fault.is_some().into());
        }
    })
}

fn gauge(name: &str, help: &str) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(Opts::new(name, help), &["workspace", "provider", "label"])
}
