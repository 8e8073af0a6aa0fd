//! The body of a request on its way to the upstream.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use keyside_config::CredentialNames;
use tokio::time::timeout;

use crate::{
    deadline::ClientBody,
    hop::{may_leave, retain},
    seldom::Silence,
};

/// What the upstream gets: the client's body as it comes, as long as it comes, or
/// what a request of our own says.
///
/// Dropped before its end, because of a refusal or an early answer, it is still
/// read for a while: closing an HTTP/1.1 connection with bytes unread resets it,
/// and an HTTP/2 stream that ends before its client has sent everything is reset;
/// either way clients lose the answer that explains.
///
/// A handle on what several attempts at sending share: small, since hyper keeps
/// room for 32 requests in every connection's queue.
pub(crate) struct Inbound {
    source: Arc<Mutex<Source>>,
    attempt: u32,
}

enum Source {
    Client(Upload),
    Ours(Full<Bytes>),
}

/// The client's body, and what is to be seen to with it.
struct Upload {
    /// Until it is dropped.
    client: Option<ClientBody>,
    over_http2: bool,
    silence: Silence,
    leftover: Leftover,
    /// Names that no trailer may have. Without them none passes.
    credentials: Option<Arc<CredentialNames>>,
    replay: Replay,
}

/// What was taken of a body, for another attempt at sending it.
#[derive(Default)]
struct Replay {
    /// The attempt that reads now. A later one takes over, an earlier one is at its end.
    attempt: u32,
    /// `None` where nobody asked for another attempt in time, or once it was too much.
    taken: Option<BytesMut>,
    /// How many of those bytes the current attempt has got.
    given: usize,
    /// Something was taken.
    begun: bool,
}

/// What becomes of a body that nobody wants.
#[derive(Clone, Copy)]
enum Leftover {
    Swallow,
    /// A client that waits for `100 Continue` has not sent anything yet.
    Leave,
}

/// The client's body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InboundError {
    #[error("the client's body broke off")]
    Client(#[from] hyper::Error),
    #[error("the client fell silent in the middle of its body")]
    Silent,
    #[error("the client reset the stream in the middle of its body")]
    Reset,
    #[error("another attempt at sending the request took its body over")]
    Superseded,
}

impl Inbound {
    pub(crate) fn new(head: &Parts, client: ClientBody, idle: Duration) -> Self {
        let leftover = match head.headers.contains_key(header::EXPECT) {
            true => Leftover::Leave,
            false => Leftover::Swallow,
        };
        Self::of(Source::Client(Upload {
            client: Some(client),
            over_http2: head.version == Version::HTTP_2,
            silence: Silence::new(idle),
            leftover,
            credentials: None,
            replay: Replay::default(),
        }))
    }

    pub(crate) fn ours(body: Bytes) -> Self {
        Self::of(Source::Ours(Full::new(body)))
    }

    fn of(source: Source) -> Self {
        Self {
            source: Arc::new(Mutex::new(source)),
            attempt: 0,
        }
    }

    pub(crate) fn without(self, credentials: Arc<CredentialNames>) -> Self {
        if let Source::Client(upload) = &mut *self.lock() {
            upload.credentials = Some(credentials);
        }
        self
    }

