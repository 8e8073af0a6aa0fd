//! Requests that come twice: the second one gets the first one's answer, and changes nothing. What it takes to know them
//! is kept, sealed, with the version that the first one made.

use keyside_store::Hash;

use crate::{
    documents::{IdempotencyRecord, SecretMetadata, WorkspaceDocument},
    model::{ActorContext, CredentialId, Warning},
    registry::{ChangeError, Idempotency},
    sealing::{SealContext, SealingKey},
};

impl Idempotency {
    /// What is kept of it.
    pub(super) fn to_record(self, by: &ActorContext, warnings: &[Warning]) -> IdempotencyRecord {
        IdempotencyRecord {
            key: self.of_actor(by),
            request: self.request,
            warnings: warnings.to_vec(),
        }
    }

    /// What the request that made this version was answered, if it had this key.
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

    /// The id of a credential that is made with this key: the same for the same actor, workspace and key. A workspace that
    /// has the id of an erased one is another one.
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

    /// Actors choose their keys without knowing of each other. No actor's id holds the character between.
    fn of_actor(&self, by: &ActorContext) -> Hash {
        Hash::of(format!("{}\n{}", by.actor, self.key).as_bytes())
    }
}
