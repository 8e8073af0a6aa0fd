//! The body of a response, whether Keyside or the upstream wrote it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use keyside_credentials::RequestContext;

use crate::{
    activity::InFlightGuard,
    relay::{Relay, RelayError},
    scrub::Scrub,
    stream_deadline,
};

/// The body that the client receives.
pub(crate) enum Body {
    /// No body: the head is the whole response, or the connection becomes a tunnel.
    Empty,
    /// Written by Keyside.
    Buffered(Buffered),
    /// The upstream's, relayed chunk by chunk.
    Relayed(Relayed),
}

/// A body that is already in memory.
pub(crate) struct Buffered {
    bytes: Full<Bytes>,
    _in_flight: InFlightGuard,
}

/// A body from the upstream. hyper polls it after the gateway returned the response's head, so it
/// enters the request's context itself, once per chunk.
pub(crate) struct Relayed {
    relay: Box<Relay>,
    context: RequestContext,
}

impl Body {
    pub(crate) fn relayed(relay: Box<Relay>, context: RequestContext) -> Self {
        Self::Relayed(Relayed { relay, context })
    }

    pub(crate) fn buffered(bytes: Vec<u8>, in_flight: InFlightGuard) -> Self {
        Self::Buffered(Buffered {
            bytes: bytes.into(),
            _in_flight: in_flight,
        })
    }

    /// Redacts the response's secrets from the text that is read out of it. `None` if the upstream
    /// wrote nothing of it.
    pub(crate) fn text_scrub(&self) -> Option<Scrub> {
        match self {
            Self::Empty | Self::Buffered(_) => None,
            Self::Relayed(relayed) => Some(relayed.relay.text_scrub()),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        let polled = match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Buffered(buffered) => {
                let frame = Pin::new(&mut buffered.bytes).poll_frame(task);
                frame.map_err(|never| match never {})
            }
            Self::Relayed(Relayed { relay, context }) => context.scope(|| relay.poll_frame(task)),
        };
        stream_deadline::note_poll(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Buffered(buffered) => buffered.bytes.is_end_stream(),
            Self::Relayed(relayed) => relayed.relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Buffered(buffered) => buffered.bytes.size_hint(),
            Self::Relayed(relayed) => relayed.relay.size_hint(),
        }
    }
}
