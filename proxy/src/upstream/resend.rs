//! Decides whether a request may be sent again: only if its peer cannot have acted on it, or if
//! acting twice does no harm.
//!
//! A prompt that a provider receives twice is charged twice. So a request is resent only
//! - if none of it was written: hyper returns it whole,
//! - if an HTTP/2 peer declares that it did not process it (RFC 9113 section 8.7): by resetting the
//!   stream with `REFUSED_STREAM`, or by a GOAWAY whose last stream is lower. h2 0.4 reports the
//!   latter as a remote GOAWAY error of the stream; streams that the peer may have processed end in
//!   an I/O error instead. The declaration does not count if the peer had begun to answer a request
//!   that it declares unprocessed, be it with a 1xx,
//! - if it is a GET or HEAD without a body, on a kept HTTP/1.1 connection that closed without a
//!   byte of a response (RFC 9112 section 9.3.1), once.
//!
//! A POST whose bytes may have been read is never resent, nor a body that is no longer complete.

use std::{error::Error, time::Duration};

use http::{Method, Request};
use http_body::Body;
use hyper::client::conn::TrySendError;
use tokio::time::sleep;

use super::{SendError, contradiction::ContradictionFlag, pool::Connection, socket::ReceivedFlag};
use crate::request_body::RequestBody;

/// A copy of a request, and the condition for sending it.
pub(super) struct ResendCandidate {
    request: Request<RequestBody>,
    condition: ResendCondition,
}

enum ResendCondition {
    /// The peer declared that it did not process the request.
    Refused(ContradictionFlag),
    /// The peer sent nothing before it closed the connection.
    Unanswered(ReceivedFlag),
}

/// How often one request was resent, by reason.
#[derive(Default)]
pub(super) struct ResendState {
    unwritten: usize,
    refused: usize,
    unanswered: bool,
}

impl ResendCandidate {
    /// Called before a request is sent. Copies it if a resend may be needed, which is never the
    /// case for a POST over HTTP/1.1.
    pub(super) fn of(
        request: &Request<RequestBody>,
        connection: &Connection,
        kept: bool,
    ) -> Option<Self> {
        let condition = match connection {
            Connection::Http2(_, stream) => ResendCondition::Refused(stream.contradicted()),
            Connection::Http1(http1) => {
                let reads = matches!(*request.method(), Method::GET | Method::HEAD);
                if !(kept && reads && request.body().is_end_stream()) {
                    return None;
                }
                ResendCondition::Unanswered(http1.received.clone())
            }
        };
        let mut copy = Request::new(request.body().for_retry());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        Some(Self {
            request: copy,
            condition,
        })
    }

    fn into_request(self, error: &hyper::Error) -> Option<Request<RequestBody>> {
        let untouched = match &self.condition {
            ResendCondition::Refused(contradicted) => is_refused(error) && !contradicted.is_set(),
            ResendCondition::Unanswered(received) => !received.is_set(),
        };
        (untouched && self.request.body().is_replayable()).then_some(self.request)
    }
}

impl ResendState {
    /// The request to send next, or the error if it must not be resent.
    pub(super) async fn next(
        &mut self,
        mut failed: TrySendError<Request<RequestBody>>,
        resend: Option<ResendCandidate>,
    ) -> Result<Request<RequestBody>, SendError> {
        if let Some(unwritten) = failed.take_message() {
            // The peer had closed the idle connection; the next one may be closed too.
            self.unwritten += 1;
            if self.unwritten <= MAX_UNWRITTEN {
                return Ok(unwritten);
            }
        }
        let error = failed.into_error();
        let refused = resend
            .as_ref()
            .is_some_and(|resend| matches!(resend.condition, ResendCondition::Refused(_)));
        let Some(request) = resend.and_then(|resend| resend.into_request(&error)) else {
            return Err(error.into());
        };
        if refused {
            let Some(pause) = REFUSED_PAUSES.get(self.refused) else {
                return Err(error.into());
            };
            self.refused += 1;
            // Wait: a peer that refuses is overloaded or about to close.
            sleep(*pause).await;
        } else if std::mem::replace(&mut self.unanswered, true) {
            return Err(error.into());
        }
        Ok(request)
    }

    /// Whether to stop using kept connections, because the next one may be closed too.
    pub(super) fn wants_new_connection(&self) -> bool {
        self.unanswered || self.unwritten >= MAX_UNWRITTEN
    }
}

fn is_refused(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|cause: &h2::Error| {
        let reset = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
        cause.is_remote() && (reset || cause.is_go_away())
    })
}

/// Kept connections that may turn out to be closed, before a new one is opened.
const MAX_UNWRITTEN: usize = 8;
/// Pause before each resend of a refused request. If the last is refused too, the client gets a
/// 502.
const REFUSED_PAUSES: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(320),
];
