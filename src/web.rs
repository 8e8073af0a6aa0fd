//! Serves an axum router as one of pingora's services, on a socket bound before.

mod arriving;
mod room;
mod socket;

use arriving::Arriving;
use async_trait::async_trait;
use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::{BackgroundService, GenBackgroundService};
use room::{Place, Room};
use socket::Socket;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;

/// A router and its socket.
pub(crate) struct Web {
    router: Router,
    socket: Mutex<Option<TcpListener>>,
}

/// An address of `admin.listen` or `observe.listen` cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; choose another address in {setting}, or stop what uses it"
)]
pub(crate) struct BindError {
    setting: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// Binds now, so that a taken address is known before anything starts.
pub(crate) fn bind(
    setting: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let bind = || {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let given = socket.local_addr()?;
        io::Result::Ok((socket, given))
    };
    bind().map_err(|source| BindError {
        setting,
        address,
        source,
    })
}

/// The service, with one thread: administration and scraping are rare.
pub(crate) fn service(
    name: &str,
    router: Router,
    socket: TcpListener,
) -> GenBackgroundService<Web> {
    let web = Web {
        router,
        socket: Mutex::new(Some(socket)),
    };
    GenBackgroundService::new(name.to_owned(), Arc::new(web))
}

/// Serves outside of pingora, until it is told to stop or nobody is left to tell it.
pub(crate) async fn serve_until(router: Router, socket: TcpListener, stopped: ShutdownWatch) {
    let web = Web {
        router,
        socket: Mutex::new(Some(socket)),
    };
    web.start(stopped).await;
}

#[async_trait]
impl BackgroundService for Web {
    async fn start(&self, shutdown: ShutdownWatch) {
        let socket = self.socket.lock().ok().and_then(|mut socket| socket.take());
        let Some(socket) = socket else { return };
        match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => self.accept(&listener, shutdown).await,
            Err(error) => tracing::error!(%error, "a listener could not be used"),
        }
    }
}

impl Web {
    async fn accept(&self, listener: &tokio::net::TcpListener, mut shutdown: ShutdownWatch) {
        let room = Room::of(CONNECTIONS);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = shutdown.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let place = room.admit();
                    let router = self.router.clone();
                    let serving = serve(stream, peer, place.clone(), router, shutdown.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = serving => {}
                            () = place.is_needed() => {}
                        }
                    });
                }
                // Out of descriptors, most likely: they come back as clients leave.
                Err(_) => tokio::time::sleep(BREATH).await,
            }
        }
    }
}

/// Serves one connection until it ends, or the process does.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    place: Arc<Place>,
    router: Router,
    mut shutdown: ShutdownWatch,
) {
    let socket = Socket::new(stream, place.clone(), keyside_proxy::unacknowledged);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let (mut router, place) = (router.clone(), place.clone());
        async move {
            let request = request.map(|body| Arriving::new(body, place.clone()));
            let answered = tower_service::Service::call(&mut router, request).await;
            place.answering(false);
            answered
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        // An error here is the client's: it left, stalled, or spoke no HTTP.
        _ = connection.as_mut() => return,
        _ = shutdown.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Clients at once, of either listener.
pub(crate) const CONNECTIONS: usize = 128;
/// For a request's head, and between two requests.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
const BREATH: Duration = Duration::from_millis(100);
