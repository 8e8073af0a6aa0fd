//! Checks that this release can run the settings, before anything is opened. `check`, `doctor` and
//! `serve` share it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use keyside_config::{Settings, Store};
use keyside_credentials::{CacheOptions, KmsSource};
use keyside_proxy::{Egress, ProxyVariables};
use keyside_vault::Vault;
use tracing_subscriber::EnvFilter;

use crate::{declared, failure::Failure, kms, telemetry, vault, web::Certificates, webhooks};

/// Settings that this release can run, as far as it can tell without network and data.
pub(crate) struct ValidatedSettings {
    pub(crate) settings: Settings,
    /// What a store needs; `None` without a store.
    pub(crate) store: Option<StoreSetup>,
    /// The client of Vault, if the settings have one.
    pub(crate) vault: Option<Arc<Vault>>,
    /// The sealed cache of secrets from Vault, if the settings name one.
    pub(crate) cache: Option<CacheOptions>,
    pub(crate) filter: EnvFilter,
    /// How providers are reached.
    pub(crate) egress: Egress,
    pub(crate) certificates: Certificates,
}

pub(crate) struct StoreSetup {
    /// The data folder: the embedded store and the files beside it.
    pub(crate) folder: PathBuf,
    /// The key service that wraps the workspace keys.
    pub(crate) kms: KmsSource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// The data plane and the admin API, on a store.
    Serve,
    /// The data plane alone, with the declared credentials.
    Proxy,
}

impl Process {
    pub(crate) fn for_store(store: &Store) -> Self {
        match store {
            Store::None => Self::Proxy,
            Store::Sled { .. } | Store::Vault => Self::Serve,
        }
    }
}

impl ValidatedSettings {
    pub(crate) fn new(settings: Settings, process: Process) -> Result<Self, Failure> {
        let vault = vault::open(&settings)?;
        let cache = vault::cache(&settings)?;
        // The domain parses labels and usage tags; no secret is read yet.
        declared::of(&settings, None, None)?;
        let store = match process {
            Process::Serve => Some(StoreSetup {
                folder: data_folder(&settings.store)?.to_owned(),
                kms: kms::source(&settings, vault.as_ref())?,
            }),
            Process::Proxy => {
                check_sidecar(&settings)?;
                None
            }
        };
        let filter = telemetry::filter(&settings.log).map_err(Failure::configuration)?;
        let variables = ProxyVariables::from_process();
        let egress = Egress::open(&settings.egress, &settings.catalogue, &variables);
        let egress = egress.map_err(Failure::configuration)?;
        if process == Process::Serve {
            webhooks::check(&settings).map_err(Failure::configuration)?;
        }
        let certificates = Certificates::open(&settings, store.is_some());
        Ok(Self {
            settings,
            store,
            vault,
            cache,
            filter,
            egress,
            certificates: certificates.map_err(Failure::configuration)?,
        })
    }
}

/// What `keyside proxy` requires of the settings.
fn check_sidecar(settings: &Settings) -> Result<(), Failure> {
    // The embedded store is the default, and a sidecar ignores it. Ignoring this one would hide that
    // none of its keys is used.
    if settings.store == Store::Vault {
        return Err(no_vault_store("none"));
    }
    match settings.declared.is_empty() {
        true => Err(Failure::configuration(
            "`keyside proxy` has no store, and the settings declare no credential",
        )
        .next("Declare one in a [[credential]] table with `source = \"file:…\"` or `\"vault:…\"`, or run `keyside serve`.")),
        false => Ok(()),
    }
}

/// The data folder of the embedded store, the only store so far.
pub(crate) fn data_folder(store: &Store) -> Result<&Path, Failure> {
    match store {
        Store::Sled { path } => Ok(path),
        Store::Vault => Err(no_vault_store("sled")),
        Store::None => {
            let said = "store.backend = \"none\" leaves this command without a store";
            Err(Failure::configuration(said)
                .next("Run `keyside proxy`, which needs none, or use store.backend = \"sled\"."))
        }
    }
}

fn no_vault_store(instead: &str) -> Failure {
    let said = "store.backend = \"vault\" is not part of this release";
    Failure::configuration(said).next(format!("Use store.backend = \"{instead}\"."))
}
