//! The data folder that the settings name, while nobody serves it.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use keyside_config::{Settings, Sources, Store};
use keyside_credentials::audit::AtRest;

use super::Failure;
use crate::{kms, vault};

/// A data folder, and its log.
pub(super) struct Folder {
    path: PathBuf,
    pub(super) log: AtRest,
}

impl Folder {
    pub(super) async fn open(sources: &Sources) -> Result<Self, Failure> {
        let settings = Settings::load(sources)?.settings;
        let Store::Sled { path } = &settings.store else {
            return Err(
                Failure::usage("expected a data folder, found a store across the network")
                    .next("Ask a running Keyside: there is nothing here to be read without one."),
            );
        };
        let kms = kms::source(&settings, vault::open(&settings)?.as_ref())?;
        let log = AtRest::open(&path.join("store"), &path.join("keyring"), &kms).await;
        match log {
            Ok(log) => Ok(Self {
                path: path.clone(),
                log,
            }),
            Err(error) => Err(unreadable(path, error)),
        }
    }

    pub(super) fn unreadable(&self, error: impl Display) -> Failure {
        unreadable(&self.path, error)
    }
}

fn unreadable(path: &Path, error: impl Display) -> Failure {
    let path = path.display();
    Failure::failed(format!("expected a data folder at {path}, found: {error}"))
        .next("Stop Keyside there first; `keyside check` says which folder the settings name.")
}
