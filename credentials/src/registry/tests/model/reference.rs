//! The rules for credentials, written a second time in the simplest possible form.

use std::collections::HashMap;

use keyside_config::Verification;

use super::step::{Create, Edit, Rotate, Step, secret};
use crate::{
    model::{CredentialId, Environment, Refusal, Status, VersionState},
    registry::ChangeError,
};

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepOutcome {
    Yes,
    /// An identical earlier request was answered.
    Again,
    No(&'static str),
    /// The credential does not exist.
    NotFound,
    /// It was done or not.
    Unknown,
    /// Storage failed, and nothing was done.
    Unavailable,
}

/// A step that an authority has taken.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) step: Step,
    /// The credential that it changes.
    pub(super) of: Option<CredentialId>,
    /// The revision that the caller has seen.
    pub(super) expected: Option<u64>,
    /// The time of the call, to which its expiry times are relative.
    pub(super) asked: i64,
    pub(super) outcome: StepOutcome,
    /// The created credential, if there was an answer.
    pub(super) made: Option<CredentialId>,
}

impl StepOutcome {
    pub(super) fn of_result<T>(outcome: Result<T, ChangeError>) -> Self {
        outcome.map_or_else(|error| Self::of(&error), |_| Self::Yes)
    }

    /// Whether nothing has changed.
    pub(super) fn is_refusal(self) -> bool {
        match self {
            Self::No(why) => why != "check failed",
            Self::NotFound | Self::Unavailable => true,
            Self::Yes | Self::Again | Self::Unknown => false,
        }
    }

