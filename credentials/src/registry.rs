//! The control plane's way in: every change to workspaces and credentials, and the views of them.

mod error;
mod request;

use std::{path::PathBuf, sync::Arc};

use keyside_config::{Catalogue, CredentialRules};

pub use self::{
    error::{ChangeError, OpenError},
    request::{Act, Added, Filter, NewCredential, NewWorkspace, Warning},
};
use crate::{
    Access, Audit, Clock, Credential, CredentialId, Kms, Resolver, Runs, Workspace,
    storage::Storage,
};

/// What a registry is opened with.
pub struct OpenOptions {
    /// Where documents and logs are kept.
    pub storage: Arc<dyn Storage>,
    /// The file of wrapped workspace keys. The owner's token and the audit log's anchor stand beside it.
    pub keyring: PathBuf,
    /// What wraps the workspace keys.
    pub kms: Kms,
    /// The known providers.
    pub catalogue: Arc<Catalogue>,
    /// When a credential counts as expiring.
    pub rules: CredentialRules,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Workspaces and credentials, with the log of who changed them and the records of what they were used for.
pub struct Registry {
    audit: Audit,
    runs: Runs,
    access: Access,
}

impl Registry {
    /// Opens what is stored: unwraps the workspace keys, finishes changes that a crash has cut, authenticates every
    /// document, and on the first start makes the owner's token. Call it on a runtime that lives as long as the
    /// process: records are written by a task of it.
    ///
    /// # Errors
    /// Each names its remedy.
    pub async fn open(_options: OpenOptions) -> Result<Arc<Self>, OpenError> {
        Ok(Arc::new(Self {
            audit: Audit::new(),
            runs: Runs::new(),
            access: Access::new(),
        }))
    }

    /// Makes a workspace, with a key of its own.
    ///
    /// # Errors
    /// When the id is taken, or storage fails; nothing has changed then.
    pub async fn create_workspace(
        &self,
        _by: &Act,
        _new: NewWorkspace,
    ) -> Result<Workspace, ChangeError> {
        Err(ChangeError::not_yet())
    }

    /// All workspaces, by id.
    pub fn workspaces(&self) -> Vec<Workspace> {
        Vec::new()
    }

    /// Stores a credential.
    ///
    /// # Errors
    /// What is wrong with it, or storage's failure; nothing has changed then.
    pub async fn add(&self, _by: &Act, _new: NewCredential) -> Result<Added, ChangeError> {
        Err(ChangeError::not_yet())
    }

    /// The credentials that pass `filter`, in order of workspace, provider and label.
    pub fn list(&self, _filter: &Filter) -> Vec<Credential> {
        Vec::new()
    }

    /// One credential.
    pub fn credential(&self, _id: &CredentialId) -> Option<Credential> {
        None
    }

    /// Withdraws a credential at once and for good. Its record stays. Revoking twice changes nothing.
    ///
    /// # Errors
    /// When there is none, or storage fails.
    pub async fn revoke(&self, _by: &Act, _id: &CredentialId) -> Result<Credential, ChangeError> {
        Err(ChangeError::not_yet())
    }

    /// What hands out grants to the data plane.
    pub fn resolver(&self) -> Resolver {
        Resolver::new()
    }

    /// Who did what.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// What credentials were used for.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Who may use the admin API.
    pub fn access(&self) -> &Access {
        &self.access
    }
}
