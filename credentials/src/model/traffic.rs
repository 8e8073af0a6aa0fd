//! How providers treat credentials in traffic: what is listed and counted.

use keyside_config::ProviderId;

use super::{Label, Rejection, WorkspaceId};

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
