//! One authority: a real registry, on storage that can fail.

use jiff::Timestamp;
use keyside_config::Verification;
use keyside_store::Hash;

use super::{
    reference::{StepOutcome, Taken},
    step::{self, Create, Edit as EditStep, LABELS, PROVIDERS, Rotate, Step, StorageConditions},
    *,
};
use crate::live_check::{Finding, LiveCheck};

pub(super) struct Authority {
    storage: Arc<Faulty>,
    pub(super) registry: Arc<Registry>,
}

/// What an authority takes its steps with.
pub(super) struct StepContext<'a> {
    pub(super) installation: &'a Installation,
    pub(super) backend: &'a Backend,
    pub(super) ids: &'a [CredentialId],
    pub(super) conditions: Option<StorageConditions>,
}

impl Authority {
    pub(super) async fn open(installation: &Installation, backend: &Backend) -> Self {
        let storage = Arc::new(Faulty::new(backend.clone()));
        let registry = open_without_tasks(installation.options(storage.backend())).await;
        Self {
            storage,
            registry: registry.unwrap(),
        }
    }

    /// Takes the steps in order. After a crash a new process takes the next step.
    pub(super) async fn take_all(
        &mut self,
        number: usize,
        steps: &[Step],
        context: &StepContext<'_>,
    ) -> Vec<Taken> {
        if let Some(conditions) = context.conditions {
            self.storage.draw(conditions.incidents(number));
        }
        let mut taken = Vec::new();
        for step in steps {
            taken.push(self.take(step, context).await);
            if self.storage.has_crashed() {
                self.restart(context).await;
            }
        }
        self.storage.heal();
        taken
    }

    /// Storage of the new process is as slow as before, but does not fail.
    async fn restart(&mut self, context: &StepContext<'_>) {
        let storage = Arc::new(Faulty::new(context.backend.clone()));
        if let Some(conditions) = context.conditions {
            let slow = StorageConditions {
                faults: false,
                ..conditions
            };
            storage.draw(slow.incidents(2));
        }
        let options = context.installation.options(storage.backend());
        self.registry = open_without_tasks(options).await.unwrap();
        self.storage = storage;
    }

    async fn take(&mut self, step: &Step, context: &StepContext<'_>) -> Taken {
        let asked = context.installation.clock.now().as_second();
        let of = match step {
            Step::Create(_) | Step::Restart => None,
            Step::Rotate(who, _)
            | Step::RollBack(who, ..)
            | Step::Edit(who, _)
            | Step::Revoke(who, ..) => context.ids.get(who % context.ids.len().max(1)).cloned(),
        };
        // As this authority has seen it, perhaps before the other one changed it.
        let view = of.as_ref().and_then(|id| self.registry.credential(id));
        let expected = view.map(|view| view.revision - u64::from(step.is_stale()));
        let (outcome, made) = match (step, &of) {
            (Step::Restart, _) => {
                self.restart(context).await;
                (StepOutcome::Yes, None)
            }
            (Step::Create(create), _) => self.create(create, asked).await,
            (_, None) => (StepOutcome::NotFound, None),
            (Step::Rotate(_, rotate), Some(id)) => {
                (self.rotate(id, rotate, expected, asked).await, None)
            }
            (Step::RollBack(_, to, _), Some(id)) => {
                let rollback = Rollback { to: *to, expected };
                let outcome = self.registry.roll_back(&act(), id, rollback).await;
                (StepOutcome::of_result(outcome), None)
            }
            (Step::Edit(_, edit), Some(id)) => (self.edit(id, edit, expected, asked).await, None),
            (Step::Revoke(_, cut, _), Some(id)) => {
                let revocation = Revocation {
                    cut: *cut,
                    expected,
                };
                let outcome = self.registry.revoke(&act(), id, revocation).await;
                (StepOutcome::of_result(outcome), None)
            }
        };
        Taken {
            step: step.clone(),
            of,
            expected,
            asked,
            outcome,
            made,
        }
    }

    async fn create(&self, create: &Create, asked: i64) -> (StepOutcome, Option<CredentialId>) {
        let new = NewCredential {
            provider: PROVIDERS[create.provider].to_owned(),
            environment: create.environment,
            expires_at: create.expires_in.map(|seconds| later(asked, seconds)),
            default: create.default,
            idempotency: once(create.once, &format!("{create:?}")),
            ..key(LABELS[create.label], &step::secret(create.secret))
        };
        match self.registry.add(&act(), new).await {
            Ok(saved) if saved.repeated => (StepOutcome::Again, None),
            Ok(saved) => (StepOutcome::Yes, Some(saved.credential.id)),
            Err(error) => (StepOutcome::of(&error), None),
        }
    }

    async fn rotate(
        &self,
        id: &CredentialId,
        rotate: &Rotate,
        expected: Option<u64>,
        asked: i64,
    ) -> StepOutcome {
        let rotation = Rotation {
            grace: std::time::Duration::from_secs(rotate.grace),
            expires_at: rotate
                .expires_in
                .map(|end| end.map(|seconds| later(asked, seconds))),
            expected,
            idempotency: once(rotate.once, &format!("{rotate:?}")),
            check: rotate.check.map_or(CheckBeforeSave::Skip, |verdict| {
                CheckBeforeSave::Required(Arc::new(FixedResult(verdict)))
            }),
            ..to(&step::secret(rotate.secret))
        };
        match self.registry.rotate(&act(), id, rotation).await {
            Ok(saved) if saved.repeated => StepOutcome::Again,
            outcome => StepOutcome::of_result(outcome),
        }
    }

    async fn edit(
        &self,
        id: &CredentialId,
        edit: &EditStep,
        expected: Option<u64>,
        asked: i64,
    ) -> StepOutcome {
        let edit = Edit {
            label: edit.label.map(|label| LABELS[label].parse().unwrap()),
            usage_tag: None,
            expires_at: edit
                .expires_in
                .map(|end| end.map(|seconds| later(asked, seconds))),
            limits: LimitsChange::default(),
            default: edit.default,
            expected,
        };
        StepOutcome::of_result(self.registry.edit(&act(), id, edit).await)
    }
}

fn later(asked: i64, seconds: i64) -> Timestamp {
    Timestamp::from_second(asked + seconds).unwrap()
}

fn once(key: Option<u8>, request: &str) -> Option<Idempotency> {
    Some(Idempotency {
        key: key?.to_string(),
        request: Hash::of(request.as_bytes()),
    })
}

/// A provider that gives the same result for every key.
struct FixedResult(Verification);

#[async_trait::async_trait]
impl LiveCheck for FixedResult {
    async fn check(&self, _: &Grant) -> Finding {
        Finding::of_verdict(self.0, None)
    }
}
