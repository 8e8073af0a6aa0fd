//! What of all that settings may say this release can run: asked before anything is opened, by `check` and `serve` alike.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyside_config::{Settings, Store};
use keyside_credentials::{CacheOptions, KmsSource};
use keyside_proxy::{Egress, ProxyVariables};
use keyside_vault::Vault;
use tracing_subscriber::EnvFilter;

use crate::failure::{Failure, misconfigured};
use crate::{declared, kms, telemetry, vault};

/// Settings that can be run, as far as that shows without network and data.
pub(crate) struct ValidatedSettings {
    pub(crate) settings: Settings,
    /// What a store takes; nothing where there is none.
    pub(crate) store: Option<StoreSetup>,
    /// The client of Vault, where something uses it.
    pub(crate) vault: Option<Arc<Vault>>,
    /// The sealed copy of what is read from Vault, where the settings name one.
    pub(crate) cache: Option<CacheOptions>,
    /// What `log.filter` means.
    pub(crate) filter: EnvFilter,
    /// By which way providers are reached.
    pub(crate) egress: Egress,
}

/// What a store takes.
pub(crate) struct StoreSetup {
    /// The embedded store's folder, with what belongs beside the store.
    pub(crate) folder: PathBuf,
    /// What wraps the workspace keys.
    pub(crate) kms: KmsSource,
}

/// Which process the settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// Data plane and admin app over a store.
    Serve,
    /// The data plane alone, over what the settings declare.
    Proxy,
}

impl Process {
    /// The one that can run on this store.
    pub(crate) fn for_store(store: &Store) -> Self {
        match store {
            Store::None => Self::Proxy,
            Store::Sled { .. } | Store::Vault => Self::Serve,
        }
    }
}

impl ValidatedSettings {
    /// Refuses what has to be changed first.
    pub(crate) fn new(settings: Settings, process: Process) -> Result<Self, Failure> {
        let vault = vault::open(&settings)?;
        let cache = vault::cache(&settings)?;
        // Labels and usage tags are read by the domain; nothing is looked for yet.
        declared::of(&settings, None, None)?;
        let store = match process {
            Process::Serve => Some(StoreSetup {
                folder: data_folder(&settings.store)?.to_owned(),
                kms: kms::source(&settings, vault.as_ref())?,
            }),
            Process::Proxy => {
                sidecar(&settings)?;
                None
            }
        };
        let filter = telemetry::filter(&settings.log).map_err(misconfigured)?;
        let variables = ProxyVariables::from_process();
        let egress = Egress::open(&settings.egress, &settings.catalogue, &variables);
        Ok(Self {
            settings,
            store,
            vault,
            cache,
            filter,
            egress: egress.map_err(misconfigured)?,
        })
    }
}

/// What has to be so for a data plane without a store.
fn sidecar(settings: &Settings) -> Result<(), Failure> {
    match settings.declared.is_empty() {
        true => Err(Failure::configuration(
            "`keyside proxy` has no store, and the settings declare no credential",
        )
        .next("Declare one in a [[credential]] table with `source = \"file:…\"` or `\"vault:…\"`, or run `keyside serve`.")),
        false => Ok(()),
    }
}

/// The folder of the one store that there is so far.
pub(crate) fn data_folder(store: &Store) -> Result<&Path, Failure> {
    match store {
        Store::Sled { path } => Ok(path),
        Store::Vault => {
            let said = "store.backend = \"vault\" is not part of this release";
            Err(Failure::configuration(said).next("Use store.backend = \"sled\"."))
        }
        Store::None => {
            let said = "store.backend = \"none\" leaves this command without a store";
            Err(Failure::configuration(said)
                .next("Run `keyside proxy`, which needs none, or use store.backend = \"sled\"."))
        }
    }
}
