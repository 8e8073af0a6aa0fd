//! Rejections of a secret by its provider.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why a provider rejects a secret. One of our own words: nothing that the provider wrote is
/// repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectionCause {
    /// The provider does not know the key, or no longer.
    WrongKey,
    /// The key's account was closed.
    Revoked,
    /// The account has no funds, or no plan.
    NoFunds,
    /// A spending limit that the account's owner set has been reached.
    Quota,
}

impl RejectionCause {
    /// `wrong_key`, `revoked`, `no_funds` or `quota`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongKey => "wrong_key",
            Self::Revoked => "revoked",
            Self::NoFunds => "no_funds",
            Self::Quota => "quota",
        }
    }
}

impl fmt::Display for RejectionCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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

/// Whether a provider accepts a credential in traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrafficState {
    /// Nothing to the contrary is known.
    Ok,
    /// The provider rejected the secret in use, and has accepted no request with it since.
    Rejected,
}

impl TrafficState {
    /// Both states, in the order that tables use.
    pub const ALL: [Self; 2] = [Self::Ok, Self::Rejected];

    /// `ok` or `rejected`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for TrafficState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
