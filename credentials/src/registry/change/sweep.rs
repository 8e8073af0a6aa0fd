//! Removes the sealed bytes of ended versions. Nothing depends on it: a version counts as destroyed
//! as soon as it has ended.

use super::Decision;
use crate::{
    chains::Priority,
    model::{ActorContext, CredentialId},
    registry::{ChangeError, Registry},
};

impl Registry {
    /// Sweeps all credentials but those that cannot be changed, such as those of a damaged workspace.
    /// After a storage failure, the next sweep retries.
    pub(in crate::registry) async fn sweep(&self) {
        let (snapshot, now) = (self.snapshot.load_full(), self.clock.now());
        let ended = snapshot
            .entries()
            .filter(|entry| entry.usable.is_ok() && entry.document.has_ended(now));
        for entry in ended {
            match retry_on_race!(self.sweep_one(&entry.document.id)) {
                Ok(()) => {}
                Err(
                    error @ (ChangeError::Damaged
                    | ChangeError::KeyLost
                    | ChangeError::CredentialUnknown),
                ) => {
                    let credential = &entry.document.id;
                    tracing::debug!(%credential, %error, "versions whose grace period has ended are left");
                }
                Err(error) => {
                    tracing::warn!(%error, "versions whose grace period has ended could not be removed yet");
                    return;
                }
            }
        }
    }

    async fn sweep_one(&self, id: &CredentialId) -> Result<(), ChangeError> {
        let by = ActorContext::system("sweep");
        self.change_credential(&by, id, Priority::Normal, |mut edit| {
            if edit.ended.is_empty() {
                return Ok(Decision::unchanged(()));
            }
            let first = edit.ended.remove(0);
            Ok(edit.commit(first, None, ()))
        })
        .await
    }
}
