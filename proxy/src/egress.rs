//! Decides whether each provider is reached directly or through an egress proxy, and which
//! certificate authorities are trusted on the way.
//!
//! Decided once at start from the settings, the proxy variables of the environment and the files
//! that both name; uses no network. Loopback, plain http and providers with `allow_private` are
//! always reached directly: a proxy elsewhere cannot reach this machine or its network, and must
//! not see a request that TLS does not protect.

mod roots;
mod variables;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use keyside_config::{
    self as config, BaseUrl, Catalogue, Limits, Provider, ProviderId, Roots, Scheme, Upstream,
};
use keyside_credentials::open_regular;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use zeroize::Zeroizing;

pub use self::variables::ProxyVariables;
use self::{roots::AddedRoots, variables::NoProxy};
use crate::{
    head_limits::HeadLimits,
    upstream::{
        AddressPolicy, CredentialsError, Dialer, EgressProxy, EgressRoute, ProxyCredentials,
    },
};

/// The routes to providers, and the certificate authorities that are trusted on each.
pub struct Egress {
    default: RouteChoice,
    /// By id, the providers whose settings choose another route.
    overrides: HashMap<ProviderId, RouteChoice>,
    direct: Arc<RootCertStore>,
    proxied: Arc<RootCertStore>,
}

/// The route of one provider, or of all that have no entry of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EffectiveEgress {
    /// The provider; `None` for the default route.
    pub provider: Option<ProviderId>,
    /// `direct`, or the proxy without its password.
    pub via: String,
    /// The setting, variable or rule that decided.
    pub because: String,
}

/// Why the routes cannot be determined. No variant contains a password or the value of a variable.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// An environment variable does not name a usable proxy.
    #[error("{name}: {reason}; correct or unset it, or set egress.proxy = \"direct\"")]
    Variable {
        /// The variable's name.
        name: &'static str,
        /// What is wrong with the value; does not repeat it.
        reason: String,
    },
    /// A file that a setting names cannot be read.
    #[error(
        "{setting}: cannot read {}: {source}; correct the path, or make the file readable",
        path.display()
    )]
    Unreadable {
        /// The setting's name.
        setting: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The credentials file does not contain a valid user and password.
    #[error("egress.credentials_file: {0}")]
    Credentials(#[from] CredentialsError),
    /// The CA file contains no usable certificate.
    #[error(
        "egress.ca_file: {} contains no usable CA certificate in PEM form; correct the path or \
         the file",
        .0.display()
    )]
    NotAnAuthority(PathBuf),
    /// `SSL_CERT_FILE` or `SSL_CERT_DIR` names nothing that certificates can be read from.
    #[error("{variable}: {reason}; correct it, or unset it to trust the system's certificates")]
    Authorities {
        /// The variable's name.
        variable: &'static str,
        /// What is wrong with the file or folder.
        reason: String,
    },
    /// Neither the system's store nor `SSL_CERT_FILE` nor `egress.ca_file` contains a certificate.
    #[error(
        "no trusted certificates found{}; install ca-certificates, or name a file of them in \
         SSL_CERT_FILE",
        parenthesised(.0)
    )]
    NoRoots(String),
}

impl Egress {
    /// Reads the files and proxies that the settings and the variables name.
    ///
    /// # Errors
    /// A variable in use names no valid proxy, a file cannot be read or has the wrong content, or
    /// there is no trusted certificate authority.
    pub fn open(
        settings: &config::Egress,
        catalogue: &Catalogue,
        variables: &ProxyVariables,
    ) -> Result<Self, EgressError> {
        let default = RouteChoice::of(settings, &settings.proxy, "egress.proxy", variables)?;
        let mut overrides = HashMap::new();
        for provider in catalogue.iter() {
            if let Some(choice) = &provider.egress {
                let setting = format!("providers.{}.egress", provider.id);
                let choice = RouteChoice::of(settings, choice, &setting, variables)?;
                overrides.insert(provider.id.clone(), choice);
            }
        }
        let added = AddedRoots::read(settings.ca_file.as_deref())?;
        let direct = Arc::new(roots::system(&added)?);
        let proxied = match settings.roots {
            Roots::Public => Arc::new(roots::public(&added)),
            Roots::System => direct.clone(),
        };
        Ok(Self {
            default,
            overrides,
            direct,
            proxied,
        })
    }

    /// Reaches every provider directly and trusts no certificate authority.
    #[cfg(test)]
    pub(crate) fn direct() -> Self {
        Self {
            default: RouteChoice::direct("a test"),
            overrides: HashMap::new(),
            direct: Arc::new(RootCertStore::empty()),
            proxied: Arc::new(RootCertStore::empty()),
        }
    }

    /// The default route first, then the providers whose route differs.
    pub fn effective(&self, catalogue: &Catalogue) -> Vec<EffectiveEgress> {
        let default = EffectiveEgress {
            provider: None,
            via: self.default.via(),
            because: self.default.because.clone(),
        };
        let others = catalogue.iter().map(|provider| {
            let choice = self.choice(provider);
            let exception = match &provider.upstream {
                Upstream::Fixed(base) => choice.exception(base, provider.allow_private),
                Upstream::PerCredential(_) => None,
            };
            EffectiveEgress {
                provider: Some(provider.id.clone()),
                via: exception.map_or_else(|| choice.via(), |_| DIRECT.to_owned()),
                because: exception.map_or_else(|| choice.because.clone(), str::to_owned),
            }
        });
        let others: Vec<_> = others.filter(|other| other.via != default.via).collect();
        std::iter::once(default).chain(others).collect()
    }

