//! Replaces the secret of a credential.
//!
//! Without a check this is one commit. With a check, the new version is staged first, and the lock
//! is released while the provider is asked, so that other changes, revocations above all, need not
//! wait.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use keyside_config::{ProviderId, Verification};

use super::{
    ChangeOutcome, Decision,
    add::{expect_kind, unusual_form},
    credential_edit::CredentialEdit,
    format_versions,
};
use crate::{
    chains::Priority,
    documents::SecretMetadata,
    live_check::Finding,
    model::{ActorContext, CredentialId, Fingerprint, VersionState, Warning},
    record::Event,
    registry::{ChangeError, GRACE_LIMIT, Registry, Rotation, Saved},
    resolver::Grant,
};

/// How to promote the new version.
#[derive(Clone, Copy)]
struct Promotion {
    version: u32,
    grace: Duration,
    expires_at: Option<Option<Timestamp>>,
    /// The provider's verdict, if it was asked.
    verification: Option<Verification>,
}

/// The state of a rotation after its first commit.
enum RotationStart {
    /// The rotation is complete.
    Done(ChangeOutcome),
    /// The new version is staged until it passes its check.
    Staged(Box<Staged>),
}

struct Staged {
    warnings: Vec<Warning>,
    on_trial: Grant,
    promotion: Promotion,
    metadata: SecretMetadata,
}

impl Registry {
    /// Replaces the secret in use. Requests in progress continue with the previous one.
    ///
    /// # Errors
    /// Why not, or a failure of storage; the previous secret stays in use then.
    pub async fn rotate(
        self: &Arc<Self>,
        by: &ActorContext,
        id: &CredentialId,
        rotation: Rotation,
    ) -> Result<Saved, ChangeError> {
        let (by, id) = (by.clone(), id.clone());
        let outcome = self
            .run_to_completion(|registry| async move {
                registry.rotate_in_steps(&by, &id, rotation).await
            })
            .await?;
        self.saved(outcome)
    }

    async fn rotate_in_steps(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        rotation: Rotation,
    ) -> Result<ChangeOutcome, ChangeError> {
        if rotation.grace > GRACE_LIMIT {
            return Err(ChangeError::GraceTooLong);
        }
        let staged = match retry_on_race!(self.begin_rotation(by, id, &rotation))? {
            RotationStart::Done(outcome) => return Ok(outcome),
            RotationStart::Staged(staged) => *staged,
        };
        let check = rotation.check;
        // It is sealed now: the plaintext must not stay in memory while the provider is asked.
        drop(rotation.secret);
        let Staged {
            warnings,
            on_trial,
            promotion,
            metadata,
        } = staged;
        let finding = match check {
            Some(check) => Finding::of(&on_trial, check).await,
            None => Finding::UNANSWERED,
        };
        retry_on_race!(self.end_trial(by, id, &finding, promotion, &metadata))?;
        Ok(ChangeOutcome {
            id: id.clone(),
            warnings,
            repeated: false,
        })
    }

    async fn begin_rotation(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        rotation: &Rotation,
    ) -> Result<RotationStart, ChangeError> {
        let decided = self.change_credential(by, id, Priority::Normal, |edit| {
            edit.decide_rotation(by, rotation)
        });
        let (start, rotated) = decided.await?;
        if let Some(provider) = rotated {
            self.count_rotation(provider);
        }
        Ok(start)
    }

    async fn end_trial(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        finding: &Finding,
        promotion: Promotion,
        metadata: &SecretMetadata,
    ) -> Result<(), ChangeError> {
        // As the system: if the actor's token was revoked meanwhile, the staged version must still
        // be destroyed.
        let system = ActorContext::system("rotation");
        let decided = self.change_credential(&system, id, Priority::Normal, |mut edit| {
            edit.expect_open(None)?;
            if !edit.is_staged(promotion.version) {
                return Err(ChangeError::Replaced);
            }
            let access = self.expect_access(by);
            if access.is_ok() && finding.is_usable() {
                let promotion = Promotion {
                    verification: Some(finding.verification),
                    ..promotion
                };
                let provider = edit.document.provider.clone();
                return Ok(edit.promote(by, promotion, metadata, Ok(provider)));
            }
            edit.document.destroy_staged(edit.now);
            let mut draft = edit.record(Event::RotationAbandoned, by, metadata);
            draft.note = Some(finding.to_string());
            let refused = access.err().unwrap_or(ChangeError::CheckFailed(*finding));
            Ok(edit.commit(draft, None, Err(refused)))
        });
        self.count_rotation(decided.await??);
        Ok(())
    }

