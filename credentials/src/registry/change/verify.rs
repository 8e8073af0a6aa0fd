//! Asks the provider about the secret in use.
//!
//! The lock is released meanwhile, as in a checked rotation. The verdict is only recorded: a
//! provider's outage must not disable a working key.

use std::sync::Arc;

use keyside_config::Verification;

use super::Decision;
use crate::{
    chains::Priority,
    live_check::{Finding, LiveCheck},
    model::{ActorContext, Credential, CredentialId},
    record::Event,
    registry::{ChangeError, Registry},
    resolver::Grant,
};

impl Registry {
    /// Asks the provider about the secret in use, and records the verdict. The secret stays in use
    /// in any case.
    ///
    /// # Errors
    /// The credential does not exist, its secret was replaced meanwhile, or storage failed; nothing
    /// is recorded then.
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
        let (version, in_use, on_trial) = retry_on_race!(self.secret_in_use(by, id))?;
        let finding = Finding::of(&on_trial, check).await;
        retry_on_race!(self.note_finding(by, id, finding, (version, &in_use)))?;
        Ok(finding)
    }

    /// The version in use, what identifies it, and a grant to test it.
    async fn secret_in_use(
        &self,
        by: &ActorContext,
        id: &CredentialId,
    ) -> Result<(u32, (u32, Option<String>), Grant), ChangeError> {
        self.change_credential(by, id, Priority::Normal, |edit| {
            edit.expect_open(None)?;
            if let Some(reason) = edit.entry.unread() {
                return Err(ChangeError::SecretUnread { reason });
            }
            let version = edit.document.current;
            let found = (version, edit.in_use(), edit.on_trial(version));
            Ok(Decision::unchanged(found))
        })
        .await
    }

    async fn note_finding(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        finding: Finding,
        (version, in_use): (u32, &(u32, Option<String>)),
    ) -> Result<(), ChangeError> {
        let decided = self.change_credential(by, id, Priority::Normal, |mut edit| {
            edit.expect_open(None)?;
            if edit.in_use() != *in_use {
                return Err(ChangeError::Replaced);
            }
            let before = edit.document.verification;
            edit.document.verification = Some(finding.verification);
            if finding.verification != Verification::Unreachable {
                edit.document.last_verified_at = Some(edit.now);
            }
            let mut draft = edit.record(Event::CredentialVerified, by, &edit.metadata(version)?);
            draft.note = Some(finding.to_string());
            Ok(edit.commit(draft, None, before))
        });
        let before = decided.await?;
        self.publish_verdict(id, before, finding.verification);
        Ok(())
    }
}
