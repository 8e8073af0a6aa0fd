//! An installation on disk, opened as `keyside serve` does, for the measuring programs.

#![allow(dead_code, reason = "each example uses a part of it")]

use std::{error::Error, fs, path::Path, sync::Arc, time::Duration};

use keyside_config::{Catalogue, CredentialRules, LocalKms, MasterKeySource};
use keyside_credentials::{
    ActorContext, ActorId, Kms, KmsSource, NewCredential, OpenOptions, Registry, Secret,
    SystemClock,
};
use keyside_sled::EmbeddedStore;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};

/// Opens the installation in `folder`, or creates one.
pub(crate) async fn open(
    folder: &Path,
) -> Result<(Arc<EmbeddedStore>, Arc<Registry>), Box<dyn Error>> {
    let store = EmbeddedStore::open(&folder.join("store")).await?;
    let keyring = folder.join("keyring");
    let settings = KmsSource::Local(LocalKms {
        master_key: MasterKeySource::Generated(folder.join("master-key")),
        previous_master_key: None,
    });
    let registry = Registry::open(OpenOptions {
        backend: store.backend(),
        kms: Kms::open(&settings, &keyring)?,
        keyring,
        catalogue: Arc::new(Catalogue::builtin()),
        rules: CredentialRules { expiring_days: 30 },
        clock: Arc::new(SystemClock),
    })
    .await?;
    Ok((store, registry))
}

/// Waits until the store is unused, so that it can be opened again.
pub(crate) async fn close(registry: Arc<Registry>, store: Arc<EmbeddedStore>) {
    registry.flush().await;
    drop(registry);
    while Arc::strong_count(&store) > 1 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn by() -> ActorContext {
    ActorContext {
        actor: "measure".parse::<ActorId>().expect("an actor"),
        request_id: "req".to_owned(),
    }
}

/// With a secret of 160 characters, like OpenAI's.
pub(crate) fn new_credential(workspace: usize, credential: usize) -> NewCredential {
    let secret = format!("sk-proj-{workspace:08}{credential:08}{}", "x".repeat(140));
    let secret = Secret::from_plaintext(secret.into_bytes()).expect("a secret");
    let workspace = format!("w-{workspace}").parse().expect("a workspace id");
    let label = format!("key {credential}").parse().expect("a label");
    NewCredential::new(workspace, "openai", label, secret)
}

/// Processor time of this process, all threads.
pub(crate) fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system counts");
    let micros = |time: TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

/// Anonymous resident memory of this process, in KiB.
pub(crate) fn resident_kib() -> u64 {
    kib_of("RssAnon:")
}

/// Peak resident memory of this process, in KiB, including mapped files.
pub(crate) fn peak_kib() -> u64 {
    kib_of("VmHWM:")
}

fn kib_of(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(field));
    let digits = line.and_then(|line| line.split_whitespace().nth(1));
    digits.expect("a number").parse().expect("a number")
}
