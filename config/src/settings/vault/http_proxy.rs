//! `vault.proxy`: the URL of an HTTP proxy that needs no password.

use std::str::FromStr;

use crate::{
    parsed::from_text,
    proxy_url::{ProxyProtocol, ProxyUrl, ProxyUrlError},
};

/// The proxy for connections to Vault.
pub(super) struct HttpProxy(pub(super) ProxyUrl);

impl FromStr for HttpProxy {
    type Err = HttpProxyError;

    fn from_str(text: &str) -> Result<Self, HttpProxyError> {
        match text.parse::<ProxyUrl>() {
            // reqwest's support of SOCKS resolves `socks5` names locally, and needs another feature.
            Ok(url) if url.protocol == ProxyProtocol::Socks5 => Err(HttpProxyError::Protocol),
            Ok(url) => Ok(Self(url)),
            Err(ProxyUrlError::Protocol) => Err(HttpProxyError::Protocol),
            Err(ProxyUrlError::Userinfo) => Err(HttpProxyError::Password),
            Err(error) => Err(HttpProxyError::Url(error)),
        }
    }
}

from_text!(HttpProxy);

/// Why a text is not such a proxy. Errors never repeat the text, which may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpProxyError {
    /// Another scheme, or none.
    #[error("Vault is reached through http:// and https:// proxies only")]
    Protocol,
    /// The URL contains a user name or a password.
    #[error(
        "a proxy for Vault takes no user name or password, and egress.credentials_file is only for the proxy to providers; name a \
         proxy that lets this host through without one, or remove this to reach Vault directly"
    )]
    Password,
    /// The URL is not valid for a proxy.
    #[error(transparent)]
    Url(ProxyUrlError),
}
