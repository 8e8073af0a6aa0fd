//! Limits on what a credential or a workspace may spend in a UTC day, and what it has spent.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::named;

/// Limits for one UTC day; `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Requests that may be sent to a provider, at most [`Limits::MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<NonZeroU64>,
    /// Input and output tokens that may be used, at most [`Limits::MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<NonZeroU64>,
}

/// A change of limits: `None` keeps a limit, `Some(None)` removes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsChange {
    /// The new limit on requests.
    pub requests_per_day: Option<Option<NonZeroU64>>,
    /// The new limit on tokens.
    pub tokens_per_day: Option<Option<NonZeroU64>>,
}

/// What this process has counted since 00:00 UTC, or since the first limit was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Requests; `None` without a limit on them.
    pub requests_today: Option<u64>,
    /// Input and output tokens; `None` without a limit on them.
    pub tokens_today: Option<u64>,
    /// How near the limits are.
    pub state: UsageState,
}

named! {
    /// How near the nearest limit is.
    pub enum UsageState {
        /// Below 80 % of each limit.
        Ok = "ok",
        /// At 80 % of a limit or more.
        Warning = "warning",
        /// At a limit: requests are refused until 00:00 UTC.
        Exhausted = "exhausted",
    }
}

/// The limit that a request was refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cap {
    /// The credential's limit on requests.
    CredentialRequests,
    /// The credential's limit on tokens.
    CredentialTokens,
    /// The workspace's limit on requests.
    WorkspaceRequests,
    /// The workspace's limit on tokens.
    WorkspaceTokens,
}

impl Limits {
    /// The largest limit. Also what a counter can hold, and an exact number in JavaScript.
    pub const MAX: u64 = 1_000_000_000_000;

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        self.requests_per_day.is_none() && self.tokens_per_day.is_none()
    }

    /// These limits after a change.
    #[must_use]
    pub fn with(self, change: LimitsChange) -> Self {
        Self {
            requests_per_day: change.requests_per_day.unwrap_or(self.requests_per_day),
            tokens_per_day: change.tokens_per_day.unwrap_or(self.tokens_per_day),
        }
    }
}

impl UsageState {
    pub(crate) fn of(count: u64, limit: Option<NonZeroU64>) -> Self {
        match limit {
            Some(limit) if count >= limit.get() => Self::Exhausted,
            Some(limit) if count >= warning_at(limit) => Self::Warning,
            _ => Self::Ok,
        }
    }
}

impl Cap {
    /// The setting and field that the limit is in.
    pub fn field(self) -> &'static str {
        match self {
            Self::CredentialRequests | Self::WorkspaceRequests => "requestsPerDay",
            Self::CredentialTokens | Self::WorkspaceTokens => "tokensPerDay",
        }
    }

    /// Whether it is a limit of the workspace, not of the credential.
    pub fn is_of_workspace(self) -> bool {
        matches!(self, Self::WorkspaceRequests | Self::WorkspaceTokens)
    }
}

/// The count at which a limit counts as nearly reached: 80 %, rounded up.
pub(crate) fn warning_at(limit: NonZeroU64) -> u64 {
    let limit = limit.get();
    // Without overflow, whatever a document claims.
    limit - limit / 5
}
