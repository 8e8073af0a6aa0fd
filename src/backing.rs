//! The credentials that requests use: those in the store, overlaid by those that the settings
//! declare, or the declared ones alone.

use std::{collections::BTreeMap, sync::Arc};

use keyside_config::ProviderId;
use keyside_credentials::{
    DeclaredCredentials, ReferenceOptions, Registry, RejectedCredential, Resolver, Runs,
    SourceHealth, TrafficCounts,
};

/// The credentials, and the log of their use.
#[derive(Clone)]
pub(crate) struct Backing {
    registry: Option<Arc<Registry>>,
    pub(crate) declared: Arc<DeclaredCredentials>,
    pub(crate) runs: Runs,
}

impl Backing {
    /// For `keyside serve`: a store, with the declared credentials over it.
    pub(crate) fn stored(registry: Arc<Registry>, declared: Arc<DeclaredCredentials>) -> Self {
        registry.overlay_declared(declared.clone());
        Self {
            runs: registry.runs().clone(),
            registry: Some(registry),
            declared,
        }
    }

    /// For `keyside proxy`: declared credentials only.
    pub(crate) fn declared_only(declared: Arc<DeclaredCredentials>) -> Self {
        Self {
            registry: None,
            declared,
            runs: Runs::disabled(),
        }
    }

    /// The registry of the store; `None` for `keyside proxy`.
    pub(crate) fn registry(&self) -> Option<&Arc<Registry>> {
        self.registry.as_ref()
    }

    /// Starts following secrets that are kept elsewhere, for as long as the runtime lives. Returns
    /// once each was read for the first time.
    pub(crate) async fn follow(&self, references: ReferenceOptions) {
        let stored = async {
            if let Some(registry) = &self.registry {
                registry.follow_references(references).await;
            }
        };
        tokio::join!(self.declared.follow(), stored);
    }

    /// Reads what earlier processes have spent today, for credentials and workspaces with limits.
    /// Without a store there is nothing to read.
    pub(crate) async fn restore_spend(&self) {
        if let Some(registry) = &self.registry {
            registry.restore_spend().await;
        }
    }

    /// The state of each credential whose secret is kept elsewhere.
    pub(crate) fn source_health(&self) -> Vec<SourceHealth> {
        let mut health = self.declared.source_health();
        if let Some(registry) = &self.registry {
            health.extend(registry.reference_health());
        }
        health
    }

    /// The credentials that their providers reject in traffic.
    pub(crate) fn rejected_in_traffic(&self) -> Vec<RejectedCredential> {
        match &self.registry {
            Some(registry) => registry.rejected_in_traffic(),
            None => self.declared.rejected_in_traffic(),
        }
    }

    /// The number of credentials by provider and state in traffic.
    pub(crate) fn traffic_counts(&self) -> BTreeMap<ProviderId, TrafficCounts> {
        match &self.registry {
            Some(registry) => registry.traffic_counts(),
            None => self.declared.traffic_counts(),
        }
    }

    pub(crate) fn resolver(&self) -> Resolver {
        match &self.registry {
            Some(registry) => registry.resolver(),
            None => self.declared.resolver(),
        }
    }

    /// Returns when all buffered records are on disk.
    pub(crate) async fn flush(&self) {
        if let Some(registry) = &self.registry {
            registry.flush().await;
        }
    }
}
