//! Streams the response back to the client: redacted and metered, otherwise byte for byte.
//!
//! Runs for each chunk as it arrives and buffers nothing; a slow client slows the upstream down.

mod delayed_error;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use delayed_error::DelayedError;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use keyside_config::headers::REQUEST_ID;
use keyside_credentials::Grant;

use crate::{
    headers::{self, is_keyside_header},
    hop::{is_hop_by_hop, may_be_trailer, retain, retain_end_to_end},
    meter::Meter,
    request_record::RequestRecord,
    scrub::Scrub,
    upstream::Lease,
    wakers::{IdleTimer, OneShot},
};

/// Why a response is cut off before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("the upstream aborted its response")]
    Upstream(#[from] hyper::Error),
    #[error("the upstream reset its HTTP/2 stream before the end of its response")]
    Reset,
    #[error("the upstream sent nothing for `stream_idle`")]
    Idle,
    #[error("the credential was revoked, and its requests in flight were cut off")]
    Revoked,
}

/// A response that is being relayed.
pub(crate) struct Relay {
    upstream: Incoming,
    over_http2: bool,
    lease: Lease,
    pipeline: ResponsePipeline,
    idle_timer: IdleTimer,
    revocation: RevocationSignal,
    /// Trailers that follow the bytes that the redaction still holds.
    trailers: Option<HeaderMap>,
    /// Set once the response is aborted: the error to report, once earlier bytes are written.
    delayed_error: Option<DelayedError>,
}

/// The stages that every byte from the upstream passes through, in a response or in a tunnel.
pub(crate) struct ResponsePipeline {
    pub(crate) scrub: Scrub,
    pub(crate) meter: Meter,
    pub(crate) record: RequestRecord,
}

impl ResponsePipeline {
    /// Meters and redacts one chunk. Returns the bytes that may be sent to the client now.
    pub(crate) fn pass(&mut self, chunk: Bytes) -> Bytes {
        self.record.chunk_received();
        self.meter.push(&chunk);
        let passed = self.scrub.push(chunk);
        self.record.chunk_passed(&passed);
        passed
    }
}

impl Drop for ResponsePipeline {
    fn drop(&mut self) {
        self.record.metered(self.meter.tokens());
    }
}

/// Converts the upstream's response into the one for the client. The body is boxed where it is
/// made: it has a kilobyte, and is passed on several times.
pub(crate) fn relay(
    response: Response<Incoming>,
    lease: Lease,
    pipeline: ResponsePipeline,
    stream_idle: Duration,
) -> Response<Box<Relay>> {
    let (mut head, upstream) = response.into_parts();
    head.headers = client_headers(head.headers, &pipeline);
    head.extensions = http::Extensions::new();
    let over_http2 = head.version == http::Version::HTTP_2;
    // Each side has its own HTTP version; hyper writes the client's.
    head.version = http::Version::HTTP_11;
    let idle_timer = IdleTimer::new(stream_idle);
    let relay = Box::new(Relay {
        upstream,
        over_http2,
        lease,
        pipeline,
        idle_timer,
        revocation: RevocationSignal::default(),
        trailers: None,
        delayed_error: None,
    });
    Response::from_parts(head, relay)
}

/// The response headers for the client.
pub(crate) fn client_headers(mut headers: HeaderMap, pipeline: &ResponsePipeline) -> HeaderMap {
    // If both are present, the body is read by its chunks (RFC 9112 section 6.3), and the client
    // must not see a contradicting length.
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let stays =
        |name: &HeaderName| may_reach_client(name) && !(chunked && *name == header::CONTENT_LENGTH);
    retain_end_to_end(&mut headers, stays);
    pipeline.scrub.headers(&mut headers);
    add_credential_headers(&pipeline.record, &mut headers);
    headers
}

/// Excludes hop-by-hop headers, Keyside's own, and headers that would open Keyside to web pages
/// (CORS) or direct the client around it (`Alt-Svc`).
fn may_reach_client(name: &HeaderName) -> bool {
    !(is_hop_by_hop(name)
        || *name == header::ALT_SVC
        || is_keyside_header(name)
        || name.as_str().starts_with("access-control-"))
}

/// Adds the headers that name the request and the credential it used.
fn add_credential_headers(record: &RequestRecord, fields: &mut HeaderMap) {
    let grant = &record.grant;
    let label = headers::encode_label(grant.label().as_str());
    let values = [
        (REQUEST_ID, record.request_id.as_str()),
        (headers::CREDENTIAL, grant.credential_id().as_str()),
        (headers::CREDENTIAL_LABEL, &label),
    ];
    for (name, text) in values {
        if let Ok(value) = HeaderValue::from_str(text) {
            fields.insert(name, value);
        }
    }
    let environment = HeaderValue::from_static(grant.environment().as_str());
    fields.insert(headers::ENVIRONMENT, environment);
}

