//! The settings as the rest of Keyside sees them: types that cannot hold a value it could not run with.

mod declared;
mod document;
mod egress;
mod kms;
mod proxy;
mod vault;

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use serde::Deserialize;

pub(crate) use self::document::{Document, EnvironmentFacts};
pub use self::{
    declared::{
        DeclaredCredential, DeclaredEnvironment, SourceReference, SourceReferenceError,
        VaultReference,
    },
    egress::{Egress, Roots},
    kms::{Kms, LocalKms, MasterKeySource, TransitKms},
    proxy::{AcceptEncoding, Deadlines, EnvironmentPin, Limits, Listener, Proxy},
    vault::{AllowedReferences, ClientCertificate, Vault, VaultAuth, VaultCache, VaultToken},
};
use crate::{address, catalogue::Catalogue, parsed};

/// Everything an operator can decide, with the provider catalogue it leads to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data plane: who may connect, for how long, and how much.
    pub proxy: Proxy,
    /// The way out to providers.
    pub egress: Egress,
    /// The admin API and web page.
    pub admin: Admin,
    /// Metrics and health.
    pub observe: Observe,
    /// Where documents and logs are kept.
    pub store: Store,
    /// What wraps the workspace keys.
    pub kms: Kms,
    /// Vault or OpenBao, where something uses it: `[vault]`, `KEYSIDE_VAULT__*`, or a KMS driver that is on it.
    pub vault: Option<Vault>,
    /// How log lines are written.
    pub log: Log,
    /// How many run records are kept, and what happens while none can be written.
    pub runs: Runs,
    /// When a credential counts as expiring.
    pub credentials: CredentialRules,
    /// The built-in providers with `[providers.*]` laid over them.
    pub catalogue: Catalogue,
    /// The credentials that are declared here and not stored.
    pub declared: Vec<DeclaredCredential>,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address it is bound to; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What links in refusals and pages start with, without a slash at the end.
    /// Follows `listen` unless it is set.
    pub public_url: String,
    /// Requests a second that one token may send, and one address without any.
    pub requests_per_second: NonZeroU32,
}

/// The listener of `/metrics`, `/healthz` and `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observe {
    /// The address it is bound to; port 0 lets the system choose.
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
    /// None: what is declared is all that there is.
    None,
}

/// How log lines are written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// Level directives, such as `info` or `info,keyside_proxy=debug`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Run records.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    /// How many records are kept at least; the oldest go first.
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 100_000_000>")]
    pub keep: usize,
    /// What becomes of requests while records cannot be written.
    pub when_full: WhenFull,
}

/// What becomes of requests while run records cannot be written, because the disk is full or fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// They are served. The line that each has in the log is then its only record.
    Serve,
    /// They are refused, until records can be written.
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
