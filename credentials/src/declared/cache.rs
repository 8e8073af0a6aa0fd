//! A sealed cache on disk for secrets from Vault, for a start during an outage of Vault.
//!
//! **One file for all entries** (`vault-secrets`), replaced atomically. Vault confirms each secret
//! at every poll, and a file for each would be written and synced as often. Times of confirmation
//! are written once per tenth of the outage, so after a restart a copy may expire up to that much
//! early, never late. New secrets and evictions are written at once. One task writes; requests and
//! followers do not wait for it.
//!
//! **What an entry is bound to.** The secret is sealed with the key in `vault.cache_key_file`. The
//! associated data is Vault's address, namespace, mount, path, field and fixed version, and the
//! credential's id. None of that is stored: an entry is looked up by a MAC of it. Another MAC over
//! the whole file covers versions and times. An attacker can put back an older file, but its times
//! then apply.
//!
//! **How long an entry is used.** For `vault.outage` from Vault's last confirmation, by the wall
//! clock and by the monotonic clock of the process, whichever ends first. The file also has the
//! time of its last use: if the clock is behind that, nothing in it is used. Setting the clock back
//! thus gains no more than Keyside's downtime and the tenth.
//!
//! **First contact.** Vault's answer takes precedence as soon as it arrives. The secret itself is
//! read then, not only its version: the path may have been deleted and written again, which
//! restarts versions at 1.
//!
//! A fault of the file or folder never prevents a start: it is logged and shown in `/readyz`, and
//! Keyside continues without the cache. The key is a setting, and a start without it fails like one
//! without the master key.

mod format;
mod key;
mod storage;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::spawn_blocking, time::timeout};

use self::format::{Body, Entry, Tag};
pub use self::key::{CacheKey, CacheKeyError};
use super::state::FromCache;
use crate::{
    model::CredentialId,
    sealing::{SealContext, SealingKey},
    secret::Secret,
    source::{self, VaultReference},
};

/// The cache's folder and key, and the Vault that its secrets are from.
pub struct CacheOptions {
    /// A folder that nothing else uses.
    pub folder: PathBuf,
    /// The key that seals the cache.
    pub key: CacheKey,
    /// Vault's address, from the settings.
    pub address: String,
    /// Vault's namespace, from the settings.
    pub namespace: Option<String>,
}

/// The cache in memory, and what of it is on disk.
pub(super) struct Cache {
    folder: PathBuf,
    key: SealingKey,
    address: String,
    namespace: String,
    outage: Duration,
    contents: Mutex<Contents>,
    /// Notified when something must be written at once.
    changed: Notify,
}

#[derive(Default)]
struct Contents {
    /// Expired entries stay until Vault confirms or denies them, but are not written.
    entries: BTreeMap<Tag, Entry>,
    is_changed: bool,
    /// An entry on disk must not be used any more.
    has_evicted: bool,
    /// Number of entries in the file; 0 if it is not to be written before there is something to
    /// keep; [`UNKNOWN`] after a failed write.
    on_disk: usize,
    written: Option<Instant>,
    fault: Option<String>,
}

/// The entries that an earlier process has stored.
pub(super) struct StoredEntries(BTreeMap<Tag, Entry>);

/// A secret from the cache that may still be used.
pub(super) struct CachedSecret {
    pub(super) version: String,
    pub(super) times: FromCache,
    /// From now until the end of its use.
    pub(super) remaining: Duration,
    pub(super) secret: Secret,
}

impl Cache {
    /// Reads and writes nothing yet. An entry may be used for `outage` after Vault's last
    /// confirmation.
    pub(super) fn new(options: CacheOptions, outage: Duration) -> Self {
        Self {
            folder: options.folder,
            key: options.key.0,
            address: options.address,
            namespace: options.namespace.unwrap_or_default(),
            outage,
            contents: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// The seal context of this credential's secret.
    pub(super) fn context<'a>(
        &'a self,
        credential: &'a CredentialId,
        reference: &'a VaultReference,
    ) -> SealContext<'a> {
        SealContext::CachedSecret {
            address: &self.address,
            namespace: &self.namespace,
            mount: reference.mount.as_deref().unwrap_or_default(),
            path: &reference.path,
            field: &reference.field,
            pinned: reference.version,
            credential,
        }
    }

