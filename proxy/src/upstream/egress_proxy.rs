//! Opens connections through an egress proxy: HTTP `CONNECT` or SOCKS5.
//!
//! A proxy only passes bytes on. TLS runs through it to the upstream itself, so it sees neither a key nor a request. It
//! resolves the upstream's name, which is therefore never looked up here. Which upstreams are reached through one is decided
//! in [`egress`](crate::egress), and there is no fallback from one route to the other.

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

/// How connections to one upstream leave this machine.
#[derive(Clone)]
pub(crate) enum EgressRoute {
    /// To an address that the upstream's name resolves to, within this reach.
    Direct(AddressPolicy),
    /// Through a proxy.
    Proxied(Arc<EgressProxy>),
}

impl EgressRoute {
    /// The proxy, as messages call it.
    pub(super) fn proxy(&self) -> Option<&str> {
        match self {
            Self::Direct(_) => None,
            Self::Proxied(proxy) => Some(proxy.name()),
        }
    }
}

/// A proxy that connections to upstreams are opened through. It has no `Debug`: it may hold a password.
pub(crate) struct EgressProxy {
    url: ProxyUrl,
    credentials: Option<ProxyCredentials>,
    name: String,
}

/// The bytes of a connection to an upstream, which a proxy passes on.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// An open connection through a proxy. Boxed: TLS to a proxy gives it another type, and few connections are opened.
pub(super) type Tunnel = Box<dyn ByteStream>;

/// Why a proxy opened no connection. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    #[error("it cannot be reached; see that it runs, and check its address")]
    Tcp(#[from] TcpError),
    #[error("its host is no name that a certificate could be for; use http:// if it speaks no TLS")]
    Name(#[from] InvalidDnsNameError),
    #[error(
        "TLS with the proxy itself could not be agreed on; its certificate is held against the system's authorities and egress.ca_file, and a proxy that speaks no TLS has an http:// URL"
    )]
    Tls(#[source] io::Error),
    #[error(
        "it does not accept the user and password that it was sent, or was sent none and wants some; check egress.credentials_file, or the proxy's variable"
    )]
    Credentials,
    #[error(
        "it refuses to connect to this host with status {0}; have the host allowed there, or choose another route with this provider's `egress`"
    )]
    Refused(StatusCode),
    #[error(
        "it refuses to connect to this host: {0}; have the host allowed there, or choose another route with this provider's `egress`"
    )]
    RefusedSocks(socks5::Reply),
    #[error("its answer is not the one of an HTTP proxy; check its address and scheme")]
    Http(#[source] hyper::Error),
    #[error(
        "the head of its answer is larger than any proxy's should be; check its address and scheme"
    )]
    HeadTooLarge,
    #[error("it sent bytes of its own before the upstream was asked anything")]
    UnexpectedBytes,
    #[error("its answer is not the one of a SOCKS5 proxy; check its address and scheme")]
    NotSocks,
    #[error("the connection to it broke off before it had connected to the upstream")]
    ConnectionLost(#[source] io::Error),
    #[error(
        "{0} is a private or reserved address, which no proxy is asked for; set allow_private = true for this provider, or egress = \"direct\""
    )]
    Address(IpAddr),
    #[error(
        "{0} is a cloud's metadata service, which no proxy is asked for; correct this provider's `base_url`, or the endpoint of the key"
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

    /// `host:port`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Has the proxy connect to the host of `base`. `tls` is for the connection to an `https://` proxy itself.
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

/// What a proxy resolves to cannot be checked, so an upstream's host is checked before a proxy hears of it.
fn check_host(host: &str) -> Result<(), TunnelError> {
    if is_metadata_host(host) {
        return Err(TunnelError::Metadata(host.into()));
    }
    match host.parse::<IpAddr>() {
        Ok(address) if !AddressPolicy::Public.allows(address) => Err(TunnelError::Address(address)),
        _ => Ok(()),
    }
}

/// Without the password.
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
    fn a_proxy_is_asked_for_no_metadata_service_and_no_private_address() {
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
