//! How providers treat credentials in traffic: what is listed, counted and published.

use jiff::Timestamp;
use keyside_config::ProviderId;

use super::{CredentialId, Environment, Label, Rejection, RejectionCause, WorkspaceId};

/// A credential that its provider rejects in traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedCredential {
    /// The workspace that may use it.
    pub workspace: WorkspaceId,
    /// The provider.
    pub provider: ProviderId,
    /// The label.
    pub label: Label,
    /// The rejections.
    pub rejection: Rejection,
}

/// Number of credentials that are not revoked, by their state in traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCounts {
    /// In the state [`TrafficState::Ok`].
    pub ok: u64,
    /// In the state [`TrafficState::Rejected`].
    pub rejected: u64,
}

/// A change that a subscriber learns of when it happens. Contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialEvent {
    /// When it happened.
    pub at: Timestamp,
    /// The workspace that may use the credential.
    pub workspace: WorkspaceId,
    /// The provider.
    pub provider: ProviderId,
    /// The credential's id.
    pub credential: CredentialId,
    /// The version of its secret, from 1.
    pub version: u32,
    /// The label.
    pub label: Label,
    /// The environment.
    pub environment: Environment,
    /// What happened.
    pub kind: CredentialEventKind,
}

/// What happened to a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialEventKind {
    /// The provider has begun to reject it in traffic.
    RejectedInTraffic(RejectionCause),
    /// The provider accepts it again, after these rejections; perhaps with another secret.
    RecoveredInTraffic(Rejection),
}
