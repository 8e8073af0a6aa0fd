//! Settings of `[vault]`: the address of Vault or OpenBao, and how Keyside signs in. They contain
//! no secret: tokens, JWTs and secret ids are read from files each time they are needed.

mod http_proxy;
mod references;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

use self::http_proxy::HttpProxy;
pub use self::references::AllowedReferences;
use crate::{
    base_url::{BaseUrl, BaseUrlError},
    duration,
    layers::Mismatch,
    parsed,
    proxy_url::ProxyUrl,
};

/// The address of Vault, how Keyside signs in, and what happens during an outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    /// The address of a server, or of a load balancer before several, without `/v1`.
    pub address: BaseUrl,
    /// The namespace of every request, including the sign-in; without slashes at its ends.
    pub namespace: Option<String>,
    /// A PEM file with the authorities that the server's certificate is verified against. Without
    /// it and `ca_path`, the system's are used.
    pub ca_file: Option<PathBuf>,
    /// A folder of such files.
    pub ca_path: Option<PathBuf>,
    /// The client certificate that Keyside shows.
    pub client_certificate: Option<ClientCertificate>,
    /// The name that the server's certificate is verified for, if it is not the address's host.
    pub tls_server_name: Option<String>,
    /// The HTTP proxy for connections to Vault. Without it they are direct: proxies of the
    /// environment are ignored.
    pub proxy: Option<ProxyUrl>,
    /// How Keyside signs in.
    pub auth: VaultAuth,
    /// How often a followed secret is polled.
    pub poll: Duration,
    /// How long secrets that were read are used while Vault is unavailable.
    pub outage: Duration,
    /// Timeout of one request to Vault.
    pub timeout: Duration,
    /// The sealed copy on disk, from which declared credentials are loaded if Keyside restarts
    /// during an outage.
    pub cache: Option<VaultCache>,
    /// The paths that stored credentials may name.
    pub references: AllowedReferences,
}

/// Where secrets read from Vault are kept for a restart during an outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultCache {
    /// The folder of the sealed copy.
    pub folder: PathBuf,
    /// The file with the 32-byte key that seals the copy, in the format of a master key. It is not
    /// in `folder`.
    pub key_file: PathBuf,
}

/// A certificate with its private key, in PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, with its intermediates.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How Keyside signs in to Vault. `mount` is the mount of the auth method, without `auth/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultAuth {
    /// The token of the pod's service account.
    Kubernetes {
        /// Its mount; `kubernetes` by default.
        mount: String,
        /// The role to sign in as.
        role: String,
        /// The file with the token, read at each sign-in because the kubelet replaces it.
        jwt_file: PathBuf,
    },
    /// A JWT of any other issuer.
    Jwt {
        /// Its mount; `jwt` by default.
        mount: String,
        /// The role to sign in as; `None` uses the mount's default.
        role: Option<String>,
        /// The file with the JWT, read at each sign-in.
        jwt_file: PathBuf,
    },
    /// An AppRole.
    AppRole {
        /// Its mount; `approle` by default.
        mount: String,
        /// The role id.
        role_id: String,
        /// The file with the secret id.
        secret_id_file: PathBuf,
        /// Whether the file contains a wrapping token, which is unwrapped once to get the secret
        /// id.
        secret_id_wrapped: bool,
    },
    /// A token that was created elsewhere.
    Token(VaultToken),
    /// The client certificate of the connection.
    Certificate {
        /// Its mount; `cert` by default.
        mount: String,
        /// The certificate role; `None` lets Vault try all.
        role: Option<String>,
    },
}

/// The source of a Vault token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultToken {
    /// A file, such as Vault Agent's sink. Read again when the token has ended.
    File(PathBuf),
    /// The variable `VAULT_TOKEN`. Its value is read where it is used, never here.
    Variable,
}

/// `[vault]` as written in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VaultDocument {
    address: Option<String>,
    allow_plaintext: bool,
    namespace: Option<String>,
    #[serde(default, deserialize_with = "parsed::some_path")]
    ca_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "parsed::some_path")]
    ca_path: Option<PathBuf>,
    #[serde(default, deserialize_with = "parsed::some_path")]
    client_certificate: Option<PathBuf>,
    #[serde(default, deserialize_with = "parsed::some_path")]
    client_key: Option<PathBuf>,
    tls_server_name: Option<String>,
    proxy: Option<HttpProxy>,
    auth: Option<Method>,
    auth_mount: Option<String>,
    role: Option<String>,
    #[serde(default, deserialize_with = "parsed::some_path")]
    jwt_file: Option<PathBuf>,
    role_id: Option<String>,
    #[serde(default, deserialize_with = "parsed::some_path")]
    secret_id_file: Option<PathBuf>,
    secret_id_wrapped: Option<bool>,
    #[serde(default, deserialize_with = "parsed::some_path")]
    token_file: Option<PathBuf>,
    #[serde(deserialize_with = "poll")]
    poll: Duration,
    #[serde(deserialize_with = "duration::any")]
    outage: Duration,
    #[serde(deserialize_with = "duration::positive")]
    timeout: Duration,
    #[serde(default, deserialize_with = "parsed::some_path")]
    cache: Option<PathBuf>,
    #[serde(default, deserialize_with = "parsed::some_path")]
    cache_key_file: Option<PathBuf>,
    references: AllowedReferences,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    Kubernetes,
    Jwt,
    AppRole,
    Token,
    Cert,
}

