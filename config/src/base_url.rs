//! The base URL of an upstream: scheme, host, port and path prefix, none of which a client can
//! influence.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{
    host::{bracketed, is_loopback, parse_port, split_port, unbracketed},
    parsed::from_text,
};

/// The address of an upstream. Only built by [`BaseUrl::parse`], so always valid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    /// Whether the connection uses TLS.
    pub scheme: Scheme,
    /// A DNS name in lower case, or an IP address; IPv6 without brackets.
    pub host: String,
    /// The port; the scheme's default if the URL names none.
    pub port: u16,
    /// The prefix of every path, without a slash at its end; may be empty.
    pub path: String,
}

/// The scheme of a base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plaintext: only for loopback, or with `allow_plaintext`.
    Http,
    /// TLS.
    Https,
}

impl BaseUrl {
    /// Parses a URL. Plaintext is only accepted for loopback hosts, unless `allow_plaintext` is
    /// set.
    ///
    /// # Errors
    /// The URL has other parts than scheme, host, optional port and optional path.
    pub fn parse(text: &str, allow_plaintext: bool) -> Result<Self, BaseUrlError> {
        let (scheme, rest) = Scheme::split(text).ok_or(BaseUrlError::Scheme)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = split_authority(authority)?;
        let url = Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port: port.unwrap_or(scheme.default_port()),
            path: prefix(path)?,
        };
        match url.scheme == Scheme::Http && !allow_plaintext && !url.is_loopback() {
            true => Err(BaseUrlError::Plaintext),
            false => Ok(url),
        }
    }

    /// The value of a `Host` header: `host`, or `host:port` if the port is not the scheme's
    /// default.
    pub fn authority(&self) -> String {
        match self.port == self.scheme.default_port() {
            true => bracketed(&self.host),
            false => self.host_and_port(),
        }
    }

    /// `host:port`, as in a CONNECT request to a proxy.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }

    /// Whether a resolver would read the host as an IPv4 address although it is not in the usual
    /// form, such as `0x7f.1`. The checks of addresses miss such a host until it is resolved.
    pub fn is_nonstandard_ip(&self) -> bool {
        ends_in_a_number(&self.host) && self.host.parse::<IpAddr>().is_err()
    }

    /// Whether the host is a loopback name or address.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether it holds the place of an address that is not set: no name under `.invalid` exists
    /// (RFC 6761 section 6.4).
    pub fn is_placeholder(&self) -> bool {
        self.host.rsplit('.').next() == Some("invalid")
    }
}

/// Whether the last label of a host is a number, so that resolvers read the host as an IPv4 address
/// (WHATWG URL, "ends in a number").
fn ends_in_a_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next();
    let is_number = |label: &str| {
        let hexadecimal = label.strip_prefix("0x");
        let is_hexadecimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        hexadecimal.is_some_and(is_hexadecimal)
            || !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit())
    };
    last.is_some_and(is_number)
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}{}",
            self.scheme.as_str(),
            self.authority(),
            self.path
        )
    }
}

impl Scheme {
    /// The scheme's name: `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The scheme's default port: 80 or 443.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn split(text: &str) -> Option<(Self, &str)> {
        let https = text
            .strip_prefix("https://")
            .map(|rest| (Self::Https, rest));
        https.or_else(|| text.strip_prefix("http://").map(|rest| (Self::Http, rest)))
    }
}

/// Why a text is not a base URL. Errors never repeat the text, which may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// Neither `https://` nor `http://`.
    #[error("expected a URL that starts with https://")]
    Scheme,
    /// The URL contains a user name or a password.
    #[error("a base URL must not contain a user name or password")]
    Userinfo,
    /// The host is not a DNS name or an IP address.
    #[error("expected a host name or an IP address after ://")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("expected a port from 1 to 65535")]
    Port,
    /// The path contains a query, a fragment, dot segments, or characters that need escaping.
    #[error(
        "expected a plain path after the host: no query, fragment, escape, dot segment or empty segment"
    )]
    Path,
    /// `http://` to a host that is not loopback.
    #[error(
        "plain http:// is for loopback addresses; use https://, or set allow_plaintext = true for this provider"
    )]
    Plaintext,
}

/// A DNS name in lower case or an IP address, IPv6 in brackets, without a port.
pub(crate) struct Host(pub(crate) String);

from_text!(Host);

impl FromStr for Host {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match split_authority(text) {
            Ok((_, None)) => Ok(Self(text.to_ascii_lowercase())),
            _ => Err("expected a host name or an IP address, without a port"),
        }
    }
}

/// Splits an authority into the host, without brackets, and the port if there is one.
pub(crate) fn split_authority(authority: &str) -> Result<(&str, Option<u16>), BaseUrlError> {
    if authority.contains('@') {
        return Err(BaseUrlError::Userinfo);
    }
    let (host, port) = split_port(authority).ok_or(BaseUrlError::Host)?;
    if !host.starts_with('[') && !is_dns_name(host) {
        return Err(BaseUrlError::Host);
    }
    let port = port.map(|port| parse_port(port).ok_or(BaseUrlError::Port));
    Ok((unbracketed(host), port.transpose()?))
}

/// RFC 1123 section 2.1: letters, digits and hyphens in labels of at most 63. IPv4 addresses match
/// too.
fn is_dns_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn prefix(path: &str) -> Result<String, BaseUrlError> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    let is_path = path.is_empty() || path.starts_with('/');
    match is_path && path.split('/').skip(1).all(segment) {
        true => Ok(path.to_owned()),
        false => Err(BaseUrlError::Path),
    }
}

#[cfg(test)]
mod tests;
