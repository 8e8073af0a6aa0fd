//! The sealed copy on disk of secrets that were read from Vault, for a start during an outage of Vault.
//!
//! **One file for all entries** (`vault-secrets`), replaced atomically: Vault confirms each secret at every poll, and a file
//! for each would be written and synced as often. The times of confirmation are brought to disk once a tenth of the outage,
//! so after a restart a copy may end up to that much early, never late. A new secret and an eviction are written at once.
//! One task writes; neither requests nor followers wait for it.
//!
//! **What binds an entry.** The secret is sealed with the key in `vault.cache_key_file`, with associated data of Vault's
//! address, namespace, mount, path, field, fixed version and the credential's id. None of that is stored: an entry is found
//! by a MAC of it. A MAC over the whole file covers versions and times. An older copy of the whole file can be put back, and
//! is then judged by the times in it.
//!
//! **How long an entry is used.** For `vault.outage` from when Vault last confirmed it, by the wall clock and by the monotonic
//! clock of the process, whichever ends first. The file also holds when it was last in use: with a clock that is behind
//! that, nothing in it is used. So setting the clock back gains no more than the time that Keyside was down, and the tenth.
//!
//! **First contact.** Vault's answer decides as soon as it comes. The secret itself is read then, not only its version: the
//! path may have been deleted and written again since, which starts to count versions at 1.
//!
//! Nothing that is wrong with the file or its folder stops a start: it is logged and shown in `/readyz`, and Keyside does
//! without the copy. The key is a setting, and a start without it fails as one without its master key does.

mod format;
mod key;
mod storage;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{sync::Notify, task::spawn_blocking};

use self::format::{Body, Entry, Tag};
pub use self::key::{CacheKey, CacheKeyError};
use crate::{
    model::CredentialId,
    sealing::{SealContext, SealingKey},
    secret::Secret,
    source::{self, VaultReference},
};

/// Where the copy is kept, and which Vault its secrets are from.
pub struct CacheOptions {
    /// Its folder, which nothing else uses.
    pub folder: PathBuf,
    /// Seals it.
    pub key: CacheKey,
    /// Vault's address, as the settings have it.
    pub address: String,
    /// The namespace of every request.
    pub namespace: Option<String>,
}

/// The copy, and what of it is on disk.
pub(super) struct Cache {
    folder: PathBuf,
    key: SealingKey,
    address: String,
    namespace: String,
    outage: Duration,
    contents: Mutex<Contents>,
    /// Something has to be written at once.
    changed: Notify,
}

#[derive(Default)]
struct Contents {
    /// Entries that are too old stay until Vault confirms or denies them; they are not written.
    entries: BTreeMap<Tag, Entry>,
    is_changed: bool,
    /// An entry on disk must not be used any more.
    has_evicted: bool,
    /// How many entries the file has; 0 for one that is not to be touched before there is something to keep, [`UNKNOWN`] after
    /// a write that failed.
    on_disk: usize,
    written: Option<Instant>,
    fault: Option<String>,
}

/// What an earlier process has left.
pub(super) struct StoredEntries(BTreeMap<Tag, Entry>);

/// A secret of the cache that may still be used.
pub(super) struct CachedSecret {
    pub(super) version: String,
    /// When Vault last confirmed it.
    pub(super) confirmed: Timestamp,
    /// The end of its use.
    pub(super) until: Timestamp,
    /// How long that is from now on.
    pub(super) remaining: Duration,
    pub(super) secret: Secret,
}

