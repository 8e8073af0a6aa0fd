//! What becomes of a credential after it was stored.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use super::{change::retry_on_race, in_order};
use crate::{
    live_check::{Finding, LiveCheck},
    model::{ActorContext, Credential, CredentialId, Listed},
    registry::{ChangeError, Edit, Registry, Revocation, Rollback, Rotation, Saved},
};

impl Registry {
    /// Puts a new secret in the place of the one that is used. Requests that have begun go on with the old one.
    ///
    /// # Errors
    /// Why not, or storage's failure; the secret that was used is used as ever then.
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

    /// Puts a version that is in grace back in use. The one that was used is in grace until the same end.
    ///
    /// # Errors
    /// When there is none, or storage fails; nothing has changed then.
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

    /// Asks the provider about the key that is in use, and notes what it says. The key stays in use whatever that is.
    ///
    /// # Errors
    /// When there is none, when it was replaced meanwhile, or when storage fails; nothing is noted then.
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

    /// Changes what is not the secret.
    ///
    /// # Errors
    /// Why not, or storage's failure; nothing has changed then.
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

    /// Other credentials with the same secret, in whatever workspace: in use, or in use when they were revoked. For those
    /// who may see them all, and nobody else.
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

    /// Withdraws a credential at once and for good, and destroys all versions of its secret. Its record stays. Revoking
    /// twice changes nothing.
    ///
    /// # Errors
    /// When there is none, or storage fails.
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

    /// Withdraws a [lost credential](Listed::Lost) at once and for good. Its id stays, and stays revoked. Revoking twice
    /// changes nothing.
    ///
    /// # Errors
    /// When there is none, or storage fails. [`ChangeError::Superseded`] where its record is back.
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

    /// How often a secret was replaced since the process began, by provider.
    pub fn rotations(&self) -> HashMap<Arc<str>, u64> {
        self.inner
            .rotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
