//! Opens a connection to an upstream: resolve, check, connect to one of the very
//! addresses that were checked, verify TLS, and agree on a version of HTTP.

use super::address::Reach;
use super::pool::{Connection, Pool, STREAMS, Serial, Stream, Streams};
use super::socket::Socket;
use super::{HeadLimits, Slot};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use keyside_config::{BaseUrl, Scheme};
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
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
    heads: HeadLimits,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{host} could not be resolved")]
    Resolve { host: String, source: io::Error },
    #[error(
        "{0} resolves to private or reserved addresses only; if a private network is meant, set allow_private = true for this provider"
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
    pub(crate) fn new(tls: &ClientConfig, deadline: Duration, heads: HeadLimits) -> Self {
        let connector = |protocols: &[&[u8]]| {
            let mut tls = tls.clone();
            tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(tls))
        };
        Self {
            all: connector(&[HTTP2, b"http/1.1"]),
            http1: connector(&[b"http/1.1"]),
            deadline,
            heads,
        }
    }

    /// How large the head of an answer may be.
    pub(super) fn heads(&self) -> HeadLimits {
        self.heads
    }

    /// Opens a connection. One that can be shared is in the pool of `shared` too, with a window of so many bytes for each
    /// answer.
    pub(super) async fn dial(
        &self,
        base: &BaseUrl,
        reach: Reach,
        slot: Slot,
        shared: (&Pool, u32),
    ) -> Result<Connection, ConnectError> {
        self.in_time(async {
            if base.scheme == Scheme::Http {
                let socket = Socket::new(connect(base, reach).await?, slot);
                return self.speak_http1(socket).await;
            }
            let secured = secure(&self.all, base, reach).await?;
            let multiplexes = secured.get_ref().1.alpn_protocol() == Some(HTTP2);
            let socket = Socket::new(secured, slot);
            match multiplexes {
                true => self.speak_http2(socket, shared).await,
                false => self.speak_http1(socket).await,
            }
        })
        .await
    }

    /// Opens a connection that can become a tunnel.
    pub(super) async fn dial_alone(
        &self,
        base: &BaseUrl,
        reach: Reach,
        slot: Slot,
    ) -> Result<Connection, ConnectError> {
        self.in_time(async {
            match base.scheme {
                Scheme::Http => {
                    let socket = connect(base, reach).await?;
                    self.speak_http1(Socket::new(socket, slot)).await
                }
                Scheme::Https => {
                    let socket = secure(&self.http1, base, reach).await?;
                    self.speak_http1(Socket::new(socket, slot)).await
                }
            }
        })
        .await
    }

    async fn in_time(
        &self,
        dialing: impl Future<Output = Result<Connection, ConnectError>>,
    ) -> Result<Connection, ConnectError> {
        timeout(self.deadline, dialing).await?
    }

    async fn speak_http1<S>(&self, socket: Socket<S>) -> Result<Connection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let heard = socket.heard();
        let handshake = http1::Builder::new()
            .max_headers(self.heads.fields)
            .max_buf_size(self.heads.bytes)
            .handshake(TokioIo::new(socket));
        let (sender, connection) = handshake.await.map_err(ConnectError::Http)?;
        // hyper tells the sender of a request how the connection ended.
        tokio::spawn(connection.with_upgrades());
        Ok(Connection::Http1(Serial { sender, heard }))
    }

    async fn speak_http2<S>(
        &self,
        mut socket: Socket<S>,
        (pool, window): (&Pool, u32),
    ) -> Result<Connection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let limit = pool.usual_limit();
        let streams = Streams::presuming(limit, socket.witnessed());
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PONG_WITHIN)
            .initial_max_send_streams(limit)
            .initial_stream_window_size(window)
            // Room for every stream's: those who do not read cannot take it from those who do.
            .initial_connection_window_size(window * STREAMS as u32)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(self.heads.list_size())
            .handshake(TokioIo::new(socket));
        let (sender, mut connection) = handshake.await.map_err(ConnectError::Http)?;
        let stream = Stream::one_more(&streams);
        pool.share(sender.clone(), streams.clone());
        tokio::spawn(async move {
            let mut answered = pin!(streams.answered());
            let mut told = false;
            poll_fn(|context| {
                // Says only that it is time to look again.
                told = told || answered.as_mut().poll(context).is_ready();
                let polled = Pin::new(&mut connection).poll(context);
                streams.allow(connection.current_max_send_streams());
                polled
            })
            .await
        });
        Ok(Connection::Http2(sender, stream))
    }
}

async fn secure(
    connector: &TlsConnector,
    base: &BaseUrl,
    reach: Reach,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let name = ServerName::try_from(base.host.clone())?;
    let socket = connect(base, reach).await?;
    let secured = connector.connect(name, socket).await;
    secured.map_err(ConnectError::Tls)
}

async fn connect(base: &BaseUrl, reach: Reach) -> Result<TcpStream, ConnectError> {
    let addresses = resolve(&base.host, base.port, reach).await?;
    let stream = race(addresses, ConnectError::NotPublic(base.host.clone())).await?;
    // Without it, a small request waits for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    // Nor does it matter where a system has no such option: a dead path is then found later.
    let _ = setsockopt(&stream, TcpUserTimeout, &UNACKNOWLEDGED_MS);
    Ok(stream)
}

/// Connects to one of these addresses. An attempt that neither succeeds nor fails is given a head start, then the next
/// address is tried beside it; the first that connects wins (RFC 8305 section 5). `failure` stands for no address at all.
async fn race(
    addresses: Vec<SocketAddr>,
    mut failure: ConnectError,
) -> Result<TcpStream, ConnectError> {
    let mut addresses = addresses.into_iter();
    // Who is still under way when this is dropped is called back.
    let mut racing = JoinSet::new();
    loop {
        if let Some(address) = addresses.next() {
            racing.spawn(async move {
                let connected = TcpStream::connect(address).await;
                connected.map_err(|source| ConnectError::Connect { address, source })
            });
        }
        let patience = match addresses.len() {
            0 => Duration::MAX,
            _ => HEAD_START,
        };
        match timeout(patience, racing.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => failure = error,
            Ok(None) => return Err(failure),
            // It is the next one's turn.
            Ok(Some(Err(_))) | Err(_) => {}
        }
    }
}

/// The addresses that may be connected to. What configuration names by address,
/// or as `localhost`, was meant.
async fn resolve(host: &str, port: u16, reach: Reach) -> Result<Vec<SocketAddr>, ConnectError> {
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
        _ => reach.covers(address.ip()),
    };
    Ok(found.filter(meant).collect())
}

const HTTP2: &[u8] = b"h2";

// A path can die without a word, and requests would go on to it for a quarter of an hour: what is sent has to be
// acknowledged, and an HTTP/2 connection with requests on it has to answer a ping.
const UNACKNOWLEDGED_MS: u32 = 30_000;
const PING_AFTER: Duration = Duration::from_secs(15);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// What RFC 8305 (section 8) recommends between two attempts.
const HEAD_START: Duration = Duration::from_millis(250);

/// What is kept of one request's body for an HTTP/2 peer that does not take it, in bytes; hyper keeps 1 MiB.
const SEND_BUFFER: usize = 64 * 1024;
