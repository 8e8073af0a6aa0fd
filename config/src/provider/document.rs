//! A provider as written in TOML, and its conversion to [`Provider`].

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::{
    Auth, Check, Development, EndpointRule, ErrorShape, Group, KeyRules, Links, PromptRule,
    Provider, ProviderDeadlines, ProviderId, SandboxAvailability, SdkLine, Subprotocol, Upstream,
    UsageRule,
    route::{Route, RouteDocument},
    sdk,
};
use crate::{
    base_url::BaseUrl,
    egress_proxy::EgressProxy,
    field::{self, NormalName},
    layers::Mismatch,
    metadata::is_metadata_host,
    parsed,
};

/// One file of `providers/`, merged with `[providers.<id>]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderDocument {
    name: Option<String>,
    base_url: Option<String>,
    #[serde(default)]
    allow_plaintext: bool,
    #[serde(default)]
    allow_private: bool,
    egress: Option<EgressProxy>,
    endpoint: Option<EndpointRule>,
    auth: AuthDocument,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(deserialize_with = "parsed::texts_or_tables")]
    routes: Vec<RouteDocument>,
    #[serde(default, deserialize_with = "parsed::texts_or_tables")]
    stored_routes: Vec<RouteDocument>,
    #[serde(default, deserialize_with = "parsed::texts_or_tables")]
    extra_routes: Vec<RouteDocument>,
    #[serde(default = "inference_only")]
    allow: Vec<Group>,
    #[serde(default)]
    subprotocols: Vec<Subprotocol>,
    error: ErrorShape,
    #[serde(default)]
    usage: Vec<UsageRule>,
    key: KeyRules,
    check: Check,
    prompt: Option<PromptRule>,
    links: Links,
    steps: Vec<String>,
    rate_limits: String,
    sandbox: SandboxAvailability,
    development: Development,
    #[serde(default)]
    sdk: Vec<SdkLine>,
    #[serde(default)]
    deadlines: ProviderDeadlines,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthDocument {
    header: Option<String>,
    query: Option<String>,
    #[serde(default)]
    prefix: String,
}

impl ProviderDocument {
    /// Builds the provider. A [`Mismatch`] has keys relative to the provider's table. `meant` is
    /// the known provider whose id the new id probably misspells.
    pub(crate) fn build(self, id: ProviderId, meant: Option<&str>) -> Result<Provider, Mismatch> {
        let upstream = self.upstream(meant)?;
        let auth = self.auth.build()?;
        let groups = [
            (Group::Inference, self.routes),
            (Group::Stored, self.stored_routes),
        ];
        let (routes, withheld) = build_routes(&self.allow, self.extra_routes, groups);
        let sdk = match self.sdk {
            written if !written.is_empty() => written,
            _ => sdk::derived(&routes, self.error),
        };
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| header(name, value, &auth));
        Ok(Provider {
            upstream,
            allow_private: self.allow_private,
            egress: self.egress,
            headers: headers.collect::<Result<_, _>>()?,
            auth,
            name: self.name.unwrap_or_else(|| id.to_string()),
            routes,
            withheld,
            subprotocols: self.subprotocols,
            error: self.error,
            usage: self.usage,
            key: self.key,
            check: self.check,
            prompt: self.prompt,
            links: self.links,
            steps: self.steps,
            rate_limits: self.rate_limits,
            sandbox: self.sandbox,
            development: self.development,
            sdk,
            deadlines: self.deadlines,
            id,
        })
    }

    /// A base URL overrides an endpoint rule: that is how an operator sends all credentials to one
    /// host.
    fn upstream(&self, meant: Option<&str>) -> Result<Upstream, Mismatch> {
        match (&self.base_url, &self.endpoint) {
            (Some(url), _) => self.base_url(url).map(Upstream::Fixed),
            (None, Some(rule)) => Ok(Upstream::PerCredential(rule.clone())),
            (None, None) => Err(Mismatch::new(
                "",
                match meant {
                    Some(meant) => {
                        format!("`base_url` of a new provider is missing; did you mean {meant}?")
                    }
                    None => "`base_url` is missing".to_owned(),
                },
            )),
        }
    }

    /// Refuses the addresses and names of metadata services here, because a literal address is
    /// connected to without being resolved. The addresses of other names are checked each time they
    /// are resolved.
    fn base_url(&self, text: &str) -> Result<BaseUrl, Mismatch> {
        let wrong = |reason: String| Mismatch::new("base_url", reason);
        let url = BaseUrl::parse(text, self.allow_plaintext);
        let url = url.map_err(|error| wrong(error.to_string()))?;
        match is_metadata_host(&url.host) {
            true => Err(wrong(
                "this is the address of a cloud's metadata service, where no provider is".into(),
            )),
            false => Ok(url),
        }
    }
}

impl AuthDocument {
    /// A query overrides a header: the defaults contain a header, and TOML cannot remove a key.
    fn build(self) -> Result<Auth, Mismatch> {
        match (self.header, self.query) {
            (_, Some(name)) if field::is_parameter(&name) => Ok(Auth::Query { name }),
            (_, Some(_)) => Err(Mismatch::new(
                "auth.query",
                "expected a parameter's name, of letters, digits and -._~",
            )),
            (Some(name), None) => {
                let name = name.parse().ok().filter(|name| !field::is_reserved(name));
                let name = name.ok_or_else(|| {
                    Mismatch::new("auth.header", "expected a header that can carry a key")
                })?;
                match HeaderValue::from_str(&self.prefix) {
                    Ok(_) => Ok(Auth::Header {
                        name,
                        prefix: self.prefix,
                    }),
                    Err(_) => Err(Mismatch::new("auth.prefix", "expected visible ASCII")),
                }
            }
            (None, None) => Err(Mismatch::new("auth", "expected either `header` or `query`")),
        }
    }
}

fn inference_only() -> Vec<Group> {
    vec![Group::Inference]
}

/// The forwarded routes, and the withheld ones with their group.
fn build_routes(
    allowed: &[Group],
    extra: Vec<RouteDocument>,
    groups: [(Group, Vec<RouteDocument>); 2],
) -> (Vec<Route>, Vec<(Group, Route)>) {
    let mut routes: Vec<_> = extra.into_iter().map(RouteDocument::build).collect();
    let mut withheld = Vec::new();
    for (group, documents) in groups {
        let built = documents.into_iter().map(RouteDocument::build);
        match allowed.contains(&group) {
            true => routes.extend(built),
            false => withheld.extend(built.map(|route| (group, route))),
        }
    }
    (routes, withheld)
}

/// Refuses headers that may contain a key: keys belong in the store, where they are sealed.
fn header(name: &str, value: &str, auth: &Auth) -> Result<(HeaderName, HeaderValue), Mismatch> {
    let carries_key = |sent: &HeaderName| match auth {
        Auth::Header { name, .. } => {
            NormalName::of_header(sent).is_same_as(&NormalName::of_header(name))
        }
        Auth::Query { .. } => false,
    };
    let wrong = |reason| Mismatch::new(format!("headers.{name}"), reason);
    let parsed: HeaderName = name.parse().map_err(|_| wrong("expected a header name"))?;
    let value = value.parse().map_err(|_| wrong("expected visible ASCII"))?;
    match parsed {
        name if field::is_reserved(&name) => Err(wrong("this header is set by HTTP itself")),
        name if field::is_credential_header(&name) || carries_key(&name) => Err(wrong(
            "a key is added with `keyside key add`, never set here",
        )),
        name => Ok((name, value)),
    }
}
