//! What subscribers learn of credentials when it happens. Contains no secret.

use jiff::Timestamp;
use keyside_config::{Cause, ProviderId};

use super::{CredentialId, Environment, Label, Rejection, RejectionCause, WorkspaceId};

/// Something that happened to a credential, or to a workspace with all its credentials. Contains no
/// secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialEvent {
    /// When it happened.
    pub at: Timestamp,
    /// The workspace that may use the credential.
    pub workspace: WorkspaceId,
    /// The provider; `None` if it is unknown, or the event is about the workspace.
    pub provider: Option<ProviderId>,
    /// The credential's id; `None` if the event is about none or about the whole workspace.
    pub credential: Option<CredentialId>,
    /// The version of its secret, from 1.
    pub version: Option<u32>,
    /// The label; `None` also if the credential's record is lost.
    pub label: Option<Label>,
    /// The environment; `None` also if the credential's record is lost.
    pub environment: Option<Environment>,
    /// What happened.
    pub kind: CredentialEventKind,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialEventKind {
    /// The credential was changed, by this process.
    Changed(CredentialChange),
    /// The workspace was erased, by this process.
    WorkspaceErased,
    /// The credential expires at this time, within `credentials.expiring_days`. Once for each
    /// credential and time, in one of the processes that share a store.
    Expiring(Timestamp),
    /// The provider has begun to reject the credential in traffic.
    RejectedInTraffic(RejectionCause),
    /// The provider accepts it again, after these rejections; perhaps with another secret.
    RecoveredInTraffic(Rejection),
    /// A live check found that requests with the credential fail, for this reason if it is known. The
    /// check of the same secret before did not find so.
    CheckFailed(Option<Cause>),
    /// A smoke check failed.
    SmokeFailed {
        /// The verdict's name.
        verdict: &'static str,
        /// How many smoke checks in a row have failed, this one included.
        consecutive: u32,
    },
}

/// How a credential was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialChange {
    /// It was created.
    Created,
    /// Its label, usage tag, expiry, limits or default was changed.
    Edited,
    /// A new secret is in use.
    Rotated,
    /// An earlier secret is in use again.
    RolledBack,
    /// It was revoked.
    Revoked,
    /// A new version of a secret that is kept in Vault is in use.
    SourceChanged,
    /// A secret that is kept in Vault can no longer be used.
    SourceLost,
}
