//! Whether the store can be opened, with the master key that the settings lead to. A store in use is left to the process that
//! has it; another user's is not opened, because that user could not open afterwards what this one writes.

use std::{collections::BTreeSet, io::ErrorKind, path::Path};

use keyside_credentials::{
    KeyringError, KmsSource,
    audit::{OfflineAudit, VerifyError},
    backup,
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
    /// Whether there may be credentials that `used` says nothing of.
    pub(super) is_partly_unread: bool,
    pub(super) clock: Evidence,
}

/// How far the store was read.
enum Read {
    Whole,
    Partly,
    /// It was left to the process that has it, or to its owner.
    NotOpened,
}

/// `can_sign_in` tells whether a key service that is in Vault may be asked.
pub(super) async fn look(setup: &StoreSetup, running: &Running, can_sign_in: bool) -> Looked {
    let mut looked = Looked::default();
    let read = match closed(setup, can_sign_in) {
        Some(finding) => {
            looked.findings.push(finding);
            Read::NotOpened
        }
        None => looked.open(setup, running).await,
    };
    let told = match running.answers() {
        true => running.providers().await,
        false => None,
    };
    looked.is_partly_unread = match read {
        Read::Whole => false,
        Read::Partly => true,
        Read::NotOpened => told.is_none(),
    };
    let told = told.into_iter().flatten();
    looked.used.extend(told.map(|id| (id, None)));
    looked
}

/// Why it is not opened at all.
fn closed(setup: &StoreSetup, can_sign_in: bool) -> Option<Finding> {
    let shown = setup.folder.display();
    match permissions::other_owner(&setup.folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
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
    async fn open(&mut self, setup: &StoreSetup, running: &Running) -> Read {
        let [store, keyring, heads] =
            ["store", "keyring", "heads"].map(|name| setup.folder.join(name));
        let interrupted = backup::expect_none_interrupted(&store, &keyring);
        if let (false, Err(error)) = (store.exists(), interrupted) {
            self.findings.push(Finding::fail("store", error));
            return Read::Partly;
        }
        if ![&store, &keyring, &heads].iter().any(|path| path.exists()) {
            self.findings.push(not_made(&setup.folder));
            return Read::Whole;
        }
        let opened = match EmbeddedStore::open_read_only(&store).await {
            Ok(opened) => opened,
            Err(StoreOpenError::Locked { .. }) => {
                self.master_key_fits(&setup.kms);
                self.findings.push(in_use(&setup.folder, running));
                return Read::NotOpened;
            }
            Err(error) => {
                self.findings.push(Finding::fail("store", error));
                return Read::Partly;
            }
        };
        match OfflineAudit::open(opened.backend(), &keyring, &setup.kms).await {
            Ok(log) => {
                self.master_key_fits(&setup.kms);
                self.inspect(&setup.folder, &log).await
            }
            Err(error) => {
                self.findings.push(not_opened(&setup.folder, error));
                Read::Partly
            }
        }
    }

    /// Reads what a start reads.
    async fn inspect(&mut self, folder: &Path, log: &OfflineAudit) -> Read {
        let inspected = log.inspect().await;
        let shown = folder.display();
        let inspected = match inspected {
            Ok(inspected) => inspected,
            Err(error) => {
                self.findings.push(not_opened(folder, error));
                return Read::Partly;
            }
        };
        self.used.extend(inspected.destinations);
        let behind = log.clock_behind();
        let is_sound = inspected.damage.is_empty();
        // What is damaged may be what has the latest time.
        if is_sound || behind.is_some() {
            self.clock.read_log(behind);
        }
        let damage = inspected.damage.into_iter();
        let damage = damage.map(|found| Finding::fail("store", format!("{shown}: {found}")));
        self.findings.extend(damage.map(|found| found.fix(RESTORE)));
        if !is_sound {
            return Read::Partly;
        }
        let said = format!("{shown} opens; no Keyside runs on it");
        self.findings.push(Finding::ok("store", said));
        Read::Whole
    }

    fn master_key_fits(&mut self, kms: &KmsSource) {
        let said = match kms {
            KmsSource::Local(_) => "it opens the keyring",
            KmsSource::Service(_) => "the key service opens the keyring",
        };
        self.findings.push(Finding::ok("master key", said));
    }
}

/// What keeps a store from being read that no process has.
fn not_opened(folder: &Path, error: VerifyError) -> Finding {
    match error {
        VerifyError::Kms(_) | VerifyError::Keyring(KeyringError::Kms(_)) => {
            Finding::fail("master key", error)
        }
        VerifyError::NothingThere { .. } => Finding::fail("store", error).fix(
            "Restore the whole data folder from a backup: a store opens only with its keyring.",
        ),
        VerifyError::Storage(_) => Finding::fail("store", format!("{}: {error}", folder.display()))
            .fix(format!(
                "Let the user that Keyside runs as read it. Where it is damaged: {RESTORE}"
            )),
        error => Finding::fail("store", error),
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

const RESTORE: &str =
    "Restore the newest copy of the whole data folder, or a backup of it (`keyside restore`).";
