//! What the domain speaks about: names that cannot be wrong, and the views that may be shown to anyone allowed to ask.
//! Nothing here holds a secret or knows how one is kept.

mod actor_context;
mod credential;
mod names;
mod refusal;
mod scope;
mod trace;
mod warning;

pub use self::{
    actor_context::ActorContext,
    credential::{
        Credential, Declared, Environment, Listed, LostCredential, Status, Version, VersionState,
        Workspace, WorkspaceState,
    },
    names::{ActorId, CredentialId, Label, NameError, UsageTag, WorkspaceId},
    refusal::Refusal,
    scope::Scope,
    trace::{Fingerprint, Hint, other_providers},
    warning::Warning,
};
pub(crate) use self::{
    names::random_id,
    trace::{has_usual_form, refused_kind},
};
