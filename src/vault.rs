//! The one client of Vault that a process has: for the KMS and for declared credentials alike.

use std::sync::Arc;

use keyside_config::{Settings, VaultAuth};
use keyside_credentials::{CacheKey, CacheOptions};
use keyside_vault::Vault;

use crate::failure::Failure;

/// Nothing is asked over the network yet. `None` where nothing in the settings uses Vault.
pub(crate) fn open(settings: &Settings) -> Result<Option<Arc<Vault>>, Failure> {
    let Some(vault) = &settings.vault else {
        return Ok(None);
    };
    // The one crypto provider in the tree; an error only says that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let vault = Vault::open(vault);
    vault
        .map(Some)
        .map_err(|error| Failure::configuration(error.to_string()))
}

/// The cache that the settings name, with its key. Nothing in it is read yet.
pub(crate) fn cache(settings: &Settings) -> Result<Option<CacheOptions>, Failure> {
    let Some(vault) = &settings.vault else {
        return Ok(None);
    };
    let Some(cache) = &vault.cache else {
        return Ok(None);
    };
    let key = CacheKey::read(&cache.key_file, &cache.folder);
    Ok(Some(CacheOptions {
        folder: cache.folder.clone(),
        key: key.map_err(|error| Failure::configuration(error.to_string()))?,
        address: vault.address.to_string(),
        namespace: vault.namespace.clone(),
    }))
}

/// Whether a command can sign in beside the service. A wrapped secret id can be used once, and the service needs it.
pub(crate) fn can_sign_in_beside(settings: &Settings) -> bool {
    let auth = settings.vault.as_ref().map(|vault| &vault.auth);
    !matches!(
        auth,
        Some(VaultAuth::AppRole {
            secret_id_wrapped: true,
            ..
        })
    )
}
