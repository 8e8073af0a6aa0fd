//! A provider of the catalogue on the wire.

use keyside_config::ProviderId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A provider.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderView {
    /// The id that credentials and requests name.
    #[schema(value_type = String)]
    pub id: ProviderId,
    /// For people.
    pub name: String,
    /// Where requests carry the key.
    pub auth: AuthView,
    /// The base URL; null if each credential has its own.
    pub base_url: Option<String>,
    /// The rule for the endpoints of credentials; null if the provider has one base URL.
    pub endpoint: Option<EndpointView>,
    /// The form of its keys.
    pub key: KeyView,
    /// How to create a key, step by step.
    pub steps: Vec<String>,
    /// The provider's own pages.
    pub links: LinksView,
    /// The provider's rate limits, for people.
    pub rate_limits: String,
    /// Whether the provider has a sandbox.
    pub sandbox: SandboxView,
    /// How to get a key for development.
    pub development: DevelopmentView,
    /// How to configure SDKs for Keyside.
    pub sdks: Vec<SdkView>,
}

/// Where requests carry the key.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthView {
    /// `header` or `query`.
    #[serde(rename = "in")]
    pub place: String,
    /// The name of the header or of the parameter.
    pub name: String,
    /// The text before the key.
    pub prefix: String,
}

/// The rule for the endpoints of credentials.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct EndpointView {
    /// What hosts may end with.
    pub suffixes: Vec<String>,
    /// An invented endpoint.
    pub example: String,
}

/// The form of a provider's keys.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// The usual form of a key, as a regular expression.
    pub pattern: String,
    /// An invented key of that form; empty if none is known.
    pub example: String,
    /// What keys usually begin with.
    pub prefixes: Vec<String>,
    /// What a key may do.
    pub scopes: Vec<String>,
}

/// The provider's own pages; empty if none are known.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct LinksView {
    /// The documentation of its API.
    pub docs: String,
    /// The page that creates keys.
    pub console: String,
    /// The page on which bills are paid and limits are set; null if it has no address of its own.
    pub billing: Option<String>,
    /// The page that reports outages; null if none is known.
    pub status: Option<String>,
}

/// A provider's sandbox.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct SandboxView {
    /// Whether there is one.
    pub available: bool,
    /// How to test without cost.
    pub note: String,
}

/// Advice for people on keys for development. Nothing is enforced.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevelopmentView {
    /// What to create or limit at the provider; empty if nothing is known.
    pub steps: Vec<String>,
    /// After how many days such a key should expire; null if there is no suggestion.
    pub expires_in_days: Option<u16>,
    /// The provider's pages about it.
    pub links: Vec<NamedLinkView>,
}

/// A link to a page.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct NamedLinkView {
    /// What the page is about.
    pub name: String,
    /// Its address.
    pub url: String,
}

/// How to configure one SDK for Keyside.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SdkView {
    /// For people.
    pub name: String,
    /// The environment variable, or the option in code, for the base URL.
    pub variable: String,
    /// The path to append to the proxy's address, with `{workspaceId}` in place of the workspace.
    pub base_url_path: String,
    /// The environment variables in which the SDK expects a key; any dummy value works.
    pub key_variables: Vec<String>,
}
