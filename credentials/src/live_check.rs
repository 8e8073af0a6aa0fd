//! Asks a provider whether it accepts a key. The data plane implements the check; the registry
//! decides when to ask, and keeps the result.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use keyside_config::{Cause, Verification};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{resolver::Grant, runs::Tokens};

/// Asks a provider about a key.
#[async_trait]
pub trait LiveCheck: Send + Sync + 'static {
    /// Sends one of the provider's checks with the granted key, at most once. Cancelled after a
    /// minute.
    async fn check(&self, grant: &Grant) -> Finding;
}

/// The result of a live check. It has nothing of what the provider wrote, which may contain the
/// key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The provider's verdict.
    pub verification: Verification,
    /// Why the key is not accepted; `None` if it is, or if the reason is unknown.
    pub cause: Option<Cause>,
    /// The HTTP status of the response, if there was one.
    pub status: Option<u16>,
    /// How long the check took, if it was measured.
    pub latency: Option<Duration>,
    /// The tokens of a prompt, as the provider reported them; `None` if no prompt was sent.
    pub tokens: Option<Tokens>,
}

impl Finding {
    /// The provider did not respond.
    pub const UNANSWERED: Self = Self::because(Cause::TimedOut, None);

    /// The finding for a verdict whose cause is unknown.
    pub const fn of_verdict(verification: Verification, status: Option<u16>) -> Self {
        Self {
            verification,
            cause: None,
            status,
            latency: None,
            tokens: None,
        }
    }

    /// The finding for a cause.
    pub const fn because(cause: Cause, status: Option<u16>) -> Self {
        Self {
            cause: Some(cause),
            ..Self::of_verdict(cause.verdict(), status)
        }
    }

    /// Runs the check, with a time limit.
    pub(crate) async fn of(grant: &Grant, check: Arc<dyn LiveCheck>) -> Self {
        let asked = timeout(LIMIT, check.check(grant)).await;
        asked.unwrap_or(Self::UNANSWERED)
    }

    /// Whether requests with this key can succeed. No response counts as no.
    pub fn is_usable(&self) -> bool {
        self.verification.is_usable()
    }

    pub(crate) fn audit_note(&self) -> String {
        match self.cause {
            Some(cause) => format!("{self}: {}", cause.as_str()),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.verification.as_str();
        match self.status {
            Some(status) => write!(f, "{verdict}, the provider responded with {status}"),
            None => write!(f, "{verdict}, the provider did not respond"),
        }
    }
}

/// For the whole check, including its connection.
const LIMIT: Duration = Duration::from_secs(60);
