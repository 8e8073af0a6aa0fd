//! Operations on existing credentials.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use keyside_config::ProviderId;

use super::{change::retry_on_race, in_order};
use crate::{
    live_check::{Finding, LiveCheck},
    model::{ActorContext, Credential, CredentialId, Listed},
    registry::{ChangeError, Edit, Registry, Revocation, Rollback, Rotation, Saved},
};

impl Registry {
    /// Replaces the secret in use. Requests in progress continue with the previous one.
    ///
    /// # Errors
    /// Why not, or a failure of storage; the previous secret stays in use then.
    pub async fn rotate(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        rotation: Rotation,
    ) -> Result<Saved, ChangeError> {
        let (by, id) = (by.clone(), id.clone());
        let outcome = self
            .run_to_completion(|inner| async move { inner.rotate(&by, &id, rotation).await })
            .await?;
        self.saved(outcome)
    }

    /// Makes a version in grace current again. The replaced one is in grace until the same end.
    ///
    /// # Errors
    /// No such version, or storage failed; nothing has changed then.
    pub async fn roll_back(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        rollback: Rollback,
    ) -> Result<Credential, ChangeError> {
        let (by, wanted) = (by.clone(), id.clone());
        self.run_to_completion(|inner| async move {
            retry_on_race!(inner.roll_back(&by, &wanted, &rollback))
        })
        .await?;
        self.credential(id).ok_or(ChangeError::CredentialUnknown)
    }

    /// Asks the provider about the secret in use, and records the verdict. The secret stays in use
    /// in any case.
    ///
    /// # Errors
    /// The credential does not exist, its secret was replaced meanwhile, or storage failed; nothing
    /// is recorded then.
    pub async fn verify(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        check: Arc<dyn LiveCheck>,
    ) -> Result<(Credential, Finding), ChangeError> {
        let (by, wanted) = (by.clone(), id.clone());
        let finding = self
            .run_to_completion(|inner| async move { inner.verify(&by, &wanted, check).await })
            .await?;
        let credential = self.credential(id).ok_or(ChangeError::CredentialUnknown)?;
        Ok((credential, finding))
    }

    /// Edits everything except the secret.
    ///
    /// # Errors
    /// Why not, or a failure of storage; nothing has changed then.
    pub async fn edit(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        edit: Edit,
    ) -> Result<Saved, ChangeError> {
        let (by, id) = (by.clone(), id.clone());
        let outcome = self
            .run_to_completion(
                |inner| async move { retry_on_race!(inner.edit(&by, &id, edit.clone())) },
            )
            .await?;
        self.saved(outcome)
    }

    /// Other credentials with the same secret, in any workspace: in use, or in use when they were
    /// revoked. Only for callers that may see all workspaces.
    pub fn duplicates(&self, id: &CredentialId) -> Vec<Credential> {
        let load = || self.inner.snapshot.load_full();
        let Some(fingerprint) = self.credential(id).and_then(|it| it.fingerprint) else {
            return Vec::new();
        };
        let candidates = self.inner.duplicates.candidates(&fingerprint, load);
        let others = candidates.iter().filter(|other| *other != id);
        let mut duplicates: Vec<_> = others
            .filter_map(|other| self.credential(other))
            .filter(|duplicate| duplicate.fingerprint.as_ref() == Some(&fingerprint))
            .collect();
        in_order(&mut duplicates);
        duplicates
    }

    /// Revokes a credential and destroys all versions of its secret, which is final. Its record
    /// stays. Revoking twice changes nothing.
    ///
    /// # Errors
    /// The credential does not exist, or storage failed.
    pub async fn revoke(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        revocation: Revocation,
    ) -> Result<Credential, ChangeError> {
        let (by, wanted) = (by.clone(), id.clone());
        self.run_to_completion(|inner| async move {
            retry_on_race!(inner.revoke(&by, &wanted, &revocation))
        })
        .await?;
        self.credential(id).ok_or(ChangeError::CredentialUnknown)
    }

    /// Revokes a [lost credential](Listed::Lost), which is final. Its id stays listed. Revoking
    /// twice changes nothing.
    ///
    /// # Errors
    /// The credential does not exist, or storage failed. [`ChangeError::Superseded`] if its record
    /// is back.
    pub async fn revoke_lost(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        revocation: Revocation,
    ) -> Result<Listed, ChangeError> {
        let (by, wanted) = (by.clone(), id.clone());
        self.run_to_completion(|inner| async move {
            retry_on_race!(inner.revoke_lost(&by, &wanted, &revocation))
        })
        .await?;
        self.find(id).ok_or(ChangeError::CredentialUnknown)
    }

    /// Rotations since the process started, by provider.
    pub fn rotations(&self) -> HashMap<ProviderId, u64> {
        self.inner
            .rotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
