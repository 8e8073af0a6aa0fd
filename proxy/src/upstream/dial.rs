//! Opens a connection to an upstream: resolve, check, connect to one of the very
//! addresses that were checked, verify TLS, and agree on a version of HTTP.

use super::address::is_public;
use super::pool::{Connection, Pool, Stream, Streams};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keyside_config::{BaseUrl, Scheme};
use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Opens connections, each within the same deadline.
pub(crate) struct Dialer {
    /// Offers HTTP/2 and HTTP/1.1.
    all: TlsConnector,
    /// For tunnels, which only HTTP/1.1 has.
    http1: TlsConnector,
    deadline: Duration,
}

/// What to offer the other side.
#[derive(Clone, Copy)]
pub(super) enum Protocols {
    All,
    Http1,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{host} could not be resolved")]
    Resolve { host: String, source: io::Error },
    #[error(
        "{0} resolves to private or reserved addresses only; if that is meant, give its address in base_url"
    )]
    NotPublic(String),
    #[error("could not connect to {address}")]
    Connect {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("the host is no name that a certificate could be for")]
    Name(#[from] InvalidDnsNameError),
    #[error("TLS could not be agreed on")]
    Tls(#[source] io::Error),
    #[error("HTTP could not be agreed on")]
    Http(#[source] hyper::Error),
    #[error("the connection took too long to open")]
    TooSlow(#[from] Elapsed),
}

impl Dialer {
    pub(crate) fn new(tls: &ClientConfig, deadline: Duration) -> Self {
        let connector = |protocols: &[&[u8]]| {
            let mut tls = tls.clone();
            tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(tls))
        };
        Self {
            all: connector(&[HTTP2, b"http/1.1"]),
            http1: connector(&[b"http/1.1"]),
            deadline,
        }
    }

    /// Opens a connection. One that can be shared is in `pool` too.
    pub(super) async fn dial(
        &self,
        base: &BaseUrl,
        protocols: Protocols,
        pool: &Pool,
    ) -> Result<Connection, ConnectError> {
        timeout(self.deadline, async {
            let socket = connect(&base.host, base.port).await?;
            if base.scheme == Scheme::Http {
                return speak_http1(socket).await;
            }
            let secured = self.secure(socket, &base.host, protocols).await?;
            match secured.get_ref().1.alpn_protocol() {
                Some(HTTP2) => speak_http2(secured, pool).await,
                _ => speak_http1(secured).await,
            }
        })
        .await?
    }

    async fn secure(
        &self,
        socket: TcpStream,
        host: &str,
        protocols: Protocols,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let connector = match protocols {
            Protocols::All => &self.all,
            Protocols::Http1 => &self.http1,
        };
        let name = ServerName::try_from(host.to_owned())?;
        let secured = connector.connect(name, socket).await;
        secured.map_err(ConnectError::Tls)
    }
}

async fn speak_http1(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Connection, ConnectError> {
    let handshake = http1::Builder::new()
        .max_buf_size(READ_AT_ONCE)
        .handshake(TokioIo::new(socket));
    let (sender, connection) = handshake.await.map_err(ConnectError::Http)?;
    // How it ends is told to whoever has sent a request on it.
    tokio::spawn(connection.with_upgrades());
    Ok(Connection::Http1(sender))
}

async fn speak_http2(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    pool: &Pool,
) -> Result<Connection, ConnectError> {
    let handshake = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(socket));
    let (sender, mut connection) = handshake.await.map_err(ConnectError::Http)?;
    let streams = Streams::unknown();
    let first = Stream::one_more(&streams);
    pool.share(sender.clone(), streams.clone());
    tokio::spawn(poll_fn(move |context| {
        let polled = Pin::new(&mut connection).poll(context);
        streams.allow(connection.current_max_send_streams());
        polled
    }));
    Ok(Connection::Http2(sender, first))
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let mut failure = ConnectError::NotPublic(host.into());
    for address in resolve(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it, a small request waits for the peer's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(source) => failure = ConnectError::Connect { address, source },
        }
    }
    Err(failure)
}

/// The addresses that may be connected to. What configuration names by address,
/// or as `localhost`, was meant.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = lookup_host((host, port)).await;
    let found = found.map_err(|source| ConnectError::Resolve {
        host: host.into(),
        source,
    })?;
    let meant = |address: &SocketAddr| match host {
        "localhost" => address.ip().is_loopback(),
        _ => is_public(address.ip()),
    };
    Ok(found.filter(meant).collect())
}

const HTTP2: &[u8] = b"h2";

/// Bounds what one upstream can make us read and parse before others have their
/// turn, and so also the size of a response's head.
const READ_AT_ONCE: usize = 64 * 1024;
