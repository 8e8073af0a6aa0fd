//! Asking the provider itself what it thinks of a key. How that is done is the data plane's; what becomes of the answer is
//! the registry's.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use keyside_config::Verification;
use tokio::time::timeout;

use crate::resolver::Grant;

/// Asks a provider about a key.
#[async_trait]
pub trait LiveCheck: Send + Sync + 'static {
    /// Sends the provider's cheapest request with the granted key, at most once. Not waited for longer than a minute.
    async fn check(&self, grant: &Grant) -> Finding;
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What the provider says of the key.
    pub verification: Verification,
    /// The status that it answered with, if it did.
    pub status: Option<u16>,
}

impl Finding {
    /// Nobody answered.
    pub const UNANSWERED: Self = Self {
        verification: Verification::Unreachable,
        status: None,
    };

    /// Asks, for as long as is worth waiting.
    pub(crate) async fn of(grant: &Grant, check: Arc<dyn LiveCheck>) -> Self {
        let asked = timeout(LIMIT, check.check(grant)).await;
        asked.unwrap_or(Self::UNANSWERED)
    }

    /// Whether requests with this key can succeed. A provider that does not answer has not said yes.
    pub fn is_usable(&self) -> bool {
        matches!(
            self.verification,
            Verification::Accepted | Verification::Limited
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.verification.as_str();
        match self.status {
            Some(status) => write!(f, "{said}, the provider answered {status}"),
            None => write!(f, "{said}, the provider did not answer"),
        }
    }
}

const LIMIT: Duration = Duration::from_secs(60);
