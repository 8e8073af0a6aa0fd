//! Answers a client that closes its half of the connection after its last request.
//!
//! hyper 1.12 takes the end of an HTTP/1.1 connection for a disconnected client and drops the
//! request that is being answered (`Conn::mid_message_detect_eof`). With `half_close` enabled it
//! would not notice a client that disconnects from a kept connection either. The two cases differ
//! in what the request says: if it announces that no other request follows, the end is hidden from
//! hyper until the response is sent, and hyper closes by itself afterwards.
//!
//! In the middle of a request's body the end is an error, and hyper must see it to fail the reader
//! of the body. The socket cannot tell the cases apart, because hyper reads ahead. The body can:
//! hyper reads the socket only after it has handed over everything that it read before, so a body
//! that is incomplete at that point stays incomplete.

use std::{
    pin::Pin,
    sync::{
        Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::hop::list_contains;

/// State of the connection's last request.
#[derive(Default)]
pub(super) struct LastRequest {
    received: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The client has closed its half of the connection.
    eof: bool,
    /// It closed its half in the middle of the request's body.
    cut_short: bool,
    /// Wakes the task that reads the body.
    reader: Option<Waker>,
    connection: Option<Waker>,
}

/// Whether the request announces that no other follows, by hyper's own rules for closing after the
/// response. A client that wants to switch protocols has more to send.
pub(super) fn is_last<B>(request: &Request<B>) -> bool {
    let (version, headers) = (request.version(), request.headers());
    let closes = list_contains(headers, &header::CONNECTION, "close");
    match version {
        Version::HTTP_10 => closes || !list_contains(headers, &header::CONNECTION, "keep-alive"),
        Version::HTTP_11 => closes && !headers.contains_key(header::UPGRADE),
        _ => false,
    }
}

impl LastRequest {
    pub(super) fn received(&self) {
        self.received.store(true, Ordering::Release);
    }

    pub(super) fn is_received(&self) -> bool {
        self.received.load(Ordering::Acquire)
    }

    /// Called when the client has closed its half. Returns whether to hide that from hyper; if so,
    /// the task is woken when it must be shown.
    pub(super) fn hides_eof(&self, context: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        if !self.is_received() || state.cut_short {
            return false;
        }
        state.connection = Some(context.waker().clone());
        state.eof = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        true
    }

    /// Whether the client has closed its half. If not, the task is woken when it does.
    fn has_eof(&self, context: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        state.reader = (!state.eof).then(|| context.waker().clone());
        state.eof
    }

    /// The client closed its half before the body's end: hyper must see it.
    fn cut_short(&self) {
        let mut state = self.state.lock();
        state.cut_short = true;
        if let Some(connection) = state.connection.take() {
            connection.wake();
        }
    }
}

/// The body of a client's request. It ends in an error if the client closes its half in the middle.
pub(crate) struct ClientBody {
    incoming: Incoming,
    /// Set if no other request can follow on the connection.
    last: Option<Weak<LastRequest>>,
}

impl ClientBody {
    pub(super) fn new(incoming: Incoming, last: Option<Weak<LastRequest>>) -> Self {
        Self { incoming, last }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let last = self.last.as_ref().and_then(Weak::upgrade);
        // Read before the body is polled: any data that hyper returns afterwards had been read
        // before the end.
        let eof = last.as_ref().is_some_and(|last| last.has_eof(context));
        let polled = Pin::new(&mut self.incoming).poll_frame(context);
        if let Some(last) = last.filter(|_| eof && polled.is_pending()) {
            last.cut_short();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_the_last_if_it_says_so_and_speaks_no_other_protocol() {
        let (http10, http11) = (Version::HTTP_10, Version::HTTP_11);
        for (version, connection, upgrade, expected) in [
            (http11, "", false, false),
            (http11, "keep-alive", false, false),
            (http11, "close", false, true),
            (http11, "TE, Close", false, true),
            (http11, "close, upgrade", true, false),
            (http10, "", false, true),
            (http10, "keep-alive", false, false),
            (http10, "Keep-Alive, close", false, true),
            (http10, "upgrade", true, true),
            (Version::HTTP_2, "close", false, false),
        ] {
            let mut request = Request::builder().version(version);
            if !connection.is_empty() {
                request = request.header(header::CONNECTION, connection);
            }
            if upgrade {
                request = request.header(header::UPGRADE, "websocket");
            }
            let request = request.body(()).unwrap();
            let name = format!("{version:?}, {connection:?}");
            assert_eq!(is_last(&request), expected, "{name}");
        }
    }
}
