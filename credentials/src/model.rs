//! The domain's vocabulary: validated ids, and views that callers with permission may see. Contains
//! no secrets, and does not know how they are stored.

mod actor_context;
mod credential;
mod display_name;
mod event;
mod ids;
mod limits;
mod named;
mod refusal;
mod request_id;
mod scope;
mod secret_metadata;
mod traffic;
mod warning;

pub use self::{
    actor_context::ActorContext,
    credential::{
        Credential, Declared, Environment, Listed, LostCredential, Status, Version, VersionState,
        Workspace, WorkspaceState,
    },
    event::{CredentialChange, CredentialEvent, CredentialEventKind},
    ids::{ActorId, CredentialId, DisplayName, IdError, Label, UsageTag, WorkspaceId},
    limits::{Cap, Limits, LimitsChange, Usage, UsageState},
    refusal::Refusal,
    request_id::RequestId,
    scope::Scope,
    secret_metadata::{Fingerprint, Hint, other_providers},
    traffic::{RejectedCredential, Rejection, RejectionCause, TrafficCounts, TrafficState},
    warning::Warning,
};
pub(crate) use self::{
    ids::random_id,
    limits::warning_at,
    named::named,
    secret_metadata::{has_usual_form, refused_kind},
};
