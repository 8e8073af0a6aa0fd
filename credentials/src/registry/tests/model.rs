//! Random lives of credentials, held against a reference that is too simple to be wrong: one list in memory, with no
//! storage, no sealing, no chain and no audit log.

mod reference;
mod step;

use std::collections::BTreeMap;

use jiff::Timestamp;
use keyside_config::Verification;
use keyside_sled::EmbeddedStore;
use keyside_store::Hash;
use proptest::{
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};

use self::{
    reference::{Reference, Said},
    step::{LABELS, PROVIDERS, Step, steps},
};
use super::*;
use crate::{
    live_check::{Finding, LiveCheck},
    model::Fingerprint,
};

#[test]
fn any_life_in_memory_is_the_one_that_the_reference_leads() {
    // Made once and copied: most of what it costs is waiting for the disk that holds the keyring.
    let runtime = runtime();
    let (made, registry) = runtime.block_on(Installation::with_acme());
    drop((registry, runtime));
    run(700, || {
        let mut life = Life::new(made.copy(), |installation| {
            Box::pin(std::future::ready(installation.backend()))
        });
        life.start();
        life
    });
}

#[test]
fn any_life_on_disk_is_the_one_that_the_reference_leads() {
    run(50, || {
        let mut life = Life::new(Installation::new(), |installation| {
            let folder = installation.folder.path().join("store");
            Box::pin(async move { opened_again(&folder).await.backend() })
        });
        life.start();
        life.now(async |registry| {
            let made = registry.create_workspace(&act(), workspace("acme")).await;
            made.unwrap();
        });
        life
    });
}

/// sled lets go of its files in threads of its own, some time after it was dropped.
async fn opened_again(folder: &Path) -> Arc<EmbeddedStore> {
    for _ in 0..1_000 {
        match EmbeddedStore::open(folder).await {
            Ok(storage) => return storage,
            Err(_still_held) => tokio::task::yield_now().await,
        }
    }
    EmbeddedStore::open(folder).await.unwrap()
}

type Opening = std::pin::Pin<Box<dyn Future<Output = Backend>>>;

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap()
}

fn run(cases: u32, begin: impl Fn() -> Life) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            let mut life = begin();
            for step in steps {
                life.take(&step)
                    .map_err(|error| TestCaseError::fail(format!("{step:?}: {error}")))?;
            }
            life.end()
        })
        .unwrap();
}

/// The real thing beside the reference.
struct Life {
    installation: Installation,
    storage: fn(&Installation) -> Opening,
    /// A process: what it runs ends with it.
    process: Option<(tokio::runtime::Runtime, Arc<Registry>)>,
    reference: Reference,
    /// In the order of the reference's list.
    ids: Vec<CredentialId>,
}

impl Life {
    fn new(installation: Installation, storage: fn(&Installation) -> Opening) -> Self {
        Self {
            installation,
            storage,
            process: None,
            reference: Reference::new(NOW),
            ids: Vec::new(),
        }
    }

    fn start(&mut self) {
        self.process = None;
        let runtime = runtime();
        let registry = runtime.block_on(async {
            let backend = (self.storage)(&self.installation).await;
            let registry = open_still(self.installation.options(backend)).await;
            registry.unwrap()
        });
        self.process = Some((runtime, registry));
    }

    fn now<T>(&self, ask: impl AsyncFnOnce(&Registry) -> T) -> T {
        let (runtime, registry) = self.process.as_ref().unwrap();
        runtime.block_on(ask(&**registry))
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let before = self.views();
        let done = self.reference.take(step);
        let really = self.really(step);
        prop_assert_eq!(&really, &done);
        if matches!(done, Said::No(why) if why != "check failed") {
            prop_assert_eq!(before, self.views(), "a refused change changed something");
        }
        self.compare()
    }

