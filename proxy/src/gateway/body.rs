//! The bodies on both sides: what the client gets, what the upstream gets.

use crate::deadline::Busy;
use crate::relay::{Relay, RelayError, Silence};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

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
    bytes: Bytes,
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
                let bytes = std::mem::take(&mut whole.bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Relayed(relay) => relay.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(whole) => whole.bytes.is_empty(),
            Self::Relayed(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(whole) => SizeHint::with_exact(whole.bytes.len() as u64),
            Self::Relayed(relay) => relay.size_hint(),
        }
    }
}

/// What the upstream gets: the client's body as it comes, as long as it comes.
pub(crate) struct Inbound {
    client: Incoming,
    silence: Silence,
}

/// The client's body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InboundError {
    #[error("the client's body broke off")]
    Client(#[from] hyper::Error),
    #[error("the client fell silent in the middle of its body")]
    Silent,
}

impl Inbound {
    pub(crate) fn new(client: Incoming, idle: Duration) -> Self {
        Self {
            client,
            silence: Silence::new(idle),
        }
    }
}

impl HttpBody for Inbound {
    type Data = Bytes;
    type Error = InboundError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InboundError>>> {
        match Pin::new(&mut self.client).poll_frame(context) {
            Poll::Ready(frame) => {
                self.silence.broken();
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let silent = self.silence.poll(context);
                silent.map(|()| Some(Err(InboundError::Silent)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.client.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.client.size_hint()
    }
}
