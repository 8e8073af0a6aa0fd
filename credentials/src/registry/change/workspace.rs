//! Making workspaces: the installation names one, then its own chain begins.

use std::sync::Arc;

use super::is_fit;
use crate::{
    chains::{Making, Mark, not_begun},
    model::{Act, WorkspaceId},
    record::{Draft, Event},
    registry::{ChangeError, Inner, NewWorkspace},
    snapshot::WorkspaceEntry,
};

impl Inner {
    pub(in crate::registry) async fn create_workspace(
        &self,
        by: &Act,
        new: &NewWorkspace,
    ) -> Result<Arc<WorkspaceEntry>, ChangeError> {
        if !is_fit(&new.name) {
            return Err(ChangeError::NameUnfit);
        }
        let tracked = self.chains.of(&new.id);
        let mark = decided!(self.name(by, new))?;
        let _begun = self.begin_under(by, || tracked.lock()).await?;
        // Another process may have finished it meanwhile.
        self.chains.refresh(&tracked).await.map_err(not_begun)?;
        let making = mark.making.as_ref().ok_or(ChangeError::WorkspaceExists)?;
        let entry = self.begin_chain(&new.id, &mark, making).await?;
        self.links.changed(&new.id, true);
        Ok(entry)
    }

    /// Puts it on the installation's record that there is to be a workspace.
    async fn name(&self, by: &Act, new: &NewWorkspace) -> Result<Mark, ChangeError> {
        let (tracked, own) = (self.chains.of(&new.id), self.chains.own());
        let both = || async { (tracked.lock().await, own.lock().await) };
        let _begun = self.begin_under(by, both).await?;
        let before = self.chains.mark(&new.id);
        if let Some(before) = before.as_ref().filter(|before| before.is_there) {
            return self.exists(&new.id, before);
        }
        // A key without a workspace does no harm, a workspace without a key would be lost.
        self.keyring.add(&new.id).await?;
        let mark = Mark {
            incarnation: before.as_ref().map_or(0, |before| before.incarnation) + 1,
            is_there: true,
            making: Some(Making {
                name: new.name.clone(),
                created_by: by.actor.clone(),
                created_at: self.clock.now(),
                request_id: by.request_id.clone(),
            }),
            link: before.as_ref().and_then(|before| before.link),
            erased: before.and_then(|before| before.erased),
        };
        let draft = Draft {
            workspace: Some(new.id.clone()),
            ..Draft::new(Event::WorkspaceCreated, by)
        };
        let writes = vec![mark.write(&new.id)];
        self.commit_own(vec![draft], writes).await?;
        Ok(mark)
    }

    /// One that a crash has left unfinished is finished, and is not this request's.
    fn exists(&self, id: &WorkspaceId, mark: &Mark) -> Result<Mark, ChangeError> {
        let is_begun = self.chains.of(id).state().is_some();
        match mark.making.is_some() && !is_begun {
            true => Ok(mark.clone()),
            false => Err(ChangeError::WorkspaceExists),
        }
    }
}