    /// Takes the step with the real thing.
    fn really(&mut self, step: &Step) -> Said {
        let of = |who: &usize| self.ids.get(who % self.ids.len().max(1)).cloned();
        match step {
            Step::Advance(seconds) => {
                let clock = &self.installation.clock;
                clock.set(clock.now().as_second() + seconds);
                Said::Yes
            }
            Step::Restart => {
                self.start();
                Said::Yes
            }
            Step::Sweep => {
                self.now(async |registry| registry.inner.sweep().await);
                Said::Yes
            }
            Step::Create(create) => {
                let new = NewCredential {
                    provider: PROVIDERS[create.provider].to_owned(),
                    environment: create.environment,
                    expires_at: create.expires_in.map(|seconds| self.later(seconds)),
                    default: create.default,
                    idempotency: once(create.once, &format!("{create:?}")),
                    ..key(LABELS[create.label], &step::secret(create.secret))
                };
                match self.now(async |registry| registry.add(&act(), new).await) {
                    Ok(saved) if saved.repeated => Said::Again,
                    Ok(saved) => {
                        self.ids.push(saved.credential.id);
                        Said::Yes
                    }
                    Err(error) => Said::of(&error),
                }
            }
            Step::Rotate(who, rotate) => {
                let Some(id) = of(who) else {
                    return Said::Nobody;
                };
                let rotation = Rotation {
                    grace: std::time::Duration::from_secs(rotate.grace),
                    expires_at: rotate
                        .expires_in
                        .map(|end| end.map(|seconds| self.later(seconds))),
                    expected: self.expected(&id, rotate.stale),
                    idempotency: once(rotate.once, &format!("{rotate:?}")),
                    check: rotate.check.map(|verdict| Arc::new(Says(verdict)) as _),
                    ..to(&step::secret(rotate.secret))
                };
                let rotated =
                    self.now(async |registry| registry.rotate(&act(), &id, rotation).await);
                match rotated {
                    Ok(saved) if saved.repeated => Said::Again,
                    outcome => Said::of_result(outcome),
                }
            }
            Step::RollBack(who, to, stale) => {
                let Some(id) = of(who) else {
                    return Said::Nobody;
                };
                let rollback = Rollback {
                    to: *to,
                    expected: self.expected(&id, *stale),
                };
                Said::of_result(
                    self.now(async |registry| registry.roll_back(&act(), &id, rollback).await),
                )
            }
            Step::Edit(who, edit) => {
                let Some(id) = of(who) else {
                    return Said::Nobody;
                };
                let edit = Edit {
                    label: edit.label.map(|label| LABELS[label].parse().unwrap()),
                    usage_tag: None,
                    expires_at: edit
                        .expires_in
                        .map(|end| end.map(|seconds| self.later(seconds))),
                    default: edit.default,
                    expected: self.expected(&id, edit.stale),
                };
                Said::of_result(self.now(async |registry| registry.edit(&act(), &id, edit).await))
            }
            Step::Revoke(who, cut, stale) => {
                let Some(id) = of(who) else {
                    return Said::Nobody;
                };
                let revocation = Revocation {
                    cut: *cut,
                    expected: self.expected(&id, *stale),
                };
                Said::of_result(
                    self.now(async |registry| registry.revoke(&act(), &id, revocation).await),
                )
            }
        }
    }

    fn later(&self, seconds: i64) -> Timestamp {
        Timestamp::from_second(self.installation.clock.now().as_second() + seconds).unwrap()
    }

    /// The revision as it is, or one that somebody saw before.
    fn expected(&self, id: &CredentialId, stale: bool) -> Option<u64> {
        let credential = self.now(async |registry| registry.credential(id)).unwrap();
        Some(credential.revision - u64::from(stale))
    }

    fn views(&self) -> Vec<Credential> {
        self.now(async |registry| registry.list(&Filter::default()))
    }

