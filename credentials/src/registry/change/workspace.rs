//! Creates workspaces: registers one in the installation's chain, then begins its own chain.

use std::sync::Arc;

use jiff::Timestamp;
use keyside_store::{StorageError, chain::LoadError};

use crate::{
    chains::{PendingCreation, Priority, Registration, Tracked},
    model::{ActorContext, Workspace, WorkspaceId},
    record::{Draft, Event},
    registry::{ChangeError, NewWorkspace, Registry, view},
    sealing::SealingKey,
    snapshot::WorkspaceEntry,
};

impl Registry {
    /// Creates a workspace with a key of its own.
    ///
    /// # Errors
    /// The id is taken, also by a creation that was not complete yet and that this call completed;
    /// or storage failed, and nothing has changed.
    pub async fn create_workspace(
        self: &Arc<Self>,
        by: &ActorContext,
        new: NewWorkspace,
    ) -> Result<Workspace, ChangeError> {
        let by = by.clone();
        let entry = self
            .run_to_completion(
                |registry| async move { registry.register_and_start(&by, &new).await },
            )
            .await?;
        Ok(view::workspace(&entry, self.clock.now()))
    }

    async fn register_and_start(
        &self,
        by: &ActorContext,
        new: &NewWorkspace,
    ) -> Result<Arc<WorkspaceEntry>, ChangeError> {
        let registration = retry_on_race!(self.register_workspace(by, new))?;
        let started = retry_on_race!(self.start_chain(&new.id, &registration));
        // It is registered, so the next change or start finishes it.
        let entry = started.map_err(|error| match error {
            ChangeError::StoreUnavailable(error) => ChangeError::OutcomeUnknown(error),
            ChangeError::Raced => {
                let racing = StorageError::unavailable("other processes keep changing it");
                ChangeError::OutcomeUnknown(racing)
            }
            error => error,
        })?;
        self.links.changed(&new.id, true);
        match registration.is_of(&by.request_id) {
            true => Ok(entry),
            false => Err(ChangeError::WorkspaceExists),
        }
    }

    /// Begins the chain of a registered workspace, unless another process has done so.
    async fn start_chain(
        &self,
        id: &WorkspaceId,
        registration: &Registration,
    ) -> Result<Arc<WorkspaceEntry>, ChangeError> {
        let tracked = self.chains.of(id);
        // As the system: the actor's permission was checked for the registration.
        let lock = tracked.lock(Priority::Normal).await;
        let gate = self.gate.read().await;
        let _guard = self
            .begin_change(&ActorContext::system("begin"), lock, gate)
            .await?;
        let now = self.chains.existing(id);
        let is_unchanged = now.is_some_and(|now| now.incarnation == registration.incarnation);
        if !is_unchanged {
            return Err(ChangeError::WorkspaceUnknown);
        }
        self.chains.refresh(&tracked).await?;
        let state = tracked.state();
        if let Some(state) =
            state.filter(|state| state.head.incarnation >= registration.incarnation)
        {
            self.confirm(&tracked).await?;
            self.publish_state(id, state).await?;
            let snapshot = self.snapshot.load();
            let entry = snapshot.workspaces.get(id).cloned();
            return entry.ok_or(ChangeError::WorkspaceUnknown);
        }
        let pending = registration
            .pending
            .as_ref()
            .ok_or(ChangeError::WorkspaceExists)?;
        Ok(self.create_chain(id, registration, pending).await?)
    }

    /// Registers a workspace in the installation's chain.
    async fn register_workspace(
        &self,
        by: &ActorContext,
        new: &NewWorkspace,
    ) -> Result<Registration, ChangeError> {
        let (tracked, own) = (self.chains.of(&new.id), self.chains.installation());
        // Before the installation's chain is read: another process registers a workspace before it
        // writes its anchor.
        let has_anchor = self.chains.has_anchor(&tracked);
        let of_workspace = tracked.lock(Priority::Normal).await;
        self.admit(by).await?;
        let before = self.chains.sound_registration(&new.id)?;
        if let Some(before) = before.as_ref().filter(|before| before.exists) {
            return self.resume_creation(&new.id, before);
        }
        if before.is_none() && has_anchor {
            return Err(ChangeError::HeadInTheWay(self.chains.anchor_file(&new.id)));
        }
        // Detected before anything is written, so that no workspace is left incomplete.
        self.expect_sound_chain(&new.id, &tracked).await?;
        // Keys of an erased predecessor first: the new workspace must not use a key that is to be
        // destroyed.
        self.destroy_erased_keys().await?;
        let draft = Draft {
            workspace: Some(new.id.clone()),
            ..Draft::new(Event::WorkspaceCreated, by)
        };
        // Otherwise each refused request on a full disk would leave a key.
        let storage = &self.chains.backend().storage;
        storage.check_disk_space(draft.effect).await?;
        // A key without a workspace is harmless; a workspace without a key would be lost. Before the
        // gate and the installation's chain are locked: the key service may be slow, and what ends
        // access must not wait for it.
        let key = self.keyring.add(&new.id).await?;
        let gate = self.gate.read().await;
        let both = (of_workspace, own.lock(Priority::Normal).await);
        let guard = self.begin_change(by, both, gate).await?;
        if self.chains.sound_registration(&new.id)? != before {
            return Err(ChangeError::Raced);
        }
        let registration = registration(by, new, &key, before, self.clock.now());
        let writes = vec![registration.write(&new.id)];
        let on = guard.on.as_ref();
        let committed = self.chains.commit(own, on, 0, vec![draft], writes);
        Ok(committed.await.map(|_| registration)?)
    }

    /// Refuses a workspace whose chain, an erased predecessor's, fails verification.
    async fn expect_sound_chain(
        &self,
        id: &WorkspaceId,
        tracked: &Tracked,
    ) -> Result<(), ChangeError> {
        match self.chains.refresh(tracked).await {
            Ok(_) => Ok(()),
            Err(LoadError::Damaged(damage)) => Err(ChangeError::ChainDamaged {
                file: self.chains.anchor_file(id),
                damage,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Resumes a creation that is not complete. It may be another request's: a crash may have
    /// interrupted that one.
    fn resume_creation(
        &self,
        id: &WorkspaceId,
        registration: &Registration,
    ) -> Result<Registration, ChangeError> {
        let state = self.chains.of(id).state();
        let is_begun =
            state.is_some_and(|state| state.head.incarnation == registration.incarnation);
        match registration.pending.is_some() && !is_begun {
            true => Ok(registration.clone()),
            false => Err(ChangeError::WorkspaceExists),
        }
    }
}

/// The registration of a new workspace, after that of an erased predecessor.
fn registration(
    by: &ActorContext,
    new: &NewWorkspace,
    key: &SealingKey,
    before: Option<Registration>,
    created_at: Timestamp,
) -> Registration {
    Registration {
        incarnation: before.as_ref().map_or(0, |before| before.incarnation) + 1,
        exists: true,
        created_at: Some(created_at),
        pending: Some(PendingCreation {
            name: new.name.to_string(),
            created_by: by.actor.clone(),
            created_at,
            request_id: by.request_id.clone(),
            key: Some(key.id().to_owned()),
        }),
        link: before.as_ref().and_then(|before| before.link),
        erased: before.and_then(|before| before.erased),
        is_unreadable: false,
    }
}
