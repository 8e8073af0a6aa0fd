//! The steps of one request.
//!
//! ```text
//!  client ──► recognise ──► route ──► admit ──► resolve ──► inject ──► forward ──► upstream
//!             (admission)  (route)  (admission) (credentials) (inject)  (upstream)     │
//!  client ◄────────────── record ◄── meter ◄── scrub ◄── relay ◄───────────────────────┘
//!                    (request_record)
//! ```
//!
//! Each step either hands a value to the next or refuses. Every refusal has the provider's own
//! error shape. Nothing is sent to an upstream before every step up to *inject* has succeeded, and
//! the upstream gets exactly what those steps checked. A request that was granted a credential is
//! recorded exactly once.

mod body;
mod parsed_head;
mod refused;

use std::{future::poll_fn, ops::ControlFlow, pin::pin, sync::Arc};

pub(crate) use body::Body;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts as Head,
};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use keyside_config::{Catalogue, ErrorShape, Provider, Route, Settings};
use keyside_credentials::{
    CredentialQuery, Grant, RequestContext, RequestId, Resolver, Secret,
    runs::{RunKind, Runs},
};
use parsed_head::ParsedHead;
use tokio::time::Instant;

use crate::{
    activity::InFlightGuard,
    admission::{Admitted, ListenerPolicy},
    destination::{Destination, Destinations},
    drain::{Drain, Phase},
    egress::Egress,
    head_limits::HeadLimits,
    inject::Outbound,
    ledger::Ledger,
    meter::Meter,
    metrics::Metrics,
    quota::{Quota, QuotaPermit},
    refusal::{Refusal, RefusalBudget, Sent, sanitize},
    relay::{self, ResponsePipeline},
    request_body::RequestBody,
    request_record::{Arrival, InProcess, RequestRecord},
    route::{self, RequestPath},
    scrub::Scrub,
    upgrade::{self, Offer},
    upstream::{self, Failure, LeasedResponse},
};

/// What the data plane needs from the rest of the process.
pub struct Dependencies {
    /// The effective settings of the process.
    pub settings: Arc<Settings>,
    /// The routes to providers, direct or through a proxy.
    pub egress: Arc<Egress>,
    /// Grants or refuses a credential for each request.
    pub resolver: Resolver,
    /// Receives one run record for each request.
    pub runs: Runs,
    /// The admin app's public URL, which links in refusals begin with; `None` without an admin app.
    pub links: Option<Arc<str>>,
    /// Counts and times requests.
    pub metrics: Arc<Metrics>,
    /// The shutdown phase, and the count of requests in flight.
    pub drain: Drain,
    /// Returns memory that the calling thread has freed to the operating system.
    pub collect: fn(),
}

/// Answers the requests of one listener.
pub(crate) struct Gateway {
    settings: Arc<Settings>,
    policy: ListenerPolicy,
    destinations: Destinations,
    resolver: Resolver,
    ledger: Arc<Ledger>,
    links: Option<Arc<str>>,
    drain: Drain,
    heads: HeadLimits,
    /// Bounds the requests in flight, over all listeners.
    requests: Arc<Quota>,
}

/// Proof that a request may be forwarded: to which destination, with which key. Only
/// [`Gateway::permit`] creates it; forwarding the request consumes it.
struct Permit {
    destination: Arc<Destination>,
    rest: String,
    shape: Option<ErrorShape>,
    upgrade: bool,
    quota_permit: QuotaPermit,
    /// Whether the response's token counts are charged to this request.
    metered: bool,
    grant: Grant,
    secret: Secret,
    run_id: Option<Box<str>>,
    tag: Option<Box<str>>,
    context: RequestContext,
}

/// Why a request may not be forwarded, and the route that had been found by then.
struct Denied<'a> {
    refusal: Refusal,
    route: Option<&'a Route>,
}

impl From<Refusal> for Denied<'_> {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            route: None,
        }
    }
}

impl Gateway {
    pub(crate) fn new(
        dependencies: &Dependencies,
        policy: ListenerPolicy,
        destinations: Destinations,
        requests: Arc<Quota>,
    ) -> Self {
        let ledger = Ledger {
            metrics: dependencies.metrics.clone(),
            runs: dependencies.runs.clone(),
            clock: dependencies.resolver.clock(),
            refusals: RefusalBudget::default(),
            unknown_tokens: dependencies.settings.proxy.limits.unknown_tokens,
        };
        Self {
            settings: dependencies.settings.clone(),
            policy,
            destinations,
            resolver: dependencies.resolver.clone(),
            ledger: Arc::new(ledger),
            links: dependencies.links.clone(),
            drain: dependencies.drain.clone(),
            heads: HeadLimits::of(&dependencies.settings.proxy.limits),
            requests,
        }
    }

