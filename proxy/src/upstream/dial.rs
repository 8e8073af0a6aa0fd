//! Opens a connection to an upstream: over the configured route, with verified TLS, in an HTTP
//! version that both sides support.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    time::Duration,
};

use hyper::{
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use keyside_config::{BaseUrl, Scheme};
use rustls::{
    ClientConfig,
    pki_types::{InvalidDnsNameError, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
    time::{error::Elapsed, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    ConnectionSlot, HeadLimits,
    egress_proxy::{ByteStream, EgressRoute, TunnelError},
    pool::{Connection, Http1Connection, MAX_STREAMS, Pool, StreamLimit, StreamSlot},
    socket::{ConnectionHandle, UpstreamSocket},
    tcp::{self, TcpError},
};

/// Opens connections, each within the same deadline.
pub(crate) struct Dialer {
    direct: TlsConnectors,
    proxied: TlsConnectors,
    deadline: Duration,
    heads: HeadLimits,
}

/// TLS with the certificate authorities that are trusted on one route.
struct TlsConnectors {
    /// Offers HTTP/2 and HTTP/1.1.
    any_version: TlsConnector,
    /// For connections that become tunnels, which only HTTP/1.1 has.
    http1: TlsConnector,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Tcp(#[from] TcpError),
    #[error("could not connect through the egress proxy {proxy}")]
    Proxy { proxy: String, source: TunnelError },
    #[error("the host is not a valid name for a certificate; correct `base_url`")]
    Name(#[from] InvalidDnsNameError),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error(
        "the TLS handshake through the egress proxy {proxy} failed; if the proxy inspects TLS, \
         add its certificate authority to egress.ca_file, or trust the system's with egress.roots \
         = \"system\""
    )]
    ProxyTls { proxy: String, source: io::Error },
    #[error("the HTTP handshake failed")]
    Http(#[source] hyper::Error),
    #[error("the connection took too long to open")]
    Timeout(#[from] Elapsed),
    #[error("the connection took too long to open through the egress proxy {0}")]
    ProxyTimeout(String),
}

impl TlsConnectors {
    fn new(tls: &ClientConfig) -> Self {
        let connector = |protocols: &[&[u8]]| {
            let mut tls = tls.clone();
            tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(tls))
        };
        Self {
            any_version: connector(&[HTTP2, b"http/1.1"]),
            http1: connector(&[b"http/1.1"]),
        }
    }
}

impl Dialer {
    /// `direct` and `proxied` hold the certificate authorities that are trusted without and through
    /// a proxy.
    pub(crate) fn new(
        direct: &ClientConfig,
        proxied: &ClientConfig,
        deadline: Duration,
        heads: HeadLimits,
    ) -> Self {
        Self {
            direct: TlsConnectors::new(direct),
            proxied: TlsConnectors::new(proxied),
            deadline,
            heads,
        }
    }

    /// The size limits of a response's head.
    pub(super) fn heads(&self) -> HeadLimits {
        self.heads
    }

    /// Opens a connection. If it is HTTP/2, it is also added to the pool in `shared`, with the
    /// given stream window in bytes. With `None` it is HTTP/1.1 and serves one request, which can
    /// make it a tunnel.
    ///
    /// The deadline includes resolving, an egress proxy's response and TLS.
    pub(super) async fn dial(
        &self,
        base: &BaseUrl,
        route: &EgressRoute,
        slot: ConnectionSlot,
        shared: Option<(&Pool, u32)>,
    ) -> Result<Connection, ConnectError> {
        let opened = timeout(self.deadline, self.open(base, route, slot, shared)).await;
        opened.unwrap_or_else(|elapsed| {
            Err(match route.proxy() {
                Some(proxy) => ConnectError::ProxyTimeout(proxy.into()),
                None => elapsed.into(),
            })
        })
    }

    async fn open(
        &self,
        base: &BaseUrl,
        route: &EgressRoute,
        slot: ConnectionSlot,
        shared: Option<(&Pool, u32)>,
    ) -> Result<Connection, ConnectError> {
        match route {
            EgressRoute::Direct(policy) => {
                let stream = tcp::connect(&base.host, base.port, *policy).await?;
                let tls = &self.direct;
                self.negotiate(stream, (base, route), tls, slot, shared)
                    .await
            }
            EgressRoute::Proxied(proxy) => {
                let opened = proxy.open(base, &self.direct.http1).await;
                let stream = opened.map_err(|source| ConnectError::Proxy {
                    proxy: proxy.name().into(),
                    source,
                })?;
                let tls = &self.proxied;
                self.negotiate(stream, (base, route), tls, slot, shared)
                    .await
            }
        }
    }

    /// Negotiates TLS, if the URL asks for it, and the version of HTTP.
    async fn negotiate<S: ByteStream + 'static>(
        &self,
        stream: S,
        (base, route): (&BaseUrl, &EgressRoute),
        tls: &TlsConnectors,
        slot: ConnectionSlot,
        shared: Option<(&Pool, u32)>,
    ) -> Result<Connection, ConnectError> {
        if base.scheme == Scheme::Http {
            return self
                .handshake_http1(UpstreamSocket::new(stream, slot))
                .await;
        }
        let connector = match shared {
            Some(_) => &tls.any_version,
            None => &tls.http1,
        };
        let secured = tls_handshake(connector, base, route, stream).await?;
        let is_http2 = secured.get_ref().1.alpn_protocol() == Some(HTTP2);
        let socket = UpstreamSocket::new(secured, slot);
        match shared {
            Some(shared) if is_http2 => self.handshake_http2(socket, shared).await,
            _ => self.handshake_http1(socket).await,
        }
    }

    async fn handshake_http1<S>(
        &self,
        mut socket: UpstreamSocket<S>,
    ) -> Result<Connection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (received, closed) = (socket.received(), socket.closed());
        let handshake = http1::Builder::new()
            .max_headers(self.heads.fields)
            .max_buf_size(self.heads.bytes)
            .handshake(TokioIo::new(socket));
        let (sender, connection) = handshake.await.map_err(ConnectError::Http)?;
        // The result is not needed here: hyper reports how the connection ended to the request's
        // sender.
        let task = tokio::spawn(connection.with_upgrades());
        Ok(Connection::Http1(Http1Connection {
            sender,
            received,
            handle: ConnectionHandle::new(task.abort_handle(), closed),
        }))
    }

    async fn handshake_http2<S>(
        &self,
        mut socket: UpstreamSocket<S>,
        (pool, window): (&Pool, u32),
    ) -> Result<Connection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let limit = pool.expected_limit();
        let closed = socket.closed();
        let streams = StreamLimit::with_limit(limit, socket.detect_contradictions());
        let executor = Http2Executor::default();
        let handshake = http2::Builder::new(executor.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_max_send_streams(limit)
            .initial_stream_window_size(window)
            // The sum of all stream windows, so that streams whose clients do not read cannot block
            // the others.
            .initial_connection_window_size(window * MAX_STREAMS as u32)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(self.heads.list_size())
            .handshake(TokioIo::new(socket));
        let (sender, mut connection) = handshake.await.map_err(ConnectError::Http)?;
        let stream = StreamSlot::acquire_unchecked(&streams);
        let shared = streams.clone();
        let task = tokio::spawn(async move {
            let mut answered = pin!(streams.answered());
            let mut answer_seen = false;
            poll_fn(|context| {
                // A response only means that the peer's settings are known; the limit is read
                // below.
                answer_seen = answer_seen || answered.as_mut().poll(context).is_ready();
                let polled = Pin::new(&mut connection).poll(context);
                streams.allow(connection.current_max_send_streams());
                polled
            })
            .await
        });
        let owner = executor.0.get_or_init(|| task.abort_handle());
        let handle = ConnectionHandle::new(owner.clone(), closed);
        pool.share(sender.clone(), shared, handle);
        Ok(Connection::Http2(sender, stream))
    }
}

/// Runs the tasks of one HTTP/2 connection and holds a handle on the first. hyper starts that one in
/// the handshake, and it owns the socket.
#[derive(Clone, Default)]
struct Http2Executor(Arc<OnceLock<AbortHandle>>);

impl<F> Executor<F> for Http2Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let task = tokio::spawn(future);
        self.0.get_or_init(|| task.abort_handle());
    }
}

/// TLS end to end with the upstream, also through a proxy.
async fn tls_handshake<S: ByteStream>(
    connector: &TlsConnector,
    base: &BaseUrl,
    route: &EgressRoute,
    stream: S,
) -> Result<TlsStream<S>, ConnectError> {
    let name = ServerName::try_from(base.host.clone())?;
    let secured = connector.connect(name, stream).await;
    secured.map_err(|source| match route.proxy() {
        Some(proxy) => ConnectError::ProxyTls {
            proxy: proxy.into(),
            source,
        },
        None => ConnectError::Tls(source),
    })
}

const HTTP2: &[u8] = b"h2";

// A broken network path gives no error until TCP gives up its retransmissions, on Linux after about
// 15 minutes (tcp_retries2), and until then requests would be sent to it. So an HTTP/2 connection
// with open requests must also answer pings; `tcp` limits retransmissions with a socket option.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of one request's body that are buffered for an HTTP/2 peer that does not read it; hyper
/// buffers 1 MiB.
const SEND_BUFFER: usize = 64 * 1024;
