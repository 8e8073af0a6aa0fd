//! Metrics of declared credentials, read at each scrape.

use std::sync::Arc;

use keyside_credentials::DeclaredCredentials;
use prometheus::{
    IntGauge, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Collects `keyside_declared_credential_usable{workspace,provider,label}`, and with a cache
/// `keyside_declared_credential_from_cache` with the same labels and `keyside_vault_cache_failed`.
pub(crate) struct DeclaredHealth {
    declared: Arc<DeclaredCredentials>,
    usable: IntGaugeVec,
    cache: Option<CacheHealth>,
}

struct CacheHealth {
    served: IntGaugeVec,
    failed: IntGauge,
}

impl DeclaredHealth {
    pub(crate) fn new(declared: Arc<DeclaredCredentials>) -> prometheus::Result<Self> {
        let usable = Opts::new(
            "keyside_declared_credential_usable",
            "1 while requests can use a credential that the settings declare, 0 while its secret cannot be read.",
        );
        let cache = declared.has_cache().then(CacheHealth::new).transpose()?;
        Ok(Self {
            declared,
            usable: IntGaugeVec::new(usable, &LABELS)?,
            cache,
        })
    }
}

impl CacheHealth {
    fn new() -> prometheus::Result<Self> {
        let served = Opts::new(
            "keyside_declared_credential_from_cache",
            "1 while a declared credential is served from vault.cache, because Vault did not answer since the start.",
        );
        Ok(Self {
            served: IntGaugeVec::new(served, &LABELS)?,
            failed: IntGauge::new(
                "keyside_vault_cache_failed",
                "1 while vault.cache cannot be read or written, or was found damaged and not replaced yet.",
            )?,
        })
    }
}

impl Collector for DeclaredHealth {
    fn desc(&self) -> Vec<&Desc> {
        let cache = self.cache.iter();
        let cache =
            cache.flat_map(|cache| cache.served.desc().into_iter().chain(cache.failed.desc()));
        self.usable.desc().into_iter().chain(cache).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for health in self.declared.source_health() {
            let labels = [
                health.workspace.as_str(),
                health.provider.as_str(),
                health.label.as_str(),
            ];
            let usable = self.usable.with_label_values(&labels);
            usable.set(health.usable.into());
            if let Some(cache) = &self.cache {
                let served = cache.served.with_label_values(&labels);
                served.set(health.cached.is_some().into());
            }
        }
        let mut families = self.usable.collect();
        if let Some(cache) = &self.cache {
            let is_faulty = self.declared.cache_fault().is_some();
            cache.failed.set(is_faulty.into());
            families.extend(cache.served.collect());
            families.extend(cache.failed.collect());
        }
        families
    }
}

const LABELS: [&str; 3] = ["workspace", "provider", "label"];