    /// Answers one request. `in_flight` counts it as in flight until the last byte of its response
    /// is sent. `known_peer` is false for a Unix user that the socket does not accept.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        in_flight: InFlightGuard,
        known_peer: bool,
    ) -> Response<Body> {
        let arrival = Arrival::now(RequestId::next());
        let (head, body) = request.into_parts();
        let body = in_flight.body(body);
        let body = RequestBody::new(&head, body, self.settings.proxy.deadlines.body_idle);
        let over_http1 = head.version < Version::HTTP_2;
        let mut response = self
            .respond((head, body), known_peer, arrival, in_flight)
            .await;
        // hyper closes an HTTP/1.1 connection after this header. On HTTP/2 the connection sends
        // GOAWAY instead.
        let leaving = over_http1 && self.drain.has_begun();
        if leaving && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// All steps of one request, whether it came over a connection or from this process.
    pub(crate) async fn respond(
        &self,
        (head, body): (Head, RequestBody),
        known_peer: bool,
        arrival: Arrival,
        in_flight: InFlightGuard,
    ) -> Response<Body> {
        match self.check(&head, known_peer, arrival, in_flight) {
            ControlFlow::Continue((permit, in_flight)) => {
                let context = permit.context.clone();
                // Enters the context at each poll: `RequestContext::run` would copy this large
                // future to wrap it.
                let mut forwarding = pin!(self.forward(permit, head, body, arrival, in_flight));
                poll_fn(|task| context.scope(|| forwarding.as_mut().poll(task))).await
            }
            ControlFlow::Break(response) => response,
        }
    }

    /// Permits a request or answers it at once. A refusal is written from what `permit` read and
    /// decided.
    fn check(
        &self,
        head: &Head,
        known_peer: bool,
        arrival: Arrival,
        in_flight: InFlightGuard,
    ) -> ControlFlow<Response<Body>, (Permit, InFlightGuard)> {
        let path = RequestPath::read(head.uri.path());
        let parsed = self.parse(head, &path);
        match self.permit(&parsed, known_peer, arrival.request_id) {
            Ok(Some(permit)) => ControlFlow::Continue((permit, in_flight)),
            Ok(None) => ControlFlow::Break(base_url_response(&head.method, in_flight)),
            Err(denied) => {
                ControlFlow::Break(self.refuse_unpermitted(denied, &parsed, arrival, in_flight))
            }
        }
    }

    /// Checks a request by its head alone, without I/O or waiting. `None` for a probe of a base
    /// URL, which the gateway answers itself.
    fn permit<'a>(
        &self,
        parsed: &ParsedHead<'a>,
        known_peer: bool,
        request_id: RequestId,
    ) -> Result<Option<Permit>, Denied<'a>> {
        let head = parsed.head;
        if self.drain.phase() == Phase::Closing {
            return Err(Refusal::Draining.into());
        }
        if !known_peer {
            return Err(Refusal::PeerNotAllowed.into());
        }
        if !self.heads.allow(&head.headers) {
            return Err(Refusal::HeadTooLarge.into());
        }
        parsed.recognised?;
        parsed.path.checked?;
        if matches!(head.method, Method::HEAD | Method::OPTIONS) && parsed.is_base_url() {
            return Ok(None);
        }
        let admitted = parsed.admitted.as_ref().map_err(|refusal| *refusal)?;
        let (Some(target), Some(destination)) = (&parsed.target, parsed.destination) else {
            return Err(Refusal::ProviderUnknown.into());
        };
        let (route, rest) = route::find(&destination.provider, &head.method, target.rest)
            .ok_or(Refusal::PathNotAllowed)?;
        let (grant, secret, quota_permit, context) = self
            .grant(admitted, target.provider, request_id)
            .map_err(|refusal| Denied {
                refusal,
                route: Some(route),
            })?;
        let upgrade = route.upgrade && upgrade::is_websocket(head);
        let note = |text| {
            let is_secret = |text: &str| secret.is_repeated_in(text);
            sanitize::note(text, &self.settings.catalogue, is_secret)
        };
        let (run_id, tag) = (admitted.run_id.map(note), admitted.tag.map(note));
        Ok(Some(Permit {
            quota_permit,
            destination: destination.clone(),
            rest,
            shape: route.error,
            upgrade,
            metered: route.meters(&head.method, upgrade),
            secret,
            grant,
            run_id,
            tag,
            context,
        }))
    }

    /// Resolves the credential of an admitted request and opens its secret, if the workspace may
    /// have one more request in flight.
    fn grant(
        &self,
        admitted: &Admitted<'_>,
        provider: &str,
        request_id: RequestId,
    ) -> Result<(Grant, Secret, QuotaPermit, RequestContext), Refusal> {
        let grant = self.resolver.resolve(&CredentialQuery {
            workspace: admitted.workspace,
            provider,
            label: admitted.label.as_deref(),
            environment: admitted.environment,
            pin: self.policy.pin(),
        })?;
        if self.ledger.runs.refuses() {
            return Err(keyside_credentials::Refusal::StoreUnavailable.into());
        }
        let quota_permit = self.requests.try_acquire(grant.workspace());
        let quota_permit = quota_permit.map_err(|_| Refusal::Overloaded)?;
        let (workspace, provider) = (grant.workspace().clone(), grant.provider().clone());
        let context = RequestContext::with_credential(request_id, workspace, provider);
        let secret = context.scope(|| grant.open())?;
        Ok((grant, secret, quota_permit, context))
    }

    /// Forwards a permitted request and returns its response, or a refusal. From here on the
    /// request is recorded.
    async fn forward(
        &self,
        permit: Permit,
        mut head: Head,
        body: RequestBody,
        arrival: Arrival,
        in_flight: InFlightGuard,
    ) -> Response<Body> {
        let Permit {
            destination,
            rest,
            shape,
            upgrade,
            quota_permit,
            metered,
            grant,
            secret,
            run_id,
            tag,
            context,
        } = permit;
        let held = (in_flight, quota_permit);
        let mut record =
            RequestRecord::begin(grant, destination, self.ledger.clone(), arrival, held);
        // Only code in this process can add an extension: a client's request never has one.
        let kind = head.extensions.remove::<RunKind>().unwrap_or_default();
        record.tag_with(kind, run_id, tag);
        record.report_to(head.extensions.remove::<InProcess>());
        record.is_metered = metered;
        let client = head.extensions.remove::<OnUpgrade>();
        let sent = self
            .send(&record, &rest, upgrade, head, body, &secret)
            .await;
        let LeasedResponse { response, lease } = match sent {
            Ok(answer) => answer,
            Err(failure) => return self.refuse_permitted(failure, shape, record, arrival),
        };
        record.answered(response.status().as_u16());
        let stream_idle = record.destination.stream_idle;
        let rules = record.destination.usage.clone();
        let meter = match response.status() {
            _ if !metered => Meter::off(rules),
            StatusCode::SWITCHING_PROTOCOLS => Meter::websocket(rules),
            _ => Meter::answer(rules, response.headers()),
        };
        let others = record.grant.open_others(|| self.ledger.clock.now());
        let pipeline = ResponsePipeline {
            scrub: Scrub::new(secret, others),
            meter,
            record,
        };
        match client {
            Some(client) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                upgrade::tunnel(client, response, pipeline, stream_idle).map(|()| Body::Empty)
            }
            _ => relay::relay(response, lease, pipeline, stream_idle)
                .map(|relay| Body::relayed(relay, context)),
        }
    }

    async fn send(
        &self,
        record: &RequestRecord,
        rest: &str,
        upgrade: bool,
        head: Head,
        body: RequestBody,
        secret: &Secret,
    ) -> Result<LeasedResponse, Failure> {
        let destination = &*record.destination;
        let upstream = destination.upstream(record.grant.endpoint())?;
        let outbound = Outbound {
            destination,
            prefix: upstream.prefix(),
            rest,
            upgrade,
            accept_encoding: self.settings.proxy.accept_encoding,
            tag_headers: &self.settings.proxy.tag_headers,
        };
        let mut head = outbound.rewrite(head, secret)?;
        body.set_length_headers(&mut head.headers);
        let offer = upgrade.then(|| Offer::of(&head.headers));
        let request = Request::from_parts(
            head,
            body.with_credential_names(destination.credentials.clone()),
        );
        let deadline = Instant::from_std(record.ready()) + destination.first_byte;
        let sent = || record.sent();
        let mut timer = record.in_flight.take_timer();
        let answered = tokio::select! {
            // A response that has arrived wins over a revocation or timeout that is noticed at the
            // same time.
            biased;
            answered = upstream.forward(request, &record.grant, upgrade, &sent) => answered,
            () = record.grant.cut() => Err(REVOKED.into()),
            () = poll_fn(|context| timer.poll(deadline, context)) => {
                Err(upstream::timed_out(record.is_sent()))
            },
        };
        record.in_flight.return_timer(timer);
        let answer = answered?;
        let switches = answer.response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let agreed = answer.response.headers();
        match switches && !offer.is_some_and(|offer| offer.allows(agreed)) {
            true => Err(unoffered_upgrade()),
            false => Ok(answer),
        }
    }
}

