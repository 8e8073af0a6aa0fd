//! Forwards WebSocket handshakes, then carries bytes both ways.
//!
//! Bytes from the upstream are parsed frame by frame, redacted and metered. An upstream that
//! accepts an extension it was not offered is refused, and one that sends a frame which no server
//! may send is disconnected: the frames could not be parsed. With `accept_encoding = "pass"` an
//! extension may be offered; compressed messages then pass unchecked.

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
use keyside_credentials::RequestContext;
pub(crate) use offer::Offer;
use redaction::Redaction;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    hop::list_contains,
    relay::{ResponsePipeline, client_headers},
    websocket::Frames,
};

type Side = TokioIo<Upgraded>;

/// Whether the client requests a WebSocket (RFC 6455 section 4.1).
pub(crate) fn is_websocket(head: &Parts) -> bool {
    head.method == Method::GET
        && head.version == Version::HTTP_11
        && list_contains(&head.headers, &header::CONNECTION, "upgrade")
        && list_contains(&head.headers, &header::UPGRADE, "websocket")
}

/// Answers the handshake and carries bytes until one side ends, in a task of its own.
pub(crate) fn tunnel(
    client: OnUpgrade,
    mut answer: Response<Incoming>,
    pipeline: ResponsePipeline,
    stream_idle: Duration,
) -> Response<()> {
    let upstream = hyper::upgrade::on(&mut answer);
    let (mut head, _) = answer.into_parts();
    let frames = Frames::new(offer::has_extensions(&head.headers));
    head.headers = client_headers(head.headers, &pipeline);
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    head.headers
        .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    head.extensions = http::Extensions::new();
    head.version = Version::HTTP_11;
    pipeline.record.in_flight.becomes_tunnel();
    RequestContext::spawn(run_tunnel(client, upstream, frames, pipeline, stream_idle));
    Response::from_parts(head, ())
}

async fn run_tunnel(
    client: OnUpgrade,
    upstream: OnUpgrade,
    frames: Frames,
    mut pipeline: ResponsePipeline,
    stream_idle: Duration,
) {
    let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) else {
        return;
    };
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_upstream, to_upstream) = tokio::io::split(TokioIo::new(upstream));
    let cut = pipeline.record.grant.cut();
    let last = LastActivity::now();
    let ended = tokio::select! {
        () = cut => return pipeline.record.revoked(),
        ended = copy(from_client, to_upstream, &last) => ended,
        ended = copy_redacted(from_upstream, to_client, frames, &mut pipeline, &last) => ended,
        () = last.is_older_than(stream_idle) => Err(io::ErrorKind::TimedOut.into()),
    };
    match ended {
        Ok(()) => pipeline.record.completed(),
        Err(error) => {
            if error.kind() == io::ErrorKind::InvalidData {
                tracing::warn!(%error, "a WebSocket was closed because its upstream sent invalid \
                    data");
            }
            pipeline.record.aborted();
        }
    }
}

async fn copy(
    mut from: ReadHalf<Side>,
    mut to: WriteHalf<Side>,
    last: &LastActivity,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ_SIZE);
    while let Some(chunk) = read(&mut from, &mut buffer, last).await? {
        to.write_all(&chunk).await?;
        to.flush().await?;
    }
    to.shutdown().await
}

async fn copy_redacted(
    mut from: ReadHalf<Side>,
    mut to: WriteHalf<Side>,
    mut frames: Frames,
    pipeline: &mut ResponsePipeline,
    last: &LastActivity,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ_SIZE);
    let mut redaction = Redaction::new();
    while let Some(chunk) = read(&mut from, &mut buffer, last).await? {
        let read = redact(&chunk, &mut frames, &mut redaction, pipeline);
        let passed = redaction.take();
        let write = async {
            to.write_all(&passed).await?;
            to.flush().await
        };
        last.while_client_reads(write).await?;
        // Checked only now: the bytes before a bad frame have been sent to the client.
        read?;
    }
    redaction.finish(&mut pipeline.scrub);
    to.write_all(&redaction.take()).await?;
    to.shutdown().await
}

fn redact(
    chunk: &Bytes,
    frames: &mut Frames,
    redaction: &mut Redaction,
    pipeline: &mut ResponsePipeline,
) -> io::Result<()> {
    pipeline.record.chunk_received();
    pipeline.meter.push(chunk);
    let scrub = &mut pipeline.scrub;
    let read = frames.push(chunk, |part| redaction.part(part, chunk, scrub));
    read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn read(
    from: &mut ReadHalf<Side>,
    buffer: &mut BytesMut,
    last: &LastActivity,
) -> io::Result<Option<Bytes>> {
    buffer.reserve(READ_SIZE);
    let read = from.read_buf(buffer).await?;
    last.touch();
    Ok((read > 0).then(|| buffer.split().freeze()))
}

/// When the last byte arrived from either side: a client that only listens is not idle.
struct LastActivity {
    at: watch::Sender<Instant>,
    /// A write to the client is pending. Meanwhile nothing is read from the upstream, which must
    /// not count as idle; the client's socket has its own write deadline.
    client_blocks: AtomicBool,
}

impl LastActivity {
    fn now() -> Self {
        Self {
            at: watch::Sender::new(Instant::now()),
            client_blocks: AtomicBool::new(false),
        }
    }

    fn touch(&self) {
        self.at.send_replace(Instant::now());
    }

    async fn while_client_reads<T>(&self, write: impl Future<Output = T>) -> T {
        self.client_blocks.store(true, Ordering::Release);
        let written = write.await;
        self.touch();
        self.client_blocks.store(false, Ordering::Release);
        written
    }

    /// Returns once neither side has sent a byte for `limit`.
    async fn is_older_than(&self, limit: Duration) {
        loop {
            let last = match self.client_blocks.load(Ordering::Acquire) {
                true => Instant::now(),
                false => *self.at.borrow(),
            };
            if last.elapsed() >= limit {
                return;
            }
            sleep_until(last + limit).await;
        }
    }
}

/// Bytes read at once from either side.
const READ_SIZE: usize = 8 * 1024;
