//! Opens the process's one Vault client, which the KMS and declared credentials share.

use std::sync::Arc;

use keyside_config::{Settings, VaultAuth};
use keyside_credentials::{CacheKey, CacheOptions};
use keyside_vault::Vault;

use crate::failure::Failure;

/// Creates the client without using the network. `None` if the settings have no Vault.
pub(crate) fn open(settings: &Settings) -> Result<Option<Arc<Vault>>, Failure> {
    let opened = settings.vault.as_ref().map(Vault::open).transpose();
    opened.map_err(Failure::configuration)
}

/// The options of the cache that the settings name, with its key. Reads nothing from the cache yet.
pub(crate) fn cache(settings: &Settings) -> Result<Option<CacheOptions>, Failure> {
    let vault = settings.vault.as_ref();
    let Some((vault, cache)) = vault.and_then(|vault| Some((vault, vault.cache.as_ref()?))) else {
        return Ok(None);
    };
    let key = CacheKey::read(&cache.key_file, &cache.folder);
    Ok(Some(CacheOptions {
        folder: cache.folder.clone(),
        key: key.map_err(Failure::configuration)?,
        address: vault.address.to_string(),
        namespace: vault.namespace.clone(),
    }))
}

/// Whether a command may sign in while the service runs. A wrapped secret id works once, and the
/// service needs it.
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