/// What previews need besides [`Gateway::respond`].
impl Gateway {
    /// The provider with this id, if the catalogue has it.
    pub(crate) fn provider(&self, id: &str) -> Option<&Arc<Provider>> {
        let destination = self.destinations.get(id)?;
        Some(&destination.provider)
    }

    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.settings.catalogue
    }

    /// The admin app's public URL, which links begin with.
    pub(crate) fn links(&self) -> Option<&str> {
        self.links.as_deref()
    }
}

/// The upstream switched protocols although nobody asked, or to something that it was not offered.
fn unoffered_upgrade() -> Failure {
    let cause = "the upstream switched protocols without being asked, or accepted a WebSocket \
        extension or subprotocol that it was not offered";
    Failure {
        cause: Some(cause.into()),
        ..Refusal::UpstreamUnreachable(Sent::Perhaps).into()
    }
}

/// Answers a probe of a base URL: 200 for HEAD, 204 for OPTIONS, the same for every caller.
fn base_url_response(method: &Method, in_flight: InFlightGuard) -> Response<Body> {
    let mut response = Response::new(Body::buffered(Vec::new(), in_flight));
    if *method == Method::OPTIONS {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}

/// The refusal of a request that was cut off because its credential was revoked; the same as that of
/// a later request.
const REVOKED: Refusal = Refusal::Credential(keyside_credentials::Refusal::CredentialRevoked);

#[cfg(test)]
mod tests;
