//! A provider, made ready once at start: its origin, its metering rule, its
//! deadlines and its metrics, so that a request looks up one thing.

use crate::meter;
use crate::metrics::{Metrics, ProviderMetrics};
use crate::refusal::Refusal;
use http::uri::{Authority, Scheme};
use keyside_config::{self as config, BaseUrl, Catalogue, Deadlines, Provider, Upstream};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// All destinations by provider id.
pub(crate) struct Destinations(HashMap<Box<str>, Arc<Destination>>);

/// Where requests for one provider go.
pub(crate) struct Destination {
    pub(crate) provider: Arc<Provider>,
    pub(crate) id: Arc<str>,
    pub(crate) meter: Arc<[meter::Rule]>,
    pub(crate) metrics: ProviderMetrics,
    pub(crate) first_byte: Duration,
    pub(crate) stream_idle: Duration,
    fixed: Option<Origin>,
}

/// Scheme, host, port and path prefix, as configuration decided them.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) prefix: String,
}

impl Destinations {
    pub(crate) fn new(catalogue: &Catalogue, deadlines: &Deadlines, metrics: &Metrics) -> Self {
        let ready = |provider: &Arc<Provider>| {
            let destination = Destination::new(provider.clone(), deadlines, metrics);
            (provider.id.as_str().into(), Arc::new(destination))
        };
        Self(catalogue.iter().map(ready).collect())
    }

    pub(crate) fn get(&self, provider: &str) -> Option<&Arc<Destination>> {
        self.0.get(provider)
    }
}

impl Destination {
    fn new(provider: Arc<Provider>, deadlines: &Deadlines, metrics: &Metrics) -> Self {
        let fixed = match &provider.upstream {
            Upstream::Fixed(base) => Origin::new(base),
            Upstream::PerCredential(_) => None,
        };
        Self {
            id: provider.id.as_str().into(),
            meter: provider
                .usage
                .iter()
                .cloned()
                .map(meter::Rule::new)
                .collect(),
            metrics: metrics.provider(provider.id.as_str()),
            first_byte: provider
                .deadlines
                .first_byte
                .unwrap_or(deadlines.first_byte),
            stream_idle: provider
                .deadlines
                .stream_idle
                .unwrap_or(deadlines.stream_idle),
            fixed,
            provider,
        }
    }

    /// Where a request with this credential goes. The endpoint was checked when
    /// the credential was saved; it is checked again, against today's rule.
    pub(crate) fn origin(&self, endpoint: Option<&str>) -> Result<Origin, Refusal> {
        let named = || match &self.provider.upstream {
            Upstream::PerCredential(rule) => Origin::new(&rule.accept(endpoint?).ok()?),
            Upstream::Fixed(_) => None,
        };
        self.fixed
            .clone()
            .or_else(named)
            .ok_or(Refusal::UpstreamUnreachable)
    }
}

impl Origin {
    fn new(base: &BaseUrl) -> Option<Self> {
        let scheme = match base.scheme {
            config::Scheme::Http => Scheme::HTTP,
            config::Scheme::Https => Scheme::HTTPS,
        };
        let authority = base.authority().parse().ok()?;
        Some(Self {
            scheme,
            authority,
            prefix: base.path.clone(),
        })
    }
}
