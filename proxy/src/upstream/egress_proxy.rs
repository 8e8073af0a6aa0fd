//! Opens connections through an egress proxy: HTTP `CONNECT` or SOCKS5.
//!
//! The proxy only forwards bytes. TLS runs end to end to the upstream, so the proxy sees neither
//! keys nor requests. The proxy resolves the upstream's name; Keyside does not look it up.
//! [`egress`](crate::egress) decides which upstreams use a proxy, and there is no fallback from one
//! route to another.

mod connect_method;
mod credentials;
mod socks5;

use std::{fmt, io, net::IpAddr, sync::Arc};

use http::StatusCode;
use keyside_config::{BaseUrl, ProxyProtocol, ProxyUrl, is_metadata_host};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

pub use self::credentials::CredentialsError;
pub(crate) use self::credentials::ProxyCredentials;
use super::{
    address::AddressPolicy,
    tcp::{self, TcpError},
};

/// The route of connections to one upstream.
#[derive(Clone)]
pub(crate) enum EgressRoute {
    /// Directly, to an address of the upstream's name that the policy allows.
    Direct(AddressPolicy),
    /// Through an egress proxy.
    Proxied(Arc<EgressProxy>),
}

impl EgressRoute {
    /// The proxy as messages show it, `host:port`.
    pub(super) fn proxy(&self) -> Option<&str> {
        match self {
            Self::Direct(_) => None,
            Self::Proxied(proxy) => Some(proxy.name()),
        }
    }
}

/// An egress proxy. It has no `Debug`, because it may hold a password.
pub(crate) struct EgressProxy {
    url: ProxyUrl,
    credentials: Option<ProxyCredentials>,
    name: String,
}

/// The bytes of a connection to an upstream, whether TLS to the proxy is below them or not.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// An open connection through a proxy. Boxed, because TLS to a proxy changes its type, and few
/// connections are opened.
pub(super) type Tunnel = Box<dyn ByteStream>;

/// Why a proxy opened no connection. Each message includes the remedy.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    #[error("it cannot be reached; check its address and that it is running")]
    Tcp(#[from] TcpError),
    #[error("its host is not a valid name for a certificate; use http:// if it does not speak TLS")]
    Name(#[from] InvalidDnsNameError),
    #[error(
        "the TLS handshake with the proxy itself failed; its certificate must be trusted by the \
         system or by egress.ca_file, and a proxy without TLS needs an http:// URL"
    )]
    Tls(#[source] io::Error),
    #[error(
        "it rejected the user and password, or requires them and got none; check \
         egress.credentials_file, or the proxy's variable"
    )]
    Credentials,
    #[error(
        "it refuses to connect to this host with status {0}; allow the host in the proxy, or \
         choose another route with this provider's `egress`"
    )]
    Refused(StatusCode),
    #[error(
        "it refuses to connect to this host: {0}; allow the host in the proxy, or choose another \
         route with this provider's `egress`"
    )]
    RefusedSocks(socks5::Reply),
    #[error("its response is not that of an HTTP proxy; check its address and scheme")]
    Http(#[source] hyper::Error),
    #[error(
        "the head of its response is larger than a proxy's should be; check its address and scheme"
    )]
    HeadTooLarge,
    #[error(
        "it sent bytes of its own before the upstream could respond; check its address and \
        scheme"
    )]
    UnexpectedBytes,
    #[error("its response is not that of a SOCKS5 proxy; check its address and scheme")]
    NotSocks,
    #[error("the connection to it was lost before it had connected to the upstream")]
    ConnectionLost(#[source] io::Error),
    #[error(
        "{0} is a private or reserved address, which Keyside does not request from a proxy; set \
         allow_private = true for this provider, or egress = \"direct\""
    )]
    Address(IpAddr),
    #[error(
        "{0} is a cloud's metadata service, which Keyside does not request from a proxy; correct \
         this provider's `base_url`, or the endpoint of the key"
    )]
    Metadata(String),
}

impl EgressProxy {
    pub(crate) fn new(url: ProxyUrl, credentials: Option<ProxyCredentials>) -> Self {
        Self {
            name: url.authority(),
            url,
            credentials,
        }
    }

    /// `host:port`, without credentials.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Asks the proxy to connect to the host of `base`. `tls` is for the connection to an
    /// `https://` proxy itself.
    pub(super) async fn open(
        &self,
        base: &BaseUrl,
        tls: &TlsConnector,
    ) -> Result<Tunnel, TunnelError> {
        check_host(&base.host)?;
        let credentials = self.credentials.as_ref();
        let mut stream =
            tcp::connect(&self.url.host, self.url.port, AddressPolicy::EgressProxy).await?;
        match self.url.protocol {
            ProxyProtocol::Http => connect_method::open(stream, base, credentials).await,
            ProxyProtocol::Https => {
                let name = ServerName::try_from(self.url.host.clone())?;
                let secured = tls.connect(name, stream).await;
                connect_method::open(secured.map_err(TunnelError::Tls)?, base, credentials).await
            }
            ProxyProtocol::Socks5 => {
                socks5::open(&mut stream, base, credentials).await?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// Keyside cannot check what a proxy resolves, so it checks the host before it asks the proxy.
fn check_host(host: &str) -> Result<(), TunnelError> {
    if is_metadata_host(host) {
        return Err(TunnelError::Metadata(host.into()));
    }
    match host.parse::<IpAddr>() {
        Ok(address) if !AddressPolicy::Public.allows(address) => Err(TunnelError::Address(address)),
        _ => Ok(()),
    }
}

/// Displays the URL without the password.
impl fmt::Display for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.credentials {
            Some(_) => write!(f, "{} with a password", self.url),
            None => self.url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_metadata_service_and_no_private_address_is_requested_from_a_proxy() {
        for host in [
            "metadata.google.internal",
            "Instance-Data",
            "169.254.169.254",
        ] {
            let refused = check_host(host);
            assert!(matches!(&refused, Err(TunnelError::Metadata(_))), "{host}");
        }
        for host in ["10.0.0.1", "127.0.0.1", "::1"] {
            let refused = check_host(host);
            assert!(matches!(&refused, Err(TunnelError::Address(_))), "{host}");
        }
        for host in ["api.openai.com", "104.18.7.192", "metadata.example.com"] {
            assert!(check_host(host).is_ok(), "{host}");
        }
    }
}
