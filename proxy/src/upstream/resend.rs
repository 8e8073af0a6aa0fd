//! When a request may be sent a second time: where its peer cannot have acted on it, or acting twice does no harm.
//!
//! A provider that gets a prompt twice is paid twice. So a request goes out again only
//! - if none of it was written: hyper hands it back whole,
//! - if an HTTP/2 peer says that it did not process it (RFC 9113 section 8.7): a stream reset with `REFUSED_STREAM`, or
//!   one above the last that a GOAWAY names. h2 0.4 reports the latter as a remote GOAWAY error of the stream; streams
//!   that the peer may have processed end in an I/O error instead. Not if the peer had begun to answer a request that it
//!   says so of, be it with a 1xx,
//! - if it is a GET or HEAD without a body, on a kept HTTP/1.1 connection that closed without a byte of an answer
//!   (RFC 9112 section 9.3.1), once.
//!
//! Never a POST whose bytes may have been read, and never a body of which a part is gone.

use std::{error::Error, time::Duration};

use http::{Method, Request};
use http_body::Body;
use hyper::client::conn::TrySendError;
use tokio::time::sleep;

use super::{SendError, contradiction::ContradictionFlag, pool::Connection, socket::ReceivedFlag};
use crate::request_body::RequestBody;

/// A copy of a request, and what has to be so before it is sent.
pub(super) struct ResendCandidate {
    request: Request<RequestBody>,
    condition: ResendCondition,
}

enum ResendCondition {
    /// The peer says that it did not process the request.
    Refused(ContradictionFlag),
    /// The peer sent nothing before it closed.
    Unanswered(ReceivedFlag),
}

/// How often one request was sent again.
#[derive(Default)]
pub(super) struct ResendState {
    unwritten: usize,
    refused: usize,
    unanswered: bool,
}

impl ResendCandidate {
    /// Before a request is sent. Copies it where that may be needed: never for a POST over HTTP/1.1.
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
    /// The request to send next, or why there is none.
    pub(super) async fn next(
        &mut self,
        mut failed: TrySendError<Request<RequestBody>>,
        resend: Option<ResendCandidate>,
    ) -> Result<Request<RequestBody>, SendError> {
        if let Some(unwritten) = failed.take_message() {
            // The connection was closed while it lay idle; the next one may be too.
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
            // Who is overloaded, or about to close, is not asked again at once.
            sleep(*pause).await;
        } else if std::mem::replace(&mut self.unanswered, true) {
            return Err(error.into());
        }
        Ok(request)
    }

    /// Another kept connection may be closed by now just as well.
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

/// Kept connections that are found closed, before a new one is opened.
const MAX_UNWRITTEN: usize = 8;
/// Before each time that a refused request is sent again. What is refused after the last is answered with 502.
const REFUSED_PAUSES: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(320),
];
