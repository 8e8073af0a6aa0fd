//! Hosts in URLs and requests: their form, the one that a request names, and the ones that a
//! listener accepts.
//!
//! The proxy and the admin API both check the host of each request against DNS rebinding: a page
//! whose name was rebound to our address still sends that name. The form of names in settings is
//! stricter, see [`base_url`](crate::base_url).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, Uri, header::HOST, uri::Authority};

/// The hosts that requests to a TCP listener may name.
#[derive(Clone, Debug)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// Loopback names, the address of the listener, and `further` hosts, with IPv6 addresses in
    /// brackets. An unspecified address (0.0.0.0) is not allowed: browsers let pages connect to it.
    pub fn new(listen: SocketAddr, further: impl IntoIterator<Item = String>) -> Self {
        let listen = (!listen.ip().is_unspecified()).then(|| bracketed(&listen.ip().to_string()));
        let loopback = ["localhost", "127.0.0.1", "[::1]"].map(String::from);
        Self(loopback.into_iter().chain(listen).chain(further).collect())
    }

    /// Whether a request may name this host. Ignores case and port.
    pub fn include(&self, host: RequestHost<'_>) -> bool {
        let mut allowed = self.0.iter();
        allowed.any(|allowed| allowed.eq_ignore_ascii_case(host.name))
    }
}

/// The host that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHost<'a> {
    /// `host` or `host:port`, as the client sent it.
    pub authority: &'a str,
    /// The host without the port: a name, an IPv4 address, or an IPv6 address in brackets.
    name: &'a str,
}

impl<'a> RequestHost<'a> {
    /// Reads the `Host` header, and the target if it names a host too: HTTP/2's `:authority`, or
    /// the absolute form of HTTP/1.1 (RFC 9112 section 3.2.2). Does not allocate.
    ///
    /// # Errors
    /// The request does not name exactly one well-formed host.
    pub fn of(target: &'a Uri, headers: &'a HeaderMap) -> Result<Self, RequestHostError> {
        let mut fields = headers.get_all(HOST).iter();
        let field = fields
            .next()
            .map(|host| host.to_str().map_err(|_| MALFORMED))
            .transpose()?;
        if fields.next().is_some() {
            return Err(REPEATED);
        }
        let host = match (target.authority().map(Authority::as_str), field) {
            (Some(target), Some(field)) if !target.eq_ignore_ascii_case(field) => {
                return Err(CONTRADICTORY);
            }
            (Some(host), _) | (None, Some(host)) => host,
            (None, None) => return Err(MISSING),
        };
        Self::parse(host).ok_or(MALFORMED)
    }

    /// A name may contain `_`, as those of Docker services do.
    fn parse(authority: &'a str) -> Option<Self> {
        let (name, port) = split_port(authority)?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !name.is_empty() && name.bytes().all(legal);
        let is_host = is_name || name.starts_with('[');
        let is_port = port.is_none_or(|port| parse_port(port).is_some());
        (is_host && is_port).then_some(Self { authority, name })
    }

    /// Whether the host is a loopback name or address. To these, every browser sends Fetch
    /// Metadata over plain http.
    pub fn is_loopback(self) -> bool {
        is_loopback(self.name)
    }
}

