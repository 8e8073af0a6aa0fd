//! Live checks: whether a secret may be stored after one, and the last one of each credential. The
//! latter is a note, not part of a chain: it decides nothing.

use std::sync::Arc;

use jiff::Timestamp;
use keyside_config::Verification;
use serde::{Deserialize, Serialize};

use super::{ChangeError, CheckBeforeSave, Registry};
use crate::{
    live_check::{Finding, LiveCheck},
    model::{Credential, CredentialId},
    noted::{Dated, Noted},
    notes::Kind,
    snapshot::{CredentialEntry, SecretInUse},
};

impl CheckBeforeSave {
    pub(super) fn check(&self) -> Option<Arc<dyn LiveCheck>> {
        match self {
            Self::Skip => None,
            Self::Try(check) | Self::Required(check) => Some(check.clone()),
        }
    }

    /// # Errors
    /// [`ChangeError::CheckFailed`] if the secret must not be stored.
    pub(super) fn judge(&self, finding: &Finding) -> Result<(), ChangeError> {
        match self {
            Self::Required(_) if !finding.is_usable() => Err(ChangeError::CheckFailed(*finding)),
            _ => Ok(()),
        }
    }
}

/// The last live check of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCheck {
    /// When its result was recorded.
    pub at: Timestamp,
    /// The result.
    pub finding: Finding,
    /// When the provider last gave a verdict on this secret; earlier than `at` if it did not this
    /// time.
    pub verified_at: Option<Timestamp>,
    secret: SecretInUse,
}

impl Dated for LastCheck {
    fn at(&self) -> Timestamp {
        self.at
    }
}

#[derive(Default)]
pub(super) struct LastChecks(Noted<CredentialId, LastCheck>);

impl LastChecks {
    /// The last check of the secret in use. One of an earlier secret does not count.
    pub(super) fn of(&self, entry: &CredentialEntry) -> Option<LastCheck> {
        let last = self.0.get(&entry.document.id)?;
        (last.secret == entry.secret_in_use()).then_some(last)
    }

    /// Keeps a result, and returns the last verdict on the same secret.
    fn note(
        &self,
        id: &CredentialId,
        secret: SecretInUse,
        finding: Finding,
        at: Timestamp,
    ) -> Option<Verification> {
        let before = self.0.get(id).filter(|last| last.secret == secret);
        let verdict = before.as_ref().map(|last| last.finding.verification);
        let verified_at = match finding.verification.is_about_the_key() {
            true => Some(at),
            false => before.and_then(|last| last.verified_at),
        };
        let last = LastCheck {
            at,
            finding,
            verified_at,
            secret,
        };
        self.0.put(id.clone(), last);
        verdict
    }
}

impl Registry {
    /// The last live check of the secret in use, as far as this process knows.
    pub fn last_check(&self, id: &CredentialId) -> Option<LastCheck> {
        let snapshot = self.all().load();
        let (_, entry) = snapshot.credential(id)?;
        self.checks.of(entry)
    }

    /// The secret of a credential that requests use. `None` if the credential is gone.
    pub(crate) fn in_use(&self, credential: &Credential) -> Option<SecretInUse> {
        let snapshot = self.all().load();
        let workspace = snapshot.workspaces.get(&credential.workspace)?;
        Some(workspace.credentials.get(&credential.id)?.secret_in_use())
    }

    pub(super) fn last_verdict(&self, entry: &CredentialEntry) -> Option<Verification> {
        Some(self.checks.of(entry)?.finding.verification)
    }

    /// Keeps the result of a check of this secret, and publishes it if the provider has begun to
    /// reject the secret.
    pub(super) fn keep_check(
        &self,
        id: &CredentialId,
        secret: SecretInUse,
        finding: Finding,
        at: Timestamp,
    ) {
        let before = self.checks.note(id, secret, finding, at);
        self.publish_finding(id, before, &finding);
    }

    /// Reads the last checks. Nothing depends on them, so a failure is only logged.
    pub(super) async fn load_checks(&self) {
        let (prefix, now) = (Kind::Checks.prefix(), self.clock.now());
        if let Err(error) = self.checks.0.load(&self.notes, prefix, now).await {
            tracing::warn!(%error, "results of live checks could not be read");
        }
    }

    /// Reads what other processes have stored, and stores what is not stored yet.
    pub(super) async fn store_checks(&self) {
        self.load_checks().await;
        let name = |id: &CredentialId| {
            let snapshot = self.snapshot.load();
            let workspace = snapshot.workspace_of(id)?;
            Some(Kind::Checks.name(&workspace.document.id, id))
        };
        let now = self.clock.now();
        if let Err(error) = self.checks.0.store(&self.notes, now, name).await {
            tracing::warn!(%error, "results of live checks could not be stored");
        }
    }
}