    /// Everything that can be seen of it, and everything that it answers.
    fn compare(&self) -> Result<(), TestCaseError> {
        let views: BTreeMap<_, _> = self
            .views()
            .into_iter()
            .map(|view| (view.id.clone(), view))
            .collect();
        prop_assert_eq!(views.len(), self.ids.len());
        for (at, id) in self.ids.iter().enumerate() {
            let (view, expected) = (&views[id], &self.reference.credentials[at]);
            let now = self.reference.now;
            prop_assert!(!view.damaged);
            prop_assert_eq!(view.label.as_str(), LABELS[expected.label]);
            prop_assert_eq!(view.expires_at.map(Timestamp::as_second), expected.expires);
            prop_assert_eq!(
                view.last_rotated_at.map(Timestamp::as_second),
                expected.rotated
            );
            prop_assert_eq!(view.verification, expected.verification);
            prop_assert_eq!(view.status, expected.status(now));
            prop_assert_eq!(view.is_default, self.reference.is_default(at));
            let secret = secret(&step::secret(expected.versions[expected.current].secret));
            prop_assert_eq!(view.fingerprint.as_ref(), Some(&Fingerprint::of(&secret)));
            let versions: Vec<_> = view
                .versions
                .iter()
                .map(|version| {
                    (
                        version.number,
                        version.state,
                        version.grace_until.map(Timestamp::as_second),
                    )
                })
                .collect();
            prop_assert_eq!(versions, expected.states(now));
        }
        self.compare_answers()
    }

    fn compare_answers(&self) -> Result<(), TestCaseError> {
        let (_, registry) = self.process.as_ref().unwrap();
        let resolver = registry.resolver();
        for (number, provider) in PROVIDERS.iter().enumerate() {
            for environment in [None, Some(Environment::Live), Some(Environment::Sandbox)] {
                let asked = Ask {
                    provider,
                    environment,
                    ..ask("acme")
                };
                let answer = opened(resolver.resolve(&asked));
                prop_assert_eq!(answer, self.reference.default_answer(number, environment));
            }
            for (at, label) in LABELS.iter().enumerate() {
                let asked = Ask {
                    provider,
                    label: Some(label),
                    ..ask("acme")
                };
                let answer = opened(resolver.resolve(&asked));
                prop_assert_eq!(answer, self.reference.labelled_answer(number, at));
            }
        }
        Ok(())
    }

    /// At the end, after a sweep: what the store holds, and what the log says.
    fn end(mut self) -> Result<(), TestCaseError> {
        self.take(&Step::Sweep)?;
        let (_, registry) = self.process.as_ref().unwrap();
        let storage = registry.inner.chains.backend().storage.clone();
        let stored = self.now(async |_| {
            let keys = storage.list("workspace/acme/object/").await.unwrap();
            storage.get_all(&keys).await.unwrap()
        });
        let stored = stored.iter().flatten();
        let texts = stored.map(|object| String::from_utf8_lossy(object));
        let sealed: usize = texts
            .map(|text| {
                text.matches("\"sealed\":").count() - text.matches("\"sealed\":\"\"").count()
            })
            .sum();
        prop_assert_eq!(
            sealed,
            self.reference.sealed_versions(),
            "sealed bytes in the store"
        );
        let told = self.now(async |registry| {
            registry.audit().verify().await.unwrap();
            records(registry).await
        });
        let count = |event| told.iter().filter(|record| record.event == event).count();
        let counts = [
            Event::CredentialCreated,
            Event::CredentialRotated,
            Event::RotationAbandoned,
            Event::CredentialRolledBack,
        ]
        .map(count);
        prop_assert_eq!(counts, self.reference.counts);
        drop(storage);
        self.process = None;
        Ok(())
    }
}

struct Says(Verification);

#[async_trait::async_trait]
impl LiveCheck for Says {
    async fn check(&self, _: &Grant) -> Finding {
        Finding {
            verification: self.0,
            status: None,
        }
    }
}

fn once(key: Option<u8>, request: &str) -> Option<Idempotency> {
    Some(Idempotency {
        key: key?.to_string(),
        request: Hash::of(request.as_bytes()),
    })
}
