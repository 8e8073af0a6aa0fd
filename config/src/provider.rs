//! One provider: its address, how it takes a key, and which requests it allows.

mod check;
mod development;
mod document;
mod endpoint;
mod id;
mod key;
mod prompt;
mod repeated_prefix;
mod route;
mod sdk;
mod subprotocol;
mod usage;
mod verdict;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;

pub(crate) use self::document::ProviderDocument;
pub use self::{
    check::{Check, CheckAnswer, CheckKind, CheckRequest},
    development::{Development, NamedLink},
    endpoint::{EndpointError, EndpointRule},
    id::{ProviderId, ProviderIdError},
    key::{KeyRules, RefusedKey},
    prompt::{PromptRule, PromptText, is_model},
    repeated_prefix::RepeatedPrefix,
    route::{Group, Route},
    sdk::{DUMMY_KEY, SdkLine},
    subprotocol::{Subprotocol, SubprotocolError},
    usage::{Ending, KeyPath, Sign, Sum, UsageRule, UsageRuleError},
    verdict::{Cause, Verification},
};
use crate::{base_url::BaseUrl, duration, egress_proxy::EgressProxy};

/// One provider of the catalogue.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The id in paths, settings and records: `azure-openai`.
    pub id: ProviderId,
    /// The display name: `Azure OpenAI`.
    pub name: String,
    /// Its address.
    pub upstream: Upstream,
    /// Whether its name may resolve to private addresses.
    pub allow_private: bool,
    /// Its egress proxy, if it differs from `[egress]`.
    pub egress: Option<EgressProxy>,
    /// How it takes a key.
    pub auth: Auth,
    /// Headers that it requires, added only if the client did not send them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The allowed requests; no others are forwarded.
    pub routes: Vec<Route>,
    /// Routes of groups that `allow` does not include; the refusal names the setting.
    pub withheld: Vec<(Group, Route)>,
    /// The WebSocket subprotocols that may be offered to it; others are removed.
    pub subprotocols: Vec<Subprotocol>,
    /// The shape of its errors, unless the route has its own.
    pub error: ErrorShape,
    /// How its responses report tokens: one rule for each of its APIs. For each figure the first
    /// rule that finds it counts.
    pub usage: Vec<UsageRule>,
    /// The form of its keys, and the permissions that they need.
    pub key: KeyRules,
    /// The cheapest requests that check a key.
    pub check: Check,
    /// How to send one text to a model, for previews; `None` if there is no way.
    pub prompt: Option<PromptRule>,
    /// Links to its own pages.
    pub links: Links,
    /// The steps to create a key, one sentence each.
    pub steps: Vec<String>,
    /// Its rate limits, in a sentence or two.
    pub rate_limits: String,
    /// What it offers for testing.
    pub sandbox: SandboxAvailability,
    /// How to get a key for development.
    pub development: Development,
    /// How its SDKs are pointed at Keyside.
    pub sdk: Vec<SdkLine>,
    /// Deadlines that differ from `[proxy.deadlines]`.
    pub deadlines: ProviderDeadlines,
}

impl Provider {
    /// The route that allows `method` on `path`, the part of the request's path after
    /// `/{provider}`.
    pub fn route(&self, method: &Method, path: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.allows(method, path))
    }

    /// Whether requests to it can reach anything. The sandbox has no address until `keyside demo`
    /// or the settings set its `base_url`.
    pub fn has_address(&self) -> bool {
        match &self.upstream {
            Upstream::Fixed(url) => !url.is_placeholder(),
            Upstream::PerCredential(_) => true,
        }
    }
}

/// The address of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// One address for all credentials.
    Fixed(BaseUrl),
    /// Each credential names its host, which has to satisfy a rule.
    PerCredential(EndpointRule),
}

/// How a provider takes a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// In a header.
    Header {
        /// The header's name.
        name: HeaderName,
        /// The text before the key: `Bearer `, or nothing.
        prefix: String,
    },
    /// In a query parameter.
    Query {
        /// The parameter's name.
        name: String,
    },
}

/// The shape of an error. With it, a provider's SDK raises its usual exception, with our message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorShape {
    /// `{"error":{"message","type","param","code"}}`.
    OpenAi,
    /// `{"type":"error","error":{"type","message"}}`.
    Anthropic,
    /// `{"error":{"code","message","status"}}`.
    Gemini,
    /// `{"message"}`.
    Message,
    /// `{"message"}` with an `x-amzn-errortype` header.
    Bedrock,
}

/// Links to a provider's own pages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// The API documentation.
    pub docs: String,
    /// The page on which keys are created.
    pub console: String,
    /// The page on which bills are paid and limits are set, if it has an address of its own.
    pub billing: Option<String>,
    /// The page that reports outages.
    pub status: Option<String>,
}

/// What a provider offers for testing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxAvailability {
    /// Whether there is a separate sandbox, or a free tier that serves as one.
    pub available: bool,
    /// What there is, in one sentence.
    pub note: String,
}

/// Deadlines of one provider, which override `[proxy.deadlines]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderDeadlines {
    /// From the moment a request may be sent until the response's head. Includes connecting and
    /// sending the request's body.
    #[serde(deserialize_with = "duration::optional")]
    pub first_byte: Option<Duration>,
    /// Between two chunks of a response body.
    #[serde(deserialize_with = "duration::optional")]
    pub stream_idle: Option<Duration>,
}
