//! Addresses to listen on.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// A TCP address or a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `127.0.0.1:7380`; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// `unix:/run/keyside/proxy.sock`.
    Unix(PathBuf),
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

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is no address to listen on. The text itself is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither `IP:PORT` nor `unix:`.
    #[error("expected IP:PORT, such as 127.0.0.1:7380 or [::1]:7380, or unix:/path")]
    Form,
    /// A socket path that depends on the working directory.
    #[error("expected an absolute path after unix:, such as unix:/run/keyside/proxy.sock")]
    RelativeSocket,
}
