//! What is known about one provider: where it is, how it takes a key, and what may be asked of it.

mod check;
mod document;
mod endpoint;
mod id;
mod key;
mod repeated_prefix;
mod route;
mod sdk;
mod subprotocol;
mod usage;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;

pub(crate) use self::document::ProviderDocument;
pub use self::{
    check::{Check, CheckAnswer, Verification},
    endpoint::{EndpointError, EndpointRule},
    id::{ProviderId, ProviderIdError},
    key::{KeyRules, RefusedKey},
    repeated_prefix::RepeatedPrefix,
    route::{Group, Route},
    sdk::{DUMMY_KEY, SdkLine},
    subprotocol::{Subprotocol, SubprotocolError},
    usage::{Ending, KeyPath, Sign, Sum, UsageRule, UsageRuleError},
};
use crate::{base_url::BaseUrl, duration, egress_proxy::EgressProxy};

/// One provider of the catalogue.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name in paths, settings and records: `azure-openai`.
    pub id: ProviderId,
    /// The name for people: `Azure OpenAI`.
    pub name: String,
    /// Where it is reached.
    pub upstream: Upstream,
    /// Whether its name may resolve to addresses of a private network.
    pub allow_private: bool,
    /// How it is reached, where that differs from `[egress]`.
    pub egress: Option<EgressProxy>,
    /// How it takes a key.
    pub auth: Auth,
    /// Headers it needs, set only where the client did not.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What may be asked of it; nothing else is forwarded.
    pub routes: Vec<Route>,
    /// The routes of groups that `allow` leaves out, which a refusal names with the setting.
    pub withheld: Vec<(Group, Route)>,
    /// The WebSocket subprotocols that a client may offer it; others are not offered on.
    pub subprotocols: Vec<Subprotocol>,
    /// The shape of its errors, unless a route has another.
    pub error: ErrorShape,
    /// Where its answers report tokens; a rule for each of its APIs. For each figure the first rule that knows it counts.
    pub usage: Vec<UsageRule>,
    /// What its keys look like and what they must be allowed to do.
    pub key: KeyRules,
    /// The cheapest request that tells whether a key works.
    pub check: Check,
    /// Its own pages.
    pub links: Links,
    /// The steps to make a key, each a sentence.
    pub steps: Vec<String>,
    /// How it limits rates, in a sentence or two.
    pub rate_limits: String,
    /// What it offers for testing.
    pub sandbox: SandboxAvailability,
    /// How its SDKs are pointed at Keyside.
    pub sdk: Vec<SdkLine>,
    /// Deadlines of its own.
    pub deadlines: ProviderDeadlines,
}

impl Provider {
    /// The route that allows `method` on `path`, the part of the request's path after `/{provider}`.
    pub fn route(&self, method: &Method, path: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.allows(method, path))
    }
}

/// Where a provider is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The same for all credentials.
    Fixed(BaseUrl),
    /// A host that each credential names, within a rule.
    PerCredential(EndpointRule),
}

/// How a provider takes a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// In a header.
    Header {
        /// The header's name.
        name: HeaderName,
        /// What stands before the key: `Bearer `, or nothing.
        prefix: String,
    },
    /// In the query.
    Query {
        /// The parameter's name.
        name: String,
    },
}

/// The shape of an error, so that a provider's SDK raises its usual exception with our message.
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

/// A provider's own pages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// The API's documentation.
    pub docs: String,
    /// Where keys are made.
    pub console: String,
}

/// What a provider offers for testing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxAvailability {
    /// Whether there is a separate sandbox, or a free tier that serves as one.
    pub available: bool,
    /// What there is, in a sentence.
    pub note: String,
}

/// Deadlines of a provider that differ from `[proxy.deadlines]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderDeadlines {
    /// From when a request may leave to the response's head: connecting and the request's body count too.
    #[serde(deserialize_with = "duration::optional")]
    pub first_byte: Option<Duration>,
    /// Between two pieces of a response body.
    #[serde(deserialize_with = "duration::optional")]
    pub stream_idle: Option<Duration>,
}
