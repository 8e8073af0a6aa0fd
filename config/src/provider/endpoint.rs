//! The host that a credential names itself, where a provider gives each customer one (Azure OpenAI).

use serde::Deserialize;

use crate::{BaseUrl, BaseUrlError, Scheme};

/// Which hosts a credential may name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointRule {
    /// Domains that belong to the provider; a host must be a name below one of them.
    pub suffixes: Vec<String>,
    /// What an endpoint looks like.
    pub example: String,
}

impl EndpointRule {
    /// Reads an endpoint as people copy it from the provider's console, with or without a slash at the end.
    ///
    /// # Errors
    /// Anything but `https://`, a host below one of the suffixes, and nothing else.
    pub fn accept(&self, endpoint: &str) -> Result<BaseUrl, EndpointError> {
        let url = BaseUrl::parse(endpoint, false)?;
        let bare = url.scheme == Scheme::Https
            && url.path.is_empty()
            && url.port == Scheme::Https.default_port();
        if !bare || endpoint["https://".len()..].contains(':') {
            return Err(EndpointError::Extra);
        }
        match self
            .suffixes
            .iter()
            .any(|suffix| is_below(&url.host, suffix))
        {
            true => Ok(url),
            false => Err(EndpointError::Foreign {
                suffixes: self.suffixes.join(", "),
            }),
        }
    }
}

/// Why an endpoint is refused. The endpoint itself is never repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No URL at all.
    #[error(transparent)]
    Url(#[from] BaseUrlError),
    /// More than scheme and host.
    #[error("expected https:// and a host, without port or path")]
    Extra,
    /// A host that is not the provider's.
    #[error("the endpoint's host must be a name under one of: {suffixes}")]
    Foreign {
        /// The provider's domains.
        suffixes: String,
    },
}

fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix)
        .and_then(|rest| rest.strip_suffix('.'))
        .is_some_and(|name| !name.is_empty())
}
