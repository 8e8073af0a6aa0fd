//! One client connection: pingora hands us its stream, hyper speaks HTTP on it.

use crate::deadline::{Activity, Deadlined};
use crate::drain::Drain;
use crate::gateway::Gateway;
use crate::peer;
use crate::seldom::Word;
use async_trait::async_trait;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use keyside_config::{Deadlines, Limits};
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Serves the connections of one listener.
pub(crate) struct Connections {
    gateway: Arc<Gateway>,
    http: auto::Builder<TokioExecutor>,
    deadlines: Deadlines,
    /// User ids that may connect; empty accepts all.
    peers: Vec<u32>,
    /// How many more clients there may be, over all listeners.
    room: Arc<Semaphore>,
    drain: Drain,
}

impl Connections {
    pub(crate) fn new(
        gateway: Gateway,
        peers: Vec<u32>,
        (deadlines, limits): (&Deadlines, &Limits),
        room: Arc<Semaphore>,
        drain: Drain,
    ) -> Self {
        Self {
            gateway: Arc::new(gateway),
            http: http(limits),
            deadlines: deadlines.clone(),
            peers,
            room,
            drain,
        }
    }

    fn accepts(&self, stream: &Stream) -> bool {
        self.peers.is_empty()
            || peer::user_id(stream.id()).is_ok_and(|user| self.peers.contains(&user))
    }

    async fn serve(&self, stream: Stream, place: OwnedSemaphorePermit) {
        let known_peer = self.accepts(&stream);
        let activity = Activity::new(self.drain.clone(), place);
        let socket = Deadlined::new(stream, activity.clone(), &self.deadlines);
        let service = service_fn(|request: Request<Incoming>| {
            let busy = activity.begin(request.version() == http::Version::HTTP_2);
            let gateway = self.gateway.clone();
            async move { Ok::<_, Infallible>(gateway.answer(request, busy, known_peer).await) }
        });
        let connection = self
            .http
            .serve_connection_with_upgrades(TokioIo::new(socket), service);
        let mut connection = pin!(connection);
        let leaving = pin!(self.drain.begun());
        let mut leaving = Word::new(leaving);
        tokio::select! {
            biased;
            // An error here is the client's: it left, stalled, or spoke no HTTP.
            _ = connection.as_mut() => return,
            () = poll_fn(|context| leaving.poll(self.drain.has_begun(), context)) => {}
        }
        if activity.is_multiplexed() {
            connection.as_mut().graceful_shutdown();
        }
        let _ = connection.await;
    }
}

#[async_trait]
impl ServerApp for Connections {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        match self.room.clone().try_acquire_owned() {
            Ok(place) => self.serve(stream, place).await,
            Err(_) => {
                tracing::warn!("connection closed: `proxy.limits.connections` are open already")
            }
        }
        None
    }
}

/// HTTP/1.1, and HTTP/2 with prior knowledge, within the limits. The deadlines
/// are the socket's.
fn http(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .header_read_timeout(None)
        .max_buf_size(limits.header_bytes);
    if limits.headers != HEADERS_BY_ITSELF {
        http.http1().max_headers(limits.headers);
    }
    http.http2()
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    http
}

/// What hyper takes without being told. For a number that it is told, it fills two tables anew for each request.
const HEADERS_BY_ITSELF: usize = 100;
