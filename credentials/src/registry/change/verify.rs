//! Asks the provider about the key that is in use.
//!
//! The lock is let go meanwhile, as in a checked rotation. What the provider says is put on record and decides nothing: a
//! provider in trouble must not take a good key out of use.

use std::sync::Arc;

use keyside_config::Verification;

use crate::{
    live_check::{Finding, LiveCheck},
    model::{ActorContext, CredentialId},
    record::Event,
    registry::{ChangeError, Inner},
};

impl Inner {
    pub(in crate::registry) async fn verify(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        check: Arc<dyn LiveCheck>,
    ) -> Result<Finding, ChangeError> {
        let held = self.hold(by, id).await?;
        held.expect_open(None)?;
        if let Some(reason) = held.entry.unread() {
            return Err(ChangeError::SecretUnread { reason });
        }
        let (version, in_use) = (held.document.current, held.in_use());
        let on_trial = held.on_trial(version);
        drop(held);
        let finding = Finding::of(&on_trial, check).await;
        decided!(self.note_finding(by, id, finding, (version, &in_use)))?;
        Ok(finding)
    }

    async fn note_finding(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        finding: Finding,
        (version, in_use): (u32, &(u32, Option<String>)),
    ) -> Result<(), ChangeError> {
        let mut held = self.hold(by, id).await?;
        held.expect_open(None)?;
        if held.in_use() != *in_use {
            return Err(ChangeError::Replaced);
        }
        held.document.verification = Some(finding.verification);
        if finding.verification != Verification::Unreachable {
            held.document.last_verified_at = Some(held.now);
        }
        let mut draft = held.record(Event::CredentialVerified, by, &held.trace(version)?);
        draft.note = Some(finding.to_string());
        held.commit(draft, None).await
    }
}
