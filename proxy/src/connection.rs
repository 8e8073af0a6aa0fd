//! One client connection: pingora hands us its stream, hyper speaks HTTP on it.

use std::{convert::Infallible, future::poll_fn, io, pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use keyside_config::{Deadlines, Limits, Listener};
use pingora::{apps::ServerApp, protocols::Stream, server::ShutdownWatch};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    activity::Activity,
    client_socket,
    deadline::DeadlineStream,
    drain::Drain,
    framing::Framing,
    gateway::{Dependencies, Gateway},
    head_limits::HeadLimits,
    reclaim::MemoryReclaimer,
    stream_deadline::StreamExecutor,
    wakers::OneShot,
};

/// Serves the connections of one listener.
pub(crate) struct Connections {
    gateway: Arc<Gateway>,
    http: auto::Builder<StreamExecutor>,
    deadlines: Deadlines,
    /// Bytes in a request's head.
    head_limit: usize,
    /// User ids that may connect; empty accepts all.
    peers: Vec<u32>,
    /// Bounds the open client connections, over all listeners.
    connection_limit: Arc<Semaphore>,
    /// Bounds how many clients beyond the limit are answered at a time.
    rejection_slots: Semaphore,
    drain: Drain,
    reclaim: Arc<MemoryReclaimer>,
}

impl Connections {
    pub(crate) fn new(
        gateway: Gateway,
        listener: &Listener,
        connection_limit: Arc<Semaphore>,
        dependencies: &Dependencies,
    ) -> Self {
        let proxy = &dependencies.settings.proxy;
        Self {
            gateway: Arc::new(gateway),
            http: http(&proxy.limits, proxy.deadlines.write_idle),
            deadlines: proxy.deadlines.clone(),
            head_limit: proxy.limits.header_bytes,
            peers: listener.peer_uids.clone(),
            connection_limit,
            rejection_slots: Semaphore::new(MAX_CONCURRENT_REJECTIONS),
            drain: dependencies.drain.clone(),
            reclaim: MemoryReclaimer::new(dependencies.collect, proxy.workers()),
        }
    }

    fn accepts(&self, stream: &Stream) -> bool {
        self.peers.is_empty()
            || client_socket::user_id(stream).is_ok_and(|user| self.peers.contains(&user))
    }

    /// Answers a client beyond the connection limit, always in HTTP/1.1. What it sends is read for
    /// a moment: closing a socket with unread bytes resets it, and the client would lose the
    /// response.
    async fn reject(&self, mut stream: Stream) {
        tracing::warn!(
            "client turned away: all `proxy.limits.connections` are in use; raise the \
            limit, or close idle clients"
        );
        let Ok(_slot) = self.rejection_slots.try_acquire() else {
            return;
        };
        let rejection = async {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await?;
            stream.write_all(CONNECTION_LIMIT_RESPONSE).await?;
            stream.shutdown().await?;
            while stream.read(&mut request).await? > 0 {}
            io::Result::Ok(())
        };
        // If the client does not read even this, the connection is closed without a response.
        let _ = timeout(REJECTION_TIMEOUT, rejection).await;
    }

    async fn serve(&self, stream: Stream, permit: OwnedSemaphorePermit) {
        let known_peer = self.accepts(&stream);
        let activity = Activity::new(self.drain.clone(), permit);
        let mut unaware = Some(self.drain.connected());
        let framing = Framing::new(self.head_limit);
        let socket = DeadlineStream::new(stream, activity.clone(), &self.deadlines, framing)
            .with_unacknowledged(client_socket::unacknowledged_by)
            .with_reset(client_socket::reset_when_closed);
        let service = service_fn(|request: Request<Incoming>| {
            let in_flight = activity.receive(&request);
            let gateway = self.gateway.clone();
            // Boxed: hyper keeps space for the service's future as long as the connection is open,
            // also while no request is in flight.
            let answer =
                Box::pin(async move { gateway.answer(request, in_flight, known_peer).await });
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = self
            .http
            .serve_connection_with_upgrades(TokioIo::new(socket), service);
        let mut connection = pin!(connection);
        let leaving = pin!(self.drain.begun());
        let mut leaving = OneShot::new(leaving);
        tokio::select! {
            biased;
            // An error here is the client's doing: it disconnected, stalled, or did not speak HTTP.
            _ = connection.as_mut() => return,
            () = poll_fn(|context| leaving.poll(self.drain.has_begun(), context)) => {}
        }
        let mut told = false;
        let rest = poll_fn(|context| {
            loop {
                // Known only once the first request has come.
                if activity.is_multiplexed() && !told {
                    told = true;
                    connection.as_mut().graceful_shutdown();
                }
                let polled = connection.as_mut().poll(context);
                if polled.is_ready() || activity.is_multiplexed() == told {
                    // A GOAWAY has been written: the process may end.
                    drop(unaware.take());
                    return polled;
                }
            }
        });
        let _ = rest.await;
    }
}

#[async_trait]
impl ServerApp for Connections {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        match self.connection_limit.clone().try_acquire_owned() {
            // On a task of its own: pingora's also has space for a TLS handshake, 9 KB, and would
            // keep it for as long as the connection is open.
            Ok(permit) => {
                let this = self.clone();
                tokio::spawn(async move {
                    this.serve(stream, permit).await;
                    this.reclaim.schedule();
                });
            }
            Err(_) => self.reject(stream).await,
        }
        None
    }
}

/// HTTP/1.1, and HTTP/2 with prior knowledge, within the limits. [`DeadlineStream`] enforces the
/// deadlines, except for a single HTTP/2 stream.
fn http(limits: &Limits, write_idle: Duration) -> auto::Builder<StreamExecutor> {
    let mut http = auto::Builder::new(StreamExecutor::new(write_idle));
    let heads = HeadLimits::of(limits);
    http.http1()
        .header_read_timeout(None)
        .max_headers(heads.fields)
        .max_buf_size(heads.bytes);
    http.http2()
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(heads.list_size());
    http
}

/// The refusal `overloaded` in the shape that most providers use, since the provider is not known
/// yet.
const CONNECTION_LIMIT_RESPONSE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\n\
    cache-control: no-store\r\n\
    retry-after: 1\r\n\
    x-should-retry: true\r\n\
    connection: close\r\n\
    content-length: 188\r\n\r\n\
    {\"code\":\"overloaded\",\"error\":{\"message\":\"Keyside has no room for another connection: \
    proxy.limits.connections are open. Try again.\",\"type\":\"server_error\",\"param\":null,\
    \"code\":\"overloaded\"}}";
/// Clients beyond the limit that are answered at a time on one listener; further ones are closed
/// without a response, so that a flood holds few descriptors.
const MAX_CONCURRENT_REJECTIONS: usize = 16;
/// How long a rejected client has to send its request and read the response.
const REJECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of one response that are buffered for an HTTP/2 client that does not read it; hyper 1.12
/// buffers 400 KiB. One more chunk from the upstream may be waiting.
const SEND_BUFFER: usize = 16 * 1024;

/// Bytes of one request's body, and of all bodies on one connection, that are buffered while their
/// upstreams do not read them; hyper buffers 1 MiB of each.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