    /// Rotations since the process started, by provider.
    pub fn rotations(&self) -> HashMap<ProviderId, u64> {
        self.rotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn count_rotation(&self, provider: ProviderId) {
        let mut rotations = self
            .rotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *rotations.entry(provider).or_default() += 1;
    }
}

impl CredentialEdit<'_> {
    /// Returns the provider too if the new version is in use.
    fn decide_rotation(
        mut self,
        by: &ActorContext,
        rotation: &Rotation,
    ) -> Result<Decision<(RotationStart, Option<ProviderId>)>, ChangeError> {
        if let Some(outcome) = self.repeated(by, rotation)? {
            return Ok(Decision::unchanged((RotationStart::Done(outcome), None)));
        }
        self.expect_open(rotation.expected)?;
        self.expect_sealed()?;
        self.expect_future(rotation.expires_at)?;
        self.check_disk_space(rotation.grace)?;
        expect_kind(&*self.provider()?, &rotation.secret)?;
        // The newest request wins: the result of another check in progress must not override it.
        self.abandon_staged(by);
        let warnings = self.warnings(rotation)?;
        let (version, metadata) = self.seal(by, rotation, &warnings)?;
        let promotion = Promotion {
            version,
            grace: rotation.grace,
            expires_at: rotation.expires_at,
            verification: None,
        };
        if rotation.check.is_some() {
            self.stage(version);
            let draft = self.record(Event::RotationStaged, by, &metadata);
            let staged = Staged {
                warnings,
                on_trial: self.on_trial(version),
                promotion,
                metadata,
            };
            let start = RotationStart::Staged(Box::new(staged));
            return Ok(self.commit(draft, None, (start, None)));
        }
        let provider = self.document.provider.clone();
        let outcome = ChangeOutcome {
            id: self.document.id.clone(),
            warnings,
            repeated: false,
        };
        let answer = (RotationStart::Done(outcome), Some(provider));
        Ok(self.promote(by, promotion, &metadata, answer))
    }

    /// The result of an earlier request with the same idempotency key. A failed one may be
    /// repeated.
    fn repeated(
        &self,
        by: &ActorContext,
        rotation: &Rotation,
    ) -> Result<Option<ChangeOutcome>, ChangeError> {
        let Some(by_key) = &rotation.idempotency else {
            return Ok(None);
        };
        let versions = self.document.versions.iter();
        for version in versions.filter(|version| version.was_used()) {
            let metadata = self.metadata(version.number)?;
            if let Some(warnings) = by_key.answer(by, &metadata)? {
                return Ok(Some(ChangeOutcome {
                    id: self.document.id.clone(),
                    warnings,
                    repeated: true,
                }));
            }
        }
        Ok(None)
    }

    pub(super) fn expect_future(
        &self,
        expires_at: Option<Option<Timestamp>>,
    ) -> Result<(), ChangeError> {
        match expires_at.flatten().is_some_and(|end| end <= self.now) {
            true => Err(ChangeError::ExpiryPast),
            false => Ok(()),
        }
    }

    /// Limits the document's size, which holds all versions in grace.
    fn check_disk_space(&self, grace: Duration) -> Result<(), ChangeError> {
        match !grace.is_zero() && self.document.in_grace(self.now).count() >= IN_GRACE_LIMIT {
            true => Err(ChangeError::TooManyInGrace),
            false => Ok(()),
        }
    }

    fn warnings(&self, rotation: &Rotation) -> Result<Vec<Warning>, ChangeError> {
        let unusual = unusual_form(&*self.provider()?, &rotation.secret);
        let fingerprint = Fingerprint::of(&rotation.secret);
        let same = |version: &u32| {
            self.metadata(*version)
                .is_ok_and(|metadata| metadata.fingerprint == fingerprint)
        };
        let mut numbers = self.document.versions.iter().map(|version| version.number);
        let known = numbers.rfind(same);
        let end = rotation.expires_at.unwrap_or(self.document.expires_at);
        let expired = end.is_some_and(|end| end <= self.now);
        Ok(unusual
            .into_iter()
            .chain(known.map(|version| Warning::SecretKnown { version }))
            .chain(expired.then_some(Warning::Expired))
            .collect())
    }

    fn seal(
        &mut self,
        by: &ActorContext,
        rotation: &Rotation,
        warnings: &[Warning],
    ) -> Result<(u32, SecretMetadata), ChangeError> {
        let idempotency = rotation.idempotency.clone();
        let idempotency = idempotency.map(|by_key| by_key.into_record(by, warnings));
        let metadata =
            SecretMetadata::of(&rotation.secret, &self.provider()?.key.prefix, idempotency);
        let version = self
            .document
            .seal(&self.key, &rotation.secret, &metadata, self.now);
        let number = version.number;
        self.document.push(version);
        Ok((number, metadata))
    }

    fn stage(&mut self, number: u32) {
        let staged = self.document.versions.iter_mut();
        for version in staged.filter(|version| version.number == number) {
            version.until = Some(self.now + STAGED_LIMIT);
        }
    }

    fn is_staged(&self, number: u32) -> bool {
        let version = self.document.version(number);
        version
            .is_some_and(|version| self.document.state(version, self.now) == VersionState::Staged)
    }

    fn promote<T>(
        mut self,
        by: &ActorContext,
        promotion: Promotion,
        metadata: &SecretMetadata,
        answer: T,
    ) -> Decision<T> {
        let (before, now) = (self.document.current, self.now);
        self.document
            .promote(promotion.version, now + promotion.grace, now);
        self.document.last_rotated_at = Some(now);
        self.document.verification = promotion.verification;
        self.document.last_verified_at = promotion.verification.map(|_| now);
        if let Some(expires_at) = promotion.expires_at {
            self.document.expires_at = expires_at;
        }
        let mut draft = self.record(Event::CredentialRotated, by, metadata);
        let fate = match promotion.grace.is_zero() {
            true => "which is destroyed",
            false => "which is in grace",
        };
        draft.note = Some(format!(
            "version {} replaces {}, {fate}",
            promotion.version,
            format_versions(&[before])
        ));
        self.commit(draft, None, answer)
    }
}

/// Versions in grace of one credential.
const IN_GRACE_LIMIT: usize = 50;
/// A version that a crash left staged is destroyed after this time.
const STAGED_LIMIT: Duration = Duration::from_secs(2 * 60);