    /// Reads the file. A file that cannot be used is reported, and counts as empty.
    pub(super) async fn read(&self, now: Timestamp) -> StoredEntries {
        let folder = self.folder.clone();
        let read = spawn_blocking(move || storage::read(&folder));
        let stored = match timeout(READ_TIMEOUT, read).await {
            Ok(Ok(Ok(None)) | Err(_)) => return StoredEntries(BTreeMap::new()),
            Ok(Ok(Ok(Some(file)))) => self.verify(&file, now),
            Ok(Ok(Err(fault))) => Err(fault),
            Err(_) => Err(format!(
                "{}: the copy is not used: it was not read within {} s; check the disk",
                self.folder.display(),
                READ_TIMEOUT.as_secs()
            )),
        };
        stored.unwrap_or_else(|fault| {
            self.report(fault);
            StoredEntries(BTreeMap::new())
        })
    }

    fn verify(&self, file: &[u8], now: Timestamp) -> Result<StoredEntries, String> {
        let shown = self.folder.display();
        let Body { last_used, entries } = format::decode(&self.key, file).map_err(|error| {
            format!("{shown}: the copy is not used: {error}. It is replaced once Vault answers")
        })?;
        // Written with this key, so the next write removes entries that are not taken over now.
        self.contents.lock().on_disk = entries.len();
        if last_used > now {
            return Err(format!(
                "{shown}: the copy is not used: it is from the future, for it was in use at {last_used} and the clock says \
                 {now}; correct the clock"
            ));
        }
        let entries = entries.into_iter();
        Ok(StoredEntries(
            entries.map(|entry| (entry.context, entry)).collect(),
        ))
    }

    /// Takes over the entry for `context`; `None` if there is none or it has expired.
    pub(super) fn take(
        &self,
        stored: &StoredEntries,
        context: &SealContext<'_>,
        now: Timestamp,
    ) -> Result<Option<CachedSecret>, String> {
        let tag = self.tag(context);
        let good = |entry: &&Entry| entry.confirmed <= now && !self.is_too_old(entry, now);
        let Some(entry) = stored.0.get(&tag).filter(good) else {
            return Ok(None);
        };
        let plaintext = self
            .key
            .open(context, &entry.sealed)
            .map_err(|error| error.to_string())?;
        let secret = source::parse(plaintext).map_err(|error| error.to_string())?;
        let confirmed = entry.confirmed;
        let until = confirmed.checked_add(self.outage);
        let until = until.unwrap_or(Timestamp::MAX);
        let remaining = Duration::try_from(until.duration_since(now));
        self.contents.lock().entries.insert(tag, entry.clone());
        Ok(Some(CachedSecret {
            version: entry.version.clone(),
            times: FromCache { confirmed, until },
            remaining: remaining.unwrap_or_default(),
            secret,
        }))
    }

    /// Stores a secret that Vault returned.
    pub(super) fn keep(
        &self,
        context: &SealContext<'_>,
        version: &str,
        secret: &Secret,
        now: Timestamp,
    ) {
        let entry = Entry {
            context: self.tag(context),
            version: version.to_owned(),
            confirmed: now,
            sealed: self.key.seal_secret(context, secret),
        };
        let mut contents = self.contents.lock();
        contents.entries.insert(entry.context, entry);
        contents.is_changed = true;
        self.changed.notify_one();
    }

    /// Records that Vault confirmed the secret. Written with the next change, or after a tenth of
    /// the outage.
    pub(super) fn confirm(&self, context: &SealContext<'_>, now: Timestamp) {
        if let Some(entry) = self.contents.lock().entries.get_mut(&self.tag(context)) {
            entry.confirmed = now;
        }
    }

    /// Removes a secret that Vault denied.
    pub(super) fn evict(&self, context: &SealContext<'_>) {
        let tag = self.tag(context);
        let mut contents = self.contents.lock();
        if contents.entries.remove(&tag).is_some() {
            contents.is_changed = true;
            contents.has_evicted = true;
            self.changed.notify_one();
        }
    }

