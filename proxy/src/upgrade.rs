//! WebSocket handshakes pass through; then bytes pass, both ways.
//!
//! What comes from the upstream is read frame by frame, redacted and metered. An upstream that agrees to an extension which
//! it was not offered is refused, and one that sends a frame which no server may send is cut off: neither could be read.
//! With `accept_encoding = "pass"` an extension may be offered; what it compresses passes unread.

mod offer;
mod redaction;

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Response, Version, header, request::Parts};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
pub(crate) use offer::Offer;
use redaction::Redaction;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    hop::lists,
    relay::{Wire, relayed},
    websocket::Frames,
};

type Side = TokioIo<Upgraded>;

/// Whether the client asks for a WebSocket (RFC 6455 section 4.1).
pub(crate) fn is_websocket(head: &Parts) -> bool {
    head.method == Method::GET
        && head.version == Version::HTTP_11
        && lists(&head.headers, &header::CONNECTION, "upgrade")
        && lists(&head.headers, &header::UPGRADE, "websocket")
}

/// Answers the handshake and carries bytes until one side ends.
pub(crate) fn tunnel(
    client: OnUpgrade,
    mut answer: Response<Incoming>,
    wire: Wire,
    silence: Duration,
) -> Response<()> {
    let upstream = hyper::upgrade::on(&mut answer);
    let (mut head, _) = answer.into_parts();
    let frames = Frames::new(offer::has_extensions(&head.headers));
    head.headers = relayed(head.headers, &wire);
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    head.headers
        .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    head.extensions = http::Extensions::new();
    head.version = Version::HTTP_11;
    wire.exchange.busy.becomes_tunnel();
    tokio::spawn(carry(client, upstream, frames, wire, silence));
    Response::from_parts(head, ())
}

async fn carry(
    client: OnUpgrade,
    upstream: OnUpgrade,
    frames: Frames,
    mut wire: Wire,
    silence: Duration,
) {
    let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) else {
        return;
    };
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_upstream, to_upstream) = tokio::io::split(TokioIo::new(upstream));
    let cut = wire.exchange.grant.cut();
    let last = LastByte::now();
    let ended = tokio::select! {
        () = cut => return wire.exchange.revoked(),
        ended = copy(from_client, to_upstream, &last) => ended,
        ended = copy_redacted(from_upstream, to_client, frames, &mut wire, &last) => ended,
        () = last.is_older_than(silence) => Err(io::ErrorKind::TimedOut.into()),
    };
    match ended {
        Ok(()) => wire.exchange.completed(),
        Err(error) => {
            if error.kind() == io::ErrorKind::InvalidData {
                let request_id = wire.exchange.request_id.as_str();
                tracing::warn!(request_id, %error, "a WebSocket was cut off for what its upstream sent");
            }
            wire.exchange.aborted();
        }
    }
}

async fn copy(
    mut from: ReadHalf<Side>,
    mut to: WriteHalf<Side>,
    last: &LastByte,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(PIECE);
    while let Some(piece) = read(&mut from, &mut buffer, last).await? {
        to.write_all(&piece).await?;
        to.flush().await?;
    }
    to.shutdown().await
}

async fn copy_redacted(
    mut from: ReadHalf<Side>,
    mut to: WriteHalf<Side>,
    mut frames: Frames,
    wire: &mut Wire,
    last: &LastByte,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(PIECE);
    let mut redaction = Redaction::new();
    while let Some(piece) = read(&mut from, &mut buffer, last).await? {
        let read = redact(&piece, &mut frames, &mut redaction, wire);
        let passed = redaction.take();
        let write = async {
            to.write_all(&passed).await?;
            to.flush().await
        };
        last.while_client_takes(write).await?;
        // What came before a frame that cannot be read is with the client.
        read?;
    }
    redaction.finish(&mut wire.scrub);
    to.write_all(&redaction.take()).await?;
    to.shutdown().await
}

fn redact(
    piece: &Bytes,
    frames: &mut Frames,
    redaction: &mut Redaction,
    wire: &mut Wire,
) -> io::Result<()> {
    wire.exchange.piece();
    wire.meter.push(piece);
    let scrub = &mut wire.scrub;
    let read = frames.push(piece, |part| redaction.part(part, piece, scrub));
    read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn read(
    from: &mut ReadHalf<Side>,
    buffer: &mut BytesMut,
    last: &LastByte,
) -> io::Result<Option<Bytes>> {
    buffer.reserve(PIECE);
    let read = from.read_buf(buffer).await?;
    last.came();
    Ok((read > 0).then(|| buffer.split().freeze()))
}

/// When the last byte came, from whichever side: one that only listens is still there.
struct LastByte {
    came: watch::Sender<Instant>,
    /// The client has yet to take what came. Meanwhile nothing is read from the upstream, which is no silence of either:
    /// the client's socket has a deadline of its own.
    client_takes: AtomicBool,
}

impl LastByte {
    fn now() -> Self {
        Self {
            came: watch::Sender::new(Instant::now()),
            client_takes: AtomicBool::new(false),
        }
    }

    fn came(&self) {
        self.came.send_replace(Instant::now());
    }

    async fn while_client_takes<T>(&self, write: impl Future<Output = T>) -> T {
        self.client_takes.store(true, Ordering::Release);
        let written = write.await;
        self.came();
        self.client_takes.store(false, Ordering::Release);
        written
    }

    /// Returns when there was none for so long.
    async fn is_older_than(&self, limit: Duration) {
        loop {
            let last = match self.client_takes.load(Ordering::Acquire) {
                true => Instant::now(),
                false => *self.came.borrow(),
            };
            if last.elapsed() >= limit {
                return;
            }
            sleep_until(last + limit).await;
        }
    }
}

/// Bytes read at once from either side.
const PIECE: usize = 8 * 1024;
