//! Checks that the store opens with the configured master key.
//!
//! A store in use is left to its process. Another user's store is not opened, because that user
//! could not open files that this one creates.

use std::{collections::BTreeSet, io::ErrorKind, path::Path};

use keyside_config::ProviderId;
use keyside_credentials::{
    KeyringError, KmsSource,
    audit::{OfflineAudit, VerifyError},
    backup,
};
use keyside_sled::{EmbeddedStore, StoreOpenError};

use super::{
    clock::ClockEvidence,
    finding::Finding,
    permissions,
    running::{RunningInstance, State},
};
use crate::validated_settings::StoreSetup;

/// The findings, and the destinations of stored credentials: providers, each with an endpoint if
/// known.
#[derive(Default)]
pub(super) struct StoreReport {
    pub(super) findings: Vec<Finding>,
    pub(super) used: BTreeSet<(ProviderId, Option<String>)>,
    /// Whether there may be credentials that are not in `used`.
    pub(super) is_partly_unread: bool,
    pub(super) clock: ClockEvidence,
}

/// How much of the store was read.
enum Read {
    Whole,
    Partly,
    /// It was left to its process or its owner.
    NotOpened,
}

/// `can_sign_in`: whether a key service in Vault may be used.
pub(super) async fn check(
    setup: &StoreSetup,
    running: &RunningInstance,
    can_sign_in: bool,
) -> StoreReport {
    let mut report = StoreReport::default();
    let read = match reason_not_to_open(setup, can_sign_in) {
        Some(finding) => {
            report.findings.push(finding);
            Read::NotOpened
        }
        None => match report.open(setup, running).await {
            Ok(read) => read,
            Err(finding) => {
                report.findings.push(finding);
                Read::Partly
            }
        },
    };
    let reported = match (&read, running.answers()) {
        // A Keyside on this folder would have the store open.
        (Read::Whole, true) => {
            report.findings.push(answered_by_another(setup, running));
            None
        }
        (Read::Partly | Read::NotOpened, true) => running.providers().await,
        (_, false) => None,
    };
    report.is_partly_unread = match read {
        Read::Whole => false,
        Read::Partly => true,
        Read::NotOpened => reported.is_none(),
    };
    let reported = reported.into_iter().flatten();
    report.used.extend(reported.map(|id| (id, None)));
    report
}

/// The reason not to open the store, if any.
fn reason_not_to_open(setup: &StoreSetup, can_sign_in: bool) -> Option<Finding> {
    let shown = setup.folder.display();
    let needs_sign_in = matches!(setup.kms, KmsSource::Service(_));
    Some(match permissions::other_owner(&setup.folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => Finding::fail("store", format!("{shown}: {error}"))
            .fix("Run doctor as the user that Keyside runs as."),
        Ok(Some(owner)) => {
            let said = format!("not opened: {shown} belongs to the user with id {owner}");
            Finding::warn("store", said).fix("Run doctor as that user.")
        }
        Ok(None) if needs_sign_in && !can_sign_in => Finding::warn(
            "store",
            "not opened: that requires a sign-in to Vault, and the wrapped secret id works only once",
        )
        .fix("Ask the running Keyside: `keyside healthcheck`."),
        Ok(None) => return None,
    })
}

fn answered_by_another(setup: &StoreSetup, running: &RunningInstance) -> Finding {
    let (base, folder) = (&running.base, setup.folder.display());
    let said = format!("the Keyside at {base} runs on another data folder than {folder}");
    Finding::warn("store", said).fix(
        "Run doctor where that Keyside runs, or give this one other addresses in proxy.listen, admin.listen and observe.listen. If it is `keyside proxy`, which has no data folder, set store.backend = \"none\".",
    )
}

fn not_created(folder: &Path) -> Finding {
    let folder = folder.display();
    let said = format!("there is none at {folder} yet; the first start creates it");
    Finding::ok("store", said)
}

impl StoreReport {
    /// Fails with the finding that explains why not everything could be read.
    async fn open(
        &mut self,
        setup: &StoreSetup,
        running: &RunningInstance,
    ) -> Result<Read, Finding> {
        let [store, keyring, heads] =
            ["store", "keyring", "heads"].map(|name| setup.folder.join(name));
        let interrupted = backup::expect_none_interrupted(&store, &keyring);
        if let (false, Err(error)) = (store.exists(), interrupted) {
            return Err(Finding::fail("store", error));
        }
        if ![&store, &keyring, &heads].iter().any(|path| path.exists()) {
            self.findings.push(not_created(&setup.folder));
            return Ok(Read::Whole);
        }
        let opened = match EmbeddedStore::open_read_only(&store).await {
            Ok(opened) => opened,
            Err(StoreOpenError::Locked { .. }) => {
                self.master_key_fits(&setup.kms);
                self.findings.push(in_use(&setup.folder, running));
                return Ok(Read::NotOpened);
            }
            Err(error) => return Err(Finding::fail("store", error)),
        };
        let log = OfflineAudit::open(opened.backend(), &keyring, &setup.kms).await;
        let log = log.map_err(|error| not_opened(&setup.folder, error))?;
        self.master_key_fits(&setup.kms);
        self.inspect(&setup.folder, &log).await
    }

    /// Reads everything that a start reads.
    async fn inspect(&mut self, folder: &Path, log: &OfflineAudit) -> Result<Read, Finding> {
        let inspected = log.inspect().await;
        let inspected = inspected.map_err(|error| not_opened(folder, error))?;
        let shown = folder.display();
        self.used.extend(inspected.destinations);
        let behind = log.clock_behind();
        let is_sound = inspected.damage.is_empty();
        // The damaged records may be the latest ones.
        if is_sound || behind.is_some() {
            self.clock.set_log(behind);
        }
        let damage = inspected.damage.into_iter();
        let damage = damage.map(|found| Finding::fail("store", format!("{shown}: {found}")));
        self.findings.extend(damage.map(|found| found.fix(RESTORE)));
        if !is_sound {
            return Ok(Read::Partly);
        }
        let said = format!("{shown} opens; no Keyside runs on it");
        self.findings.push(Finding::ok("store", said));
        Ok(Read::Whole)
    }

    fn master_key_fits(&mut self, kms: &KmsSource) {
        let said = match kms {
            KmsSource::Local(_) => "it opens the keyring",
            KmsSource::Service(_) => "the key service opens the keyring",
        };
        self.findings.push(Finding::ok("master key", said));
    }
}

/// The error of a store that no process uses.
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

fn in_use(folder: &Path, running: &RunningInstance) -> Finding {
    let (used, base) = (format!("{} is in use by", folder.display()), &running.base);
    match running.state {
        State::Ready(_) | State::NotReady(_) => {
            Finding::ok("store", format!("{used} the Keyside at {base}"))
        }
        State::UnknownPort => {
            let said = format!("{used} a process at an unknown address: observe.listen has port 0");
            Finding::warn("store", said).fix("Give observe.listen a port.")
        }
        State::Absent | State::NotKeyside(_) => {
            let said = format!("{used} a process, and no Keyside answers at {base}");
            Finding::fail("store", said)
                .fix("Correct observe.listen, or stop the process that has the store open.")
        }
    }
}

const RESTORE: &str =
    "Restore the newest copy of the whole data folder, or a backup of it (`keyside restore`).";
