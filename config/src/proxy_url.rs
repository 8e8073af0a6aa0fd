//! The address of an egress proxy: protocol, host and port. Never contains a user name or password.

use std::{fmt, str::FromStr};

use crate::{
    base_url::{BaseUrlError, split_authority},
    host::bracketed,
    metadata::is_metadata_host,
    parsed::from_text,
};

/// The address and protocol of an egress proxy. Only built by parsing, so always valid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyUrl {
    /// The proxy's protocol.
    pub protocol: ProxyProtocol,
    /// A DNS name in lower case, or an IP address; IPv6 without brackets.
    pub host: String,
    /// The port; the protocol's default if the URL names none.
    pub port: u16,
}

/// The protocol of an egress proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// HTTP `CONNECT` (RFC 9110 section 9.3.6).
    Http,
    /// HTTP `CONNECT`, over TLS to the proxy.
    Https,
    /// SOCKS5 (RFC 1928). The proxy resolves names.
    Socks5,
}

impl ProxyUrl {
    /// `host:port`, as messages name the proxy.
    pub fn authority(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }
}

impl FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(ProxyUrlError::Protocol)?;
        let protocol = ProxyProtocol::of(scheme).ok_or(ProxyUrlError::Protocol)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(ProxyUrlError::Userinfo);
        }
        if authority.contains(['/', '?', '#']) {
            return Err(ProxyUrlError::Path);
        }
        let (host, port) = split_authority(authority)?;
        match is_metadata_host(host) {
            true => Err(ProxyUrlError::Metadata),
            false => Ok(Self {
                protocol,
                host: host.to_ascii_lowercase(),
                port: port.unwrap_or(protocol.default_port()),
            }),
        }
    }
}

from_text!(ProxyUrl);

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol.as_str(), self.authority())
    }
}

impl ProxyProtocol {
    /// The scheme's name: `http`, `https` or `socks5`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }

    /// The default port: 80, 443, or 1080 as IANA assigned it to SOCKS.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 => 1080,
        }
    }

    /// curl's `socks5h` means the same as `socks5` here: names are never resolved locally.
    fn of(scheme: &str) -> Option<Self> {
        match scheme.to_ascii_lowercase().as_str() {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            "socks5" | "socks5h" => Some(Self::Socks5),
            _ => None,
        }
    }
}

/// Why a text is not the URL of an egress proxy. Errors never repeat the text, which may contain a
/// password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlError {
    /// Another scheme, or none.
    #[error("a proxy's URL starts with http://, https:// or socks5://")]
    Protocol,
    /// The URL contains a user name or a password.
    #[error(
        "a proxy's URL must not contain a user name or password in the settings; write user:password into a file, and name it \
         in egress.credentials_file"
    )]
    Userinfo,
    /// The URL contains a path, a query or a fragment.
    #[error("a proxy's URL ends after the host and the port")]
    Path,
    /// The address or name of a cloud's metadata service.
    #[error("this is the address of a cloud's metadata service, where no proxy is")]
    Metadata,
    /// The host or the port is invalid.
    #[error(transparent)]
    Authority(#[from] BaseUrlError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_into_its_parts() {
        for (text, shown) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("HTTP://Proxy.Example:3128/", "http://proxy.example:3128"),
            ("http://proxy.example", "http://proxy.example:80"),
            ("https://proxy.example", "https://proxy.example:443"),
            ("socks5://10.0.0.7", "socks5://10.0.0.7:1080"),
            ("socks5h://[fd00::7]:9050", "socks5://[fd00::7]:9050"),
        ] {
            let url: ProxyUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn an_invalid_proxy_url_is_refused_without_repeating_it() {
        for (text, error) in [
            ("proxy.example:3128", ProxyUrlError::Protocol),
            ("ftp://proxy.example", ProxyUrlError::Protocol),
            ("socks4://proxy.example", ProxyUrlError::Protocol),
            ("http://me:canary@proxy.example", ProxyUrlError::Userinfo),
            ("http://me@proxy.example/", ProxyUrlError::Userinfo),
            ("http://proxy.example/path", ProxyUrlError::Path),
            ("http://proxy.example?canary", ProxyUrlError::Path),
            ("http://169.254.169.254", ProxyUrlError::Metadata),
            (
                "http://Metadata.google.internal:80",
                ProxyUrlError::Metadata,
            ),
            ("http://", ProxyUrlError::Authority(BaseUrlError::Host)),
            (
                "http://proxy.example:0",
                ProxyUrlError::Authority(BaseUrlError::Port),
            ),
        ] {
            let refused = text.parse::<ProxyUrl>().unwrap_err();
            assert_eq!(refused, error, "{text}");
            assert!(!refused.to_string().contains("canary"), "{text}");
        }
    }
}
