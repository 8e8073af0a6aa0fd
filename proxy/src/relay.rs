//! Streams the answer back: redacted, metered, and otherwise byte for byte.
//!
//! Runs for each piece as it comes and buffers nothing; a slow client slows the
//! upstream down.

mod delayed_error;

use std::{
    borrow::Cow,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use delayed_error::DelayedError;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use keyside_credentials::Grant;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    headers::{self, is_keyside_header},
    hop::{is_hop_by_hop, nominated, retain},
    meter::Meter,
    request_record::RequestRecord,
    scrub::Scrub,
    upstream::Lease,
    wakers::{IdleTimer, OneShot},
};

/// Why an answer ends before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("the upstream broke off")]
    Upstream(#[from] hyper::Error),
    #[error("the upstream reset its HTTP/2 stream before the answer's end")]
    Reset,
    #[error("the upstream fell silent")]
    Idle,
    #[error("the credential was revoked, and what is in flight with it")]
    Revoked,
}

/// An answer on its way.
pub(crate) struct Relay {
    upstream: Incoming,
    over_http2: bool,
    lease: Lease,
    pipeline: ResponsePipeline,
    idle_timer: IdleTimer,
    revocation: RevocationSignal,
    /// Trailers that wait for what the redaction held back.
    trailers: Option<HeaderMap>,
    /// The answer breaks off here.
    delayed_error: Option<DelayedError>,
}

/// What every byte from the upstream goes through, in an answer or in a tunnel.
pub(crate) struct ResponsePipeline {
    pub(crate) scrub: Scrub,
    pub(crate) meter: Meter,
    pub(crate) record: RequestRecord,
}

impl ResponsePipeline {
    /// What may go on to the client now.
    pub(crate) fn pass(&mut self, piece: Bytes) -> Bytes {
        self.record.chunk_received();
        self.meter.push(&piece);
        self.scrub.push(piece)
    }
}

impl Drop for ResponsePipeline {
    fn drop(&mut self) {
        self.record.metered(self.meter.tokens());
    }
}

/// Makes the upstream's answer ours.
pub(crate) fn relay(
    response: Response<Incoming>,
    lease: Lease,
    pipeline: ResponsePipeline,
    stream_idle: Duration,
) -> Response<Relay> {
    let (mut head, upstream) = response.into_parts();
    head.headers = client_headers(head.headers, &pipeline);
    head.extensions = http::Extensions::new();
    let over_http2 = head.version == http::Version::HTTP_2;
    // Each side speaks its own version; hyper answers in the client's.
    head.version = http::Version::HTTP_11;
    let idle_timer = IdleTimer::new(stream_idle);
    let relay = Relay {
        upstream,
        over_http2,
        lease,
        pipeline,
        idle_timer,
        revocation: RevocationSignal::default(),
        trailers: None,
        delayed_error: None,
    };
    Response::from_parts(head, relay)
}

/// The upstream's headers as the client gets them.
pub(crate) fn client_headers(mut headers: HeaderMap, pipeline: &ResponsePipeline) -> HeaderMap {
    let nominated = nominated(&headers);
    // An upstream that gives both is read by its chunks (RFC 9112 section 6.3);
    // the client must not be told the other length.
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let stays = |name: &HeaderName| {
        may_reach_client(name)
            && !nominated.contains(name)
            && !(chunked && *name == header::CONTENT_LENGTH)
    };
    retain(&mut headers, stays);
    pipeline.scrub.headers(&mut headers);
    add_credential_headers(&pipeline.record, &mut headers);
    headers
}

/// Not hop-by-hop, not one of ours, and nothing that opens us to web pages or
/// sends the client around us.
fn may_reach_client(name: &HeaderName) -> bool {
    !(is_hop_by_hop(name)
        || *name == header::ALT_SVC
        || is_keyside_header(name)
        || name.as_str().starts_with("access-control-"))
}

/// Which credential answered.
fn add_credential_headers(record: &RequestRecord, fields: &mut HeaderMap) {
    let grant = &record.grant;
    let label: Cow<'_, str> = utf8_percent_encode(grant.label().as_str(), NOT_IN_A_HEADER).into();
    let values = [
        (headers::REQUEST_ID, record.request_id.as_str()),
        (headers::CREDENTIAL, grant.credential_id().as_str()),
        (headers::CREDENTIAL_LABEL, &label),
        (headers::ENVIRONMENT, grant.environment().as_str()),
    ];
    for (name, text) in values {
        if let Ok(value) = HeaderValue::from_str(text) {
            fields.insert(name, value);
        }
    }
}

impl Relay {
    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        loop {
            if let Some(trailers) = self.trailers.take() {
                // The last there is: nobody asks for more.
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

    /// Whether what hyper takes for the answer's end is none. An upstream may stop a request's body by a reset with NO_ERROR
    /// after its answer (RFC 9113 section 8.1), and hyper 1.12 takes such a reset in the middle of an answer for its end.
    fn was_reset(&self) -> bool {
        self.over_http2
            && !self.upstream.is_end_stream()
            && self.upstream.size_hint().exact() != Some(0)
    }

    /// Tells of the break once the client has what came before, or of a revocation at once.
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
                retain(&mut trailers, may_reach_client);
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

    /// The answer breaks off. What was held back was not the secret, and goes before the error.
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
        // What is redacted keeps its length; what is held back is still to come.
        match self.pipeline.scrub.holds() {
            true => SizeHint::default(),
            false => self.upstream.size_hint(),
        }
    }
}

/// hyper stops asking at the announced length: who got it all has it all, even if an HTTP/2 upstream still owes the empty
/// frame that ends its stream.
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

/// Hears of a revocation that cuts what is in flight. Begins to listen when there is nothing to pass on for the first
/// time: an answer that is there at once pays nothing for it.
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

/// What a header value cannot hold, and `%` itself.
const NOT_IN_A_HEADER: &AsciiSet = &CONTROLS.add(b'%');
