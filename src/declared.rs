//! Creates the credentials that the settings declare.

use std::{sync::Arc, time::Duration};

use keyside_config::Settings;
use keyside_credentials::{
    CacheOptions, DeclaredCredentials, DeclaredOptions, SystemClock, source::SecretSource,
};
use keyside_vault::Vault;

use crate::failure::Failure;

/// Creates them without reading their secrets.
pub(crate) fn of(
    settings: &Settings,
    vault: Option<Arc<Vault>>,
    cache: Option<CacheOptions>,
) -> Result<Arc<DeclaredCredentials>, Failure> {
    let (poll, outage) = match &settings.vault {
        Some(vault) => (vault.poll, vault.outage),
        // Without Vault there is nothing to poll.
        None => (Duration::MAX, Duration::MAX),
    };
    let options = DeclaredOptions {
        credentials: settings.declared.clone(),
        catalogue: Arc::new(settings.catalogue.clone()),
        vault: vault.map(|vault| vault as Arc<dyn SecretSource>),
        poll,
        outage,
        cache,
        clock: Arc::new(SystemClock),
    };
    DeclaredCredentials::new(options).map_err(Failure::configuration)
}
