//! Credentials that the settings declare. Their secrets stay where they are kept, and are followed there.
//!
//! ```text
//! settings ──► Declared ──► Snapshots ──► Resolver
//!                 ▲
//!              follower: reads each file once a second, each secret in Vault once a poll
//! ```
//!
//! A secret that changes is the next request's. One that is known to be gone is used no more; one that cannot be read now
//! is used for as long as an outage may last. Sealed in memory under a key that this process has made for itself. With
//! `vault.cache` a sealed copy is on disk too, for a start during an outage.

mod cache;
mod cached;
mod follow;
pub(crate) mod state;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use keyside_config::{Catalogue, DeclaredCredential, DeclaredEnvironment};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use self::cache::{CacheKey, CacheKeyError, CacheOptions};
use self::{cache::Cache, state::State};
use crate::{
    clock::{Clock, Ratchet},
    documents::{CredentialDocument, Defaults, WorkspaceDocument},
    entropy,
    locked::LockedMemory,
    model::{ActorId, CredentialId, Environment, IdError, Label, UsageTag, WorkspaceId},
    resolver::Resolver,
    sealing::SealingKey,
    snapshot::{
        CredentialEntry, Keys, Snapshot, SourceStatus, Unusable, WorkspaceEntry,
        signals::{Notices, Signals},
    },
    source::{SecretSource, SourceReference},
};

/// What declared credentials are opened with.
pub struct DeclaredOptions {
    /// Those of the settings.
    pub credentials: Vec<DeclaredCredential>,
    /// The known providers.
    pub catalogue: Arc<Catalogue>,
    /// Where secrets in Vault are read.
    pub vault: Option<Arc<dyn SecretSource>>,
    /// How often a secret in Vault is looked at.
    pub poll: Duration,
    /// How long a secret is used that cannot be read any more, while nobody says that it is gone.
    pub outage: Duration,
    /// The copy on disk of what was read in Vault.
    pub cache: Option<CacheOptions>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// All declared credentials.
pub struct Declared {
    items: Vec<Item>,
    vault: Option<Arc<dyn SecretSource>>,
    poll: Duration,
    outage: Duration,
    cache: Option<Cache>,
    clock: Arc<Ratchet>,
    key: ProcessKey,
    snapshot: Arc<ArcSwap<Snapshot>>,
}

/// One of them: what never changes, and what was found last.
struct Item {
    document: CredentialDocument,
    source: SourceReference,
    prefixes: Vec<String>,
    signals: Arc<Signals>,
    state: std::sync::Mutex<State>,
}

/// How a declared credential stands, for readiness and metrics.
#[derive(Clone, Debug)]
pub struct SourceHealth {
    /// The workspace that may use it.
    pub workspace: WorkspaceId,
    /// The provider it is for.
    pub provider: Arc<str>,
    /// Its name.
    pub label: Label,
    /// Where its secret is kept.
    pub source: String,
    /// Whether requests can use it.
    pub usable: bool,
    /// Whether its secret was neither read nor found to be gone since the start.
    pub unknown: bool,
    /// Why its secret was not read the last time; names the place and the remedy.
    pub fault: Option<String>,
    /// Its secret is from the cache on disk: it was not read since the start.
    pub cached: Option<FromCache>,
}

/// How long a secret from the cache is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromCache {
    /// When Vault last confirmed it.
    pub confirmed: Timestamp,
    /// Until when it is used, unless Vault answers before.
    pub until: Timestamp,
}

/// What seals in this process, for as long as it lives.
struct ProcessKey(Arc<SealingKey>);

impl Keys for ProcessKey {
    fn key(&self, _workspace: &WorkspaceId, id: &str) -> Option<Arc<SealingKey>> {
        (self.0.id() == id).then(|| self.0.clone())
    }
}

