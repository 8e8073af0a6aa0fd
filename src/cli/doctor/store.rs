//! Whether the store can be opened, with the master key that the settings lead to. A store in use is left to the process that
//! has it; another user's is not opened, because that user could not open afterwards what this one writes.

use std::{collections::BTreeSet, io::ErrorKind, path::Path};

use keyside_credentials::{
    KeyringError, KmsSource,
    audit::{AtRest, VerifyError},
};
use keyside_sled::{EmbeddedStore, StoreOpenError};

use super::{
    clock::Evidence,
    finding::Finding,
    permissions,
    running::{Running, State},
};
use crate::runnable::StoreSetup;

/// What was found, and what the stored credentials are for: providers, each with an endpoint where it is known.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) findings: Vec<Finding>,
    pub(super) used: BTreeSet<(String, Option<String>)>,
    pub(super) clock: Evidence,
}

/// `can_sign_in` tells whether a key service that is in Vault may be asked.
pub(super) async fn look(setup: &StoreSetup, running: &Running, can_sign_in: bool) -> Looked {
    let mut looked = Looked::default();
    match closed(setup, can_sign_in) {
        Some(finding) => looked.findings.push(finding),
        None => looked.open(setup, running).await,
    }
    if running.answers() {
        let providers = running.providers().await;
        looked
            .used
            .extend(providers.into_iter().map(|id| (id, None)));
    }
    looked
}

/// Why it is not opened at all.
fn closed(setup: &StoreSetup, can_sign_in: bool) -> Option<Finding> {
    let shown = setup.folder.display();
    match permissions::other_owner(&setup.folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Some(not_made(&setup.folder)),
        Err(error) => Some(
            Finding::fail("store", format!("{shown}: {error}"))
                .fix("Run doctor as the user that Keyside runs as."),
        ),
        Ok(Some(owner)) => Some(
            Finding::warn(
                "store",
                format!("not opened: {shown} belongs to the user with id {owner}"),
            )
            .fix("Run doctor as that user."),
        ),
        Ok(None) if !can_sign_in && matches!(setup.kms, KmsSource::Service(_)) => Some(
            Finding::warn(
                "store",
                "not opened: that takes a sign-in to Vault, and the wrapped secret id can be used once",
            )
            .fix("Ask the running Keyside: `keyside healthcheck`."),
        ),
        Ok(None) => None,
    }
}

fn not_made(folder: &Path) -> Finding {
    let folder = folder.display();
    Finding::ok(
        "store",
        format!("there is none at {folder} yet; the first start makes it"),
    )
}

impl Looked {
    async fn open(&mut self, setup: &StoreSetup, running: &Running) {
        let (store, keyring) = (setup.folder.join("store"), setup.folder.join("keyring"));
        if !store.exists() && !keyring.exists() {
            return self.findings.push(not_made(&setup.folder));
        }
        let opened = match EmbeddedStore::open_read_only(&store).await {
            Ok(opened) => opened,
            Err(StoreOpenError::Locked { .. }) => {
                self.master_key_fits(&setup.kms);
                return self.findings.push(in_use(&setup.folder, running));
            }
            Err(error) => return self.findings.push(Finding::fail("store", error)),
        };
        match AtRest::open(opened.backend(), &keyring, &setup.kms).await {
            Ok(log) => {
                self.master_key_fits(&setup.kms);
                match self.read(&log).await {
                    Ok(()) => {
                        let said = format!("{} opens; no Keyside runs on it", setup.folder.display());
                        self.findings.push(Finding::ok("store", said));
                    }
                    Err(error) => self.findings.push(Finding::fail("store", error)),
                }
            }
            Err(error @ (VerifyError::Kms(_) | VerifyError::Keyring(KeyringError::Kms(_)))) => {
                self.findings.push(Finding::fail("master key", error));
            }
            Err(error @ VerifyError::NothingThere { .. }) => self.findings.push(
                Finding::fail("store", error)
                    .fix("Restore the whole data folder from a backup: a store opens only with its keyring."),
            ),
            Err(error) => self.findings.push(Finding::fail("store", error)),
        }
    }

    async fn read(&mut self, log: &AtRest) -> Result<(), VerifyError> {
        self.clock.read_log(log.clock_behind());
        self.used.extend(log.destinations().await?);
        Ok(())
    }

    fn master_key_fits(&mut self, kms: &KmsSource) {
        let said = match kms {
            KmsSource::Local(_) => "it opens the keyring",
            KmsSource::Service(_) => "the key service opens the keyring",
        };
        self.findings.push(Finding::ok("master key", said));
    }
}

fn in_use(folder: &Path, running: &Running) -> Finding {
    let (folder, base) = (folder.display(), &running.base);
    match running.state {
        State::Ready(_) | State::NotReady(_) => Finding::ok(
            "store",
            format!("{folder} is in use by the Keyside at {base}"),
        ),
        State::AnyPort => Finding::warn(
            "store",
            format!(
                "{folder} is in use by a process that cannot be asked: observe.listen has port 0"
            ),
        )
        .fix("Give observe.listen a port."),
        State::Absent | State::Stranger(_) => Finding::fail(
            "store",
            format!("{folder} is in use by a process, and no Keyside answers at {base}"),
        )
        .fix("Correct observe.listen, or stop the process that has the store open."),
    }
}
