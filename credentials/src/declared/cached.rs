//! How declared credentials use the cache: at a start, and as Vault answers.

use std::{sync::Arc, time::Instant};

use super::{
    Declared, Item,
    cache::{Cache, CachedSecret},
    state::Cached,
};
use crate::{
    sealing::SealContext,
    secret::Secret,
    source::{Lookup, SourceError, SourceReference},
};

impl Declared {
    /// Uses the secrets that the cache has for these credentials. [`Self::follow`] calls it first;
    /// without `follow` it only inspects the cache: nothing is read from Vault or written.
    pub async fn open_cache(&self) {
        let Some(cache) = &self.cache else {
            return;
        };
        let now = self.clock.now();
        let stored = cache.read(now).await;
        let mut taken = 0_usize;
        for item in &self.items {
            let Some((_, context)) = self.cache_context(item) else {
                continue;
            };
            match cache.take(&stored, &context, now) {
                Ok(Some(cached)) => {
                    self.use_cached(item, cached);
                    taken += 1;
                }
                Ok(None) => {}
                Err(why) => {
                    let source = &item.source;
                    cache.report(format!("{source}: its copy is not used: {why}"));
                }
            }
        }
        if taken > 0 {
            tracing::info!(
                secrets = taken,
                "secrets from the cache are used until Vault answers"
            );
        }
    }

    /// Why the cache cannot be used; names the place and the remedy.
    pub fn cache_fault(&self) -> Option<String> {
        self.cache.as_ref()?.fault()
    }

    /// Whether a cache is configured.
    pub fn has_cache(&self) -> bool {
        self.cache.is_some()
    }

    /// Writes the cache and ends the use of expired entries, for as long as the runtime lives.
    pub(super) async fn keep_cache(self: Arc<Self>) {
        let Some(cache) = &self.cache else {
            return;
        };
        cache.prepare().await;
        loop {
            let now = self.clock.now();
            for item in &self.items {
                let change = item.state.lock().expire(Instant::now(), now);
                self.carry_out(item, change);
            }
            cache.write_if_due(now).await;
            cache.wait().await;
        }
    }

    /// Updates the cache from Vault's answer. An outage changes nothing.
    pub(super) fn note_in_cache(&self, item: &Item, found: &Result<Lookup, SourceError>) {
        let Some((cache, context)) = self.cache_context(item) else {
            return;
        };
        let now = self.clock.now();
        match found {
            Ok(Lookup::Unchanged) => cache.confirm(&context, now),
            Ok(Lookup::Changed { version, secret }) => cache.keep(&context, version, secret, now),
            Err(SourceError::Gone(_)) => cache.evict(&context),
            Err(SourceError::Unavailable(_)) => {}
        }
    }

    pub(super) fn was_cached(&self, item: &Item, secret: &Secret) -> bool {
        let mac = self.mac_of(item, secret);
        item.state
            .lock()
            .cached()
            .is_some_and(|cached| cached.mac == mac)
    }

    fn use_cached(&self, item: &Item, cached: CachedSecret) {
        let mut state = item.state.lock();
        state.found_in_cache(Cached {
            version: cached.version,
            times: cached.times,
            deadline: Instant::now() + cached.remaining,
            mac: self.mac_of(item, &cached.secret),
        });
        self.put_in_use(item, &state, &cached.secret);
    }

    /// The seal context in the cache. Only for secrets in Vault: files are available whenever the
    /// cache is.
    fn cache_context<'a>(&'a self, item: &'a Item) -> Option<(&'a Cache, SealContext<'a>)> {
        match (&self.cache, &item.source) {
            (Some(cache), SourceReference::Vault(reference)) => {
                Some((cache, cache.context(&item.document.id, reference)))
            }
            _ => None,
        }
    }
}
