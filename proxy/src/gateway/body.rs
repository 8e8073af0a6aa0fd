//! The body of an answer, whoever it comes from.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;

use crate::{
    deadline::Busy,
    relay::{Relay, RelayError},
};

/// What the client gets.
pub(crate) enum Body {
    /// Nothing: the head said it all, or the connection becomes a tunnel.
    Empty,
    /// Our own words.
    Whole(Whole),
    /// The upstream's, as they come.
    Relayed(Box<Relay>),
}

/// A body that is already here.
pub(crate) struct Whole {
    bytes: Full<Bytes>,
    _busy: Busy,
}

impl Body {
    pub(crate) fn whole(bytes: Vec<u8>, busy: Busy) -> Self {
        Self::Whole(Whole {
            bytes: bytes.into(),
            _busy: busy,
        })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(whole) => {
                let frame = Pin::new(&mut whole.bytes).poll_frame(context);
                frame.map_err(|never| match never {})
            }
            Self::Relayed(relay) => relay.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(whole) => whole.bytes.is_end_stream(),
            Self::Relayed(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(whole) => whole.bytes.size_hint(),
            Self::Relayed(relay) => relay.size_hint(),
        }
    }
}