/// Why a request does not name exactly one host, as the predicate of a sentence: "has no Host
/// header".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request {0}")]
pub struct RequestHostError(pub &'static str);

const MISSING: RequestHostError = RequestHostError("has no Host header");
const REPEATED: RequestHostError = RequestHostError("has more than one Host header");
const CONTRADICTORY: RequestHostError =
    RequestHostError("has a Host header that differs from its target");
const MALFORMED: RequestHostError = RequestHostError("has a Host header that is not well-formed");

/// Whether a host, with or without brackets, is a loopback name or address.
pub(crate) fn is_loopback(host: &str) -> bool {
    let is_loopback = |address: IpAddr| address.is_loopback();
    host.eq_ignore_ascii_case("localhost") || unbracketed(host).parse().is_ok_and(is_loopback)
}

/// The host as in a URL: IPv6 addresses in brackets (RFC 3986 section 3.2.2).
pub(crate) fn bracketed(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

/// The host without the brackets of an IPv6 address.
pub(crate) fn unbracketed(host: &str) -> &str {
    let inner = host.strip_prefix('[');
    let inner = inner.and_then(|inner| inner.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// Splits `host` or `host:port`. The brackets of an IPv6 address stay. `None` if there is something
/// else in brackets or after them; a host without brackets, and the port, are not checked.
pub(crate) fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => {
            let (literal, _) = rest.split_once(']')?;
            literal.parse::<Ipv6Addr>().ok()?;
            literal.len() + 2
        }
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    match port.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => port.is_empty().then_some((host, None)),
    }
}

/// A port from 1 to 65535. `u16::from_str` would accept a sign.
pub(crate) fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse::<u16>().ok();
    port.filter(|port| digits && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(target: &str, fields: &[&str]) -> Result<String, RequestHostError> {
        let target: Uri = target.parse().unwrap();
        let mut headers = HeaderMap::new();
        for host in fields {
            headers.append(HOST, host.parse().unwrap());
        }
        RequestHost::of(&target, &headers).map(|host| host.name.to_owned())
    }

    #[test]
    fn a_request_names_one_well_formed_host() {
        for (host, name) in [
            ("127.0.0.1:7380", "127.0.0.1"),
            ("LOCALHOST", "LOCALHOST"),
            ("keyside_proxy:80", "keyside_proxy"),
            ("localhost.", "localhost."),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(named("/", &[host]), Ok(name.to_owned()), "{host}");
        }
        for host in [
            "",
            ":80",
            "local host",
            "user@localhost",
            "localhost/",
            "localhost, localhost",
            "localhost:",
            "localhost:+80",
            "localhost:0",
            "localhost:99999",
            "a:b:1",
            "a]b",
            "[::1",
            "[::1]80",
            "[]",
            "[localhost]",
            "[::1%25eth0]",
        ] {
            assert_eq!(named("/", &[host]), Err(MALFORMED), "{host}");
        }
    }

    #[test]
    fn host_header_and_target_must_name_the_same_host() {
        type Case<'a> = (&'a str, &'a [&'a str], Result<&'a str, RequestHostError>);
        let absolute = "http://localhost:7380/";
        let cases: [Case<'_>; 7] = [
            ("/", &[], Err(MISSING)),
            ("/", &["a", "a"], Err(REPEATED)),
            (absolute, &[], Ok("localhost")),
            (absolute, &["LocalHost:7380"], Ok("localhost")),
            (absolute, &["localhost"], Err(CONTRADICTORY)),
            (absolute, &["evil.example"], Err(CONTRADICTORY)),
            ("http://me@localhost/", &[], Err(MALFORMED)),
        ];
        for (target, fields, expected) in cases {
            let expected = expected.map(str::to_owned);
            assert_eq!(named(target, fields), expected, "{target} {fields:?}");
        }
    }

    fn allows(listen: &str, host: &str) -> bool {
        let hosts = AllowedHosts::new(listen.parse().unwrap(), ["keys.example".to_owned()]);
        hosts.include(RequestHost::parse(host).unwrap())
    }

    #[test]
    fn loopback_the_listening_address_and_further_hosts_are_allowed() {
        for host in [
            "localhost",
            "127.0.0.1:1",
            "[::1]",
            "Keys.Example",
            "10.1.2.3:7380",
        ] {
            assert!(allows("10.1.2.3:7380", host), "{host}");
        }
        assert!(allows("[fd12::1]:7380", "[fd12::1]:7380"));
        for host in [
            "evil.example",
            "localhost.",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.2",
            "10.1.2.4",
        ] {
            assert!(!allows("10.1.2.3:7380", host), "{host}");
        }
    }

    #[test]
    fn the_unspecified_address_is_not_allowed() {
        assert!(!allows("0.0.0.0:7380", "0.0.0.0:7380"));
        assert!(!allows("[::]:7380", "[::]:7380"));
    }

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:7380", true),
            ("127.0.0.2", true),
            ("[::1]:80", true),
            ("localhost.", false),
            ("10.1.2.3", false),
            ("[fd12::1]", false),
        ] {
            let host = RequestHost::parse(host).unwrap();
            assert_eq!(host.is_loopback(), expected, "{host:?}");
        }
    }
}