impl VaultDocument {
    /// Builds the settings. `token_in_variable` tells whether `VAULT_TOKEN` is set.
    pub(super) fn build(self, token_in_variable: bool) -> Result<Vault, Mismatch> {
        let auth = self.auth(token_in_variable)?;
        let client_certificate = self.client_certificate()?;
        if matches!(auth, VaultAuth::Certificate { .. }) && client_certificate.is_none() {
            return Err(missing("client_certificate", "auth = \"cert\" shows it"));
        }
        Ok(Vault {
            address: self.address()?,
            namespace: self.namespace()?,
            cache: self.cache()?,
            client_certificate,
            tls_server_name: self.tls_server_name()?,
            proxy: self.proxy.map(|HttpProxy(url)| url),
            ca_file: self.ca_file,
            ca_path: self.ca_path,
            auth,
            poll: self.poll,
            outage: self.outage,
            timeout: self.timeout,
            references: self.references,
        })
    }

    fn address(&self) -> Result<BaseUrl, Mismatch> {
        let wrong = |error| match error {
            BaseUrlError::Plaintext => Mismatch::new(
                "vault.address",
                "http:// is for loopback addresses: tokens and keys would cross the network in the clear; use https://, \
                 or set vault.allow_plaintext = true",
            ),
            error => Mismatch::new("vault.address", error),
        };
        let text = self.address.as_deref().ok_or_else(|| {
            missing(
                "address",
                "such as \"https://vault.internal:8200\", here or in VAULT_ADDR",
            )
        })?;
        let address = BaseUrl::parse(text, self.allow_plaintext).map_err(wrong)?;
        match address.path.ends_with("/v1") {
            true => Err(Mismatch::new("vault.address", "leave out /v1 at its end")),
            false => Ok(address),
        }
    }

