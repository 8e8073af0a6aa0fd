//! Listen addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, de::Error};

use crate::parsed::from_text;

/// A TCP address or a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `127.0.0.1:7380`; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// `unix:/run/keyside/proxy.sock`.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The TCP port; 0 lets the system choose.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && !path.contains('\0') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(AddressError::RelativeSocket),
            None => text.parse().map(Self::Tcp).map_err(|_| AddressError::Form),
        }
    }
}

from_text!(ListenAddress);

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The address at which clients on this machine reach a listener: loopback if it listens on all
/// addresses.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let address: IpAddr = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

/// For serde: a TCP address only.
pub(crate) fn tcp<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    match ListenAddress::deserialize(from)? {
        ListenAddress::Tcp(address) => Ok(address),
        ListenAddress::Unix(_) => Err(D::Error::custom(
            "expected IP:PORT; only the proxy listens on Unix sockets",
        )),
    }
}

/// Why a text is not a listen address. Errors never repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither `IP:PORT` nor `unix:PATH`.
    #[error("expected IP:PORT, such as 127.0.0.1:7380 or [::1]:7380, or unix:/path")]
    Form,
    /// A relative socket path, which would depend on the working directory.
    #[error("expected an absolute path after unix:, such as unix:/run/keyside/proxy.sock")]
    RelativeSocket,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["127.0.0.1:7380", "[::1]:0", "unix:/run/keyside/proxy.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_over_loopback() {
        for (listen, address) in [
            ("0.0.0.0:7380", "127.0.0.1:7380"),
            ("[::]:7380", "[::1]:7380"),
            ("10.1.2.3:7380", "10.1.2.3:7380"),
        ] {
            let found = reachable(listen.parse().unwrap());
            assert_eq!(found.to_string(), address, "{listen}");
        }
    }

    #[test]
    fn invalid_addresses_are_refused() {
        for text in [
            "",
            "7380",
            "localhost:7380",
            "127.0.0.1",
            "127.0.0.1:65536",
            "/run/proxy.sock",
        ] {
            assert_eq!(
                text.parse::<ListenAddress>(),
                Err(AddressError::Form),
                "{text}"
            );
        }
        assert_eq!(
            "unix:proxy.sock".parse::<ListenAddress>(),
            Err(AddressError::RelativeSocket)
        );
    }
}