    /// Says in one way how long the body is: by one canonical number, where the client said it somehow; in chunks where
    /// it did not, also for a GET, whose body hyper 1.12 drops unless it is told so.
    pub(crate) fn state_length(&self, headers: &mut HeaderMap) {
        let length = self.size_hint().exact();
        if headers.remove(header::CONTENT_LENGTH).is_some()
            && let Some(length) = length
        {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        if length.is_none() && !self.is_end_stream() {
            let chunked = HeaderValue::from_static("chunked");
            headers.insert(header::TRANSFER_ENCODING, chunked);
        }
    }

    /// The same body for another attempt at sending it, which takes over when it is first polled. From now on what is
    /// taken is kept for it.
    pub(crate) fn again(&self) -> Self {
        if let Source::Client(upload) = &mut *self.lock() {
            upload.replay.prepare();
        }
        Self {
            source: self.source.clone(),
            attempt: self.attempt + 1,
        }
    }

    /// Whether all that earlier attempts have taken is still at hand.
    pub(crate) fn is_whole(&self) -> bool {
        match &*self.lock() {
            Source::Client(upload) => upload.replay.taken.is_some(),
            Source::Ours(_) => self.attempt == 0,
        }
    }

    /// A panic leaves a body that is not read on.
    fn lock(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replay {
    fn prepare(&mut self) {
        if !self.begun && self.taken.is_none() {
            self.taken = Some(BytesMut::new());
        }
    }

    /// Whether `attempt` may read; a later one begins again, if all is still there.
    fn admits(&mut self, attempt: u32) -> bool {
        if attempt > self.attempt && self.taken.is_some() {
            (self.attempt, self.given) = (attempt, 0);
        }
        attempt == self.attempt
    }

    /// What the current attempt still has to get of what earlier ones took.
    fn next(&mut self) -> Option<Bytes> {
        let piece = &self.taken.as_ref()?[self.given..];
        let piece = (!piece.is_empty()).then(|| Bytes::copy_from_slice(piece))?;
        self.given += piece.len();
        Some(piece)
    }

    /// How many bytes that is.
    fn left(&self) -> usize {
        let taken = self.taken.as_ref().map_or(0, BytesMut::len);
        taken.saturating_sub(self.given)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        self.begun = true;
        let Some(taken) = &mut self.taken else { return };
        match frame.data_ref() {
            // Copied: a slice would keep the buffer that it came in, with other requests' bytes.
            Some(data) if taken.len() + data.len() <= AT_HAND => {
                taken.extend_from_slice(data);
                self.given = taken.len();
            }
            // Too much, or trailers.
            _ => self.taken = None,
        }
    }
}

impl Upload {
    fn poll_frame(
        &mut self,
        attempt: u32,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InboundError>>> {
        if !self.replay.admits(attempt) {
            return Poll::Ready(Some(Err(InboundError::Superseded)));
        }
        if let Some(piece) = self.replay.next() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Some(client) = &mut self.client else {
            return Poll::Ready(None);
        };
        match Pin::new(client).poll_frame(context) {
            Poll::Ready(None) if self.was_reset() => {
                self.replay.taken = None;
                Poll::Ready(Some(Err(InboundError::Reset)))
            }
            Poll::Ready(frame) => {
                self.silence.broken();
                match &frame {
                    Some(Ok(frame)) => self.replay.keep(frame),
                    // What follows an error is no clean end.
                    Some(Err(_)) => self.replay.taken = None,
                    None => {}
                }
                let frame = frame.map(|frame| frame.map(|frame| self.strip_trailers(frame)));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let silent = self.silence.poll(context);
                silent.map(|()| Some(Err(InboundError::Silent)))
            }
        }
    }

    /// Whether what hyper 1.12 takes for the body's end is none: it takes an HTTP/2 stream that its client reset with
    /// NO_ERROR for one, and the provider would get half a prompt as a whole one.
    fn was_reset(&self) -> bool {
        let client = self.client.as_ref();
        self.over_http2
            && client.is_some_and(|client| {
                !client.is_end_stream() && client.size_hint().exact() != Some(0)
            })
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

    fn is_end_stream(&mut self, attempt: u32) -> bool {
        // A superseded attempt has not got all: it must not pass for a whole one.
        if !self.replay.admits(attempt) {
            return false;
        }
        let ended = self.client.as_ref().is_none_or(HttpBody::is_end_stream);
        ended && self.replay.left() == 0
    }

    fn size_hint(&mut self, attempt: u32) -> SizeHint {
        if !self.replay.admits(attempt) {
            return SizeHint::default();
        }
        let client = self.client.as_ref().map(HttpBody::size_hint);
        let left = self.replay.left() as u64;
        match client.map_or(Some(0), |client| client.exact()) {
            Some(length) => SizeHint::with_exact(length + left),
            None => SizeHint::default(),
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

async fn swallow(mut client: ClientBody) {
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
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InboundError>>> {
        match &mut *self.lock() {
            Source::Client(upload) => upload.poll_frame(self.attempt, context),
            Source::Ours(whole) => {
                let frame = Pin::new(whole).poll_frame(context);
                frame.map_err(|never| match never {})
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &mut *self.lock() {
            Source::Client(upload) => upload.is_end_stream(self.attempt),
            Source::Ours(whole) => whole.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &mut *self.lock() {
            Source::Client(upload) => upload.size_hint(self.attempt),
            Source::Ours(whole) => whole.size_hint(),
        }
    }
}

/// How much of a body is kept until an answer comes, in bytes: prompts are smaller as a rule.
const AT_HAND: usize = 64 << 10;
/// A request with a picture or a document in it is still read to its end.
const SWALLOW_BYTES: usize = 32 << 20;
const SWALLOW_FOR: Duration = Duration::from_secs(10);
