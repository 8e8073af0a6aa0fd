//! What may be asked of the registry, in types that hold nothing that would have to be checked again.

use std::fmt;

use jiff::Timestamp;

use crate::{
    ActorId, Credential, Environment, Label, Scope, Secret, Status, UsageTag, WorkspaceId,
};

/// Who asks for a change, and in which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The one who acts.
    pub actor: ActorId,
    /// The request's id, the same as in the response and the logs.
    pub request_id: String,
}

/// A workspace to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWorkspace {
    /// What requests will be tagged with.
    pub id: WorkspaceId,
    /// The name for people: 1 to 200 characters, no control characters.
    pub name: String,
}

/// A credential to store.
pub struct NewCredential {
    /// The workspace that may use it.
    pub workspace: WorkspaceId,
    /// An id of the catalogue.
    pub provider: String,
    /// Unique within workspace and provider.
    pub label: Label,
    /// Whether it costs money.
    pub environment: Environment,
    /// The key itself.
    pub secret: Secret,
    /// What it is used for.
    pub usage_tag: Option<UsageTag>,
    /// When it stops being used.
    pub expires_at: Option<Timestamp>,
    /// The provider's host, where each customer has one of their own.
    pub endpoint: Option<String>,
    /// Whether it becomes the default of its workspace, provider and environment. The first one does anyway.
    pub default: bool,
}

/// A credential that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// How it looks now.
    pub credential: Credential,
    /// What was unusual about it, and kept nobody from storing it.
    pub warnings: Vec<Warning>,
}

/// Something unusual about what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Providers change their forms, so this is no error.
    SecretUnusualForm,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecretUnusualForm => {
                "the secret does not have the usual form of this provider's keys"
            }
        })
    }
}

/// Which credentials to list; `None` lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of the workspaces that are there for whoever asks.
    pub within: Scope,
    /// Of this workspace.
    pub workspace: Option<WorkspaceId>,
    /// For this provider.
    pub provider: Option<String>,
    /// With this status now.
    pub status: Option<Status>,
    /// For this environment.
    pub environment: Option<Environment>,
}
