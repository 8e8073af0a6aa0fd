//! Checks the cache of Vault's secrets: what a restart during an outage would find. Writes nothing.

use keyside_config::{Settings, SourceReference};
use keyside_credentials::CacheOptions;

use super::finding::Finding;
use crate::declared;

/// Returns `None` if the settings name no cache. Its key was read already.
pub(super) async fn check(settings: &Settings, cache: Option<CacheOptions>) -> Option<Finding> {
    let folder = cache.as_ref()?.folder.display().to_string();
    let declared = match declared::of(settings, None, cache) {
        Ok(declared) => declared,
        Err(failure) => return Some(Finding::fail(NAME, failure)),
    };
    declared.open_cache().await;
    if let Some(fault) = declared.cache_fault() {
        return Some(Finding::warn(NAME, fault));
    }
    let source_health = declared.source_health();
    let cached: Vec<_> = source_health.iter().filter_map(|one| one.cached).collect();
    let sources = settings.declared.iter().map(|declared| &declared.source);
    let in_vault = sources.filter(|source| matches!(source, SourceReference::Vault(_)));
    let (cached_count, in_vault) = (cached.len(), in_vault.count());
    let said = match cached.iter().map(|cached| cached.until).min() {
        Some(until) => format!(
            "{folder} has {cached_count} of {in_vault} secrets, the oldest for a start until {until}"
        ),
        None => format!("{folder} has no secret that is young enough for a start without Vault"),
    };
    Some(Finding::ok(NAME, said))
}

const NAME: &str = "vault cache";
