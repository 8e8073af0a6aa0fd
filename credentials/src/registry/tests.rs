//! The registry as its callers see it, over storage in memory that a test can break, cut and tamper with.

mod access;
mod changing;
mod clock;
mod crash;
mod disclosure;
mod erasing;
mod exporting;
mod half_way;
mod incarnations;
mod labels;
mod life;
mod master_key;
mod model;
mod opening;
mod receipts;
mod references;
mod repetition;
mod reserve;
mod resolving;
mod rotation;
mod surgery;
mod tampering;
mod trial;
mod workspace_key;

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use keyside_config::{Catalogue, CredentialRules, EnvironmentPin};
use tempfile::TempDir;

use super::*;
use crate::{
    ActorId, Ask, Environment, Grant, MasterKey, Refusal, SHORTEST_SECRET, Scope, Secret,
    VersionState,
    audit::Event,
    clock::held::HeldClock,
    documents::CREDENTIALS,
    storage::{MemoryStorage, faulty::FaultyStorage},
};

/// An installation: a data folder, its storage, and a clock that stands still.
struct Installation {
    folder: TempDir,
    memory: Arc<MemoryStorage>,
    clock: Arc<HeldClock>,
}

impl Installation {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            memory: Arc::default(),
            clock: Arc::new(HeldClock::at(NOW)),
        }
    }

    /// One with the workspace `acme` in it.
    async fn with_acme() -> (Self, Arc<Registry>) {
        let installation = Self::new();
        let registry = installation.open().await;
        registry
            .create_workspace(&act(), workspace("acme"))
            .await
            .unwrap();
        (installation, registry)
    }

    async fn open(&self) -> Arc<Registry> {
        self.try_open().await.unwrap()
    }

    async fn try_open(&self) -> Result<Arc<Registry>, OpenError> {
        Registry::open(self.options(self.memory.clone())).await
    }

    /// The same installation over storage that fails where told.
    async fn open_faulty(&self) -> (Arc<FaultyStorage>, Arc<Registry>) {
        let storage = Arc::new(FaultyStorage::new(self.memory.clone()));
        let registry = Registry::open(self.options(storage.clone())).await.unwrap();
        (storage, registry)
    }

    /// Without what goes on by itself, so that nothing happens but what a test does.
    async fn open_still(&self, storage: Arc<dyn Storage>) -> Registry {
        let Opened { inner, .. } = Inner::open(self.options(storage)).await.unwrap();
        let inner = Arc::new(inner);
        Registry { inner }
    }

    fn options(&self, storage: Arc<dyn Storage>) -> OpenOptions {
        OpenOptions {
            storage,
            keyring: self.keyring(),
            kms: Kms::local(MasterKey::parse(&[9; 32], "a test").unwrap()),
            catalogue: catalogue(),
            rules: CredentialRules { expiring_days: 30 },
            clock: self.clock.clone(),
        }
    }

    fn keyring(&self) -> PathBuf {
        self.folder.path().join("keyring")
    }

    fn anchor(&self) -> PathBuf {
        self.folder.path().join("audit-head")
    }
}

fn catalogue() -> Arc<Catalogue> {
    static BUILTIN: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::builtin()));
    BUILTIN.clone()
}

fn act() -> Act {
    Act {
        actor: "tok_tester".parse::<ActorId>().unwrap(),
        request_id: "req_1".to_owned(),
    }
}

fn workspace(id: &str) -> NewWorkspace {
    NewWorkspace {
        id: id.parse().unwrap(),
        name: format!("The {id} workspace"),
    }
}

/// A short text is padded to the length that a secret must have; [`plain`] takes the padding off.
fn secret(text: &str) -> Secret {
    Secret::from_plaintext(format!("{text:-<SHORTEST_SECRET$}").into_bytes()).unwrap()
}

/// A live key of openai for `acme`.
fn key(label: &str, text: &str) -> NewCredential {
    NewCredential {
        workspace: "acme".parse().unwrap(),
        provider: "openai".to_owned(),
        label: label.parse().unwrap(),
        environment: Environment::Live,
        secret: secret(text).into(),
        usage_tag: None,
        expires_at: None,
        endpoint: None,
        default: false,
        idempotency: None,
    }
}

/// An installation with one key, `sk-1`, the default of `acme`.
async fn one_key() -> (Installation, Arc<Registry>, CredentialId) {
    let (installation, registry) = Installation::with_acme().await;
    let saved = registry.add(&act(), key("default", "sk-1")).await.unwrap();
    (installation, registry, saved.credential.id)
}

/// A rotation like the ones that nobody says much about.
fn to(text: &str) -> Rotation {
    Rotation::to(secret(text))
}

fn ask(workspace: &'static str) -> Ask<'static> {
    Ask {
        workspace,
        provider: "openai",
        label: None,
        environment: None,
        pin: EnvironmentPin::Any,
    }
}

fn opened(grant: Result<Grant, Refusal>) -> Result<String, Refusal> {
    Ok(plain(&grant?.open()?))
}

fn plain(secret: &Secret) -> String {
    let text = String::from_utf8(secret.expose().to_vec()).unwrap();
    text.trim_end_matches('-').to_owned()
}

fn states(credential: &Credential) -> Vec<VersionState> {
    let versions = credential.versions.iter();
    versions.map(|version| version.state).collect()
}

/// How many versions have sealed bytes in storage.
fn sealed_versions(installation: &Installation) -> usize {
    let mut sealed = 0;
    installation.memory.tamper(|documents, _| {
        let credentials = documents
            .iter()
            .filter(|(key, _)| key.starts_with(CREDENTIALS));
        for (_, document) in credentials {
            let text = String::from_utf8_lossy(&document.body).into_owned();
            sealed +=
                text.matches("\"sealed\":\"").count() - text.matches("\"sealed\":\"\"").count();
        }
    });
    sealed
}

async fn events(registry: &Registry, from: u64) -> Vec<Event> {
    let records = registry.audit().records(from, 1000).await.unwrap();
    records.iter().map(|record| record.event).collect()
}

/// Lets everything run until nothing moves any more: all wait for a lock that the test holds.
async fn all_wait() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// 22 November 2026.
const NOW: i64 = 1_795_305_600;
const DAY: i64 = 86_400;
