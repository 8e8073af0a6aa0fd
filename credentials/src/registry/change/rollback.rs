//! Rolls a credential back to a version in grace.

use std::sync::Arc;

use super::{Decision, credential_edit::CredentialEdit};
use crate::{
    chains::Priority,
    documents::VersionDocument,
    model::{ActorContext, Credential, CredentialId, VersionState},
    record::Event,
    registry::{ChangeError, Registry, Rollback},
};

impl Registry {
    /// Makes a version in grace current again. The replaced one is in grace until the same end.
    ///
    /// # Errors
    /// No such version, or storage failed; nothing has changed then.
    pub async fn roll_back(
        self: &Arc<Self>,
        by: &ActorContext,
        id: &CredentialId,
        rollback: Rollback,
    ) -> Result<Credential, ChangeError> {
        let (by, wanted) = (by.clone(), id.clone());
        self.run_to_completion(|registry| async move {
            retry_on_race!(registry.roll_back_once(&by, &wanted, &rollback))
        })
        .await?;
        self.credential(id).ok_or(ChangeError::CredentialUnknown)
    }

    async fn roll_back_once(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        rollback: &Rollback,
    ) -> Result<(), ChangeError> {
        self.change_credential(by, id, Priority::Normal, |edit| {
            edit.decide_rollback(by, rollback)
        })
        .await
    }
}

impl CredentialEdit<'_> {
    /// The replaced version is in grace until the same end, so that the rollback can be undone.
    fn decide_rollback(
        mut self,
        by: &ActorContext,
        rollback: &Rollback,
    ) -> Result<Decision<()>, ChangeError> {
        self.expect_open(rollback.expected)?;
        self.expect_sealed()?;
        let target = self.target(rollback.to)?;
        let (number, end) = (target.number, target.until.unwrap_or(self.now));
        let (before, now) = (self.document.current, self.now);
        self.document.promote(number, end, now);
        let mut draft = self.record(Event::CredentialRolledBack, by, &self.metadata(number)?);
        draft.note = Some(format!("from version {before} to version {number}"));
        Ok(self.commit(draft, None, ()))
    }

    fn target(&self, wanted: Option<u32>) -> Result<&VersionDocument, ChangeError> {
        let Some(number) = wanted else {
            let newest = self.document.in_grace(self.now).next_back();
            return newest.ok_or(ChangeError::NothingInGrace);
        };
        let in_grace = |version: &&_| self.document.state(version, self.now) == VersionState::Grace;
        self.document
            .version(number)
            .filter(in_grace)
            .ok_or(ChangeError::VersionNotInGrace(number))
    }
}