    /// The route to one host of a provider.
    pub(crate) fn route(&self, provider: &Provider, base: &BaseUrl) -> EgressRoute {
        self.choice(provider).route(base, provider.allow_private)
    }

    /// The route to a host that is no provider's, such as the receiver of a webhook.
    pub(crate) fn default_route(&self, base: &BaseUrl, allow_private: bool) -> EgressRoute {
        self.default.route(base, allow_private)
    }

    /// Opens connections over these routes, each within `deadline`.
    pub(crate) fn dialer(&self, deadline: Duration, limits: &Limits) -> Dialer {
        let (direct, proxied) = (tls(&self.direct), tls(&self.proxied));
        Dialer::new(&direct, &proxied, deadline, HeadLimits::of(limits))
    }

    fn choice(&self, provider: &Provider) -> &RouteChoice {
        self.overrides.get(&provider.id).unwrap_or(&self.default)
    }
}

/// The resolved value of one `egress` setting.
struct RouteChoice {
    /// `None` for a direct route.
    proxy: Option<Arc<EgressProxy>>,
    /// Hosts that `NO_PROXY` exempts; only for a proxy from the environment.
    no_proxy: Option<NoProxy>,
    /// The setting or variable that decided.
    because: String,
}

impl RouteChoice {
    /// `setting` is the name of the setting that has the value `choice`.
    fn of(
        settings: &config::Egress,
        choice: &config::EgressProxy,
        setting: &str,
        variables: &ProxyVariables,
    ) -> Result<Self, EgressError> {
        match choice {
            config::EgressProxy::Direct => Ok(Self::direct(setting)),
            config::EgressProxy::Environment => match variables.proxy()? {
                Some((name, proxy)) => Ok(Self {
                    proxy: Some(Arc::new(proxy)),
                    no_proxy: variables.no_proxy(),
                    because: name.to_owned(),
                }),
                None => Ok(Self::direct("no proxy in the environment")),
            },
            config::EgressProxy::Url(url) => {
                // The password belongs to the proxy in `egress.proxy`, not to a provider's own
                // proxy.
                let has_password = *choice == settings.proxy;
                let file = settings
                    .credentials_file
                    .as_deref()
                    .filter(|_| has_password);
                let credentials = file.map(credentials).transpose()?;
                Ok(Self {
                    proxy: Some(Arc::new(EgressProxy::new(url.clone(), credentials))),
                    no_proxy: None,
                    because: setting.to_owned(),
                })
            }
        }
    }

    fn direct(because: &str) -> Self {
        Self {
            proxy: None,
            no_proxy: None,
            because: because.to_owned(),
        }
    }

    fn via(&self) -> String {
        match &self.proxy {
            Some(proxy) => proxy.to_string(),
            None => DIRECT.to_owned(),
        }
    }

    fn route(&self, base: &BaseUrl, allow_private: bool) -> EgressRoute {
        match &self.proxy {
            Some(proxy) if self.exception(base, allow_private).is_none() => {
                EgressRoute::Proxied(proxy.clone())
            }
            _ if allow_private => EgressRoute::Direct(AddressPolicy::Private),
            _ => EgressRoute::Direct(AddressPolicy::Public),
        }
    }

    /// Why a host is reached directly despite the proxy.
    fn exception(&self, base: &BaseUrl, allow_private: bool) -> Option<&'static str> {
        self.proxy.as_ref()?;
        let rules = [
            (base.is_loopback(), "loopback"),
            (base.scheme == Scheme::Http, "http://"),
            (allow_private, "allow_private"),
            // Checked after resolution only, so Keyside must resolve it itself.
            (base.is_nonstandard_ip(), "an address in an unusual form"),
        ];
        let rule = rules.iter().find(|(applies, _)| *applies);
        let no_proxy = || self.no_proxy.as_ref()?.exempts(base);
        rule.map(|(_, because)| *because).or_else(no_proxy)
    }
}

/// Empty if the system gives no reason.
fn parenthesised(why: &str) -> String {
    match why {
        "" => String::new(),
        why => format!(" ({why})"),
    }
}

fn credentials(path: &Path) -> Result<ProxyCredentials, EgressError> {
    let text = open_regular(path).and_then(io::read_to_string);
    let text = text.map(Zeroizing::new);
    let text = text.map_err(|source| EgressError::Unreadable {
        setting: "egress.credentials_file",
        path: path.to_owned(),
        source,
    })?;
    Ok(ProxyCredentials::parse(&text)?)
}

fn tls(roots: &Arc<RootCertStore>) -> ClientConfig {
    ClientConfig::builder()
        .with_root_certificates(roots.clone())
        .with_no_client_auth()
}

const DIRECT: &str = "direct";

#[cfg(test)]
mod tests;
