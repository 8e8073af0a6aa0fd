//! Settings of `[egress]`: the proxy to providers, and the trusted certificate authorities.

use std::path::PathBuf;

use serde::Deserialize;

use crate::{egress_proxy::EgressProxy, layers::Mismatch, parsed};

/// Egress to providers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// The proxy of every provider that does not configure its own.
    pub proxy: EgressProxy,
    /// A file with `user:password` for the proxy in `proxy`.
    #[serde(default, deserialize_with = "parsed::some_path")]
    pub credentials_file: Option<PathBuf>,
    /// A PEM file with additional trusted authorities, with and without a proxy.
    #[serde(default, deserialize_with = "parsed::some_path")]
    pub ca_file: Option<PathBuf>,
    /// The authorities trusted through a proxy.
    pub roots: Roots,
}

/// The authorities that providers' certificates are verified against through a proxy. Without a
/// proxy these are always the system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Roots {
    /// Mozilla's list, which is compiled in. Does not contain the authority of an inspecting proxy,
    /// which companies add to the system's.
    Public,
    /// The operating system's.
    System,
}

impl Egress {
    /// Refuses a password without a proxy: the password must only go to the proxy that it was
    /// configured for.
    pub(super) fn build(self) -> Result<Self, Mismatch> {
        match (&self.proxy, &self.credentials_file) {
            (EgressProxy::Environment | EgressProxy::Direct, Some(_)) => Err(Mismatch::new(
                "egress.credentials_file",
                "it belongs to the proxy whose URL is in egress.proxy, and there is none; set egress.proxy to the \
                 proxy's URL, or remove this",
            )),
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, Sources};

    fn load(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let variable = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let sources = Sources {
            file: None,
            environment: variables.iter().map(variable).collect(),
        };
        let loaded = Settings::load(&sources).map_err(|error| error.to_string())?;
        Ok(loaded.settings)
    }

    #[test]
    fn the_environment_decides_where_nothing_is_set_and_a_provider_can_choose_for_itself() {
        let egress = load(&[]).unwrap().egress;
        assert_eq!(egress.proxy, EgressProxy::Environment);
        assert_eq!(egress.roots, Roots::Public);

        let settings = load(&[
            ("KEYSIDE_EGRESS__PROXY", "socks5://proxy.example"),
            ("KEYSIDE_EGRESS__ROOTS", "system"),
            ("KEYSIDE_PROVIDERS__OPENAI__EGRESS", "direct"),
        ])
        .unwrap();
        let url = "socks5://proxy.example:1080".parse().unwrap();
        assert_eq!(settings.egress.proxy, EgressProxy::Url(url));
        assert_eq!(settings.egress.roots, Roots::System);
        let own = |id: &str| settings.catalogue.get(id).unwrap().egress.clone();
        assert_eq!(own("openai"), Some(EgressProxy::Direct));
        assert_eq!(own("anthropic"), None);
    }

    #[test]
    fn an_invalid_egress_proxy_is_refused_with_the_remedy_and_never_repeated() {
        for (name, value, remedy) in [
            ("KEYSIDE_EGRESS__PROXY", "canary", "\"environment\""),
            (
                "KEYSIDE_EGRESS__PROXY",
                "http://me:canary@proxy.example",
                "egress.credentials_file",
            ),
            (
                "KEYSIDE_PROVIDERS__OPENAI__EGRESS",
                "canary://proxy.example",
                "socks5://",
            ),
            (
                "KEYSIDE_EGRESS__CREDENTIALS_FILE",
                "/run/canary",
                "egress.proxy",
            ),
        ] {
            let refused = load(&[(name, value)]).unwrap_err();
            assert!(refused.starts_with(name), "{refused}");
            assert!(refused.contains(remedy), "{refused}");
            assert!(!refused.contains("canary"), "{refused}");
        }
    }
}
