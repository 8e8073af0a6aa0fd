//! The body of a request on its way to the upstream.

use crate::hop::{may_leave, retain};
use crate::seldom::Silence;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use keyside_config::CredentialNames;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

/// What the upstream gets: the client's body as it comes, as long as it comes, or
/// what a request of our own says.
///
/// Dropped before its end, because of a refusal or an early answer, it is still
/// read for a while: closing an HTTP/1.1 connection with bytes unread resets it,
/// and the client would lose the answer that explains.
///
/// Boxed, since hyper keeps room for 32 requests in every connection's queue.
pub(crate) struct Inbound(Box<Source>);

enum Source {
    Client(Upload),
    Ours(Full<Bytes>),
}

/// The client's body, and what is to be seen to with it.
struct Upload {
    /// Until it is dropped.
    client: Option<Incoming>,
    silence: Silence,
    leftover: Leftover,
    /// Names that no trailer may have. Without them none passes.
    credentials: Option<Arc<CredentialNames>>,
}

/// What becomes of a body that nobody wants.
#[derive(Clone, Copy)]
enum Leftover {
    Swallow,
    /// HTTP/2 can end one stream alone; and who waits for `100 Continue` has not
    /// sent anything yet.
    Leave,
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
    pub(crate) fn new(head: &Parts, client: Incoming, idle: Duration) -> Self {
        let alone = head.version < Version::HTTP_2 && !head.headers.contains_key(header::EXPECT);
        let leftover = if alone {
            Leftover::Swallow
        } else {
            Leftover::Leave
        };
        Self(Box::new(Source::Client(Upload {
            client: Some(client),
            silence: Silence::new(idle),
            leftover,
            credentials: None,
        })))
    }

    pub(crate) fn ours(body: Bytes) -> Self {
        Self(Box::new(Source::Ours(Full::new(body))))
    }

    pub(crate) fn without(mut self, credentials: Arc<CredentialNames>) -> Self {
        if let Source::Client(upload) = &mut *self.0 {
            upload.credentials = Some(credentials);
        }
        self
    }
}

impl Upload {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InboundError>>> {
        let Some(client) = &mut self.client else {
            return Poll::Ready(None);
        };
        match Pin::new(client).poll_frame(context) {
            Poll::Ready(frame) => {
                self.silence.broken();
                let frame = frame.map(|frame| frame.map(|frame| self.strip_trailers(frame)));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let silent = self.silence.poll(context);
                silent.map(|()| Some(Err(InboundError::Silent)))
            }
        }
    }

    /// Trailers are headers that come late, and no less a way to smuggle a
    /// credential.
    fn strip_trailers(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                let credentials = self.credentials.as_deref();
                let stays =
                    |name: &HeaderName| credentials.is_some_and(|names| may_leave(name, names));
                retain(&mut trailers, stays);
                Frame::trailers(trailers)
            }
            Err(data) => data,
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let unwanted = self.client.take().filter(|client| !client.is_end_stream());
        if let (Some(client), Leftover::Swallow) = (unwanted, self.leftover) {
            tokio::spawn(timeout(SWALLOW_FOR, swallow(client)));
        }
    }
}

async fn swallow(mut client: Incoming) {
    let mut left = SWALLOW_BYTES;
    while let Some(Ok(frame)) = client.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(size) {
            Some(less) => left = less,
            None => return,
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
        match &mut *self.0 {
            Source::Client(upload) => upload.poll_frame(context),
            Source::Ours(whole) => {
                let frame = Pin::new(whole).poll_frame(context);
                frame.map_err(|never| match never {})
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &*self.0 {
            Source::Client(upload) => upload.client.as_ref().is_none_or(HttpBody::is_end_stream),
            Source::Ours(whole) => whole.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.0 {
            Source::Client(upload) => upload
                .client
                .as_ref()
                .map_or_else(SizeHint::default, HttpBody::size_hint),
            Source::Ours(whole) => whole.size_hint(),
        }
    }
}

/// A request with a picture or a document in it is still read to its end.
const SWALLOW_BYTES: usize = 32 << 20;
const SWALLOW_FOR: Duration = Duration::from_secs(10);