    fn namespace(&self) -> Result<Option<String>, Mismatch> {
        let Some(text) = &self.namespace else {
            return Ok(None);
        };
        let name = text.trim_matches('/');
        match name.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Some(name.to_owned()).filter(|name| !name.is_empty())),
            false => Err(Mismatch::new(
                "vault.namespace",
                "expected the path of a namespace, such as \"team/payments\"",
            )),
        }
    }

    fn client_certificate(&self) -> Result<Option<ClientCertificate>, Mismatch> {
        match (&self.client_certificate, &self.client_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(ClientCertificate {
                certificate: certificate.clone(),
                key: key.clone(),
            })),
            (Some(_), None) => Err(missing("client_key", "client_certificate is set")),
            (None, Some(_)) => Err(missing("client_certificate", "client_key is set")),
        }
    }

    fn cache(&self) -> Result<Option<VaultCache>, Mismatch> {
        let (folder, key_file) = match (&self.cache, &self.cache_key_file) {
            (None, None) => return Ok(None),
            (Some(folder), Some(key_file)) => (folder, key_file),
            (Some(_), None) => {
                return Err(missing(
                    "cache_key_file",
                    "vault.cache is sealed with the key in it, as `keyside master-key generate` prints one",
                ));
            }
            (None, Some(_)) => return Err(missing("cache", "cache_key_file is set")),
        };
        if key_file.starts_with(folder) {
            return Err(Mismatch::new(
                "vault.cache_key_file",
                "it is in the folder vault.cache, so a copy of the folder could be opened by anyone; move the key elsewhere",
            ));
        }
        match self.outage.is_zero() {
            true => Err(Mismatch::new(
                "vault.cache",
                "vault.outage is \"0s\", so the cache would never be used; raise vault.outage, or remove this",
            )),
            false => Ok(Some(VaultCache {
                folder: folder.clone(),
                key_file: key_file.clone(),
            })),
        }
    }

    fn tls_server_name(&self) -> Result<Option<String>, Mismatch> {
        let Some(name) = &self.tls_server_name else {
            return Ok(None);
        };
        let wrong = |reason| Err(Mismatch::new("vault.tls_server_name", reason));
        if self.proxy.is_some() {
            return wrong(
                "it cannot be used with vault.proxy, which is asked for that name; remove one of the two",
            );
        }
        // The name has to be a valid host.
        match BaseUrl::parse(&format!("https://{name}"), false) {
            Ok(url) if url.host == name.to_ascii_lowercase() && !is_address(name) => {
                Ok(Some(url.host))
            }
            _ => wrong("expected a host name"),
        }
    }

    /// The sign-in method: as configured, or implied by a token. Settings of other methods are
    /// refused.
    fn auth(&self, token_in_variable: bool) -> Result<VaultAuth, Mismatch> {
        let has_token = self.token_file.is_some() || token_in_variable;
        let method = match self.auth {
            Some(method) => method,
            None if has_token => Method::Token,
            None => {
                return Err(missing(
                    "auth",
                    "to \"kubernetes\", \"jwt\", \"approle\", \"token\" or \"cert\"",
                ));
            }
        };
        self.reject_unrelated(method)?;
        let mount = match self.auth_mount.as_deref() {
            Some(mount) => auth_mount(mount)?,
            None => method.name().to_owned(),
        };
        Ok(match method {
            Method::Kubernetes => VaultAuth::Kubernetes {
                mount,
                role: wanted(&self.role, "role", "auth = \"kubernetes\" signs in as it")?,
                jwt_file: self
                    .jwt_file
                    .clone()
                    .unwrap_or_else(|| PathBuf::from(SERVICE_ACCOUNT_TOKEN)),
            },
            Method::Jwt => VaultAuth::Jwt {
                mount,
                role: self.role.clone(),
                jwt_file: wanted(&self.jwt_file, "jwt_file", "auth = \"jwt\" reads it")?,
            },
            Method::AppRole => VaultAuth::AppRole {
                mount,
                role_id: wanted(&self.role_id, "role_id", "auth = \"approle\" needs it")?,
                secret_id_file: wanted(
                    &self.secret_id_file,
                    "secret_id_file",
                    "auth = \"approle\" reads it",
                )?,
                secret_id_wrapped: self.secret_id_wrapped.unwrap_or(false),
            },
            Method::Token => VaultAuth::Token(match (&self.token_file, token_in_variable) {
                (Some(file), _) => VaultToken::File(file.clone()),
                (None, true) => VaultToken::Variable,
                (None, false) => {
                    return Err(missing("token_file", "or VAULT_TOKEN: auth is \"token\""));
                }
            }),
            Method::Cert => VaultAuth::Certificate {
                mount,
                role: self.role.clone(),
            },
        })
    }

    /// Refuses settings of other methods, except `token_file`: `VAULT_TOKEN_FILE` may be set for
    /// other programs.
    fn reject_unrelated(&self, method: Method) -> Result<(), Mismatch> {
        let (secret_id, wrapped) = (&self.secret_id_file, &self.secret_id_wrapped);
        let with_mount = ["kubernetes", "jwt", "approle", "cert"];
        let table: [(&str, bool, &[&str]); 6] = [
            ("role", self.role.is_some(), &["kubernetes", "jwt", "cert"]),
            ("jwt_file", self.jwt_file.is_some(), &["kubernetes", "jwt"]),
            ("role_id", self.role_id.is_some(), &["approle"]),
            ("secret_id_file", secret_id.is_some(), &["approle"]),
            ("secret_id_wrapped", wrapped.is_some(), &["approle"]),
            ("auth_mount", self.auth_mount.is_some(), &with_mount),
        ];
        let chosen = method.name();
        let stray = table
            .iter()
            .find(|(_, set, methods)| *set && !methods.contains(&chosen));
        match stray {
            None => Ok(()),
            Some((key, _, methods)) => Err(Mismatch::new(
                format!("vault.{key}"),
                format!(
                    "it belongs to auth = \"{}\", and vault.auth is \"{chosen}\"; change vault.auth, or remove this",
                    methods.join("\" or \"")
                ),
            )),
        }
    }
}

impl Method {
    /// The name in settings, which is also where Vault mounts the method by default.
    fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Jwt => "jwt",
            Self::AppRole => "approle",
            Self::Token => "token",
            Self::Cert => "cert",
        }
    }
}

/// For serde: an interval of at least [`MIN_POLL`], so that Vault can bear it.
fn poll<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let poll = duration::any(from)?;
    match poll >= MIN_POLL {
        true => Ok(poll),
        false => Err(D::Error::custom(
            "expected a duration of at least \"1s\", because each poll is a request to Vault for each secret; to use a change \
             sooner, run `keyside key refresh` for a stored key",
        )),
    }
}

const MIN_POLL: Duration = Duration::from_secs(1);

/// The token that the kubelet mounts into every pod with a service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Normalises a mount as people write it: `auth/k8s/`, `k8s`.
fn auth_mount(text: &str) -> Result<String, Mismatch> {
    let mount = text.trim_matches('/');
    let mount = mount.strip_prefix("auth/").unwrap_or(mount);
    let plain = |segment: &str| {
        !matches!(segment, "" | "." | "..") && segment.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match mount.split('/').all(plain) {
        true => Ok(mount.to_owned()),
        false => Err(Mismatch::new(
            "vault.auth_mount",
            "expected the path that the auth method is mounted at, such as \"kubernetes\"",
        )),
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

fn wanted<T: Clone>(value: &Option<T>, key: &str, why: &str) -> Result<T, Mismatch> {
    value.clone().ok_or_else(|| missing(key, why))
}

fn missing(key: &str, why: &str) -> Mismatch {
    Mismatch::new(
        format!("vault.{key}"),
        format!("it is missing; set it: {why}"),
    )
}

#[cfg(test)]
mod tests;