    /// Creates the folder, so that a fault is known from the start.
    pub(super) async fn prepare(&self) {
        let folder = self.folder.clone();
        let made = spawn_blocking(move || storage::make_private(&folder)).await;
        if let Ok(Err(fault)) = made {
            self.report(fault);
        }
    }

    /// Waits for a change, or until entries may have expired.
    pub(super) async fn wait(&self) {
        let tick = self.refresh().min(MAX_TICK);
        let _ = timeout(tick, self.changed.notified()).await;
    }

    /// Writes changes, confirmations and expiries to disk. Called by one task only.
    pub(super) async fn write_if_due(&self, now: Timestamp) {
        let Some((entries, has_evicted)) = self.due(now) else {
            return;
        };
        let keeps = !entries.is_empty();
        let file = keeps.then(|| {
            // Vault may have confirmed an entry after `now` was read.
            let confirmed = entries.iter().map(|entry| entry.confirmed);
            let last_used = confirmed.fold(now, Ord::max);
            format::encode(&self.key, &Body { last_used, entries })
        });
        let folder = self.folder.clone();
        let written = spawn_blocking(move || {
            let written = storage::write(&folder, file.as_deref());
            // A copy that must not be used is worse than none.
            written.inspect_err(|_| {
                if has_evicted {
                    storage::remove(&folder);
                }
            })
        });
        match written.await {
            Ok(Err(fault)) => {
                self.report(fault);
                let mut contents = self.contents.lock();
                contents.on_disk = UNKNOWN;
                contents.has_evicted |= has_evicted;
            }
            Ok(Ok(())) if keeps => self.recovered(),
            // Removing the file does not show that it can be written; or the process is stopping.
            Ok(Ok(())) | Err(_) => {}
        }
    }

    /// The entries to write now, and whether an evicted one is on disk.
    fn due(&self, now: Timestamp) -> Option<(Vec<Entry>, bool)> {
        let mut contents = self.contents.lock();
        let valid = contents.entries.values();
        let valid = valid.filter(|entry| !self.is_too_old(entry, now)).count();
        let is_stale = contents
            .written
            .is_none_or(|written| written.elapsed() >= self.refresh());
        // After a failure, only a change or the refresh interval triggers another attempt.
        let differs = valid != contents.on_disk && contents.on_disk != UNKNOWN;
        let is_due = contents.is_changed || differs || is_stale;
        if !is_due || (valid == 0 && contents.on_disk == 0) {
            return None;
        }
        contents.is_changed = false;
        contents.on_disk = valid;
        contents.written = Some(Instant::now());
        let has_evicted = std::mem::take(&mut contents.has_evicted);
        let entries = contents.entries.values();
        let entries = entries
            .filter(|entry| !self.is_too_old(entry, now))
            .cloned();
        Some((entries.collect(), has_evicted))
    }

    /// Why the cache cannot be used.
    pub(super) fn fault(&self) -> Option<String> {
        self.contents.lock().fault.clone()
    }

    /// Logs a fault once.
    pub(super) fn report(&self, fault: String) {
        let mut contents = self.contents.lock();
        if contents.fault.as_ref() != Some(&fault) {
            tracing::warn!(fault, "the cache of secrets from Vault cannot be used");
            contents.fault = Some(fault);
        }
    }

    fn recovered(&self) {
        if self.contents.lock().fault.take().is_some() {
            tracing::info!("the cache of secrets from Vault is written again");
        }
    }

    fn is_too_old(&self, entry: &Entry, now: Timestamp) -> bool {
        let outage = SignedDuration::try_from(self.outage).unwrap_or(SignedDuration::MAX);
        now.duration_since(entry.confirmed) >= outage
    }

    fn refresh(&self) -> Duration {
        (self.outage / 10).max(MIN_REFRESH)
    }

    fn tag(&self, context: &SealContext<'_>) -> Tag {
        self.key.mac(context, b"")
    }
}

/// Differs from every number of entries.
const UNKNOWN: usize = usize::MAX;
/// How long a start waits for the file. Vault may answer sooner than a slow disk.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest time between two checks for expired entries.
const MAX_TICK: Duration = Duration::from_secs(1);
/// Limits disk writes if the outage is short.
const MIN_REFRESH: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
