//! The egress proxy, if there is one, through which providers are reached.

use std::str::FromStr;

use crate::{
    parsed::from_text,
    proxy_url::{ProxyUrl, ProxyUrlError},
};

/// Which proxy connections to providers use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressProxy {
    /// The proxy of `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` in Keyside's own environment.
    Environment,
    /// No proxy.
    Direct,
    /// This proxy.
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

from_text!(EgressProxy);

/// Why a text is not an egress setting. Errors never repeat the text, which may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressProxyError {
    /// Neither one of the two words nor a URL.
    #[error(
        "expected \"environment\", \"direct\", or a proxy's URL that starts with http://, https:// or socks5://"
    )]
    Word,
    /// The URL is not valid for a proxy.
    #[error(transparent)]
    Url(#[from] ProxyUrlError),
}
