//! Live checks on the wire: whether a provider is asked before a secret is stored, and results.

use jiff::Timestamp;
use keyside_credentials::{Cause, Verification};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schemas::types;

/// Whether the provider is asked about a secret before it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckMode {
    /// The secret is stored only if the provider accepts it, at least in part.
    Required,
    /// The secret is stored whatever the provider says, with a warning if it does not accept it.
    Try,
    /// The provider is not asked.
    #[default]
    Skip,
}

/// How to check the secret in use.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialCheck {
    /// Whether to send a minimal prompt, which costs a few tokens, instead of the cheapest request;
    /// false by default.
    pub prompt: Option<bool>,
}

/// The result of a live check. It has nothing of what the provider wrote, which may contain the
/// secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckView {
    /// What the provider says of the secret.
    #[schema(value_type = types::Verification)]
    pub verdict: Verification,
    /// Why it does not accept the secret without reservation, as a stable name; null if it does.
    #[schema(value_type = Option<String>)]
    pub cause: Option<Cause>,
    /// What the cause means and what to do, for people; null if the secret is accepted.
    pub remediation: Option<String>,
    /// The HTTP status of the provider's response; null if there was none.
    pub status: Option<u16>,
    /// How long the check took, in milliseconds.
    pub latency_ms: Option<u64>,
    /// The tokens of the prompt; null if none was sent.
    pub usage: Option<TokenUsage>,
    /// When the check ended; null if its secret was not stored.
    pub at: Option<Timestamp>,
}

/// Tokens as the provider reported them; null, which differs from 0, if it did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenUsage {
    /// Tokens billed as input, including cached ones.
    pub input_tokens: Option<u64>,
    /// Tokens billed as output, including reasoning.
    pub output_tokens: Option<u64>,
    /// Input tokens read from a cache.
    pub cached_input_tokens: Option<u64>,
    /// Input tokens written to a cache.
    pub cache_write_tokens: Option<u64>,
    /// Output tokens used for reasoning.
    pub reasoning_tokens: Option<u64>,
}
