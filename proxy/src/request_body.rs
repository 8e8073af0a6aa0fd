//! The body of a request that is sent to the upstream.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use keyside_config::CredentialNames;
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::{
    activity::ClientBody,
    hop::{may_be_trailer, may_forward, retain},
    wakers::IdleTimer,
};

/// The client's body, streamed as it arrives, or the body of a request that Keyside makes itself.
///
/// If it is dropped before its end, because of a refusal or an early response, the rest is still
/// read for a while. Closing an HTTP/1.1 connection with unread bytes resets it, and so is an
/// HTTP/2 stream that ends before its client has sent everything; in both cases clients would lose
/// the response that explains the refusal.
///
/// This is a handle on state that several attempts at sending share. It is small, because hyper
/// keeps space for 32 requests in every connection's queue.
pub(crate) struct RequestBody {
    source: Arc<Mutex<Source>>,
    attempt: u32,
}

enum Source {
    Client(ClientUpload),
    Own(Full<Bytes>),
}

/// The client's body and how it is handled.
struct ClientUpload {
    /// `None` once it has been dropped.
    client: Option<ClientBody>,
    over_http2: bool,
    idle_timer: IdleTimer,
    on_drop: OnDrop,
    /// Trailers with these names are removed. Until this is set, all trailers are removed.
    credentials: Option<Arc<CredentialNames>>,
    replay: Replay,
}

/// Bytes of a body that earlier attempts have read, for another attempt.
#[derive(Default)]
struct Replay {
    /// The current attempt. A later attempt takes over; earlier ones get an error.
    attempt: u32,
    /// `None` if no other attempt was announced before the first read, or once the bytes exceed
    /// [`MAX_REPLAYED`].
    recorded: Option<BytesMut>,
    /// How many of those bytes the current attempt has read.
    replayed: usize,
    /// Something has been read.
    started: bool,
}

/// What happens to the rest of a dropped body.
#[derive(Clone, Copy)]
enum OnDrop {
    Discard,
    /// The client waits for `100 Continue` and has sent nothing yet, so there is nothing to read.
    Ignore,
}

/// The client's body is incomplete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("the client aborted its body")]
    Client(#[from] hyper::Error),
    #[error("the client sent no more of its body for `proxy.deadlines.body_idle`")]
    Idle,
    #[error("the client reset the stream in the middle of its body")]
    Reset,
    #[error("a later attempt at sending the request has taken over its body")]
    Superseded,
}

