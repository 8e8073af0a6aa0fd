//! Withdrawing a credential, at once and for good: before the changes that wait for the same workspace.

use super::in_words;
use crate::{
    chains::Priority,
    model::{Act, CredentialId},
    record::Event,
    registry::{ChangeError, Inner, Revocation},
};

impl Inner {
    /// Revoking twice changes nothing; what is in flight may be cut the second time.
    pub(in crate::registry) async fn revoke(
        &self,
        by: &Act,
        id: &CredentialId,
        revocation: Revocation,
    ) -> Result<(), ChangeError> {
        decided!(self.revoke_once(by, id, &revocation))
    }

    async fn revoke_once(
        &self,
        by: &Act,
        id: &CredentialId,
        revocation: &Revocation,
    ) -> Result<(), ChangeError> {
        let mut held = self.hold_with(Priority::High, by, id).await?;
        held.expect(revocation.expected)?;
        let signals = held.entry.signals.clone();
        let trace = held.trace(held.document.current)?;
        let mut draft = held.record(Event::CredentialRevoked, by, &trace);
        if held.document.revoked_at.is_none() {
            let destroyed = held.document.destroy_all(held.now);
            held.document.revoked_at = Some(held.now);
            draft.note = Some(match held.entry.reference() {
                Some(reference) => format!("{reference} stays in Vault"),
                None => format!("{} destroyed", in_words(&destroyed)),
            });
            if revocation.cut {
                draft.note = draft.note.map(|note| format!("{note}; {CUT}"));
            }
            held.commit(draft, None).await?;
        } else if revocation.cut && !signals.is_cut() {
            draft.note = Some(CUT.to_owned());
            held.note(draft).await?;
        }
        if revocation.cut {
            signals.cut();
        }
        Ok(())
    }
}

const CUT: &str = "answers in flight are cut off";
