//! Opens the data folder that the settings name, while no process serves it.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use keyside_config::Store;
use keyside_credentials::audit::OfflineAudit;
use keyside_sled::{EmbeddedStore, StoreOpenError};

use super::{Console, Failure};
use crate::{kms, vault};

/// A data folder and its audit log.
pub(super) struct OfflineFolder {
    path: PathBuf,
    pub(super) log: OfflineAudit,
}

impl OfflineFolder {
    /// Opens it read-only: no byte changes.
    pub(super) async fn open(console: &Console) -> Result<Self, Failure> {
        Self::opened(console, async |store| {
            EmbeddedStore::open_read_only(store).await
        })
        .await
    }

    /// Opens it to write a record.
    pub(super) async fn open_to_write(console: &Console) -> Result<Self, Failure> {
        Self::opened(console, async |store| EmbeddedStore::open(store).await).await
    }

    async fn opened(
        console: &Console,
        open: impl AsyncFn(&Path) -> Result<Arc<EmbeddedStore>, StoreOpenError>,
    ) -> Result<Self, Failure> {
        let settings = console.settings()?;
        let Store::Sled { path } = &settings.store else {
            return Err(
                Failure::usage("expected a data folder, found a store across the network")
                    .next("Use a running Keyside: without an embedded store there is nothing to read offline."),
            );
        };
        let kms = kms::source(&settings, vault::open(&settings)?.as_ref())?;
        let store = expect_store(path)?;
        let opened = match open(&store).await {
            Ok(opened) => opened,
            Err(error @ StoreOpenError::Locked { .. }) => {
                return Err(unreadable(path, error).next(
                    "Stop Keyside there first; `keyside check` says which folder the settings name.",
                ));
            }
            Err(error) => return Err(unreadable(path, error)),
        };
        let log = OfflineAudit::open(opened.backend(), &path.join("keyring"), &kms).await;
        match log {
            Ok(log) => Ok(Self {
                path: path.clone(),
                log,
            }),
            Err(error) => Err(unreadable(path, error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn unreadable(&self, error: impl Display) -> Failure {
        unreadable(&self.path, error)
    }
}

/// The store in a data folder, which exists: opening a missing one would create it.
pub(super) fn expect_store(folder: &Path) -> Result<PathBuf, Failure> {
    let store = folder.join("store");
    let exists = EmbeddedStore::exists_in(&store);
    match exists.map_err(|error| unreadable(folder, error))? {
        true => Ok(store),
        false => {
            let missing = format!("there is no store in {}", store.display());
            Err(unreadable(folder, missing))
        }
    }
}

fn unreadable(path: &Path, error: impl Display) -> Failure {
    let path = path.display();
    Failure::failed(format!("expected a data folder at {path}, found: {error}")).next(
        "`keyside doctor` says what is wrong; `keyside check` says which folder the settings name.",
    )
}
