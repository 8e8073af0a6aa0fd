//! Serves an axum router as a pingora service, on a socket that is bound beforehand; over TLS, if
//! the listener has a certificate.

mod certificates;
mod client_socket;
mod connection_limit;
mod request_body;
mod response_body;
mod tls;

use std::{
    future, io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, extract::ConnectInfo};
use client_socket::ClientSocket;
use connection_limit::{ConnectionLimit, ConnectionSlot};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use pingora::{
    server::ShutdownWatch,
    services::background::{BackgroundService, GenBackgroundService},
};
use request_body::RequestBody;
use response_body::ResponseBody;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::{certificates::Certificates, tls::ServerTls};

pub(crate) struct Web {
    router: Router,
    socket: Mutex<Option<Socket>>,
}

/// A bound socket, and the certificate that its clients see.
pub(crate) struct Socket {
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
}

impl Socket {
    /// The same socket once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            listener: self.listener.try_clone()?,
            tls: self.tls.clone(),
        })
    }
}

/// The address in `admin.listen` or `observe.listen` could not be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; choose another address in {setting}, or stop the process that uses it"
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
    tls: Option<Arc<ServerTls>>,
) -> Result<(Socket, SocketAddr), BindError> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        io::Result::Ok((Socket { listener, tls }, bound))
    };
    bind().map_err(|source| BindError {
        setting,
        address,
        source,
    })
}

/// The pingora service, which has one thread: administration and scraping are rare.
pub(crate) fn service(name: &str, router: Router, socket: Socket) -> GenBackgroundService<Web> {
    GenBackgroundService::new(name.to_owned(), Arc::new(Web::new(router, socket)))
}

/// Serves without pingora, until `shutdown` becomes true or its sender is dropped.
pub(crate) async fn serve_until(router: Router, socket: Socket, shutdown: ShutdownWatch) {
    Web::new(router, socket).start(shutdown).await;
}

#[async_trait]
impl BackgroundService for Web {
    async fn start(&self, shutdown: ShutdownWatch) {
        let socket = self.socket.lock().take();
        let Some(Socket { listener, tls }) = socket else {
            return;
        };
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => tokio::select! {
                () = self.accept(&listener, tls.as_deref(), shutdown) => {}
                () = follow(tls.clone()) => {}
            },
            Err(error) => tracing::error!(%error, "a listener could not be used"),
        }
    }
}

/// Keeps the certificate up to date. Never returns.
async fn follow(tls: Option<Arc<ServerTls>>) {
    match tls {
        Some(tls) => tls.follow().await,
        None => future::pending().await,
    }
}

impl Web {
    fn new(router: Router, socket: Socket) -> Self {
        let socket = Mutex::new(Some(socket));
        Self { router, socket }
    }

    async fn accept(
        &self,
        listener: &tokio::net::TcpListener,
        tls: Option<&ServerTls>,
        mut shutdown: ShutdownWatch,
    ) {
        let limit = ConnectionLimit::new(CONNECTIONS);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = shutdown.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let slot = limit.admit();
                    let connection = Connection {
                        peer,
                        slot: slot.clone(),
                        router: self.router.clone(),
                        shutdown: shutdown.clone(),
                    };
                    let serving = connection.serve(stream, tls.map(ServerTls::config));
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

struct Connection {
    peer: SocketAddr,
    slot: Arc<ConnectionSlot>,
    router: Router,
    shutdown: ShutdownWatch,
}

impl Connection {
    /// Serves the connection until it ends or the process shuts down.
    async fn serve(self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        let slot = self.slot.clone();
        let socket = ClientSocket::new(stream, slot, keyside_proxy::unacknowledged);
        let Some(config) = tls else {
            return self.serve_http(socket).await;
        };
        // An error here is the client's doing: it disconnected, stalled, did not trust the
        // certificate or did not speak TLS.
        let handshake = TlsAcceptor::from(config).accept(socket);
        if let Ok(Ok(socket)) = timeout(HEADER_DEADLINE, handshake).await {
            self.serve_http(socket).await;
        }
    }

    async fn serve_http<S>(self, socket: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (peer, router, slot) = (self.peer, self.router, self.slot);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let (mut router, slot) = (router.clone(), slot.clone());
            async move {
                let request = request.map(|body| RequestBody::new(body, slot.clone()));
                let response = tower_service::Service::call(&mut router, request).await;
                slot.set_awaits_response(false);
                response.map(|response| response.map(|body| ResponseBody::new(body, slot)))
            }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE);
        let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
        let mut shutdown = self.shutdown;
        tokio::select! {
            // An error here is the client's doing: it disconnected, stalled, or did not speak HTTP.
            _ = connection.as_mut() => return,
            _ = shutdown.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// Connections per listener.
pub(crate) const CONNECTIONS: usize = 128;
/// How long a TLS handshake or a request's head may take, and the pause between two requests.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
