//! The address of the client that sent a request.
//!
//! Without a reverse proxy it is the peer of the connection. A trusted proxy appends the address of
//! its own peer to `X-Forwarded-For`, so the client is the right-most address there that is not a
//! trusted proxy itself. Everything to the left of it was written by the client, and is ignored.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use http::{Extensions, HeaderMap, HeaderName};
use keyside_config::Network;

/// The reverse proxies whose `X-Forwarded-For` is believed.
pub(crate) struct TrustedProxies(Vec<Network>);

/// The address of a client. An IPv4 address is never in IPv6 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(IpAddr);

/// Runs once per request, before everything that uses the address.
pub(crate) async fn identify(
    State(proxies): State<Arc<TrustedProxies>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let Some(ConnectInfo(peer)) = peer {
        let client = proxies.client(peer.ip(), request.headers());
        request.extensions_mut().insert(ClientAddress::from(client));
    }
    next.run(request).await
}

impl TrustedProxies {
    pub(crate) fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// The client of a request from `peer`.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let fields = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut hops = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
        while self.includes(client) {
            // What is no address was not written by a trusted proxy.
            let Some(before) = hops.next().and_then(address) else {
                break;
            };
            client = before;
        }
        client
    }

    fn includes(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl ClientAddress {
    /// The client's address. If the server does not provide it, all clients share one.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let found = extensions.get().copied();
        found.unwrap_or(Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }

    pub(crate) fn ip(self) -> IpAddr {
        self.0
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(ip: IpAddr) -> Self {
        Self(ip.to_canonical())
    }
}

/// An address with an optional port, as proxies write it: `192.0.2.1`, `192.0.2.1:443`,
/// `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:443`.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?.trim();
    let bracketed = || {
        hop.strip_prefix('[')?
            .strip_suffix(']')?
            .parse::<IpAddr>()
            .ok()
    };
    let with_port = || Some(hop.parse::<SocketAddr>().ok()?.ip());
    hop.parse::<IpAddr>()
        .ok()
        .or_else(bracketed)
        .or_else(with_port)
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use super::*;

    /// The client of a request from `peer`, if 10/8 and 2001:db8::/32 are trusted.
    fn client(peer: &str, fields: &[&'static str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(FORWARDED_FOR, http::HeaderValue::from_static(field));
        }
        let proxies = TrustedProxies::new(networks.into());
        let client = proxies.client(peer.parse().unwrap(), &headers);
        ClientAddress::from(client).ip().to_string()
    }

    #[test]
    fn the_client_is_the_right_most_address_that_is_no_trusted_proxy() {
        for (fields, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, 10.0.0.2,10.0.0.3"], "192.0.2.1"),
            (&["192.0.2.1", "10.0.0.2"], "192.0.2.1"),
            (&["198.51.100.9", "192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1:40000"], "192.0.2.1"),
            (&["[2001:db9::1]:40000"], "2001:db9::1"),
            (&["[2001:db9::1]"], "2001:db9::1"),
            (&["2001:db9::1"], "2001:db9::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["10.0.0.9, 2001:db8::2"], "10.0.0.9"),
        ] {
            assert_eq!(client("10.0.0.1", fields), expected, "{fields:?}");
            assert_eq!(client("::ffff:10.0.0.1", fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn what_no_trusted_proxy_wrote_is_ignored() {
        for (peer, fields, expected) in [
            ("192.0.2.7", &["198.51.100.9"][..], "192.0.2.7"),
            ("192.0.2.7", &[], "192.0.2.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.9, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["198.51.100.9,"], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, fields), expected, "{peer} {fields:?}");
        }
    }
}