    pub(super) fn of(error: &ChangeError) -> Self {
        Self::No(match error {
            ChangeError::OutcomeUnknown(_) => return Self::Unknown,
            ChangeError::StoreUnavailable(_) => return Self::Unavailable,
            ChangeError::LabelTaken { .. } => "label taken",
            ChangeError::ExpiryPast => "expiry past",
            ChangeError::Superseded { .. } => "superseded",
            ChangeError::IdempotencyKeyReused => "key reused",
            ChangeError::Revoked => "revoked",
            ChangeError::GraceTooLong => "grace too long",
            ChangeError::NothingInGrace => "nothing in grace",
            ChangeError::VersionNotInGrace { .. } => "not in grace",
            ChangeError::CheckFailed(_) => "check failed",
            ChangeError::Replaced => "replaced",
            ChangeError::DefaultNeeded => "default needed",
            other => panic!("{other}"),
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reference {
    pub(super) now: i64,
    pub(super) credentials: Vec<Known>,
    /// Created, rotated, rolled back.
    pub(super) counts: [usize; 3],
    defaults: HashMap<(usize, Environment), usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// `None` if the answer was lost, until a list shows it.
    pub(super) id: Option<CredentialId>,
    /// Copied from each compared list; counted in between.
    pub(super) revision: u64,
    pub(super) label: usize,
    pub(super) provider: usize,
    pub(super) environment: Environment,
    pub(super) expires: Option<i64>,
    revoked: bool,
    pub(super) rotated: Option<i64>,
    /// Index in `versions`.
    pub(super) current: usize,
    pub(super) versions: Vec<KnownVersion>,
    /// The idempotency key, and the request that used it.
    made_by: Option<(u8, String)>,
    rotated_by: HashMap<u8, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct KnownVersion {
    pub(super) secret: u8,
    /// Destroyed by a change, or replaced without grace.
    destroyed: bool,
    until: Option<i64>,
    /// When its secret expires, while it is not the current one.
    expires: Option<i64>,
}

type StepResult = Result<StepOutcome, &'static str>;

/// Adds every state to which the steps of two authorities can have led from `state`: in any
/// interleaving, each decided at one of `times`, with the outcomes that they had.
pub(super) fn outcomes(
    state: &Reference,
    steps: [&[Taken]; 2],
    times: &[i64],
    found: &mut Vec<Reference>,
) {
    if steps.iter().all(|steps| steps.is_empty()) && !found.contains(state) {
        found.push(state.clone());
    }
    for (authority, steps_of) in steps.iter().enumerate() {
        let Some((first, rest)) = steps_of.split_first() else {
            continue;
        };
        let mut others = steps;
        others[authority] = rest;
        if matches!(
            first.outcome,
            StepOutcome::Unknown | StepOutcome::Unavailable
        ) {
            outcomes(state, others, times, found);
        }
        for now in times {
            let mut next = state.clone();
            next.now = *now;
            let outcome = next.take(first);
            next.now = state.now;
            if outcome == first.outcome
                || (first.outcome, outcome) == (StepOutcome::Unknown, StepOutcome::Yes)
            {
                outcomes(&next, others, times, found);
            }
        }
    }
}

impl Reference {
    pub(super) fn new(now: i64) -> Self {
        Self {
            now,
            credentials: Vec::new(),
            counts: [0; 3],
            defaults: HashMap::new(),
        }
    }

    pub(super) fn take(&mut self, taken: &Taken) -> StepOutcome {
        let of = taken.of.as_ref();
        let at = of.and_then(|id| {
            let mut known = self.credentials.iter();
            known.position(|known| known.id.as_ref() == Some(id))
        });
        let outcome = match (&taken.step, at) {
            (Step::Restart, _) => Ok(StepOutcome::Yes),
            (Step::Create(create), _) => self.create(create, taken),
            (_, None) => Ok(StepOutcome::NotFound),
            (Step::Rotate(_, rotate), Some(at)) => self.rotate(at, rotate, taken),
            (Step::RollBack(_, to, _), Some(at)) => self.roll_back(at, *to, taken.expected),
            (Step::Edit(_, edit), Some(at)) => self.edit(at, edit, taken),
            (Step::Revoke(..), Some(at)) => self.revoke(at, taken.expected),
        };
        outcome.unwrap_or_else(StepOutcome::No)
    }

    /// Sorts the credentials in this order: the order of their creation does not distinguish
    /// states.
    pub(super) fn arrange(&mut self, ids: &[&CredentialId]) {
        let place = |at: &usize| {
            let id = self.credentials[*at].id.as_ref();
            ids.iter().position(|listed| id == Some(*listed))
        };
        let mut order: Vec<usize> = (0..self.credentials.len()).collect();
        order.sort_by_key(place);
        let arranged = order.iter().map(|at| self.credentials[*at].clone());
        self.credentials = arranged.collect();
        for default in self.defaults.values_mut() {
            let moved = order.iter().position(|at| at == default);
            *default = moved.unwrap();
        }
    }

    fn create(&mut self, create: &Create, taken: &Taken) -> StepResult {
        let request = format!("{create:?}");
        let made_by = create.once.map(|key| (key, request));
        let mut before = self
            .credentials
            .iter()
            .filter_map(|known| known.made_by.as_ref());
        if let Some((key, request)) = &made_by
            && let Some((_, before)) = before.find(|(other, _)| other == key)
        {
            return if before == request {
                Ok(StepOutcome::Again)
            } else {
                Err("key reused")
            };
        }
        let expires = create.expires_in.map(|seconds| taken.asked + seconds);
        if expires.is_some_and(|end| end <= self.now) {
            return Err("expiry past");
        }
        if self.holder(create.provider, create.label).is_some() {
            return Err("label taken");
        }
        let place = (create.provider, create.environment);
        let vacant = self
            .defaults
            .get(&place)
            .is_none_or(|at| self.credentials[*at].revoked);
        if create.default || vacant {
            self.defaults.insert(place, self.credentials.len());
        }
        self.credentials.push(Known {
            id: taken.made.clone(),
            revision: 1,
            label: create.label,
            provider: create.provider,
            environment: create.environment,
            expires,
            revoked: false,
            rotated: None,
            current: 0,
            versions: vec![KnownVersion {
                secret: create.secret,
                destroyed: false,
                until: None,
                expires: None,
            }],
            made_by,
            rotated_by: HashMap::new(),
        });
        self.counts[0] += 1;
        Ok(StepOutcome::Yes)
    }

    fn rotate(&mut self, who: usize, rotate: &Rotate, taken: &Taken) -> StepResult {
        let request = format!("{rotate:?}");
        if rotate.grace > 90 * 86_400 {
            return Err("grace too long");
        }
        let now = self.now;
        let known = &mut self.credentials[who];
        // The key that created the credential was used with another request than a rotation.
        let made_by = known.made_by.as_ref().map(|(key, _)| *key);
        if rotate.once.is_some() && rotate.once == made_by {
            return Err("key reused");
        }
        match rotate.once.and_then(|key| known.rotated_by.get(&key)) {
            Some(before) if *before == request => return Ok(StepOutcome::Again),
            Some(_) => return Err("key reused"),
            None => {}
        }
        known.expect_open(taken.expected)?;
        let expires = rotate
            .expires_in
            .map(|end| end.map(|seconds| taken.asked + seconds));
        if expires.flatten().is_some_and(|end| end <= now) {
            return Err("expiry past");
        }
        let passed = !matches!(
            rotate.check,
            Some(Verification::Rejected | Verification::Unreachable)
        );
        if !passed {
            return Err("check failed");
        }
        known.versions.push(KnownVersion {
            secret: rotate.secret,
            destroyed: false,
            until: None,
            expires: None,
        });
        let old = std::mem::replace(&mut known.current, known.versions.len() - 1);
        known.versions[old].until = Some(now + rotate.grace as i64);
        known.versions[old].expires = known.expires;
        known.rotated = Some(now);
        if let Some(end) = expires {
            known.expires = end;
        }
        if let Some(key) = rotate.once {
            known.rotated_by.insert(key, request);
        }
        known.revision += 1;
        self.counts[1] += 1;
        Ok(StepOutcome::Yes)
    }

    fn roll_back(&mut self, who: usize, to: Option<u32>, expected: Option<u64>) -> StepResult {
        let now = self.now;
        let known = &mut self.credentials[who];
        known.expect_open(expected)?;
        let in_grace = |at: &usize| known.state(*at, now) == VersionState::Grace;
        let target = match to {
            None => (0..known.versions.len())
                .rev()
                .find(in_grace)
                .ok_or("nothing in grace")?,
            Some(number) => (number as usize)
                .checked_sub(1)
                .filter(|at| *at < known.versions.len() && in_grace(at))
                .ok_or("not in grace")?,
        };
        let end = known.versions[target].until.take();
        known.versions[known.current].until = end;
        known.versions[known.current].expires = known.expires;
        known.expires = known.versions[target].expires;
        known.current = target;
        known.revision += 1;
        self.counts[2] += 1;
        Ok(StepOutcome::Yes)
    }

    fn edit(&mut self, who: usize, edit: &Edit, taken: &Taken) -> StepResult {
        let (now, is_default) = (self.now, self.is_default(who));
        let known = &self.credentials[who];
        let (provider, environment) = (known.provider, known.environment);
        known.expect_open(taken.expected)?;
        if edit.default == Some(false) && is_default {
            return Err("default needed");
        }
        if let Some(label) = edit.label
            && self.holder(provider, label).is_some_and(|at| at != who)
        {
            return Err("label taken");
        }
        let label = edit.label.unwrap_or(known.label);
        let expires = edit
            .expires_in
            .map(|end| end.map(|seconds| taken.asked + seconds))
            .unwrap_or(known.expires);
        if expires != known.expires && expires.is_some_and(|end| end <= now) {
            return Err("expiry past");
        }
        let becomes_default = edit.default == Some(true) && !is_default;
        let known = &mut self.credentials[who];
        if becomes_default || (label, expires) != (known.label, known.expires) {
            known.revision += 1;
        }
        (known.label, known.expires) = (label, expires);
        if becomes_default {
            self.defaults.insert((provider, environment), who);
        }
        Ok(StepOutcome::Yes)
    }

    fn revoke(&mut self, who: usize, expected: Option<u64>) -> StepResult {
        let known = &mut self.credentials[who];
        known.expect(expected)?;
        if !known.revoked {
            known.revision += 1;
        }
        known.revoked = true;
        for version in &mut known.versions {
            version.destroyed = true;
        }
        Ok(StepOutcome::Yes)
    }

    /// The credential that has the label: a revoked one has given it up.
    fn holder(&self, provider: usize, label: usize) -> Option<usize> {
        let mut known = self.credentials.iter();
        known.position(|known| known.is_labelled(provider, label) && !known.revoked)
    }

    pub(super) fn is_default(&self, who: usize) -> bool {
        self.defaults.values().any(|at| *at == who)
    }

    pub(super) fn labelled_answer(&self, provider: usize, label: usize) -> Result<String, Refusal> {
        if self
            .credentials
            .iter()
            .all(|known| known.provider != provider)
        {
            return Err(Refusal::CredentialMissing);
        }
        if let Some(at) = self.holder(provider, label) {
            return self.credentials[at].answer(self.now);
        }
        let mut known = self.credentials.iter();
        match known.any(|known| known.is_labelled(provider, label)) {
            true => Err(Refusal::CredentialRevoked),
            false => Err(Refusal::LabelUnknown),
        }
    }

    pub(super) fn default_answer(
        &self,
        provider: usize,
        environment: Option<Environment>,
    ) -> Result<String, Refusal> {
        let wanted = match environment {
            Some(environment) => vec![environment],
            None => vec![Environment::Live, Environment::Sandbox],
        };
        let mut defaults = wanted
            .iter()
            .filter_map(|of| self.defaults.get(&(provider, *of)));
        let at = defaults.next().ok_or(Refusal::CredentialMissing)?;
        self.credentials[*at].answer(self.now)
    }

    pub(super) fn sealed_versions(&self) -> usize {
        let gone = VersionState::Destroyed;
        let of = |known: &Known| {
            known
                .states(self.now)
                .iter()
                .filter(|of| of.1 != gone)
                .count()
        };
        self.credentials.iter().map(of).sum()
    }
}

impl Known {
    fn is_labelled(&self, provider: usize, label: usize) -> bool {
        self.provider == provider && self.label == label
    }

    fn expect(&self, expected: Option<u64>) -> Result<(), &'static str> {
        match expected.is_none_or(|expected| expected == self.revision) {
            true => Ok(()),
            false => Err("superseded"),
        }
    }

    fn expect_open(&self, expected: Option<u64>) -> Result<(), &'static str> {
        self.expect(expected)?;
        match self.revoked {
            true => Err("revoked"),
            false => Ok(()),
        }
    }

    fn state(&self, at: usize, now: i64) -> VersionState {
        let version = &self.versions[at];
        if version.destroyed || version.until.is_some_and(|end| end <= now) {
            VersionState::Destroyed
        } else if at == self.current {
            VersionState::Current
        } else {
            VersionState::Grace
        }
    }

    pub(super) fn states(&self, now: i64) -> Vec<(u32, VersionState, Option<i64>)> {
        let of = |at: usize| {
            let state = self.state(at, now);
            let until = self.versions[at].until;
            (
                at as u32 + 1,
                state,
                until.filter(|_| state == VersionState::Grace),
            )
        };
        (0..self.versions.len()).map(of).collect()
    }

    pub(super) fn status(&self, now: i64) -> Status {
        match self.expires {
            _ if self.revoked => Status::Revoked,
            Some(end) if end <= now => Status::Expired,
            Some(end) if end <= now + 30 * 86_400 => Status::Expiring,
            _ => Status::Active,
        }
    }

    fn answer(&self, now: i64) -> Result<String, Refusal> {
        match self.status(now) {
            Status::Revoked => Err(Refusal::CredentialRevoked),
            Status::Expired => Err(Refusal::CredentialExpired),
            _ => Ok(secret(self.versions[self.current].secret)),
        }
    }
}
