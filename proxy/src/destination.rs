//! A provider, prepared once at start: its hosts, metering rules, deadlines and metrics, so that a
//! request needs a single lookup. One set for each listener, because a connection lives on the
//! runtime that opened it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use keyside_config::{
    self as config, Catalogue, CredentialNames, Deadlines, EndpointRule, Provider, ProviderId,
    Proxy,
};
use parking_lot::RwLock;

use crate::{
    egress::Egress,
    meter,
    metrics::{Metrics, ProviderMetrics},
    quota::Quota,
    refusal::{Refusal, Sent},
    upstream::{ConnectionLimit, ConnectionQuotas, Dialer, Upstream},
};

/// All destinations by provider id.
pub(crate) struct Destinations(HashMap<ProviderId, Arc<Destination>>);

/// A provider as requests use it.
pub(crate) struct Destination {
    pub(crate) provider: Arc<Provider>,
    /// Names of credential headers and parameters, which no client's request may carry to any
    /// provider.
    pub(crate) credentials: Arc<CredentialNames>,
    pub(crate) usage: Arc<meter::Rules>,
    pub(crate) metrics: ProviderMetrics,
    pub(crate) first_byte: Duration,
    pub(crate) stream_idle: Duration,
    target: UpstreamTarget,
    egress: Arc<Egress>,
    dialer: Arc<Dialer>,
    quotas: ConnectionQuotas,
}

/// The host or hosts of a provider.
enum UpstreamTarget {
    /// One host; `None` if HTTP cannot represent its name.
    Fixed(Option<Arc<Upstream>>),
    /// A host for each endpoint of a credential, created at its first request.
    PerCredential(EndpointRule, RwLock<HashMap<Box<str>, Arc<Upstream>>>),
}

/// What all destinations of the process share: how connections are opened, and how many there may
/// be.
pub(crate) struct SharedResources {
    egress: Arc<Egress>,
    dialer: Arc<Dialer>,
    process_wide: Arc<ConnectionLimit>,
    requests: Arc<Quota>,
    by_provider: HashMap<ProviderId, Arc<ConnectionLimit>>,
    credentials: Arc<CredentialNames>,
}

impl SharedResources {
    /// `requests` bounds the requests in flight.
    pub(crate) fn new(
        catalogue: &Catalogue,
        proxy: &Proxy,
        egress: &Arc<Egress>,
        requests: Arc<Quota>,
    ) -> Self {
        let limits = &proxy.limits;
        let limit = |provider: &Arc<Provider>| {
            let limit = ConnectionLimit::new(limits.upstream_connections_per_destination);
            (provider.id.clone(), limit)
        };
        Self {
            egress: egress.clone(),
            dialer: Arc::new(egress.dialer(proxy.deadlines.connect, limits)),
            process_wide: ConnectionLimit::new(limits.upstream_connections),
            requests,
            by_provider: catalogue.iter().map(limit).collect(),
            credentials: Arc::new(catalogue.credential_names()),
        }
    }

    fn quotas(&self, provider: &ProviderId) -> ConnectionQuotas {
        let destination = self.by_provider.get(provider);
        ConnectionQuotas {
            process_wide: self.process_wide.clone(),
            destination: destination.unwrap_or(&self.process_wide).clone(),
            requests: self.requests.clone(),
        }
    }
}

impl Destinations {
    pub(crate) fn new(
        catalogue: &Catalogue,
        deadlines: &Deadlines,
        metrics: &Metrics,
        shared: &SharedResources,
    ) -> Self {
        let ready = |provider: &Arc<Provider>| {
            let destination = Destination::new(provider.clone(), deadlines, metrics, shared);
            (provider.id.clone(), Arc::new(destination))
        };
        Self(catalogue.iter().map(ready).collect())
    }

    pub(crate) fn get(&self, provider: &str) -> Option<&Arc<Destination>> {
        self.0.get(provider)
    }
}

impl Destination {
    fn new(
        provider: Arc<Provider>,
        deadlines: &Deadlines,
        metrics: &Metrics,
        shared: &SharedResources,
    ) -> Self {
        let quotas = shared.quotas(&provider.id);
        let target = match &provider.upstream {
            config::Upstream::Fixed(base) => {
                let route = shared.egress.route(&provider, base);
                let dialer = shared.dialer.clone();
                let upstream = Upstream::new(base.clone(), route, dialer, quotas.clone());
                UpstreamTarget::Fixed(upstream.map(Arc::new))
            }
            config::Upstream::PerCredential(rule) => {
                UpstreamTarget::PerCredential(rule.clone(), RwLock::default())
            }
        };
        Self {
            credentials: shared.credentials.clone(),
            usage: Arc::new(meter::Rules::new(&provider.usage)),
            metrics: metrics.provider(&provider.id),
            first_byte: provider
                .deadlines
                .first_byte
                .unwrap_or(deadlines.first_byte),
            stream_idle: provider
                .deadlines
                .stream_idle
                .unwrap_or(deadlines.stream_idle),
            target,
            egress: shared.egress.clone(),
            dialer: shared.dialer.clone(),
            quotas,
            provider,
        }
    }

    /// The upstream for a request with this credential. Its endpoint was checked when the
    /// credential was saved, and is checked again here against the current rule.
    pub(crate) fn upstream(&self, endpoint: Option<&str>) -> Result<Arc<Upstream>, Refusal> {
        let upstream = match &self.target {
            UpstreamTarget::Fixed(upstream) => upstream.clone(),
            UpstreamTarget::PerCredential(rule, known) => {
                endpoint.and_then(|endpoint| self.per_credential(endpoint, rule, known))
            }
        };
        upstream.ok_or(Refusal::UpstreamUnreachable(Sent::No))
    }

    fn per_credential(
        &self,
        endpoint: &str,
        rule: &EndpointRule,
        known: &RwLock<HashMap<Box<str>, Arc<Upstream>>>,
    ) -> Option<Arc<Upstream>> {
        let found = known.read();
        if let Some(upstream) = found.get(endpoint) {
            return Some(upstream.clone());
        }
        drop(found);
        let base = rule.accept(endpoint).ok()?;
        let route = self.egress.route(&self.provider, &base);
        let (dialer, quotas) = (self.dialer.clone(), self.quotas.clone());
        let new = Arc::new(Upstream::new(base, route, dialer, quotas)?);
        let mut known = known.write();
        Some(known.entry(endpoint.into()).or_insert(new).clone())
    }
}
