//! Asks a provider whether it accepts a key. The data plane implements the check; the registry
//! records the result.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use keyside_config::Verification;
use tokio::time::timeout;

use crate::resolver::Grant;

/// Asks a provider about a key.
#[async_trait]
pub trait LiveCheck: Send + Sync + 'static {
    /// Sends the provider's cheapest request with the granted key, at most once. Cancelled after a
    /// minute.
    async fn check(&self, grant: &Grant) -> Finding;
}

/// The result of a live check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The provider's verdict.
    pub verification: Verification,
    /// The HTTP status of the response, if there was one.
    pub status: Option<u16>,
}

impl Finding {
    /// The provider did not respond.
    pub const UNANSWERED: Self = Self {
        verification: Verification::Unreachable,
        status: None,
    };

    /// Runs the check, with a time limit.
    pub(crate) async fn of(grant: &Grant, check: Arc<dyn LiveCheck>) -> Self {
        let asked = timeout(LIMIT, check.check(grant)).await;
        asked.unwrap_or(Self::UNANSWERED)
    }

    /// Whether requests with this key can succeed. No response counts as no.
    pub fn is_usable(&self) -> bool {
        matches!(
            self.verification,
            Verification::Accepted | Verification::Limited
        )
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