impl Relay {
    /// Redacts the response's secrets from the text that is read out of it.
    pub(crate) fn text_scrub(&self) -> Scrub {
        self.pipeline.scrub.for_another_stream()
    }

    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        loop {
            if let Some(trailers) = self.trailers.take() {
                // Trailers are the last frame: hyper does not poll again.
                self.pipeline.record.completed();
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if self.pipeline.record.grant.is_cut() {
                return self.end_as_revoked();
            }
            if self.delayed_error.is_some() {
                return self.poll_delayed_error(context);
            }
            let frame = match Pin::new(&mut self.upstream).poll_frame(context) {
                Poll::Ready(frame) => frame.map(|frame| frame.map_err(RelayError::from)),
                Poll::Pending => {
                    if self
                        .revocation
                        .poll(&self.pipeline.record.grant, context)
                        .is_ready()
                    {
                        return self.end_as_revoked();
                    }
                    ready!(self.idle_timer.poll(context));
                    Some(Err(RelayError::Idle))
                }
            };
            self.idle_timer.reset();
            let passed = match frame {
                Some(Ok(frame)) => self.pass(frame),
                Some(Err(error)) => self.fail(error),
                None if self.was_reset() => self.fail(RelayError::Reset),
                None => {
                    self.lease.end();
                    return Poll::Ready(self.finish());
                }
            };
            if let Some(frame) = passed {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    /// Whether the end is really a reset. An upstream may stop a request's body with a NO_ERROR
    /// reset after its response (RFC 9113 section 8.1), and hyper 1.12 reports such a reset in the
    /// middle of a response as its end.
    fn was_reset(&self) -> bool {
        self.over_http2
            && !self.upstream.is_end_stream()
            && self.upstream.size_hint().exact() != Some(0)
    }

    /// Reports the delayed error once the client has received the bytes before it; a revocation is
    /// reported at once.
    fn poll_delayed_error(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        if self
            .revocation
            .poll(&self.pipeline.record.grant, context)
            .is_ready()
        {
            return self.end_as_revoked();
        }
        if let Some(delayed_error) = &mut self.delayed_error {
            ready!(delayed_error.poll(&self.pipeline.record.in_flight, context));
        }
        Poll::Ready(
            self.delayed_error
                .take()
                .map(|delayed_error| Err(delayed_error.into_error())),
        )
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        match frame.into_data() {
            Ok(data) => {
                let data = self.pipeline.pass(data);
                (!data.is_empty()).then(|| Frame::data(data))
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().ok()?;
                self.lease.end();
                retain(&mut trailers, |name| {
                    may_be_trailer(name) && may_reach_client(name)
                });
                self.pipeline.scrub.headers(&mut trailers);
                self.trailers = Some(trailers);
                self.pipeline.scrub.finish().map(Frame::data)
            }
        }
    }

    fn finish(&mut self) -> Option<Result<Frame<Bytes>, RelayError>> {
        let held = self.pipeline.scrub.finish();
        if held.is_none() {
            self.pipeline.record.completed();
        }
        held.map(|held| Ok(Frame::data(held)))
    }

    /// The response is aborted. Held bytes turned out not to be the secret, so they are sent before
    /// the error.
    fn fail(&mut self, error: RelayError) -> Option<Frame<Bytes>> {
        self.pipeline.record.aborted();
        self.delayed_error = Some(DelayedError::with(error, &self.pipeline.record.in_flight));
        self.pipeline.scrub.finish().map(Frame::data)
    }

    fn end_as_revoked(&mut self) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        self.pipeline.record.revoked();
        Poll::Ready(Some(Err(RelayError::Revoked)))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.upstream.is_end_stream()
            && self.delayed_error.is_none()
            && self.trailers.is_none()
            && !self.pipeline.scrub.holds()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        // Masks keep the length; held bytes are still to be sent.
        match self.pipeline.scrub.holds() {
            true => SizeHint::default(),
            false => self.upstream.size_hint(),
        }
    }
}

/// hyper stops polling at the announced length. A client that got that many bytes has the whole
/// response, even if an HTTP/2 upstream still owes the empty frame that ends its stream.
impl Drop for Relay {
    fn drop(&mut self) {
        let whole = self.upstream.is_end_stream() || self.upstream.size_hint().exact() == Some(0);
        if whole {
            self.lease.end();
        }
        if whole && self.trailers.is_none() && !self.pipeline.scrub.holds() {
            self.pipeline.record.completed();
        }
    }
}

/// Fires when a revocation cuts off responses in flight. Subscribes at the first pending poll, so a
/// response that is available at once costs nothing.
#[derive(Default)]
struct RevocationSignal(Option<OneShot<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl RevocationSignal {
    fn poll(&mut self, grant: &Grant, context: &mut Context<'_>) -> Poll<()> {
        let one_shot = self
            .0
            .get_or_insert_with(|| OneShot::new(Box::pin(grant.cut())));
        one_shot.poll(grant.is_cut(), context)
    }
}
