//! Random histories of credentials, compared with a reference model that is too simple to be wrong:
//! a list in memory, without storage, sealing, chains and audit log.
//!
//! Two authorities change them concurrently on one backend. Storage is slow and loses answers,
//! authorities crash and restart, and the store is restored from a backup. Concurrent steps and
//! lost answers leave several possible states of the reference, until the next list shows which of
//! them is the real one.
//!
//! `KEYSIDE_MODEL_ROUNDS` sets the number of histories, and `KEYSIDE_MODEL_SEED` selects them; a
//! failure prints both.

mod authority;
mod comparison;
mod reference;
mod step;

use std::{collections::BTreeMap, time::Duration};

use keyside_config::{LocalKms, MasterKeySource};
use keyside_sled::EmbeddedStore;
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

use self::{
    authority::{Authority, StepContext},
    comparison::{compare_answers, compare_views},
    reference::{Reference, outcomes},
    step::{Steps, Turn, turns},
};
use super::*;
use crate::{
    backup::{OpeningStore, Restore, RestoreError},
    kms::KmsSource,
};

#[test]
fn any_history_in_memory_matches_the_reference() {
    // Created once and copied: most of the time is spent waiting for the disk with the keyring.
    let runtime = runtime();
    let (made, registry) = runtime.block_on(Installation::with_acme());
    drop((registry, runtime));
    run(rounds(), || {
        let mut history = History::new(Kind::Memory, made.copy());
        history.start();
        history
    });
}

#[test]
fn any_history_on_disk_matches_the_reference() {
    run(rounds().div_ceil(MEMORY_HISTORIES_PER_DISK_HISTORY), || {
        let mut history = History::new(Kind::Disk, Installation::new());
        history.start();
        history.on(0, async |registry| {
            let made = registry.create_workspace(&act(), workspace("acme")).await;
            made.unwrap();
        });
        history
    });
}

fn rounds() -> u32 {
    let rounds = std::env::var("KEYSIDE_MODEL_ROUNDS");
    rounds.map_or(HISTORIES, |rounds| rounds.parse().unwrap())
}

