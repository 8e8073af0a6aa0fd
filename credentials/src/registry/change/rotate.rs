//! Replaces the secret of a credential.
//!
//! With a check, the rotation is decided twice: before the provider is asked, so that it is not
//! asked in vain, and after, on the state of that time. Nothing is stored in between, and the lock
//! is released, so that other changes, revocations above all, need not wait.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use keyside_config::ProviderId;

use super::{
    ChangeOutcome, Checked, Decision, Trial,
    add::{expect_kind, unusual_form},
    credential_edit::CredentialEdit,
    format_versions,
};
use crate::{
    chains::Priority,
    documents::SecretMetadata,
    live_check::Finding,
    model::{ActorContext, CredentialId, Fingerprint, UsageTag, Warning},
    record::Event,
    registry::{ChangeError, GRACE_LIMIT, Registry, Rotation, Saved},
    secret::Secret,
    snapshot::SecretInUse,
};

/// A rotation that is stored.
struct Rotated {
    provider: ProviderId,
    /// The version in use now.
    version: u32,
    at: Timestamp,
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
                registry.rotate_in_steps(&by, &id, &rotation).await
            })
            .await?;
        self.saved(outcome)
    }

    async fn rotate_in_steps(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        rotation: &Rotation,
    ) -> Result<ChangeOutcome, ChangeError> {
        if rotation.grace > GRACE_LIMIT {
            return Err(ChangeError::GraceTooLong);
        }
        let Some(check) = rotation.check.check() else {
            return retry_on_race!(self.rotate_once(by, id, rotation, None));
        };
        let (on_trial, basis) = match retry_on_race!(self.try_out_rotation(by, id, rotation))? {
            Trial::Repeated(outcome) => return Ok(outcome),
            Trial::Ready { on_trial, basis } => (on_trial, basis),
        };
        let finding = Finding::of(&on_trial, check).await;
        rotation.check.judge(&finding)?;
        let checked = Checked { finding, basis };
        retry_on_race!(self.rotate_once(by, id, rotation, Some(&checked)))
    }

    /// Decides without storing anything. Based on the secret that the new one is to replace.
    async fn try_out_rotation(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        rotation: &Rotation,
    ) -> Result<Trial<SecretInUse>, ChangeError> {
        self.change_credential(by, id, Priority::Normal, |edit| {
            Ok(Decision::unchanged(edit.try_out(by, rotation)?))
        })
        .await
    }

    async fn rotate_once(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        rotation: &Rotation,
        checked: Option<&Checked<SecretInUse>>,
    ) -> Result<ChangeOutcome, ChangeError> {
        let decided = self.change_credential(by, id, Priority::Normal, |edit| {
            edit.decide_rotation(by, rotation, checked)
        });
        let (outcome, rotated) = decided.await?;
        if let Some(rotated) = rotated {
            if let Some(finding) = outcome.finding {
                let secret = (rotated.version, None);
                self.keep_check(id, secret, finding, rotated.at);
            }
            *self.rotations.lock().entry(rotated.provider).or_default() += 1;
        }
        Ok(outcome)
    }

    /// Rotations since the process started, by provider.
    pub fn rotations(&self) -> HashMap<ProviderId, u64> {
        self.rotations.lock().clone()
    }
}

impl CredentialEdit<'_> {
    /// A grant for the new secret, if the rotation is possible.
    fn try_out(
        mut self,
        by: &ActorContext,
        rotation: &Rotation,
    ) -> Result<Trial<SecretInUse>, ChangeError> {
        if let Some(outcome) = self.repeated(by, rotation)? {
            return Ok(Trial::Repeated(outcome));
        }
        self.expect_open(rotation.expected)?;
        let warnings = self.accept(rotation)?;
        let (version, _) = self.seal(by, rotation, &warnings)?;
        Ok(Trial::Ready {
            on_trial: self.on_trial(version),
            basis: self.in_use(),
        })
    }

    /// After a check, other changes may have come between, but not another secret.
    fn decide_rotation(
        mut self,
        by: &ActorContext,
        rotation: &Rotation,
        checked: Option<&Checked<SecretInUse>>,
    ) -> Result<Decision<(ChangeOutcome, Option<Rotated>)>, ChangeError> {
        if let Some(outcome) = self.repeated(by, rotation)? {
            return Ok(Decision::unchanged((outcome, None)));
        }
        match checked {
            None => self.expect_open(rotation.expected)?,
            Some(checked) => {
                self.expect_open(None)?;
                if self.in_use() != checked.basis {
                    return Err(ChangeError::Replaced);
                }
            }
        }
        let warnings = self.accept(rotation)?;
        let sealed = self.seal(by, rotation, &warnings)?;
        let outcome = ChangeOutcome {
            id: self.document.id.clone(),
            warnings,
            repeated: false,
            finding: checked.map(|checked| checked.finding),
        };
        Ok(self.promote(by, rotation, sealed, outcome))
    }

    /// Refuses a secret that this credential cannot have, and returns warnings about it otherwise.
    fn accept(&self, rotation: &Rotation) -> Result<Vec<Warning>, ChangeError> {
        self.expect_sealed()?;
        self.expect_future(rotation.expires_at)?;
        self.check_disk_space(rotation.grace)?;
        expect_kind(&*self.provider()?, &rotation.secret)?;
        self.expect_secret_once(&rotation.secret)?;
        self.warnings(rotation)
    }

    /// Refuses a secret that is in a field that everyone may read.
    fn expect_secret_once(&self, secret: &Secret) -> Result<(), ChangeError> {
        let tag = self.document.usage_tag.as_ref().map(UsageTag::as_str);
        let mut texts = [Some(self.document.label.as_str()), tag]
            .into_iter()
            .flatten();
        match texts.any(|text| secret.is_repeated_in(text)) {
            true => Err(ChangeError::SecretRepeated),
            false => Ok(()),
        }
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
        for version in &self.document.versions {
            let metadata = self.metadata(version.number)?;
            if let Some(warnings) = by_key.answer(by, &metadata)? {
                return Ok(Some(ChangeOutcome::repeated(&self.document.id, warnings)));
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
        let key = self.sealing_key()?;
        let version = self
            .document
            .seal(key, &rotation.secret, &metadata, self.now);
        let number = version.number;
        self.document.push(version);
        Ok((number, metadata))
    }

    fn promote(
        mut self,
        by: &ActorContext,
        rotation: &Rotation,
        (version, metadata): (u32, SecretMetadata),
        outcome: ChangeOutcome,
    ) -> Decision<(ChangeOutcome, Option<Rotated>)> {
        let (before, now) = (self.document.current, self.now);
        self.document.promote(version, now + rotation.grace, now);
        self.document.last_rotated_at = Some(now);
        if let Some(expires_at) = rotation.expires_at {
            self.document.expires_at = expires_at;
        }
        let mut draft = self.record(Event::CredentialRotated, by, &metadata);
        let fate = match rotation.grace.is_zero() {
            true => "which is destroyed",
            false => "which is in grace",
        };
        let finding = outcome.finding.map(|finding| finding.audit_note());
        let checked = finding.map_or_else(String::new, |note| format!("; {note}"));
        draft.note = Some(format!(
            "version {version} replaces {}, {fate}{checked}",
            format_versions(&[before])
        ));
        let rotated = Rotated {
            provider: self.document.provider.clone(),
            version,
            at: now,
        };
        self.commit(draft, None, (outcome, Some(rotated)))
    }
}

/// Versions in grace of one credential.
const IN_GRACE_LIMIT: usize = 50;
