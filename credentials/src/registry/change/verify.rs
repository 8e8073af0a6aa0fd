//! Asks the provider about the secret in use.
//!
//! The lock is released meanwhile, as in a checked rotation. The result is only kept: a provider's
//! outage must not disable a working key.

use std::sync::Arc;

use super::Decision;
use crate::{
    chains::Priority,
    live_check::{Finding, LiveCheck},
    model::{ActorContext, Credential, CredentialId},
    record::{Draft, Event},
    registry::{ChangeError, Registry},
    resolver::Grant,
    snapshot::SecretInUse,
};

impl Registry {
    /// Asks the provider about the secret in use, and keeps the result. The secret stays in use in
    /// any case. A verdict that differs from the last one is audited.
    ///
    /// # Errors
    /// The credential does not exist, its secret was replaced meanwhile, or storage failed; nothing
    /// is kept then.
    pub async fn verify(
        self: &Arc<Self>,
        by: &ActorContext,
        id: &CredentialId,
        check: Arc<dyn LiveCheck>,
    ) -> Result<(Credential, Finding), ChangeError> {
        let (by, wanted) = (by.clone(), id.clone());
        let finding = self
            .run_to_completion(|registry| async move {
                registry.check_in_use(&by, &wanted, check).await
            })
            .await?;
        let credential = self.credential(id).ok_or(ChangeError::CredentialUnknown)?;
        Ok((credential, finding))
    }

    async fn check_in_use(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        check: Arc<dyn LiveCheck>,
    ) -> Result<Finding, ChangeError> {
        let (secret, on_trial) = retry_on_race!(self.secret_in_use(by, id))?;
        let finding = Finding::of(&on_trial, check).await;
        retry_on_race!(self.keep_finding(by, id, finding, &secret))?;
        Ok(finding)
    }

    /// Identifies the secret in use, with a grant to test it.
    async fn secret_in_use(
        &self,
        by: &ActorContext,
        id: &CredentialId,
    ) -> Result<(SecretInUse, Grant), ChangeError> {
        self.change_credential(by, id, Priority::Normal, |edit| {
            edit.expect_open(None)?;
            if let Some(reason) = edit.entry.unread() {
                return Err(ChangeError::SecretUnread(reason));
            }
            let on_trial = edit.on_trial(edit.document.current);
            Ok(Decision::unchanged((edit.in_use(), on_trial)))
        })
        .await
    }

    async fn keep_finding(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        finding: Finding,
        secret: &SecretInUse,
    ) -> Result<(), ChangeError> {
        let decided = self.change_credential(by, id, Priority::Normal, |edit| {
            edit.expect_open(None)?;
            if edit.in_use() != *secret {
                return Err(ChangeError::Replaced);
            }
            let now = edit.now;
            if self.last_verdict(&edit.entry) == Some(finding.verification) {
                return Ok(Decision::unchanged(now));
            }
            let metadata = edit.metadata(edit.document.current)?;
            let draft = Draft {
                note: Some(finding.audit_note()),
                ..edit.record(Event::CredentialVerified, by, &metadata)
            };
            Ok(edit.note(draft, now))
        });
        let now = decided.await?;
        self.keep_check(id, secret.clone(), finding, now);
        Ok(())
    }
}
