//! How providers treat credentials in traffic: rejections, and what is listed and counted.

use jiff::Timestamp;
use keyside_config::ProviderId;
use serde::{Deserialize, Serialize};

use super::{Label, WorkspaceId, named};

named! {
    /// Why a provider rejects a secret. One of our own words: nothing that the provider wrote is
    /// repeated.
    pub enum RejectionCause {
        /// The provider does not know the key, or no longer.
        WrongKey = "wrong_key",
        /// The key's account was closed.
        Revoked = "revoked",
        /// The account has no funds, or no plan.
        NoFunds = "no_funds",
        /// A spending limit that the account's owner set has been reached.
        Quota = "quota",
    }
}

/// Rejections of the secret in use, in traffic. Ended by the first success, and by a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// When the provider first rejected the secret.
    pub since: Timestamp,
    /// How many requests it has rejected since then.
    pub count: u64,
    /// The cause of the last one.
    pub cause: RejectionCause,
}

named! {
    /// Whether a provider accepts a credential in traffic.
    pub enum TrafficState {
        /// Nothing to the contrary is known.
        Ok = "ok",
        /// The provider rejected the secret in use, and has accepted no request with it since.
        Rejected = "rejected",
    }
}

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
