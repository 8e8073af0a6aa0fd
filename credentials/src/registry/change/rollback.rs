//! Back to a version that is in grace.

use super::held::Held;
use crate::{
    documents::VersionDocument,
    model::{ActorContext, CredentialId, VersionState},
    record::Event,
    registry::{ChangeError, Inner, Rollback},
};

impl Inner {
    /// The one that is rolled back from is in grace until the same end, so that this too can be taken back.
    pub(in crate::registry) async fn roll_back(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        rollback: Rollback,
    ) -> Result<(), ChangeError> {
        decided!(self.roll_back_once(by, id, &rollback))
    }

    async fn roll_back_once(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        rollback: &Rollback,
    ) -> Result<(), ChangeError> {
        let mut held = self.hold(by, id).await?;
        held.expect_open(rollback.expected)?;
        held.expect_sealed()?;
        let target = held.target(rollback.to)?;
        let (number, end) = (target.number, target.until.unwrap_or(held.now));
        let (before, now) = (held.document.current, held.now);
        held.abandon_staged(by);
        held.document.promote(number, end, now);
        // What the last check said was about the other secret.
        held.document.verification = None;
        held.document.last_verified_at = None;
        let mut draft = held.record(Event::CredentialRolledBack, by, &held.trace(number)?);
        draft.note = Some(format!("from version {before} to version {number}"));
        held.commit(draft, None).await
    }
}

impl Held<'_> {
    fn target(&self, wanted: Option<u32>) -> Result<&VersionDocument, ChangeError> {
        let Some(number) = wanted else {
            let newest = self.document.in_grace(self.now).next_back();
            return newest.ok_or(ChangeError::NothingInGrace);
        };
        let in_grace = |version: &&_| self.document.state(version, self.now) == VersionState::Grace;
        self.document
            .version(number)
            .filter(in_grace)
            .ok_or(ChangeError::VersionNotInGrace { number })
    }
}