impl Cache {
    /// Nothing is read or written yet. An entry is used for `outage` since Vault last confirmed it.
    pub(super) fn new(options: CacheOptions, outage: Duration) -> Self {
        Self {
            folder: options.folder,
            key: options.key.into_sealing(),
            address: options.address,
            namespace: options.namespace.unwrap_or_default(),
            outage,
            contents: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// What a secret of this credential is bound to.
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

    /// Reads the file. One that cannot be used is reported, and is as good as none.
    pub(super) async fn read(&self, now: Timestamp) -> StoredEntries {
        let folder = self.folder.clone();
        let read = spawn_blocking(move || storage::read(&folder)).await;
        let stored = match read {
            Ok(Ok(None)) | Err(_) => return StoredEntries(BTreeMap::new()),
            Ok(Ok(Some(file))) => self.believe(&file, now),
            Ok(Err(fault)) => Err(fault),
        };
        stored.unwrap_or_else(|fault| {
            self.report(fault);
            StoredEntries(BTreeMap::new())
        })
    }

    fn believe(&self, file: &[u8], now: Timestamp) -> Result<StoredEntries, String> {
        let shown = self.folder.display();
        let Body { last_used, entries } = format::decode(&self.key, file).map_err(|error| {
            format!("{shown}: the copy is not used: {error}. It is replaced once Vault answers")
        })?;
        // Written with this key: what is not taken over from it now is deleted with the next write.
        self.contents().on_disk = entries.len();
        if last_used > now.as_microsecond() {
            let last_used = Timestamp::from_microsecond(last_used);
            let last_used = last_used.unwrap_or(Timestamp::MAX);
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

    /// Takes over what there is for `context`; `None` if that is nothing, or too old.
    ///
    /// # Errors
    /// Why an entry is not used.
    pub(super) fn take(
        &self,
        stored: &StoredEntries,
        context: &SealContext<'_>,
        now: Timestamp,
    ) -> Result<Option<CachedSecret>, String> {
        let tag = self.tag(context);
        let good = |entry: &&Entry| {
            entry.confirmed <= now.as_microsecond() && !self.is_too_old(entry, now)
        };
        let Some(entry) = stored.0.get(&tag).filter(good) else {
            return Ok(None);
        };
        let plaintext = self
            .key
            .open(context, &entry.sealed)
            .map_err(|error| error.to_string())?;
        let secret = source::parse(plaintext).map_err(|error| error.to_string())?;
        let confirmed = entry.confirmed().ok_or("it has no time")?;
        let until = confirmed.checked_add(self.outage);
        let until = until.unwrap_or(Timestamp::MAX);
        let remaining = Duration::try_from(until.duration_since(now));
        self.contents().entries.insert(tag, entry.clone());
        Ok(Some(CachedSecret {
            version: entry.version.clone(),
            confirmed,
            until,
            remaining: remaining.unwrap_or_default(),
            secret,
        }))
    }

    /// Vault has sent this secret.
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
            confirmed: now.as_microsecond(),
            sealed: self.key.seal_secret(context, secret),
        };
        let mut contents = self.contents();
        contents.entries.insert(entry.context, entry);
        contents.is_changed = true;
        self.changed.notify_one();
    }

    /// Vault says that the secret is the same. Written with the next change, or after a tenth of the outage.
    pub(super) fn confirm(&self, context: &SealContext<'_>, now: Timestamp) {
        if let Some(entry) = self.contents().entries.get_mut(&self.tag(context)) {
            entry.confirmed = now.as_microsecond();
        }
    }

    /// Vault says that the secret must not be used.
    pub(super) fn evict(&self, context: &SealContext<'_>) {
        let tag = self.tag(context);
        let mut contents = self.contents();
        if contents.entries.remove(&tag).is_some() {
            contents.is_changed = true;
            contents.has_evicted = true;
            self.changed.notify_one();
        }
    }

    /// Makes the folder, so that it is known from the beginning whether there can be a copy.
    pub(super) async fn prepare(&self) {
        let folder = self.folder.clone();
        let made = spawn_blocking(move || storage::make_private(&folder)).await;
        if let Ok(Err(fault)) = made {
            self.report(fault);
        }
    }

    /// Returns when there is a change to write, or time has passed that is worth a look.
    pub(super) async fn wait(&self) {
        let tick = self.refresh().min(MAX_TICK);
        let _ = tokio::time::timeout(tick, self.changed.notified()).await;
    }

    /// Brings to disk what has changed, what was confirmed and what has become too old. Only one task calls it.
    pub(super) async fn write_if_due(&self, now: Timestamp) {
        let Some((entries, has_evicted)) = self.due(now) else {
            return;
        };
        let keeps = !entries.is_empty();
        let file = keeps.then(|| {
            // Vault may have confirmed one since `now` was looked up.
            let confirmed = entries.iter().map(|entry| entry.confirmed);
            let last_used = confirmed.fold(now.as_microsecond(), i64::max);
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
                let mut contents = self.contents();
                contents.on_disk = UNKNOWN;
                contents.has_evicted |= has_evicted;
            }
            Ok(Ok(())) if keeps => self.recovered(),
            // Nothing tells yet that there can be a copy; or the process is stopping.
            Ok(Ok(())) | Err(_) => {}
        }
    }

    /// What is to be written now, and whether what it replaces must go in any case.
    fn due(&self, now: Timestamp) -> Option<(Vec<Entry>, bool)> {
        let mut contents = self.contents();
        let valid = contents.entries.values();
        let valid = valid.filter(|entry| !self.is_too_old(entry, now)).count();
        let is_stale = contents
            .written
            .is_none_or(|written| written.elapsed() >= self.refresh());
        // After a failure another attempt waits for a change, or for the next turn.
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

    /// Why there is no copy, or none that can be used.
    pub(super) fn fault(&self) -> Option<String> {
        self.contents().fault.clone()
    }

    /// Says once what is wrong.
    pub(super) fn report(&self, fault: String) {
        let mut contents = self.contents();
        if contents.fault.as_ref() != Some(&fault) {
            tracing::warn!(fault, "the cache of secrets from Vault cannot be used");
            contents.fault = Some(fault);
        }
    }

    fn recovered(&self) {
        if self.contents().fault.take().is_some() {
            tracing::info!("the cache of secrets from Vault is written again");
        }
    }

    fn is_too_old(&self, entry: &Entry, now: Timestamp) -> bool {
        let outage = i64::try_from(self.outage.as_micros()).unwrap_or(i64::MAX);
        now.as_microsecond().saturating_sub(entry.confirmed) >= outage
    }

    fn refresh(&self) -> Duration {
        (self.outage / 10).max(MIN_REFRESH)
    }

    fn tag(&self, context: &SealContext<'_>) -> Tag {
        self.key.mac(context, b"")
    }

    /// What a panic leaves is what was there before it.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Differs from every number of entries.
const UNKNOWN: usize = usize::MAX;
/// The longest time between two looks for entries that have become too old.
const MAX_TICK: Duration = Duration::from_secs(1);
/// Keeps a short outage from making the disk busy.
const MIN_REFRESH: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