impl RequestBody {
    pub(crate) fn new(head: &Parts, client: ClientBody, idle: Duration) -> Self {
        let on_drop = match waits_for_continue(head) {
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
        if let Source::Client(upload) = &mut *self.source.lock() {
            upload.credentials = Some(credentials);
        }
        self
    }

    /// Sets the headers that frame the body: a canonical `Content-Length` if the client declared a
    /// length, otherwise chunked. That includes a GET, whose body hyper 1.12 drops if no header
    /// announces it.
    pub(crate) fn set_length_headers(&self, headers: &mut HeaderMap) {
        let length = self.size_hint().exact();
        let is_declared = length.is_some_and(|length| is_declared(headers, length));
        if !is_declared
            && headers.remove(header::CONTENT_LENGTH).is_some()
            && let Some(length) = length
        {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        if length.is_none() && !self.is_end_stream() {
            let chunked = HeaderValue::from_static("chunked");
            headers.insert(header::TRANSFER_ENCODING, chunked);
        }
    }

    /// The same body for another attempt, which takes over at its first poll. From now on
    /// everything that is read is kept for it.
    pub(crate) fn for_retry(&self) -> Self {
        if let Source::Client(upload) = &mut *self.source.lock() {
            upload.replay.prepare();
        }
        Self {
            source: self.source.clone(),
            attempt: self.attempt + 1,
        }
    }

    /// Whether everything that earlier attempts have read is still available.
    pub(crate) fn is_replayable(&self) -> bool {
        match &*self.source.lock() {
            Source::Client(upload) => upload.replay.recorded.is_some(),
            Source::Own(_) => self.attempt == 0,
        }
    }
}

impl Replay {
    fn prepare(&mut self) {
        if !self.started && self.recorded.is_none() {
            self.recorded = Some(BytesMut::new());
        }
    }

    /// Whether `attempt` may read. A later attempt starts over, if all bytes are still available.
    fn admits(&mut self, attempt: u32) -> bool {
        if attempt > self.attempt && self.recorded.is_some() {
            (self.attempt, self.replayed) = (attempt, 0);
        }
        attempt == self.attempt
    }

    /// The recorded bytes that the current attempt has not read yet.
    fn next(&mut self) -> Option<Bytes> {
        let piece = &self.recorded.as_ref()?[self.replayed..];
        let piece = (!piece.is_empty()).then(|| Bytes::copy_from_slice(piece))?;
        self.replayed += piece.len();
        Some(piece)
    }

    /// How many recorded bytes the current attempt has not read yet.
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
            // Copied: a slice would keep its whole read buffer alive, with other requests' bytes in
            // it.
            Some(data) if recorded.len() + data.len() <= MAX_REPLAYED => {
                recorded.extend_from_slice(data);
                self.replayed = recorded.len();
            }
            // The limit is exceeded, or these are trailers, which cannot be replayed.
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
        // The first poll makes hyper send `100 Continue`.
        self.on_drop = OnDrop::Discard;
        match Pin::new(client).poll_frame(context) {
            Poll::Ready(None) if self.was_reset() => {
                self.replay.recorded = None;
                Poll::Ready(Some(Err(RequestBodyError::Reset)))
            }
            Poll::Ready(frame) => {
                self.idle_timer.reset();
                match &frame {
                    Some(Ok(frame)) => self.replay.record(frame),
                    // A replay must not end cleanly where the original failed.
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

    /// Whether the body's end is really a reset: hyper 1.12 reports a stream that its client reset
    /// with NO_ERROR as a clean end, and the provider would take half a prompt for the whole one.
    fn was_reset(&self) -> bool {
        let client = self.client.as_ref();
        self.over_http2
            && client.is_some_and(|client| {
                !client.is_end_stream() && client.size_hint().exact() != Some(0)
            })
    }

    /// Trailers could carry a credential just as headers can.
    fn strip_trailers(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                let credentials = self.credentials.as_deref();
                let stays = |name: &HeaderName| {
                    may_be_trailer(name)
                        && credentials.is_some_and(|names| may_forward(name, names))
                };
                retain(&mut trailers, stays);
                Frame::trailers(trailers)
            }
            Err(data) => data,
        }
    }

    fn is_end_stream(&mut self, attempt: u32) -> bool {
        // A superseded attempt has not read everything and must not look complete.
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
            tokio::spawn(timeout(DISCARD_TIMEOUT, discard(client, MAX_DISCARDED)));
        }
    }
}

/// Reads a body to its end and keeps nothing of it. Stops once it exceeds `limit` bytes.
pub(crate) async fn discard(mut body: impl HttpBody<Data = Bytes> + Unpin, limit: usize) {
    let mut remaining = limit;
    while let Some(Ok(frame)) = body.frame().await {
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
        match &mut *self.source.lock() {
            Source::Client(upload) => upload.poll_frame(self.attempt, context),
            Source::Own(whole) => {
                let frame = Pin::new(whole).poll_frame(context);
                frame.map_err(|never| match never {})
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &mut *self.source.lock() {
            Source::Client(upload) => upload.is_end_stream(self.attempt),
            Source::Own(whole) => whole.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &mut *self.source.lock() {
            Source::Client(upload) => upload.size_hint(self.attempt),
            Source::Own(whole) => whole.size_hint(),
        }
    }
}

/// Whether the client waits for `100 Continue`, by hyper's own rule for sending it. A client that
/// expects anything else sends its body at once.
fn waits_for_continue(head: &Parts) -> bool {
    let expected = head.headers.get_all(header::EXPECT).iter().next_back();
    head.version > Version::HTTP_10
        && expected.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Whether `Content-Length` declares this length once, in canonical form.
fn is_declared(headers: &HeaderMap, length: u64) -> bool {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return false;
    };
    let is_canonical = matches!(line.as_bytes(), [b'0'] | [b'1'..=b'9', ..]);
    let digits = line.to_str().unwrap_or_default();
    is_canonical && digits.parse::<u64>() == Ok(length)
}

/// Bytes of a body that are kept for a replay: most prompts are smaller.
const MAX_REPLAYED: usize = 64 << 10;
/// Bytes: enough to read a request with an image or a document to its end.
const MAX_DISCARDED: usize = 32 << 20;
/// For discarding the rest of one body.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
