//! Declared credentials: the settings name them, and their secrets stay at their sources.
//!
//! ```text
//! settings ──► Declared ──► Snapshots ──► Resolver
//!                 ▲
//!              follower: polls each file and each secret in Vault
//! ```
//!
//! The next request uses a changed secret. A secret that is known to be gone is not used any more;
//! if its source is unavailable, it stays in use for the outage that the settings allow. Secrets
//! are sealed in memory under a key of this process. With `vault.cache` a sealed copy is on disk
//! too, for a start during an outage.

mod cache;
mod cached;
mod follow;
pub(crate) mod state;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use keyside_config::{Catalogue, DeclaredCredential, DeclaredEnvironment, Provider, ProviderId};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use self::{cache::Cache, state::State};
pub use self::{
    cache::{CacheKey, CacheKeyError, CacheOptions},
    state::FromCache,
};
use crate::{
    clock::{Clock, Ratchet},
    documents::{CredentialDocument, Defaults, SourceDocument, WorkspaceDocument},
    entropy,
    locked::LockedMemory,
    model::{
        self, ActorId, CredentialId, Environment, IdError, Label, Limits, RejectedCredential,
        TrafficCounts, UsageTag, WorkspaceId, refused_kind,
    },
    resolver::Resolver,
    sealing::SealingKey,
    snapshot::{
        CredentialEntry, Keys, Snapshot, Unusable, WorkspaceEntry,
        signals::{Notices, Signals},
        traffic,
    },
    source::{Lookup, SecretSource, SourceError, SourceReference},
};

/// Options for declared credentials.
pub struct DeclaredOptions {
    /// The credentials in the settings.
    pub credentials: Vec<DeclaredCredential>,
    /// The known providers.
    pub catalogue: Arc<Catalogue>,
    /// Reads secrets from Vault.
    pub vault: Option<Arc<dyn SecretSource>>,
    /// How often each secret in Vault is polled.
    pub poll: Duration,
    /// How long a secret is used while its source is unavailable.
    pub outage: Duration,
    /// The cache on disk of secrets from Vault.
    pub cache: Option<CacheOptions>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

/// All declared credentials.
pub struct Declared {
    items: Vec<Item>,
    catalogue: Arc<Catalogue>,
    vault: Option<Arc<dyn SecretSource>>,
    poll: Duration,
    outage: Duration,
    cache: Option<Cache>,
    clock: Arc<Ratchet>,
    key: ProcessKey,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) notices: Arc<Notices>,
    /// Notified when a secret, or the reason why it cannot be read, has changed. Wakes the task that
    /// records losses and returns; nobody waits where there is no store.
    pub(crate) changed: Arc<Notify>,
}

/// A declared credential: its constant attributes, and the last state of its source.
struct Item {
    document: CredentialDocument,
    source: SourceReference,
    prefixes: Vec<String>,
    signals: Arc<Signals>,
    state: Mutex<State>,
    /// What is probably wrong with the secret that was read last.
    warning: Mutex<Option<&'static str>>,
}

/// A source's answer since the start.
pub(crate) struct SourceAnswer<'a> {
    pub(crate) document: &'a CredentialDocument,
    pub(crate) source: &'a SourceReference,
    pub(crate) found: SourceDocument,
    /// Why the last read failed.
    pub(crate) fault: Option<String>,
}

/// The state of a secret that is kept outside of Keyside, for readiness and metrics.
#[derive(Clone, Debug)]
pub struct SourceHealth {
    /// The workspace that may use it.
    pub workspace: WorkspaceId,
    /// The provider's id.
    pub provider: ProviderId,
    /// The credential's label.
    pub label: Label,
    /// Where the secret is kept.
    pub source: String,
    /// Whether requests can use the credential.
    pub usable: bool,
    /// Whether the secret was neither read nor found to be missing since the start.
    pub unknown: bool,
    /// Why the last read failed; names the place and the remedy.
    pub fault: Option<String>,
    /// What is probably wrong with a declared secret although it is used, with the remedy.
    pub warning: Option<&'static str>,
    /// Set while the secret is from the cache on disk and was not read since the start.
    pub cached: Option<FromCache>,
}

