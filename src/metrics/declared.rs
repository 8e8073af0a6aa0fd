//! Metrics of declared credentials, and of other credentials whose secrets are kept elsewhere.

use prometheus::{IntGauge, IntGaugeVec, Opts};

use super::scraped::Metrics;
use crate::backing::Backing;

/// Registers whether requests can use them and whether their sources can be read, and with a cache
/// also whether they are served from it.
pub(super) fn register(metrics: &prometheus::Registry, backing: Backing) -> prometheus::Result<()> {
    let declared = backing.declared.clone();
    let mut health = Metrics::default();
    let labels = ["workspace", "provider", "label"];
    let source_failed = health.gauges(
        "keyside_credential_source_failed",
        "1 while the secret of a credential, kept in a file or in Vault, cannot be read. One that was read before may still be used.",
        &labels,
    )?;
    let usable = health.gauges(
        "keyside_declared_credential_usable",
        "1 while requests can use a credential that the settings declare, 0 while its secret cannot be read.",
        &labels,
    )?;
    let served = Opts::new(
        "keyside_declared_credential_from_cache",
        "1 while a declared credential is served from vault.cache, because Vault did not answer since the start.",
    );
    let served = IntGaugeVec::new(served, &labels)?;
    let failed = IntGauge::new(
        "keyside_vault_cache_failed",
        "1 while vault.cache cannot be read or written, or was found damaged and not replaced yet.",
    )?;
    if declared.has_cache() {
        health.add(served.clone());
        health.add(failed.clone());
    }
    health.register(metrics, move || {
        for one in declared.source_health() {
            let labels = [
                one.workspace.as_str(),
                one.provider.as_str(),
                one.label.as_str(),
            ];
            let usable = usable.with_label_values(&labels);
            usable.set(one.usable.into());
            let served = served.with_label_values(&labels);
            served.set(one.cached.is_some().into());
        }
        failed.set(declared.cache_fault().is_some().into());
        // Stored credentials come and go.
        source_failed.reset();
        for one in backing.source_health() {
            let labels = [
                one.workspace.as_str(),
                one.provider.as_str(),
                one.label.as_str(),
            ];
            let source_failed = source_failed.with_label_values(&labels);
            source_failed.set(one.fault.is_some().into());
        }
    })
}
