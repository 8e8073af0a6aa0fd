//! Settings of `[admin]` and `[observe]`, the listeners for people, CI and monitoring.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use serde::Deserialize;

use crate::{
    address::{self, reachable},
    base_url::{BaseUrl, Scheme},
    layers::Mismatch,
    network::Network,
    parsed,
};

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address to bind; port 0 lets the operating system choose.
    pub listen: SocketAddr,
    /// The certificate; `None` serves plain http.
    pub tls: Option<ListenerTls>,
    /// The beginning of links in refusals and pages, without a slash at the end. Derived from
    /// `listen` unless set; `https://` with `tls`.
    pub public_url: String,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Maximum requests per second of one token, and of one address without a token.
    pub requests_per_second: NonZeroU32,
}

/// The listener of `/metrics`, `/healthz` and `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observe {
    /// The address to bind; port 0 lets the operating system choose.
    #[serde(deserialize_with = "address::tcp")]
    pub listen: SocketAddr,
    /// The certificate; `None` serves plain http.
    pub tls: Option<ListenerTls>,
}

/// The certificate that a listener shows, with its private key, in PEM files. They are read again
/// when they change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// The certificate, followed by its intermediates.
    #[serde(deserialize_with = "parsed::path")]
    pub certificate_file: PathBuf,
    /// The private key.
    #[serde(deserialize_with = "parsed::path")]
    pub key_file: PathBuf,
}

impl Admin {
    /// The URL of the listener for clients on this machine, if it is bound to `address`.
    pub fn url_at(&self, address: SocketAddr) -> String {
        url_at(address, self.tls.as_ref())
    }

    /// Whether `public_url` is only derived from `listen`.
    pub fn has_derived_url(&self) -> bool {
        self.public_url == self.url_at(self.listen)
    }
}

impl Observe {
    /// The URL of the listener for clients on this machine.
    pub fn url(&self) -> String {
        url_at(self.listen, self.tls.as_ref())
    }
}

fn url_at(address: SocketAddr, tls: Option<&ListenerTls>) -> String {
    let scheme = match tls {
        Some(_) => Scheme::Https,
        None => Scheme::Http,
    };
    format!("{}://{}", scheme.as_str(), reachable(address))
}

/// `[admin]` as written in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminDocument {
    #[serde(deserialize_with = "address::tcp")]
    listen: SocketAddr,
    tls: Option<ListenerTls>,
    public_url: Option<String>,
    trusted_proxies: Vec<Network>,
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 1_000_000>")]
    requests_per_second: u32,
}

impl AdminDocument {
    pub(super) fn build(self) -> Result<Admin, Mismatch> {
        let tls = self.tls.as_ref();
        let public_url = match self.public_url {
            Some(url) => checked_url(&url, tls.is_some())?,
            None => url_at(self.listen, tls),
        };
        Ok(Admin {
            listen: self.listen,
            tls: self.tls,
            public_url,
            trusted_proxies: self.trusted_proxies,
            requests_per_second: NonZeroU32::new(self.requests_per_second)
                .unwrap_or(NonZeroU32::MIN),
        })
    }
}

/// Browsers follow these links, so plaintext is the operator's decision; but not if the listener
/// speaks TLS, because then such a link leads nowhere.
fn checked_url(url: &str, tls: bool) -> Result<String, Mismatch> {
    let refused = |reason: &dyn std::fmt::Display| Mismatch::new("admin.public_url", reason);
    let url = BaseUrl::parse(url, true).map_err(|error| refused(&error))?;
    let first = url.path.split('/').nth(1).unwrap_or_default();
    match (tls, url.scheme) {
        _ if OWN_PATHS.contains(&first) => {
            let reason = format!(
                "expected a path that does not begin with /{first}, which is one of Keyside's own; use another, such as /keyside"
            );
            Err(refused(&reason))
        }
        (true, Scheme::Http) => Err(refused(
            &"expected https://, because admin.tls is set; use https:// and a name that the certificate is for",
        )),
        _ => Ok(url.to_string()),
    }
}

