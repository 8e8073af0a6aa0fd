//! The host that a credential names itself, for providers that give each customer one (Azure
//! OpenAI).

use serde::Deserialize;

use crate::{
    base_url::{BaseUrl, BaseUrlError, Scheme},
    metadata::is_metadata_host,
};

/// The hosts that a credential may name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointRule {
    /// Domains that belong to the provider; a host must be a name below one of them.
    pub suffixes: Vec<String>,
    /// An example of an endpoint.
    pub example: String,
}

impl EndpointRule {
    /// Parses an endpoint as copied from the provider's console, with or without a slash at the
    /// end.
    ///
    /// # Errors
    /// Anything but `https://` and a host below one of the suffixes.
    pub fn accept(&self, endpoint: &str) -> Result<BaseUrl, EndpointError> {
        let url = BaseUrl::parse(endpoint, false)?;
        let bare = url.scheme == Scheme::Https
            && url.path.is_empty()
            && url.port == Scheme::Https.default_port();
        if !bare || endpoint["https://".len()..].contains(':') {
            return Err(EndpointError::Extra);
        }
        // An operator's rule may name a domain in which a cloud has a metadata service.
        if is_metadata_host(&url.host) {
            return Err(EndpointError::Metadata);
        }
        match self
            .suffixes
            .iter()
            .any(|suffix| is_below(&url.host, suffix))
        {
            true => Ok(url),
            false => Err(EndpointError::HostNotAllowed {
                suffixes: self.suffixes.join(", "),
            }),
        }
    }
}

/// Why an endpoint is refused. Errors never repeat the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL.
    #[error(transparent)]
    Url(#[from] BaseUrlError),
    /// The URL has more than scheme and host.
    #[error("expected https:// and a host, without port or path")]
    Extra,
    /// The host of a cloud's metadata service.
    #[error("this is the name of a cloud's metadata service, where no provider is")]
    Metadata,
    /// The host is not below one of the provider's domains.
    #[error("the endpoint's host must be a name under one of: {suffixes}")]
    HostNotAllowed {
        /// The provider's domains.
        suffixes: String,
    },
}

fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix)
        .and_then(|rest| rest.strip_suffix('.'))
        .is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(endpoint: &str) -> Result<BaseUrl, EndpointError> {
        let rule = EndpointRule {
            suffixes: vec!["openai.azure.com".into(), "services.ai.azure.com".into()],
            example: "https://my-resource.openai.azure.com".into(),
        };
        rule.accept(endpoint)
    }

    #[test]
    fn a_name_below_a_suffix_is_accepted() {
        for endpoint in [
            "https://acme.openai.azure.com",
            "https://Acme.openai.azure.com/",
            "https://a.b.services.ai.azure.com",
        ] {
            assert_eq!(accept(endpoint).unwrap().port, 443, "{endpoint}");
        }
    }

    #[test]
    fn a_metadata_service_is_refused_whatever_the_rule_says() {
        let rule = EndpointRule {
            suffixes: vec!["google.internal".into()],
            example: "https://acme.google.internal".into(),
        };
        assert!(rule.accept("https://acme.google.internal").is_ok());
        let refused = rule.accept("https://Metadata.google.internal");
        assert_eq!(refused, Err(EndpointError::Metadata));
    }

    #[test]
    fn a_foreign_host_is_refused() {
        for endpoint in [
            "https://openai.azure.com",
            "https://evilopenai.azure.com",
            "https://acme.openai.azure.com.evil.example",
            "https://127.0.0.1",
        ] {
            assert!(
                matches!(accept(endpoint), Err(EndpointError::HostNotAllowed { .. })),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn anything_but_scheme_and_host_is_refused() {
        for endpoint in [
            "https://acme.openai.azure.com/openai",
            "https://acme.openai.azure.com:444",
            "https://acme.openai.azure.com:443",
        ] {
            assert_eq!(accept(endpoint), Err(EndpointError::Extra), "{endpoint}");
        }
        for endpoint in [
            "acme.openai.azure.com",
            "http://acme.openai.azure.com",
            "https://acme@acme.openai.azure.com",
            "https://acme.openai.azure.com?x",
        ] {
            assert!(
                matches!(accept(endpoint), Err(EndpointError::Url(_))),
                "{endpoint}"
            );
        }
    }
}