fn run(cases: u32, begin: impl Fn() -> History) {
    let seed = std::env::var("KEYSIDE_MODEL_SEED");
    let seed = seed.map_or_else(|_| crate::entropy::number(), |seed| seed.parse().unwrap());
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, rng).run(&turns(), |turns| {
        let mut history = begin();
        for turn in turns {
            history
                .take(&turn)
                .map_err(|error| TestCaseError::fail(format!("{turn:?}: {error}")))?;
        }
        history.end()
    });
    if let Err(error) = outcome {
        let rounds = rounds();
        panic!("KEYSIDE_MODEL_SEED={seed} KEYSIDE_MODEL_ROUNDS={rounds}: {error}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Only slow storage waits for time to pass.
    runtime.enable_all().start_paused(true).build().unwrap()
}

/// The kind of backend.
#[derive(Clone, Copy)]
enum Kind {
    Memory,
    Disk,
}

impl Kind {
    async fn open(self, installation: &Installation) -> Backend {
        match self {
            Self::Memory => installation.backend(),
            Self::Disk => opened_again(&store(installation)).await.backend(),
        }
    }
}

fn store(installation: &Installation) -> PathBuf {
    installation.folder.path().join("store")
}

/// sled releases its files in its own threads, some time after it was dropped.
async fn opened_again(folder: &Path) -> Arc<EmbeddedStore> {
    for _ in 0..1_000 {
        match EmbeddedStore::open(folder).await {
            Ok(storage) => return storage,
            Err(_still_held) => tokio::task::yield_now().await,
        }
    }
    EmbeddedStore::open(folder).await.unwrap()
}

/// The real installation and the reference.
struct History {
    kind: Kind,
    installation: Installation,
    running: Option<Running>,
    /// The possible states: more than one where no list can distinguish them.
    states: Vec<Reference>,
    /// Ids in the order in which they were first listed.
    ids: Vec<CredentialId>,
    revisions: BTreeMap<CredentialId, u64>,
    /// The possible states when the last backup was made.
    backed_up: Option<Vec<Reference>>,
    turns: usize,
}

/// What a restart ends.
struct Running {
    runtime: tokio::runtime::Runtime,
    authorities: [Authority; 2],
    backend: Backend,
}

impl History {
    fn new(kind: Kind, installation: Installation) -> Self {
        Self {
            kind,
            installation,
            running: None,
            states: vec![Reference::new(NOW)],
            ids: Vec::new(),
            revisions: BTreeMap::new(),
            backed_up: None,
            turns: 0,
        }
    }

    fn start(&mut self) {
        self.running = None;
        let (kind, installation) = (self.kind, &self.installation);
        let runtime = runtime();
        let (backend, authorities) = runtime.block_on(async {
            let backend = kind.open(installation).await;
            let one = Authority::open(installation, &backend).await;
            let other = Authority::open(installation, &backend).await;
            (backend, [one, other])
        });
        self.running = Some(Running {
            runtime,
            authorities,
            backend,
        });
    }

    /// Calls one authority while the other does nothing.
    fn on<T>(&self, authority: usize, ask: impl AsyncFnOnce(&Arc<Registry>) -> T) -> T {
        let running = self.running.as_ref().unwrap();
        let registry = &running.authorities[authority].registry;
        running.runtime.block_on(ask(registry))
    }

    fn now(&self) -> i64 {
        self.installation.clock.now().as_second()
    }

    fn take(&mut self, turn: &Turn) -> Result<(), TestCaseError> {
        let is_refused = match turn {
            Turn::Steps(steps) => self.take_steps(steps)?,
            Turn::Advance(seconds) => {
                self.installation.clock.set(self.now() + seconds);
                false
            }
            Turn::Sweep(authority) => {
                self.on(*authority, async |registry| registry.sweep().await);
                false
            }
            Turn::Restart => {
                self.start();
                true
            }
            Turn::BackUp(authority) => {
                self.back_up(*authority);
                true
            }
            Turn::Restore => {
                self.restore();
                false
            }
        };
        self.turns += 1;
        let now = self.now();
        for state in &mut self.states {
            state.now = now;
        }
        self.compare(is_refused)
    }

    /// Lets both authorities take their steps. Returns whether all were refused.
    fn take_steps(&mut self, steps: &Steps) -> Result<bool, TestCaseError> {
        let before = self.now();
        let running = self.running.as_mut().unwrap();
        let context = StepContext {
            installation: &self.installation,
            backend: &running.backend,
            ids: &self.ids,
            conditions: steps.conditions,
        };
        let [one, other] = &mut running.authorities;
        let passes = async {
            if let Some((wait, seconds)) = steps.passes {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                context.installation.clock.set(before + seconds);
            }
        };
        let (of_one, of_other, ()) = running.runtime.block_on(async {
            tokio::join!(
                one.take_all(0, &steps.of[0], &context),
                other.take_all(1, &steps.of[1], &context),
                passes,
            )
        });
        let mut times = vec![before, self.now()];
        times.dedup();
        let mut found = Vec::new();
        for state in &self.states {
            outcomes(state, [&of_one, &of_other], &times, &mut found);
        }
        prop_assert!(
            !found.is_empty(),
            "in no order are these the answers: {of_one:?} and {of_other:?}"
        );
        self.states = found;
        let mut taken = of_one.iter().chain(&of_other);
        Ok(taken.all(|taken| taken.outcome.is_refusal()))
    }

    fn back_up(&mut self, authority: usize) {
        let made = self.on(authority, async |registry| {
            let mut backup = registry.backup(&act()).await.unwrap();
            let mut file = Vec::new();
            while let Some(piece) = backup.next().await {
                file.extend(piece.unwrap());
            }
            file
        });
        fs::write(self.installation.folder.path().join("backup"), made).unwrap();
        self.backed_up = Some(self.states.clone());
    }

    /// Restores the last backup into a new store.
    fn restore(&mut self) {
        let Some(states) = self.backed_up.clone() else {
            return;
        };
        self.running = None;
        let runtime = runtime();
        let store = store(&self.installation);
        match self.kind {
            Kind::Memory => self.installation.memory = Arc::default(),
            Kind::Disk => {
                // Once no task uses it any more.
                drop(runtime.block_on(opened_again(&store)));
                fs::remove_dir_all(&store).unwrap();
            }
        }
        let folder = self.installation.folder.path();
        let master_key = folder.join("master-key");
        fs::write(&master_key, [9_u8; 32]).unwrap();
        let (kind, memory) = (self.kind, self.installation.memory.clone());
        let open = move |folder: &Path| -> OpeningStore {
            let (folder, memory) = (folder.to_owned(), memory.clone());
            Box::pin(async move {
                match kind {
                    Kind::Memory => {
                        fs::create_dir(&folder).unwrap();
                        Ok(Backend::of(memory))
                    }
                    Kind::Disk => match EmbeddedStore::open(&folder).await {
                        Ok(store) => Ok(store.backend()),
                        Err(error) => Err(RestoreError::Store(Box::new(error))),
                    },
                }
            })
        };
        let restore = Restore {
            open: &open,
            store: &store,
            keyring: &self.installation.keyring(),
            kms: &KmsSource::Local(LocalKms {
                master_key: MasterKeySource::File(master_key),
                previous_master_key: None,
            }),
            other_installation: false,
            older: true,
        };
        let restored = runtime.block_on(restore.run(&folder.join("backup")));
        restored.unwrap();
        drop(runtime);
        self.states = states;
        self.start();
    }

    /// Compares all listed credentials and all answers to queries, one authority after the other.
    fn compare(&mut self, is_refused: bool) -> Result<(), TestCaseError> {
        let authority = self.turns % 2;
        let views = self.on(authority, async |registry| {
            registry.catch_up().await.unwrap();
            registry.list(&Filter::default())
        });
        let revisions: BTreeMap<_, _> = views
            .iter()
            .map(|view| (view.id.clone(), view.revision))
            .collect();
        if is_refused {
            prop_assert_eq!(
                &revisions,
                &self.revisions,
                "a refused change changed something"
            );
        }
        let running = self.running.as_ref().unwrap();
        let resolver = running.authorities[authority].registry.resolver();
        let (mut states, mut refuted) = (Vec::new(), Vec::new());
        for mut state in std::mem::take(&mut self.states) {
            let compared = compare_views(&mut state, &views);
            match compared.and_then(|()| compare_answers(&state, &resolver)) {
                Ok(()) if states.contains(&state) => {}
                Ok(()) => states.push(state),
                Err(error) => refuted.push(error),
            }
        }
        prop_assert!(!states.is_empty(), "{refuted:?}");
        prop_assert!(states.len() <= MOST_STATES, "{} states", states.len());
        self.states = states;
        self.revisions = revisions;
        self.list_ids(views);
        Ok(())
    }

    fn list_ids(&mut self, mut views: Vec<Credential>) {
        self.ids.retain(|id| self.revisions.contains_key(id));
        views.retain(|view| !self.ids.contains(&view.id));
        // Ids are random, but the same seed must take the same steps.
        views.sort_by_key(|view| (view.provider.clone(), view.label.as_str().to_owned()));
        self.ids.extend(views.into_iter().map(|view| view.id));
    }

    /// At the end, after a sweep: checks the contents of the store and the log. To a new process,
    /// the remains of crashes are garbage.
    fn end(mut self) -> Result<(), TestCaseError> {
        self.take(&Turn::Restart)?;
        self.take(&Turn::Sweep(0))?;
        let storage = self.running.as_ref().unwrap().backend.storage.clone();
        let (stored, recorded) = self.on(0, async |registry| {
            registry.chains.sweep().await.unwrap();
            let chain = registry.chains.of(&"acme".parse().unwrap());
            let next = chain.state().map_or(0, |state| state.head.seq + 1);
            let mut keys = storage.list("workspace/acme/object/").await.unwrap();
            // A crashed commit after the head may as well be another process's commit in progress.
            keys.retain(|key| *key < format!("workspace/acme/object/{next:016x}"));
            let stored = storage.get_all(&keys).await.unwrap();
            registry.audit().verify().await.unwrap();
            (stored, records(registry).await)
        });
        let stored = stored.iter().flatten();
        let texts = stored.map(|object| String::from_utf8_lossy(object));
        let sealed: usize = texts
            .map(|text| {
                text.matches("\"sealed\":").count() - text.matches("\"sealed\":\"\"").count()
            })
            .sum();
        let state = &self.states[0];
        prop_assert_eq!(sealed, state.sealed_versions(), "sealed bytes in the store");
        let count = |event| {
            recorded
                .iter()
                .filter(|record| record.event == event)
                .count()
        };
        let counts = [
            Event::CredentialCreated,
            Event::CredentialRotated,
            Event::CredentialRolledBack,
        ]
        .map(count);
        prop_assert_eq!(counts, state.counts);
        drop(storage);
        self.running = None;
        Ok(())
    }
}

/// Histories in memory, unless `KEYSIDE_MODEL_ROUNDS` is set.
const HISTORIES: u32 = 250;
/// The disk is slower by this factor.
const MEMORY_HISTORIES_PER_DISK_HISTORY: u32 = 15;
/// States that no list distinguishes: the expiry of a version that is not in use, an idempotency
/// key.
const MOST_STATES: usize = 64;
