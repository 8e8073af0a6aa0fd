//! A client that ends its half of the connection after its last request still gets the answer.
//!
//! hyper 1.12 takes the end of an HTTP/1.1 connection for a client that has left, and drops the request that is being
//! answered (`Conn::mid_message_detect_eof`). Told to allow half-closed connections, it would not notice either when a
//! client of a kept connection leaves. A request that says that none will follow is how the two differ: while it is
//! answered, the end is kept back from hyper, which closes by itself afterwards.
//!
//! In the middle of a request's body the end is an error all the same, which hyper has to see to tell the reader of the
//! body. From the socket the two do not differ: hyper reads ahead. From the body they do, since hyper asks the socket only
//! once it has handed over all that it read before: a body that is not complete then stays so.

use std::{
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::hop::list_contains;

/// What is known of the connection's last request.
#[derive(Default)]
pub(super) struct LastRequest {
    received: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The client has ended its half of the connection.
    eof: bool,
    /// It has done so in the middle of the request's body.
    cut_short: bool,
    /// Who reads the body.
    reader: Option<Waker>,
    connection: Option<Waker>,
}

/// Whether a client says that no other request follows on the connection: as hyper reads it, which closes after the
/// answer. One that wants to speak another protocol has more to say.
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

    /// The client has ended its half; whether hyper is not to know. If so, and if that changes, the task is woken.
    pub(super) fn hides_eof(&self, context: &Context<'_>) -> bool {
        let mut state = self.lock();
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

    /// Whether the client has ended its half. If not, the task is woken when it does.
    fn has_eof(&self, context: &Context<'_>) -> bool {
        let mut state = self.lock();
        state.reader = (!state.eof).then(|| context.waker().clone());
        state.eof
    }

    /// The client has ended its half before the body's end: hyper is to know.
    fn cut_short(&self) {
        let mut state = self.lock();
        state.cut_short = true;
        if let Some(connection) = state.connection.take() {
            connection.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain values; whatever a panic left of them will do.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a client's request, which breaks off when the client ends its half of the connection in the middle of it.
pub(crate) struct ClientBody {
    incoming: Incoming,
    /// Gone with the connection; nothing if another request may follow on that.
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
        // Asked first: what hyper hands over after it, it had read before.
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
