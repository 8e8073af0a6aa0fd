//! Opens the TCP connection to an upstream: resolve, check, then connect to one
//! of the very addresses that were checked.

use super::address::is_public;
use http::Uri;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tower_service::Service;

/// Connects by name, never to an address outside what the name may mean.
#[derive(Clone)]
pub(super) struct Connector;

/// A connector that gives up. Around the one that speaks TLS, so that resolving,
/// connecting and the handshake share one deadline.
#[derive(Clone)]
pub(super) struct Bounded<S> {
    pub(super) connector: S,
    pub(super) deadline: Duration,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the base URL has no host")]
    NoHost,
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
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Connecting<Self::Response, ConnectError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        Box::pin(async move { connect(&target).await })
    }
}

impl<S> Service<Uri> for Bounded<S>
where
    S: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Connecting<S::Response, BoxError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = timeout(self.deadline, self.connector.call(target));
        Box::pin(async move { connecting.await?.map_err(Into::into) })
    }
}

async fn connect(target: &Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
    let host = target.host().ok_or(ConnectError::NoHost)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = target
        .port_u16()
        .unwrap_or(if target.scheme_str() == Some("http") {
            80
        } else {
            443
        });
    let mut failure = ConnectError::NotPublic(host.into());
    for address in resolve(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it, a small request waits for the peer's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                return Ok(TokioIo::new(stream));
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
