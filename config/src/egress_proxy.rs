//! The way out to a provider: through which proxy, if any.

use std::str::FromStr;

use crate::proxy_url::{ProxyUrl, ProxyUrlError};

/// How connections to providers leave this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressProxy {
    /// As `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` of Keyside's own environment say.
    Environment,
    /// Without a proxy.
    Direct,
    /// Through this proxy.
    Url(ProxyUrl),
}

impl FromStr for EgressProxy {
    type Err = EgressProxyError;

    fn from_str(text: &str) -> Result<Self, EgressProxyError> {
        match text {
            "environment" => Ok(Self::Environment),
            "direct" => Ok(Self::Direct),
            url if url.contains("://") => Ok(Self::Url(url.parse()?)),
            _ => Err(EgressProxyError::Word),
        }
    }
}

/// Why a text is no way out. The text itself is never repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressProxyError {
    /// Neither of the two words, and no URL.
    #[error(
        "expected \"environment\", \"direct\", or a proxy's URL that starts with http://, https:// or socks5://"
    )]
    Word,
    /// A URL that is no proxy's.
    #[error(transparent)]
    Url(#[from] ProxyUrlError),
}
