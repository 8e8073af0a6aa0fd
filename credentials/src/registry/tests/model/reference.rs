//! The rules, said once more and as plainly as they can be.

use std::collections::HashMap;

use keyside_config::Verification;

use super::step::{Create, Edit, Rotate, Step, secret};
use crate::{
    model::{Environment, Refusal, Status, VersionState},
    registry::ChangeError,
};

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Yes,
    /// It was done before.
    Again,
    No(&'static str),
    /// There is none to do it to.
    Nobody,
}

impl Said {
    pub(super) fn of_result<T>(outcome: Result<T, ChangeError>) -> Self {
        outcome.map_or_else(|error| Self::of(&error), |_| Self::Yes)
    }

    pub(super) fn of(error: &ChangeError) -> Self {
        Self::No(match error {
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

pub(super) struct Reference {
    pub(super) now: i64,
    pub(super) credentials: Vec<Known>,
    /// Created, rotated, abandoned, rolled back.
    pub(super) counts: [usize; 4],
    defaults: HashMap<(usize, Environment), usize>,
}

pub(super) struct Known {
    pub(super) label: usize,
    provider: usize,
    environment: Environment,
    pub(super) expires: Option<i64>,
    revoked: bool,
    pub(super) rotated: Option<i64>,
    pub(super) verification: Option<Verification>,
    /// A place in `versions`.
    pub(super) current: usize,
    pub(super) versions: Vec<KnownVersion>,
    /// The idempotency key, and what was asked for with it.
    made_by: Option<(u8, String)>,
    rotated_by: HashMap<u8, String>,
}

pub(super) struct KnownVersion {
    pub(super) secret: u8,
    /// Ended by hand, or replaced without grace.
    destroyed: bool,
    until: Option<i64>,
    /// When its secret ends, while it is not the current one.
    expires: Option<i64>,
}

type Outcome = Result<Said, &'static str>;

impl Reference {
    pub(super) fn new(now: i64) -> Self {
        Self {
            now,
            credentials: Vec::new(),
            counts: [0; 4],
            defaults: HashMap::new(),
        }
    }

    pub(super) fn take(&mut self, step: &Step) -> Said {
        let count = self.credentials.len().max(1);
        let outcome = match step {
            Step::Advance(seconds) => {
                self.now += seconds;
                Ok(Said::Yes)
            }
            Step::Restart | Step::Sweep => Ok(Said::Yes),
            Step::Create(create) => self.create(create),
            _ if self.credentials.is_empty() => Ok(Said::Nobody),
            Step::Rotate(who, rotate) => self.rotate(who % count, rotate),
            Step::RollBack(who, to, stale) => self.roll_back(who % count, *to, *stale),
            Step::Edit(who, edit) => self.edit(who % count, edit),
            Step::Revoke(who, _, stale) => self.revoke(who % count, *stale),
        };
        outcome.unwrap_or_else(Said::No)
    }

    fn create(&mut self, create: &Create) -> Outcome {
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
                Ok(Said::Again)
            } else {
                Err("key reused")
            };
        }
        if create.expires_in.is_some_and(|seconds| seconds <= 0) {
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
            label: create.label,
            provider: create.provider,
            environment: create.environment,
            expires: create.expires_in.map(|seconds| self.now + seconds),
            revoked: false,
            rotated: None,
            verification: None,
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
        Ok(Said::Yes)
    }

    fn rotate(&mut self, who: usize, rotate: &Rotate) -> Outcome {
        let request = format!("{rotate:?}");
        if rotate.grace > 90 * 86_400 {
            return Err("grace too long");
        }
        let now = self.now;
        let known = &mut self.credentials[who];
        // A key that made the credential was used for another request than any rotation.
        let made_by = known.made_by.as_ref().map(|(key, _)| *key);
        if rotate.once.is_some() && rotate.once == made_by {
            return Err("key reused");
        }
        match rotate.once.and_then(|key| known.rotated_by.get(&key)) {
            Some(before) if *before == request => return Ok(Said::Again),
            Some(_) => return Err("key reused"),
            None => {}
        }
        known.expect_open(rotate.stale)?;
        if rotate
            .expires_in
            .flatten()
            .is_some_and(|seconds| seconds <= 0)
        {
            return Err("expiry past");
        }
        let passed = !matches!(
            rotate.check,
            Some(Verification::Rejected | Verification::Unreachable)
        );
        known.versions.push(KnownVersion {
            secret: rotate.secret,
            destroyed: !passed,
            until: None,
            expires: None,
        });
        if !passed {
            self.counts[2] += 1;
            return Err("check failed");
        }
        let old = std::mem::replace(&mut known.current, known.versions.len() - 1);
        known.versions[old].until = Some(now + rotate.grace as i64);
        known.versions[old].expires = known.expires;
        known.rotated = Some(now);
        known.verification = rotate.check;
        if let Some(end) = rotate.expires_in {
            known.expires = end.map(|seconds| now + seconds);
        }
        if let Some(key) = rotate.once {
            known.rotated_by.insert(key, request);
        }
        self.counts[1] += 1;
        Ok(Said::Yes)
    }

    fn roll_back(&mut self, who: usize, to: Option<u32>, stale: bool) -> Outcome {
        let now = self.now;
        let known = &mut self.credentials[who];
        known.expect_open(stale)?;
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
        known.verification = None;
        self.counts[3] += 1;
        Ok(Said::Yes)
    }

    fn edit(&mut self, who: usize, edit: &Edit) -> Outcome {
        let (now, is_default) = (self.now, self.is_default(who));
        let known = &self.credentials[who];
        let (provider, environment) = (known.provider, known.environment);
        known.expect_open(edit.stale)?;
        if edit.default == Some(false) && is_default {
            return Err("default needed");
        }
        if let Some(label) = edit.label
            && self.holder(provider, label).is_some_and(|at| at != who)
        {
            return Err("label taken");
        }
        if edit
            .expires_in
            .flatten()
            .is_some_and(|seconds| seconds <= 0)
            && edit.expires_in.flatten().map(|seconds| now + seconds) != known.expires
        {
            return Err("expiry past");
        }
        let known = &mut self.credentials[who];
        known.label = edit.label.unwrap_or(known.label);
        if let Some(end) = edit.expires_in {
            known.expires = end.map(|seconds| now + seconds);
        }
        if edit.default == Some(true) {
            self.defaults.insert((provider, environment), who);
        }
        Ok(Said::Yes)
    }

    fn revoke(&mut self, who: usize, stale: bool) -> Outcome {
        if stale {
            return Err("superseded");
        }
        let known = &mut self.credentials[who];
        known.revoked = true;
        for version in &mut known.versions {
            version.destroyed = true;
        }
        Ok(Said::Yes)
    }

    /// The one credential that has the label: one that was revoked has given it up.
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

    fn expect_open(&self, stale: bool) -> Result<(), &'static str> {
        match (stale, self.revoked) {
            (true, _) => Err("superseded"),
            (_, true) => Err("revoked"),
            _ => Ok(()),
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
