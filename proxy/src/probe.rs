//! Verifies a key with its provider, using the request that the catalogue lists as cheapest.
//!
//! The request takes the same path as any other: injected by the same code, sent to the configured
//! destination, redirects not followed. Nobody receives its response, so nothing is relayed. Its run
//! record is of the kind `check`.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::BodyExt;
use keyside_config::{AcceptEncoding, Check};
use keyside_credentials::{
    Clock, Finding, Grant, LiveCheck, RequestId, Secret, Timestamp,
    runs::{Run, RunKind, Runs, Tokens},
};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::{
    destination::{Destination, Destinations},
    inject::Outbound,
    metrics::Outcome,
    refusal::{Refusal, Sent, Wait},
    request_body::RequestBody,
    request_record::micros,
    upstream::{Failure, LeasedResponse},
};

/// Sends live checks. Its connections live on the runtime that calls it.
pub(crate) struct Probe {
    destinations: Destinations,
    runs: Runs,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl LiveCheck for Probe {
    async fn check(&self, grant: &Grant) -> Finding {
        let (at, started) = (self.clock.now(), Instant::now());
        let asked = timeout(CHECK_TIMEOUT, self.ask(grant)).await;
        let found = asked.unwrap_or(Err(Refusal::UpstreamTimeout(Wait::FirstByte).into()));
        let finding = found.unwrap_or_else(|failure| {
            let provider = grant.provider().as_str();
            tracing::warn!(
                provider,
                code = failure.refusal.code(),
                cause = failure.cause.as_deref(),
                "a live check got no response"
            );
            Finding::UNANSWERED
        });
        self.record(grant, finding.status, at, started.elapsed());
        finding
    }
}

impl Probe {
    pub(crate) fn new(destinations: Destinations, runs: Runs, clock: Arc<dyn Clock>) -> Self {
        Self {
            destinations,
            runs,
            clock,
        }
    }

    /// Writes the run record of a check. `status` is the provider's; `None` without a response.
    fn record(&self, grant: &Grant, status: Option<u16>, at: Timestamp, latency: Duration) {
        let outcome = status.map_or(Outcome::Unanswered, Outcome::of_status);
        self.runs.record(Run {
            at,
            request_id: RequestId::next().as_str().into(),
            kind: RunKind::Check,
            workspace: grant.workspace().clone(),
            provider: Some(grant.provider().clone()),
            used: Some(grant.used()),
            status: status.unwrap_or(0),
            outcome: outcome.as_str(),
            refused: None,
            latency_us: micros(latency),
            first_byte_us: None,
            tokens: Tokens::default(),
            run_id: None,
            tag: None,
        });
    }

    async fn ask(&self, grant: &Grant) -> Result<Finding, Failure> {
        let destination = self.destinations.get(grant.provider());
        let destination = destination.ok_or(Refusal::ProviderUnknown)?;
        let upstream = destination.upstream(grant.endpoint())?;
        let check = &destination.provider.check;
        let request = request(
            destination,
            upstream.prefix(),
            &grant.open().map_err(Refusal::from)?,
        )?;
        let sent = AtomicBool::new(false);
        let answer = upstream.forward(request, grant, false, &sent).await?;
        let status = answer.response.status().as_u16();
        let body = match check.needs_body(status) {
            true => body_prefix(answer).await?,
            false => Zeroizing::default(),
        };
        Ok(Finding {
            verification: check.read(status, &body),
            status: Some(status),
        })
    }
}

fn request(
    destination: &Destination,
    prefix: &str,
    secret: &Secret,
) -> Result<Request<RequestBody>, Refusal> {
    let Check {
        method, path, body, ..
    } = &destination.provider.check;
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = path
        .parse()
        .map_err(|_| Refusal::UpstreamUnreachable(Sent::No))?;
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    if body.is_some() {
        headers.insert(header::CONTENT_TYPE, JSON);
    }
    let asked = path.split('?').next().unwrap_or_default();
    // If the route has a path prefix of its own at the upstream, the check needs it too.
    let route = destination.provider.route(method, asked);
    let rest = route.map_or_else(|| asked.to_owned(), |route| route.upstream_path(asked));
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

/// The first bytes of a response. They may contain the key if the provider echoes it, hence
/// `Zeroizing`.
async fn body_prefix(answer: LeasedResponse) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let mut body = answer.response.into_body();
    let mut body_prefix = Zeroizing::new(Vec::with_capacity(MAX_BODY));
    while body_prefix.len() < MAX_BODY
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|_| Refusal::UpstreamUnreachable(Sent::Perhaps))?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        let room = MAX_BODY - body_prefix.len();
        body_prefix.extend_from_slice(&data[..data.len().min(room)]);
    }
    Ok(body_prefix)
}

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("keyside/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// A person may be waiting for the result.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes; the reason of an error is near the beginning of its body.
const MAX_BODY: usize = 16 << 10;
