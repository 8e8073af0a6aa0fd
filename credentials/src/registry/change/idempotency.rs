//! Idempotent requests: a repeated request gets the first one's response and changes nothing. The
//! record to recognise it is sealed in the metadata of the version that the first one created.

use keyside_store::Hash;

use crate::{
    documents::{IdempotencyRecord, SecretMetadata, WorkspaceDocument},
    model::{ActorContext, CredentialId, Warning},
    registry::{ChangeError, Idempotency},
    sealing::{SealContext, SealingKey},
};

impl Idempotency {
    /// The record to store with the new version.
    pub(super) fn into_record(self, by: &ActorContext, warnings: &[Warning]) -> IdempotencyRecord {
        IdempotencyRecord {
            key: self.of_actor(by),
            request: self.request,
            warnings: warnings.to_vec(),
        }
    }

    /// The warnings in the response to the request that created this version, if it had this key.
    pub(super) fn answer(
        &self,
        by: &ActorContext,
        metadata: &SecretMetadata,
    ) -> Result<Option<Vec<Warning>>, ChangeError> {
        match &metadata.idempotency {
            Some(idempotency) if idempotency.key != self.of_actor(by) => Ok(None),
            Some(idempotency) if idempotency.request != self.request => {
                Err(ChangeError::IdempotencyKeyReused)
            }
            Some(idempotency) => Ok(Some(idempotency.warnings.clone())),
            None => Ok(None),
        }
    }

    /// The id of a credential that is created with this key: the same for the same actor,
    /// workspace, incarnation and key.
    pub(super) fn credential_id(
        &self,
        by: &ActorContext,
        workspace: &WorkspaceDocument,
        installation: &SealingKey,
    ) -> CredentialId {
        let context = SealContext::CredentialId {
            workspace: &workspace.id,
            actor: &by.actor,
        };
        let incarnation = workspace.incarnation.to_be_bytes();
        let mac = installation.mac(
            &context,
            &[incarnation.as_slice(), self.key.as_bytes()].concat(),
        );
        let (bits, _) = mac.split_first_chunk().expect("32 bytes hold 16");
        CredentialId::from_bits(*bits)
    }

    /// Actors choose keys independently. The separator cannot occur in an actor's id.
    fn of_actor(&self, by: &ActorContext) -> Hash {
        Hash::of(format!("{}\n{}", by.actor, self.key).as_bytes())
    }
}
