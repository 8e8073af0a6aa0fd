//! The settings as the rest of Keyside uses them: types that can only hold valid values.

mod declared;
mod document;
mod egress;
mod kms;
mod proxy;
mod smoke;
mod vault;
mod webhook;

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use serde::Deserialize;

pub(crate) use self::document::{Document, EnvironmentFacts};
pub use self::{
    declared::{
        DeclaredCredential, DeclaredEnvironment, DeclaredLimits, SourceReference,
        SourceReferenceError, VaultReference,
    },
    egress::{Egress, Roots},
    kms::{Kms, LocalKms, MasterKeySource, TransitKms},
    proxy::{AcceptEncoding, Deadlines, EnvironmentPin, Limits, Listener, Proxy, ProxyAddress},
    smoke::Smoke,
    vault::{AllowedReferences, ClientCertificate, Vault, VaultAuth, VaultCache, VaultToken},
    webhook::{Webhook, WebhookEvent, WebhookFormat, WebhookUrl, WebhookUrlError},
};
use crate::{address, catalogue::Catalogue, parsed};

/// All settings, including the resulting provider catalogue.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data plane: who may connect, deadlines and limits.
    pub proxy: Proxy,
    /// Egress to providers.
    pub egress: Egress,
    /// The admin API and web page.
    pub admin: Admin,
    /// Metrics and health.
    pub observe: Observe,
    /// The backend that keeps documents and logs.
    pub store: Store,
    /// The KMS that wraps the workspace keys.
    pub kms: Kms,
    /// Vault or OpenBao, if anything uses it: `[vault]`, `KEYSIDE_VAULT__*`, or a KMS driver that
    /// needs it.
    pub vault: Option<Vault>,
    /// The format and filter of log lines.
    pub log: Log,
    /// How many run records to keep, and what to do while none can be written.
    pub runs: Runs,
    /// When a credential counts as expiring.
    pub credentials: CredentialRules,
    /// Live checks of tagged keys: which, when, and how much they may spend.
    pub smoke: Smoke,
    /// The built-in providers, merged with `[providers.*]`.
    pub catalogue: Catalogue,
    /// Credentials that are declared in the settings instead of stored.
    pub declared: Vec<DeclaredCredential>,
    /// The receivers of events; only `keyside serve` sends any.
    pub webhooks: Vec<Webhook>,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address to bind; port 0 lets the operating system choose.
    pub listen: SocketAddr,
    /// The beginning of links in refusals and pages, without a slash at the end. Derived from
    /// `listen` unless set.
    pub public_url: String,
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
}

/// The backend that keeps documents and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// The embedded store, locked by one process.
    Sled {
        /// The data folder.
        path: PathBuf,
    },
    /// HashiCorp Vault or OpenBao.
    Vault,
    /// No store: only declared credentials exist.
    None,
}

/// The format and filter of log lines.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The format of a line.
    pub format: LogFormat,
    /// Level directives, such as `info` or `info,keyside_proxy=debug`.
    pub filter: String,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// One JSON object per line.
    Json,
    /// Text for people.
    Pretty,
}

/// Settings of run records.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    /// Minimum number of records to keep; the oldest are deleted first.
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 100_000_000>")]
    pub keep: usize,
    /// What happens to requests while records cannot be written.
    pub when_full: WhenFull,
}

/// What happens to requests while run records cannot be written, because the disk is full or fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// Requests are served, and recorded in the log only.
    Serve,
    /// Requests are refused until records can be written.
    Refuse,
}

/// Rules for all credentials.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialRules {
    /// A credential that ends within this many days counts as expiring.
    #[serde(deserialize_with = "parsed::within::<_, _, 0, 3_650>")]
    pub expiring_days: u32,
}