impl Declared {
    /// Lays them out. Nothing is read before [`Self::follow`].
    ///
    /// # Errors
    /// A label or usage tag that cannot be one, with the table that has it.
    pub fn new(options: DeclaredOptions) -> Result<Arc<Self>, DeclaredError> {
        let clock = Arc::new(Ratchet::new(options.clock));
        // Nobody puts on record that a declared credential was asked for in vain: that is for an authority.
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
                state: std::sync::Mutex::new(State::default()),
            })
        });
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let snapshot = Snapshot::of(workspaces(&items, now));
        Ok(Arc::new(Self {
            items,
            vault: options.vault,
            poll: options.poll,
            outage: options.outage,
            cache: options.cache.map(|cache| Cache::new(cache, options.outage)),
            clock,
            key: ProcessKey(process_key()),
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        }))
    }

    /// Resolves requests from these alone.
    pub fn resolver(&self) -> Resolver {
        Resolver::new(self.snapshot.clone(), self.clock.clone())
    }

    /// How each stands.
    pub fn source_health(&self) -> Vec<SourceHealth> {
        let health = |item: &Item| {
            let state = item.state();
            SourceHealth {
                workspace: item.document.workspace.clone(),
                provider: item.document.provider.clone(),
                label: item.document.label.clone(),
                source: item.source.to_string(),
                usable: state.is_usable(),
                unknown: state.is_unknown(),
                fault: state.fault(),
                cached: state.cached().map(|cached| FromCache {
                    confirmed: cached.confirmed,
                    until: cached.until,
                }),
            }
        };
        self.items.iter().map(health).collect()
    }

    pub(crate) fn snapshot(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.snapshot
    }

    /// Whether this id is one of theirs.
    pub(crate) fn holds(&self, id: &CredentialId) -> bool {
        self.items.iter().any(|item| item.document.id == *id)
    }
}

/// A declared credential with a name that it cannot have.
#[derive(Debug, thiserror::Error)]
#[error("credential[{index}]: {error}")]
pub struct DeclaredError {
    /// Its place among the `[[credential]]` tables, from 0.
    pub index: usize,
    error: IdError,
}

fn document(declared: &DeclaredCredential, now: Timestamp) -> Result<CredentialDocument, IdError> {
    let provider = declared.provider.as_str();
    let usage_tag = declared.usage_tag.as_deref().map(str::parse::<UsageTag>);
    Ok(CredentialDocument {
        id: id_of(&declared.workspace, provider, &declared.label),
        workspace: declared.workspace.parse()?,
        provider: provider.into(),
        label: declared.label.parse()?,
        environment: match declared.environment {
            DeclaredEnvironment::Live => Environment::Live,
            DeclaredEnvironment::Sandbox => Environment::Sandbox,
        },
        usage_tag: usage_tag.transpose()?,
        expires_at: None,
        endpoint: declared.endpoint.clone(),
        reference: None,
        source: None,
        created_by: ActorId::system(),
        created_at: now,
        last_rotated_at: None,
        last_verified_at: None,
        verification: None,
        revoked_at: None,
        revision: 1,
        current: 0,
        versions: Vec::new(),
    })
}

/// The same in every process and at every start, so that run records can be read together.
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
    let mut root = Zeroizing::new([0; 32]);
    entropy::fill(&mut *root);
    let memory = LockedMemory::default();
    let installation: Arc<str> = "process".into();
    Arc::new(SealingKey::new("pk_process", &installation, &root, &memory))
}

/// Of each workspace and provider the first credential of an environment is the default.
fn workspaces(items: &[Item], now: Timestamp) -> Vec<Arc<WorkspaceEntry>> {
    let mut by_workspace: BTreeMap<&WorkspaceId, Vec<&Item>> = BTreeMap::new();
    for item in items {
        by_workspace
            .entry(&item.document.workspace)
            .or_default()
            .push(item);
    }
    let entry = |(id, items): (&WorkspaceId, Vec<&Item>)| {
        let mut defaults: BTreeMap<String, Defaults> = BTreeMap::new();
        for CredentialDocument {
            id,
            provider,
            environment,
            ..
        } in items.iter().map(|item| &item.document)
        {
            let of_provider = defaults.entry(provider.to_string()).or_default();
            if of_provider.of(*environment).is_none() {
                of_provider.set(*environment, id.clone());
            }
        }
        let document = WorkspaceDocument {
            id: id.clone(),
            incarnation: 0,
            name: id.to_string(),
            created_by: ActorId::system(),
            created_at: now,
            revision: 1,
            defaults,
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
        let state = self.state();
        let (document, signals) = (self.document.clone(), self.signals.clone());
        let mut entry = CredentialEntry::without_secret(document, why, signals);
        entry.declared = Some(Arc::new(self.followed(&state)));
        entry
    }

    fn followed(&self, state: &State) -> SourceStatus {
        SourceStatus {
            source: self.source.clone(),
            version: state.version().map(str::to_owned),
            fault: state.fault(),
        }
    }
}

#[cfg(test)]
mod tests;
