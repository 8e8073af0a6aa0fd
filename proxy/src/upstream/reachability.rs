//! Connects to a provider's host once, as requests do: name, connection, egress proxy, TLS. The
//! only request it sends is `HEAD /` without a key, to read the response's date.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request,
    header::{DATE, HOST, USER_AGENT},
};
use keyside_config::BaseUrl;
use tokio::time::{Instant, timeout_at};

use super::{
    ConnectionSlot, EgressRoute,
    dial::{ConnectError, Dialer},
    error_chain,
    pool::Connection,
    tcp::TcpError,
};
use crate::{headers::OWN_USER_AGENT, request_body::RequestBody};

/// A provider that can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// The egress proxy on the route, as `host:port`.
    pub via: Option<String>,
    /// The `Date` of the provider's response, if one arrived in time.
    pub date: Option<String>,
}

/// Why a provider cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The error with its causes.
    pub cause: String,
    /// What the operator can do.
    pub remedy: &'static str,
}

/// Connects to `base` over `route` and closes the connection again. All of it takes at most
/// `limit`, and no connection quota is used.
pub(crate) async fn check_reachable(
    dialer: &Dialer,
    route: &EgressRoute,
    base: &BaseUrl,
    limit: Duration,
) -> Result<Reachable, Unreachable> {
    let deadline = Instant::now() + limit;
    let slot = ConnectionSlot::uncounted();
    let opened = dialer.dial(base, route, slot, None).await;
    let connection = opened.map_err(|error| Unreachable::because(&error))?;
    let date = timeout_at(deadline, date(connection, base)).await;
    Ok(Reachable {
        via: route.proxy().map(str::to_owned),
        date: date.ok().flatten(),
    })
}

/// A provider that does not respond to this still counts as reachable.
async fn date(connection: Connection, base: &BaseUrl) -> Option<String> {
    let Connection::Http1(mut connection) = connection else {
        return None;
    };
    let mut request = Request::new(RequestBody::from_bytes(Bytes::new()));
    *request.method_mut() = Method::HEAD;
    let host = HeaderValue::from_str(&base.authority()).ok()?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(USER_AGENT, OWN_USER_AGENT);
    let answer = connection.sender.send_request(request).await.ok()?;
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    Some(date.to_owned())
}

impl Unreachable {
    fn because(error: &ConnectError) -> Self {
        Self {
            cause: error_chain(error),
            remedy: match error {
                ConnectError::Tcp(TcpError::Resolve { .. }) => {
                    "Check the host in base_url, and the name servers of this machine; if only a \
                     proxy can resolve names, set egress.proxy to it."
                }
                ConnectError::Tcp(TcpError::AddressNotAllowed { .. }) => {
                    "Check which addresses this machine's name servers give for the host; set \
                     allow_private = true for the provider only if it is in a private network."
                }
                ConnectError::Tcp(TcpError::Connect { .. }) | ConnectError::Timeout(_) => {
                    "Allow connections from this machine (firewall, network policy), or set \
                     egress.proxy to a proxy that can connect."
                }
                ConnectError::Proxy { .. } | ConnectError::ProxyTimeout(_) => {
                    "Check egress.proxy or the proxy's variable, and which hosts that proxy \
                     allows; `keyside check` shows the route of each provider."
                }
                ConnectError::Name(_) | ConnectError::Tcp(TcpError::Metadata { .. }) => {
                    "Correct the host in base_url."
                }
                ConnectError::Tls(_) => {
                    "Check base_url and this machine's clock and certificates (SSL_CERT_FILE); \
                     add your own certificate authority to egress.ca_file."
                }
                ConnectError::ProxyTls { .. } => {
                    "Add the inspecting proxy's certificate authority to egress.ca_file, or set \
                     egress.roots = \"system\" if the system trusts it."
                }
                ConnectError::Http(_) => "Check that base_url leads to an HTTP server.",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn each_error_is_reported_with_its_causes_and_its_own_remedy() {
        let resolve = ConnectError::Tcp(TcpError::Resolve {
            host: "api.example".into(),
            source: io::Error::other("no such name"),
        });
        let unreachable = Unreachable::because(&resolve);
        assert_eq!(
            unreachable.cause,
            "api.example could not be resolved: no such name"
        );
        assert!(
            unreachable.remedy.contains("name servers"),
            "{unreachable:?}"
        );
        let tls = ConnectError::ProxyTls {
            proxy: "proxy:3128".into(),
            source: io::Error::other("unknown issuer"),
        };
        assert!(Unreachable::because(&tls).remedy.contains("egress.ca_file"));
    }
}
