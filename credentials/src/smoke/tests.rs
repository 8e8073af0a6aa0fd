//! Smoke runs over a registry in memory, a clock that the test sets, and a provider that says what
//! the test wants.

mod leases;
mod results;
mod spending;

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use jiff::Timestamp;
use keyside_config::{
    Cause, CredentialRules, EnvironmentPin, LocalKms, MasterKeySource, Settings, Sources,
    Verification,
};
use keyside_store::{Backend, Memory, faulty::FaultyNotes};
use tempfile::TempDir;

use super::{
    execute::spend_note,
    ledger::{Ledger, Run},
    schedule::Watch,
    *,
};
use crate::{
    clock::held::HeldClock,
    kms::{Kms, KmsSource},
    live_check::Finding,
    model::{Credential, Environment, Scope},
    registry::{
        Edit, NewCredential, OpenOptions, Rotation,
        tests::{act, workspace},
    },
    resolver::Grant,
    secret::Secret,
    spend::DayTotals,
};

/// 2026-11-29T12:00:00Z.
const NOON: i64 = 1_795_953_600;
const DAY: i64 = 24 * 60 * 60;
/// The next time of the default schedule after [`NOON`]: 03:17.
const NIGHT: i64 = NOON + 15 * 60 * 60 + 17 * 60;

/// A provider that answers from a queue, and then accepts everything.
#[derive(Default)]
struct Provider {
    answers: Mutex<VecDeque<Finding>>,
    asked: Mutex<HashMap<String, usize>>,
    sent: AtomicUsize,
    /// Set while a test wants requests to hang.
    is_stuck: std::sync::atomic::AtomicBool,
    /// Notes of which the next write fails when a request arrives.
    breaks: Mutex<Option<Arc<FaultyNotes>>>,
}

impl Provider {
    fn will_answer(&self, findings: impl IntoIterator<Item = Finding>) {
        self.answers.lock().extend(findings);
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// How often a label was checked.
    fn asked(&self, label: &str) -> usize {
        let asked = self.asked.lock();
        asked.get(label).copied().unwrap_or(0)
    }
}

#[async_trait]
impl LiveCheck for Provider {
    async fn check(&self, grant: &Grant) -> Finding {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let label = grant.label().to_string();
        *self.asked.lock().entry(label).or_default() += 1;
        if let Some(notes) = self.breaks.lock().take() {
            notes.fail_writes(1);
        }
        if self.is_stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let next = self.answers.lock().pop_front();
        next.unwrap_or_else(|| found(Verification::Accepted, 200))
    }
}

fn found(verification: Verification, status: u16) -> Finding {
    match (verification, status) {
        (Verification::Limited, 429) => Finding::because(Cause::RateLimited, Some(status)),
        _ => Finding::of_verdict(verification, Some(status)),
    }
}

/// A store with the workspace `acme`, and a provider.
struct World {
    registry: Arc<Registry>,
    clock: Arc<HeldClock>,
    provider: Arc<Provider>,
    settings: SmokeSettings,
    memory: Arc<Memory>,
    notes: Arc<FaultyNotes>,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(HeldClock::at(NOON));
        let memory = Arc::new(Memory::new());
        let settings = Settings::load(&Sources::default()).unwrap().settings;
        let keyring = folder.path().join("keyring");
        let kms = KmsSource::Local(LocalKms {
            master_key: MasterKeySource::Generated(folder.path().join("master-key")),
            previous_master_key: None,
        });
        let notes = Arc::new(FaultyNotes::new(memory.clone()));
        let options = OpenOptions {
            backend: Backend {
                notes: notes.clone(),
                ..Backend::of(memory.clone())
            },
            kms: Kms::open(&kms, &keyring).unwrap(),
            keyring,
            catalogue: Arc::new(settings.catalogue),
            rules: CredentialRules { expiring_days: 30 },
            clock: clock.clone(),
        };
        let registry = Registry::open(options).await.unwrap();
        let created = registry.create_workspace(&act(), workspace("acme")).await;
        created.unwrap();
        Self {
            registry,
            clock,
            provider: Arc::default(),
            settings: settings.smoke,
            memory,
            notes,
            _folder: folder,
        }
    }

    /// A process on this store.
    fn process(&self) -> Arc<Smoke> {
        let (registry, provider) = (self.registry.clone(), self.provider.clone());
        Smoke::new(registry, provider, self.settings.clone())
    }

    /// Adds a tagged sandbox key.
    async fn key(&self, provider: &str, label: &str) -> Credential {
        self.add(new(provider, label)).await
    }

    async fn add(&self, new: NewCredential) -> Credential {
        let saved = self.registry.add(&act(), new).await;
        saved.unwrap().credential
    }
}

impl Smoke {
    /// Executes what is waiting, in this task.
    async fn work(self: &Arc<Self>) -> usize {
        let mut executed = 0;
        while let Some(run) = self.take().await {
            self.clone().execute(run).await;
            executed += 1;
        }
        executed
    }

    async fn take(&self) -> Option<Run> {
        let now = self.registry.clock.now();
        let take = |ledger: &mut Ledger| ledger.take(now);
        self.notes.update(LEDGER, take).await.unwrap()
    }

    async fn start_all(&self) -> RunReport {
        let started = self.start(Selection::default(), &Scope::All).await;
        started.unwrap().unwrap()
    }

    /// Runs all on request, and returns the items.
    async fn run(self: &Arc<Self>) -> Vec<Item> {
        let started = self.start_all().await;
        self.work().await;
        let done = self.report(&started.run.id, &Scope::All).await;
        let done = done.unwrap().unwrap();
        assert!(done.run.finished_at.is_some());
        done.items
    }

    /// Runs all on request, and returns the verdicts.
    async fn verdicts(self: &Arc<Self>) -> Vec<Verdict> {
        let items = self.run().await.into_iter();
        items.map(|item| item.result.unwrap().verdict).collect()
    }

    /// Requests and tokens of `acme` today.
    async fn spent(&self) -> (u64, u64) {
        let spend: DayTotals = self.notes.read(&spend_note(&acme())).await.unwrap();
        spend.on(self.registry.clock.now())
    }

    fn figures_of(&self, provider: &str) -> Figures {
        let mut figures = self.figures().into_iter();
        figures
            .find(|figures| figures.provider.as_str() == provider)
            .unwrap()
    }
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::from_plaintext(format!("sk-a-secret-of-the-smoke-tests-{text}").into_bytes()).unwrap()
}

fn new(provider: &str, label: &str) -> NewCredential {
    let secret = secret(label);
    NewCredential {
        environment: Environment::Sandbox,
        usage_tag: Some("ci-smoke".parse().unwrap()),
        ..NewCredential::new(acme(), provider, label.parse().unwrap(), secret)
    }
}