/// The key that seals secrets in this process's memory.
struct ProcessKey(Arc<SealingKey>);

impl Keys for ProcessKey {
    fn key(&self, _workspace: &WorkspaceId, id: &str) -> Option<Arc<SealingKey>> {
        (self.0.id() == id).then(|| self.0.clone())
    }
}

impl Declared {
    /// Prepares the credentials. [`Self::follow`] reads the secrets.
    ///
    /// # Errors
    /// An invalid label or usage tag, with its table.
    pub fn new(options: DeclaredOptions) -> Result<Arc<Self>, DeclaredError> {
        let clock = Arc::new(Ratchet::new(options.clock));
        // The receiver is dropped: only an authority records refused uses.
        let (notices, _) = Notices::new(clock.clone());
        let now = clock.now();
        let items = options.credentials.iter().enumerate();
        let items = items.map(|(index, declared)| {
            let wrong = |error| DeclaredError { index, error };
            let document = document(declared, now).map_err(wrong)?;
            let provider = options.catalogue.get(declared.provider.as_str());
            Ok(Item {
                document,
                source: declared.source.clone(),
                prefixes: provider.map_or(Vec::new(), |provider| provider.key.prefix.clone()),
                signals: Arc::new(Signals::new(notices.clone())),
                state: Mutex::default(),
                warning: Mutex::default(),
            })
        });
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let snapshot = Snapshot::of(workspaces(&items, now));
        Ok(Arc::new(Self {
            items,
            catalogue: options.catalogue,
            vault: options.vault,
            poll: options.poll,
            outage: options.outage,
            cache: options.cache.map(|cache| Cache::new(cache, options.outage)),
            clock,
            key: ProcessKey(process_key()),
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            notices,
            changed: Arc::default(),
        }))
    }

    /// Resolves requests from declared credentials alone.
    pub fn resolver(&self) -> Resolver {
        Resolver::new(self.snapshot.clone(), self.clock.clone())
    }

    /// The state of each secret.
    pub fn source_health(&self) -> Vec<SourceHealth> {
        let health = |item: &Item| {
            let state = item.state.lock();
            SourceHealth {
                workspace: item.document.workspace.clone(),
                provider: item.document.provider.clone(),
                label: item.document.label.clone(),
                source: item.source.to_string(),
                usable: state.is_usable(),
                unknown: state.is_unknown(),
                fault: state.fault(),
                warning: *item.warning.lock(),
                cached: state.cached().map(|cached| cached.times),
            }
        };
        self.items.iter().map(health).collect()
    }

    /// The credentials that their providers reject in traffic.
    pub fn rejected_in_traffic(&self) -> Vec<RejectedCredential> {
        traffic::rejected_credentials(&self.snapshot.load())
    }

    /// The number of credentials by provider and state in traffic.
    pub fn traffic_counts(&self) -> BTreeMap<ProviderId, TrafficCounts> {
        traffic::counts(&self.snapshot.load())
    }

    /// The answers of the sources that have answered since the start.
    pub(crate) fn source_answers(&self) -> impl Iterator<Item = SourceAnswer<'_>> {
        self.items.iter().filter_map(|item| {
            let state = item.state.lock();
            Some(SourceAnswer {
                document: &item.document,
                source: &item.source,
                found: state.answer()?,
                fault: state.fault(),
            })
        })
    }

    pub(crate) fn holds(&self, id: &CredentialId) -> bool {
        self.items.iter().any(|item| item.document.id == *id)
    }
}

/// A declared credential with an invalid label, usage tag or workspace.
#[derive(Debug, thiserror::Error)]
#[error("credential[{index}]: {error}")]
pub struct DeclaredError {
    /// Its index among the `[[credential]]` tables, from 0.
    pub index: usize,
    error: IdError,
}

