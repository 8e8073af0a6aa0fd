//! What of all that settings may say this release can run: asked before anything is opened, by `check` and `serve` alike.

use std::path::{Path, PathBuf};

use keyside_config::{Settings, Store};
use keyside_credentials::Kms;
use keyside_proxy::{Egress, ProxyVariables};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::telemetry;

/// Settings that can be run, as far as that shows without network and data.
pub(crate) struct Runnable {
    pub(crate) settings: Settings,
    /// The embedded store's folder, with what belongs beside the store.
    pub(crate) data: PathBuf,
    /// What `log.filter` means.
    pub(crate) filter: EnvFilter,
    /// By which way providers are reached.
    pub(crate) egress: Egress,
}

impl Runnable {
    /// Refuses what has to be changed first.
    pub(crate) fn of(settings: Settings) -> Result<Self, Failure> {
        let data = data_folder(&settings.store)?.to_owned();
        Kms::offered(settings.kms.driver).map_err(misconfigured)?;
        let filter = telemetry::filter(&settings.log).map_err(misconfigured)?;
        let variables = ProxyVariables::from_process();
        let egress = Egress::open(&settings.egress, &settings.catalogue, &variables);
        Ok(Self {
            settings,
            data,
            filter,
            egress: egress.map_err(misconfigured)?,
        })
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
    }
}

fn misconfigured(error: impl std::fmt::Display) -> Failure {
    Failure::configuration(error.to_string())
}
