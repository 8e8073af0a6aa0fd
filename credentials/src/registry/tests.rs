//! The registry as its callers see it, over storage in memory that a test can break, cut and tamper with.

mod access;
mod crash;
mod disclosure;
mod erasing;
mod exporting;
mod life;
mod master_key;
mod opening;
mod resolving;
mod tampering;
mod workspace_key;

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use keyside_config::{Catalogue, CredentialRules, EnvironmentPin};
use tempfile::TempDir;

use super::*;
use crate::{
    ActorId, Ask, Environment, Grant, MasterKey, Refusal, Scope, Secret,
    clock::held::HeldClock,
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

fn secret(text: &str) -> Secret {
    Secret::from_plaintext(text.as_bytes().to_vec()).unwrap()
}

/// A live key of openai for `acme`.
fn key(label: &str, text: &str) -> NewCredential {
    NewCredential {
        workspace: "acme".parse().unwrap(),
        provider: "openai".to_owned(),
        label: label.parse().unwrap(),
        environment: Environment::Live,
        secret: secret(text),
        usage_tag: None,
        expires_at: None,
        endpoint: None,
        default: false,
    }
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
    let secret = grant?.open()?;
    Ok(String::from_utf8(secret.expose().to_vec()).unwrap())
}

/// 22 November 2026.
const NOW: i64 = 1_795_305_600;
const DAY: i64 = 86_400;
