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
    activity::ClientBody,
    hop::{may_forward, retain},
    wakers::IdleTimer,
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
pub(crate) struct RequestBody {
    source: Arc<Mutex<Source>>,
    attempt: u32,
}

enum Source {
    Client(ClientUpload),
    Own(Full<Bytes>),
}

/// The client's body, and what is to be seen to with it.
struct ClientUpload {
    /// Until it is dropped.
    client: Option<ClientBody>,
    over_http2: bool,
    idle_timer: IdleTimer,
    on_drop: OnDrop,
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
    recorded: Option<BytesMut>,
    /// How many of those bytes the current attempt has got.
    replayed: usize,
    /// Something was taken.
    started: bool,
}

/// What becomes of a body that nobody wants.
#[derive(Clone, Copy)]
enum OnDrop {
    Discard,
    /// A client that waits for `100 Continue` has not sent anything yet.
    Ignore,
}

/// The client's body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("the client's body broke off")]
    Client(#[from] hyper::Error),
    #[error("the client fell silent in the middle of its body")]
    Idle,
    #[error("the client reset the stream in the middle of its body")]
    Reset,
    #[error("another attempt at sending the request took its body over")]
    Superseded,
}

impl RequestBody {
    pub(crate) fn new(head: &Parts, client: ClientBody, idle: Duration) -> Self {
        let on_drop = match head.headers.contains_key(header::EXPECT) {
            true => OnDrop::Ignore,
            false => OnDrop::Discard,
        };
        Self::of(Source::Client(ClientUpload {
            client: Some(client),
            over_http2: head.version == Version::HTTP_2,
            idle_timer: IdleTimer::new(idle),
            on_drop,
            credentials: None,
            replay: Replay::default(),
        }))
    }

    pub(crate) fn from_bytes(body: Bytes) -> Self {
        Self::of(Source::Own(Full::new(body)))
    }

    fn of(source: Source) -> Self {
        Self {
            source: Arc::new(Mutex::new(source)),
            attempt: 0,
        }
    }

    pub(crate) fn with_credential_names(self, credentials: Arc<CredentialNames>) -> Self {
        if let Source::Client(upload) = &mut *self.lock() {
            upload.credentials = Some(credentials);
        }
        self
    }

    /// Says in one way how long the body is: by one canonical number, where the client said it somehow; in chunks where
    /// it did not, also for a GET, whose body hyper 1.12 drops unless it is told so.
    pub(crate) fn set_length_headers(&self, headers: &mut HeaderMap) {
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
    pub(crate) fn for_retry(&self) -> Self {
        if let Source::Client(upload) = &mut *self.lock() {
            upload.replay.prepare();
        }
        Self {
            source: self.source.clone(),
            attempt: self.attempt + 1,
        }
    }

    /// Whether all that earlier attempts have taken is still at hand.
    pub(crate) fn is_replayable(&self) -> bool {
        match &*self.lock() {
            Source::Client(upload) => upload.replay.recorded.is_some(),
            Source::Own(_) => self.attempt == 0,
        }
    }

    /// A panic leaves a body that is not read on.
    fn lock(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replay {
    fn prepare(&mut self) {
        if !self.started && self.recorded.is_none() {
            self.recorded = Some(BytesMut::new());
        }
    }

    /// Whether `attempt` may read; a later one begins again, if all is still there.
    fn admits(&mut self, attempt: u32) -> bool {
        if attempt > self.attempt && self.recorded.is_some() {
            (self.attempt, self.replayed) = (attempt, 0);
        }
        attempt == self.attempt
    }

    /// What the current attempt still has to get of what earlier ones took.
    fn next(&mut self) -> Option<Bytes> {
        let piece = &self.recorded.as_ref()?[self.replayed..];
        let piece = (!piece.is_empty()).then(|| Bytes::copy_from_slice(piece))?;
        self.replayed += piece.len();
        Some(piece)
    }

    /// How many bytes that is.
    fn remaining(&self) -> usize {
        let recorded = self.recorded.as_ref().map_or(0, BytesMut::len);
        recorded.saturating_sub(self.replayed)
    }

    fn record(&mut self, frame: &Frame<Bytes>) {
        self.started = true;
        let Some(recorded) = &mut self.recorded else {
            return;
        };
        match frame.data_ref() {
            // Copied: a slice would keep the buffer that it came in, with other requests' bytes.
            Some(data) if recorded.len() + data.len() <= MAX_REPLAYED => {
                recorded.extend_from_slice(data);
                self.replayed = recorded.len();
            }
            // Too much, or trailers.
            _ => self.recorded = None,
        }
    }
}

impl ClientUpload {
    fn poll_frame(
        &mut self,
        attempt: u32,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if !self.replay.admits(attempt) {
            return Poll::Ready(Some(Err(RequestBodyError::Superseded)));
        }
        if let Some(piece) = self.replay.next() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Some(client) = &mut self.client else {
            return Poll::Ready(None);
        };
        match Pin::new(client).poll_frame(context) {
            Poll::Ready(None) if self.was_reset() => {
                self.replay.recorded = None;
                Poll::Ready(Some(Err(RequestBodyError::Reset)))
            }
            Poll::Ready(frame) => {
                self.idle_timer.reset();
                match &frame {
                    Some(Ok(frame)) => self.replay.record(frame),
                    // What follows an error is no clean end.
                    Some(Err(_)) => self.replay.recorded = None,
                    None => {}
                }
                let frame = frame.map(|frame| frame.map(|frame| self.strip_trailers(frame)));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let silent = self.idle_timer.poll(context);
                silent.map(|()| Some(Err(RequestBodyError::Idle)))
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
                    |name: &HeaderName| credentials.is_some_and(|names| may_forward(name, names));
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
        ended && self.replay.remaining() == 0
    }

    fn size_hint(&mut self, attempt: u32) -> SizeHint {
        if !self.replay.admits(attempt) {
            return SizeHint::default();
        }
        let client = self.client.as_ref().map(HttpBody::size_hint);
        let remaining = self.replay.remaining() as u64;
        match client.map_or(Some(0), |client| client.exact()) {
            Some(length) => SizeHint::with_exact(length + remaining),
            None => SizeHint::default(),
        }
    }
}

impl Drop for ClientUpload {
    fn drop(&mut self) {
        let unwanted = self.client.take().filter(|client| !client.is_end_stream());
        if let (Some(client), OnDrop::Discard) = (unwanted, self.on_drop) {
            tokio::spawn(timeout(DISCARD_TIMEOUT, discard(client)));
        }
    }
}

async fn discard(mut client: ClientBody) {
    let mut remaining = MAX_DISCARDED;
    while let Some(Ok(frame)) = client.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        match remaining.checked_sub(size) {
            Some(less) => remaining = less,
            None => return,
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match &mut *self.lock() {
            Source::Client(upload) => upload.poll_frame(self.attempt, context),
            Source::Own(whole) => {
                let frame = Pin::new(whole).poll_frame(context);
                frame.map_err(|never| match never {})
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &mut *self.lock() {
            Source::Client(upload) => upload.is_end_stream(self.attempt),
            Source::Own(whole) => whole.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &mut *self.lock() {
            Source::Client(upload) => upload.size_hint(self.attempt),
            Source::Own(whole) => whole.size_hint(),
        }
    }
}

/// How much of a body is kept until an answer comes, in bytes: prompts are smaller as a rule.
const MAX_REPLAYED: usize = 64 << 10;
/// A request with a picture or a document in it is still read to its end.
const MAX_DISCARDED: usize = 32 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
