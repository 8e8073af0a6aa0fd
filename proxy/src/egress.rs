//! Decides how each provider is reached, directly or through an egress proxy, and which authorities its certificate may
//! come from.
//!
//! Decided once, at start, from the settings, the proxy variables of the environment and the files that both name; no
//! network. Loopback, plain http and providers with `allow_private` are always reached directly: a proxy elsewhere cannot
//! reach this machine or its network, and must not see a request that TLS does not protect.

mod roots;
mod variables;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use keyside_config::{self as config, BaseUrl, Catalogue, Provider, Roots, Scheme, Upstream};
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use zeroize::Zeroizing;

pub use self::variables::ProxyVariables;
use self::{roots::AddedRoots, variables::NoProxy};
use crate::upstream::{
    AddressPolicy, CredentialsError, EgressProxy, EgressRoute, ProxyCredentials,
};

/// The routes to providers, and the authorities that are trusted on each.
pub struct Egress {
    default: RouteChoice,
    /// Of the providers whose settings choose another.
    overrides: HashMap<Box<str>, RouteChoice>,
    direct: Arc<RootCertStore>,
    proxied: Arc<RootCertStore>,
}

/// How one provider is reached, or all that have no entry of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EffectiveEgress {
    /// The provider's id; `None` for the usual route.
    pub provider: Option<String>,
    /// `direct`, or the proxy without its password.
    pub via: String,
    /// The setting, the variable or the rule that decided.
    pub because: String,
}

/// Why it cannot be decided how providers are reached. No variant holds a password or a variable's value.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// A variable of the environment names no proxy that can be used.
    #[error("{name}: {reason}; correct or unset it, or set egress.proxy = \"direct\"")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A file that a setting names cannot be read.
    #[error("{setting}: cannot read {}: {source}", path.display())]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file does not hold a user and a password.
    #[error("egress.credentials_file: {0}")]
    Credentials(#[from] CredentialsError),
    /// The file holds no certificate.
    #[error("egress.ca_file: {} holds no certificate in PEM form that can be an authority's", .0.display())]
    NotAnAuthority(PathBuf),
    /// `SSL_CERT_FILE` or `SSL_CERT_DIR` names nothing that authorities can be read from.
    #[error("{variable}: {reason}; correct it, or unset it to trust the system's authorities")]
    Authorities {
        /// The variable.
        variable: &'static str,
        /// What is wrong with the file or the folder.
        reason: String,
    },
    /// Neither the system's store nor `SSL_CERT_FILE` nor `egress.ca_file` holds one.
    #[error(
        "no trusted certificates found{}; install ca-certificates, or name a file of them in SSL_CERT_FILE",
        parenthesised(.0)
    )]
    NoRoots(String),
}

impl Egress {
    /// Reads what the settings and the variables name.
    ///
    /// # Errors
    /// A variable that is used names no proxy, a file cannot be read or does not hold what it should, or no authority is
    /// trusted.
    pub fn open(
        settings: &config::Egress,
        catalogue: &Catalogue,
        variables: &ProxyVariables,
    ) -> Result<Self, EgressError> {
        let default = RouteChoice::of(settings, &settings.proxy, "egress.proxy", variables)?;
        let mut overrides = HashMap::new();
        for provider in catalogue.iter() {
            if let Some(choice) = &provider.egress {
                let id = provider.id.as_str();
                let setting = format!("providers.{id}.egress");
                let choice = RouteChoice::of(settings, choice, &setting, variables)?;
                overrides.insert(id.into(), choice);
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

    /// Every provider directly, and no authority trusted.
    #[cfg(test)]
    pub(crate) fn direct() -> Self {
        Self {
            default: RouteChoice::direct("a test"),
            overrides: HashMap::new(),
            direct: Arc::new(RootCertStore::empty()),
            proxied: Arc::new(RootCertStore::empty()),
        }
    }

    /// The usual route first, then the providers that take another.
    pub fn effective(&self, catalogue: &Catalogue) -> Vec<EffectiveEgress> {
        let default = EffectiveEgress {
            provider: None,
            via: self.default.via(),
            because: self.default.because.clone(),
        };
        let others = catalogue.iter().map(|provider| {
            let choice = self.choice(provider);
            let exception = match &provider.upstream {
                Upstream::Fixed(base) => choice.exception(provider, base),
                Upstream::PerCredential(_) => None,
            };
            EffectiveEgress {
                provider: Some(provider.id.to_string()),
                via: exception.map_or_else(|| choice.via(), |_| DIRECT.to_owned()),
                because: exception.map_or_else(|| choice.because.clone(), str::to_owned),
            }
        });
        let others: Vec<_> = others.filter(|other| other.via != default.via).collect();
        std::iter::once(default).chain(others).collect()
    }

    /// How a provider's host is reached.
    pub(crate) fn route(&self, provider: &Provider, base: &BaseUrl) -> EgressRoute {
        let choice = self.choice(provider);
        match &choice.proxy {
            Some(proxy) if choice.exception(provider, base).is_none() => {
                EgressRoute::Proxied(proxy.clone())
            }
            _ if provider.allow_private => EgressRoute::Direct(AddressPolicy::Private),
            _ => EgressRoute::Direct(AddressPolicy::Public),
        }
    }

    /// TLS without a proxy, and with an `https://` proxy itself.
    pub(crate) fn direct_tls(&self) -> ClientConfig {
        tls(&self.direct)
    }

    /// TLS with upstreams through a proxy.
    pub(crate) fn proxied_tls(&self) -> ClientConfig {
        tls(&self.proxied)
    }

    fn choice(&self, provider: &Provider) -> &RouteChoice {
        self.overrides
            .get(provider.id.as_str())
            .unwrap_or(&self.default)
    }
}

/// What one value of `egress` comes to.
struct RouteChoice {
    /// None: directly.
    proxy: Option<Arc<EgressProxy>>,
    /// The hosts that the environment exempts from it.
    no_proxy: Option<NoProxy>,
    /// The setting or the variable that decided.
    because: String,
}

impl RouteChoice {
    /// `setting` is the name of the one that holds `choice`.
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
                // The password is for the proxy that it was written down for, not for a provider's own.
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

    /// Why a host is reached directly although there is a proxy.
    fn exception(&self, provider: &Provider, base: &BaseUrl) -> Option<&'static str> {
        self.proxy.as_ref()?;
        let rules = [
            (base.is_loopback(), "loopback"),
            (base.scheme == Scheme::Http, "http://"),
            (provider.allow_private, "allow_private"),
            // Only what it resolves to can be checked.
            (base.is_odd_address(), "an address in an unusual form"),
        ];
        let rule = rules.iter().find(|(applies, _)| *applies);
        let no_proxy = || self.no_proxy.as_ref()?.exempts(base);
        rule.map(|(_, because)| *because).or_else(no_proxy)
    }
}

/// Not every system says why it has none.
fn parenthesised(why: &str) -> String {
    match why {
        "" => String::new(),
        why => format!(" ({why})"),
    }
}

fn credentials(path: &Path) -> Result<ProxyCredentials, EgressError> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
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
