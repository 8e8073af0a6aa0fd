//! Verifies a key with its provider, using the cheapest request or the prompt of the catalogue.
//!
//! The request takes the same path as any other: injected by the same code, sent to the configured
//! destination, redirects not followed. Nobody receives its response, so nothing is relayed. Its run
//! record says what it was for. The result has nothing of what the provider wrote.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::BodyExt;
use keyside_config::{AcceptEncoding, CheckKind, CheckRequest, Route};
use keyside_credentials::{
    Clock, Finding, Grant, LiveCheck, RequestId, Secret, Timestamp,
    runs::{Outcome, Run, RunKind, Runs, Tokens},
};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::{
    destination::{Destination, Destinations},
    headers::OWN_USER_AGENT,
    inject::Outbound,
    meter::Meter,
    refusal::{Refusal, Sent, Wait},
    request_body::RequestBody,
    request_record::micros,
    upstream::{Failure, LeasedResponse},
};

/// Sends live checks of one kind. Its connections live on the runtime that calls it.
pub(crate) struct Probe {
    destinations: Arc<Destinations>,
    runs: Runs,
    clock: Arc<dyn Clock>,
    check: CheckKind,
    /// The kind of its run records.
    kind: RunKind,
}

#[async_trait]
impl LiveCheck for Probe {
    async fn check(&self, grant: &Grant) -> Finding {
        let (at, started) = (self.clock.now(), Instant::now());
        let found = self.ask(grant, started + CHECK_TIMEOUT).await;
        let finding = found.unwrap_or_else(|failure| {
            let provider = grant.provider().as_str();
            tracing::warn!(
                provider,
                code = failure.refusal.code(),
                cause = failure.cause.as_deref(),
                "a live check got no response"
            );
            Finding::because(failure.unreachable, None)
        });
        let latency = started.elapsed();
        self.record(grant, &finding, at, latency);
        Finding {
            latency: Some(latency),
            ..finding
        }
    }
}

impl Probe {
    pub(crate) fn new(
        destinations: Arc<Destinations>,
        runs: Runs,
        clock: Arc<dyn Clock>,
        (check, kind): (CheckKind, RunKind),
    ) -> Self {
        Self {
            destinations,
            runs,
            clock,
            check,
            kind,
        }
    }

    /// Writes the run record of a check.
    fn record(&self, grant: &Grant, finding: &Finding, at: Timestamp, latency: Duration) {
        let outcome = finding
            .status
            .map_or(Outcome::Unanswered, Outcome::of_status);
        self.runs.record(Run {
            at,
            request_id: RequestId::next().as_str().into(),
            kind: self.kind,
            workspace: grant.workspace().clone(),
            provider: Some(grant.provider().clone()),
            used: Some(grant.used()),
            status: finding.status.unwrap_or(0),
            outcome: outcome.as_str(),
            refused: None,
            latency_us: micros(latency),
            first_byte_us: None,
            tokens: finding.tokens.unwrap_or_default(),
            run_id: None,
            tag: None,
        });
    }

    async fn ask(&self, grant: &Grant, deadline: Instant) -> Result<Finding, Failure> {
        let destination = self.destinations.get(grant.provider());
        let destination = destination.ok_or(Refusal::ProviderUnknown)?;
        let upstream = destination.upstream(grant.endpoint())?;
        let check = &destination.provider.check;
        let (asked, kind) = check.choose(self.check);
        let route = route(destination, asked);
        let request = request(
            destination,
            (asked, route),
            upstream.prefix(),
            &grant.open().map_err(Refusal::from)?,
        )?;
        let answered = timeout_at(deadline, upstream.forward(request, grant, false, &|| ())).await;
        let answer = answered.unwrap_or(Err(Refusal::UpstreamTimeout(Wait::FirstByte).into()))?;
        let status = answer.response.status();
        let metered =
            status.is_success() && route.is_some_and(|route| route.meters(&asked.method, false));
        let (body, tokens) = match metered || check.needs_body(status.as_u16()) {
            true => read(destination, answer, metered, deadline).await,
            false => (Zeroizing::default(), None),
        };
        let status = status.as_u16();
        let cause = check.cause(kind, status, &body);
        Ok(Finding {
            cause,
            tokens,
            ..Finding::of_verdict(cause.into(), Some(status))
        })
    }
}

/// The route that allows a check's request, unless only Keyside may send it.
fn route<'a>(destination: &'a Destination, asked: &CheckRequest) -> Option<&'a Route> {
    destination.provider.route(&asked.method, path_of(asked))
}

fn path_of(asked: &CheckRequest) -> &str {
    asked.path.split('?').next().unwrap_or_default()
}

fn request(
    destination: &Destination,
    (asked, route): (&CheckRequest, Option<&Route>),
    prefix: &str,
    secret: &Secret,
) -> Result<Request<RequestBody>, Refusal> {
    let CheckRequest { method, path, body } = asked;
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = path
        .parse()
        .map_err(|_| Refusal::UpstreamUnreachable(Sent::No))?;
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, OWN_USER_AGENT);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    if body.is_some() {
        headers.insert(header::CONTENT_TYPE, JSON);
    }
    // If the route has a path prefix of its own at the upstream, the check needs it too.
    let path = path_of(asked);
    let rest = route.map_or_else(|| path.to_owned(), |route| route.upstream_path(path));
    let outbound = Outbound {
        destination,
        prefix,
        rest: &rest,
        upgrade: false,
        accept_encoding: AcceptEncoding::Identity,
        tag_headers: &[],
    };
    let head = outbound.rewrite(request.into_parts().0, secret)?;
    let body = body.clone().map(Bytes::from).unwrap_or_default();
    Ok(Request::from_parts(head, RequestBody::from_bytes(body)))
}

/// The first bytes of a response, and the tokens that it reports if it is metered. A body that
/// breaks off, or is not complete at the deadline, is judged by what arrived. The bytes may contain
/// the key if the provider echoes it, hence `Zeroizing`.
async fn read(
    destination: &Destination,
    answer: LeasedResponse,
    metered: bool,
    deadline: Instant,
) -> (Zeroizing<Vec<u8>>, Option<Tokens>) {
    let (head, mut body) = answer.response.into_parts();
    let mut meter = Meter::answer(destination.usage.clone(), &head.headers);
    let mut body_prefix = Zeroizing::new(Vec::with_capacity(MAX_BODY));
    let mut length = 0;
    let limit = if metered { MAX_METERED } else { MAX_BODY };
    while length < limit
        && let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await
    {
        let data = frame.data_ref().map_or(&[][..], |data| data);
        let room = MAX_BODY - body_prefix.len();
        body_prefix.extend_from_slice(&data[..data.len().min(room)]);
        if metered {
            meter.push(data);
        }
        length += data.len();
    }
    (body_prefix, metered.then(|| meter.tokens()))
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// A person may be waiting for the result.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes; the reason of an error is near the beginning of its body.
const MAX_BODY: usize = 16 << 10;
/// Bytes; the counts of a capped prompt are at the end of its response, which may have the results
/// of a search.
const MAX_METERED: usize = 1 << 20;