fn document(declared: &DeclaredCredential, now: Timestamp) -> Result<CredentialDocument, IdError> {
    let usage_tag = declared.usage_tag.as_deref().map(str::parse::<UsageTag>);
    Ok(CredentialDocument {
        id: id_of(&declared.workspace, &declared.provider, &declared.label),
        workspace: declared.workspace.parse()?,
        provider: declared.provider.clone(),
        label: declared.label.parse()?,
        environment: match declared.environment {
            DeclaredEnvironment::Live => Environment::Live,
            DeclaredEnvironment::Sandbox => Environment::Sandbox,
        },
        usage_tag: usage_tag.transpose()?,
        expires_at: None,
        endpoint: declared.endpoint.clone(),
        limits: Limits {
            requests_per_day: declared.limits.requests_per_day,
            tokens_per_day: declared.limits.tokens_per_day,
        },
        reference: None,
        source: None,
        created_by: ActorId::system(),
        created_at: now,
        last_rotated_at: None,
        revoked_at: None,
        revision: 1,
        current: 0,
        versions: Vec::new(),
    })
}

/// Derived from its parts, so that run records of different processes and starts have the same id.
fn id_of(workspace: &str, provider: &str, label: &str) -> CredentialId {
    let mut hash = Sha256::new();
    for part in ["keyside/1/declared", workspace, provider, label] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bits = [0; 16];
    bits.copy_from_slice(&hash.finalize()[..16]);
    CredentialId::from_bits(bits)
}

/// A new key that never leaves this process.
pub(crate) fn process_key() -> Arc<SealingKey> {
    let root = entropy::secret();
    let memory = LockedMemory::default();
    let installation: Arc<str> = "process".into();
    Arc::new(SealingKey::new("pk_process", &installation, &root, &memory))
}

/// Refuses the kinds of keys that cannot be stored either, such as administrative ones, wherever
/// they are kept.
pub(crate) fn expect_usual_kind(
    found: Lookup,
    place: &dyn fmt::Display,
    provider: Option<&Arc<Provider>>,
) -> Result<Lookup, SourceError> {
    let kind = match (&found, provider) {
        (Lookup::Changed { secret, .. }, Some(provider)) => refused_kind(secret, &provider.key),
        _ => None,
    };
    match kind {
        Some(kind) => Err(SourceError::Gone(format!("{place}: {}", kind.why))),
        None => Ok(found),
    }
}

/// The workspaces of declared credentials. The first credential of a provider and environment is
/// the default.
fn workspaces(items: &[Item], now: Timestamp) -> Vec<Arc<WorkspaceEntry>> {
    let mut by_workspace: BTreeMap<&WorkspaceId, Vec<&Item>> = BTreeMap::new();
    for item in items {
        by_workspace
            .entry(&item.document.workspace)
            .or_default()
            .push(item);
    }
    let entry = |(id, items): (&WorkspaceId, Vec<&Item>)| {
        let mut defaults: BTreeMap<ProviderId, Defaults> = BTreeMap::new();
        for document in items.iter().map(|item| &item.document) {
            let of_provider = defaults.entry(document.provider.clone()).or_default();
            if of_provider.of(document.environment).is_none() {
                of_provider.set(document.environment, document.id.clone());
            }
        }
        let document = WorkspaceDocument {
            id: id.clone(),
            incarnation: 0,
            name: id.to_string(),
            created_by: ActorId::system(),
            created_at: now,
            key_rotated_at: None,
            key: None,
            revision: 1,
            defaults,
            limits: Limits::default(),
        };
        let credentials = items
            .iter()
            .map(|item| Arc::new(item.without_secret(Unusable::Unavailable)));
        Arc::new(WorkspaceEntry::new(document, None, credentials, []))
    };
    by_workspace.into_iter().map(entry).collect()
}

impl Item {
    fn without_secret(&self, why: Unusable) -> CredentialEntry {
        let state = self.state.lock();
        let (document, signals) = (self.document.clone(), self.signals.clone());
        let mut entry = CredentialEntry::without_secret(document, why, signals);
        entry.declared = Some(Arc::new(self.followed(&state)));
        entry
    }

    fn followed(&self, state: &State) -> model::Declared {
        model::Declared {
            source: self.source.to_string(),
            version: state.version().map(str::to_owned),
            fault: state.fault(),
        }
    }
}

#[cfg(test)]
mod tests;
