//! Serves an axum router as a pingora service, on a socket that is bound beforehand.

mod client_socket;
mod connection_limit;
mod request_body;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, extract::ConnectInfo};
use client_socket::ClientSocket;
use connection_limit::{ConnectionLimit, ConnectionSlot};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use pingora_core::{
    server::ShutdownWatch,
    services::background::{BackgroundService, GenBackgroundService},
};
use request_body::RequestBody;
use tokio::net::TcpStream;

/// A router and its socket.
pub(crate) struct Web {
    router: Router,
    socket: Mutex<Option<TcpListener>>,
}

/// The address in `admin.listen` or `observe.listen` could not be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; choose another address in {setting}, or stop what uses it"
)]
pub(crate) struct BindError {
    setting: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// Binds `address`, so that an address in use is reported before anything starts. Returns the bound
/// address too, which has the real port where the setting has 0.
pub(crate) fn bind(
    setting: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let bind = || {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let bound = socket.local_addr()?;
        io::Result::Ok((socket, bound))
    };
    bind().map_err(|source| BindError {
        setting,
        address,
        source,
    })
}

/// The pingora service, which has one thread: administration and scraping are rare.
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

/// Serves without pingora, until `shutdown` becomes true or its sender is dropped.
pub(crate) async fn serve_until(router: Router, socket: TcpListener, shutdown: ShutdownWatch) {
    let web = Web {
        router,
        socket: Mutex::new(Some(socket)),
    };
    web.start(shutdown).await;
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
        let limit = ConnectionLimit::new(CONNECTIONS);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = shutdown.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let slot = limit.admit();
                    let router = self.router.clone();
                    let serving = serve(stream, peer, slot.clone(), router, shutdown.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = serving => {}
                            () = slot.evicted() => {}
                        }
                    });
                }
                // Most likely out of file descriptors, which are freed as clients disconnect.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

/// Serves one connection until it ends or the process shuts down.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    slot: Arc<ConnectionSlot>,
    router: Router,
    mut shutdown: ShutdownWatch,
) {
    let socket = ClientSocket::new(stream, slot.clone(), keyside_proxy::unacknowledged);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let (mut router, slot) = (router.clone(), slot.clone());
        async move {
            let request = request.map(|body| RequestBody::new(body, slot.clone()));
            let response = tower_service::Service::call(&mut router, request).await;
            slot.set_awaits_response(false);
            response
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        // An error here is the client's doing: it disconnected, stalled, or did not speak HTTP.
        _ = connection.as_mut() => return,
        _ = shutdown.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Connections per listener.
pub(crate) const CONNECTIONS: usize = 128;
/// How long a request's head may take, and the pause between two requests.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
