//! The credentials that requests use: those in the store, overlaid by those that the settings
//! declare, or the declared ones alone.

use std::sync::Arc;

use keyside_credentials::{
    DeclaredCredentials, ReferenceOptions, Registry, Resolver, Runs, SourceHealth,
};

/// The credentials, and the log of their use.
#[derive(Clone)]
pub(crate) struct Backing {
    registry: Option<Arc<Registry>>,
    declared: Arc<DeclaredCredentials>,
    runs: Runs,
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

    pub(crate) fn declared(&self) -> &Arc<DeclaredCredentials> {
        &self.declared
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

    /// The state of each credential whose secret is kept elsewhere.
    pub(crate) fn source_health(&self) -> Vec<SourceHealth> {
        let stored = self.registry.as_ref();
        let stored = stored.map_or_else(Vec::new, |registry| registry.reference_health());
        self.declared
            .source_health()
            .into_iter()
            .chain(stored)
            .collect()
    }

    pub(crate) fn runs(&self) -> &Runs {
        &self.runs
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
