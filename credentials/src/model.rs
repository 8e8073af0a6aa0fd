//! What the domain speaks about: names that cannot be wrong, and the views that may be shown to anyone allowed to ask.
//! Nothing here holds a secret or knows how one is kept.

mod credential;
mod names;
mod trace;

pub use self::{
    credential::{
        Credential, Declared, Environment, Status, Version, VersionState, Workspace, WorkspaceState,
    },
    names::{ActorId, CredentialId, Label, NameError, UsageTag, WorkspaceId},
    trace::{Fingerprint, Hint, other_providers},
};
pub(crate) use self::{
    names::random_id,
    trace::{has_usual_form, refused_kind},
};