/// What Keyside's own paths begin with. Behind a reverse proxy that removes the path of
/// `public_url`, a request for one of them could not be told from one that still has that path.
const OWN_PATHS: [&str; 19] = [
    "api",
    "assets",
    "audit",
    "checks",
    "clients",
    "guide",
    "guide.css",
    "keys",
    "link",
    "openapi.json",
    "preview",
    "runs",
    "s",
    "sign-in",
    "sign-out",
    "signed-out",
    "tokens",
    "workspace",
    "workspaces",
];

#[cfg(test)]
mod tests {
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

    const CERTIFICATE: (&str, &str) = ("KEYSIDE_ADMIN__TLS__CERTIFICATE_FILE", "tls.crt");
    const KEY: (&str, &str) = ("KEYSIDE_ADMIN__TLS__KEY_FILE", "tls.key");
    const URL: &str = "KEYSIDE_ADMIN__PUBLIC_URL";

    #[test]
    fn a_listener_with_a_certificate_is_reached_over_https() {
        let plain = load(&[("KEYSIDE_ADMIN__LISTEN", "0.0.0.0:7381")]).unwrap();
        assert_eq!(plain.admin.public_url, "http://127.0.0.1:7381");
        assert!(plain.admin.has_derived_url());
        assert_eq!(plain.observe.url(), "http://127.0.0.1:7382");

        let secured = load(&[
            CERTIFICATE,
            KEY,
            ("KEYSIDE_OBSERVE__LISTEN", "[::]:7382"),
            ("KEYSIDE_OBSERVE__TLS__CERTIFICATE_FILE", "tls.crt"),
            ("KEYSIDE_OBSERVE__TLS__KEY_FILE", "tls.key"),
        ])
        .unwrap();
        assert_eq!(secured.admin.public_url, "https://127.0.0.1:7381");
        assert_eq!(secured.observe.url(), "https://[::1]:7382");
        let other = "127.0.0.1:9".parse().unwrap();
        assert_eq!(secured.admin.url_at(other), "https://127.0.0.1:9");

        let named = load(&[CERTIFICATE, KEY, (URL, "https://keyside.example/")]).unwrap();
        assert_eq!(named.admin.public_url, "https://keyside.example");
        assert!(!named.admin.has_derived_url());
    }

    #[test]
    fn a_certificate_without_its_key_or_with_a_plain_url_is_refused_with_the_setting() {
        for (variables, expected) in [
            (&[CERTIFICATE][..], "`key_file` is missing"),
            (&[KEY], "`certificate_file` is missing"),
            (&[CERTIFICATE, (KEY.0, "")], "expected a path"),
            (
                &[CERTIFICATE, KEY, (URL, "http://keyside.example")],
                "because admin.tls is set",
            ),
        ] {
            let refused = load(variables).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn a_public_url_may_have_a_path_but_none_of_keysides_own() {
        for path in ["", "/", "/keyside", "/team/keys/", "/keysides"] {
            let url = format!("https://tools.example{path}");
            let admin = load(&[(URL, &url)]).unwrap().admin;
            assert_eq!(admin.public_url, url.trim_end_matches('/'));
        }
        for path in ["/keys", "/api/", "/s/keyside"] {
            let refused = load(&[(URL, &format!("https://tools.example{path}"))]).unwrap_err();
            assert!(refused.contains("one of Keyside's own"), "{refused}");
        }
    }

    #[test]
    fn trusted_proxies_are_addresses_and_networks() {
        let name = "KEYSIDE_ADMIN__TRUSTED_PROXIES";
        assert!(load(&[]).unwrap().admin.trusted_proxies.is_empty());
        let admin = load(&[(name, "10.0.0.0/8, ::1")]).unwrap().admin;
        let shown: Vec<_> = admin
            .trusted_proxies
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["10.0.0.0/8", "::1/128"]);
        let refused = load(&[(name, "10.0.0.0/8,canary")]).unwrap_err();
        assert!(
            refused.contains("expected an IP address or a network"),
            "{refused}"
        );
        assert!(!refused.contains("canary"), "{refused}");
    }
}
