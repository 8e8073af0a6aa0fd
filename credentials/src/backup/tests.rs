use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use keyside_config::{CredentialRules, EnvironmentPin, LocalKms, MasterKeySource};
use keyside_sled::{EmbeddedStore, StoreOpenError};
use keyside_store::{
    Backend,
    chain::{ChainName, Damage, Head},
};
use tempfile::TempDir;

use super::*;
use crate::{
    CredentialQuery, Environment, Filter, Kms, KmsError, KmsSource, NewCredential, OpenError,
    OpenOptions, Refusal, Registry, Revocation, Secret, SystemClock,
    audit::{AuditFilter, AuditRecord, Event, VerifyError},
    registry::tests::{act, catalogue, workspace},
    runs::{Run, RunFilter, RunKind, Used},
};

mod altered;
mod epochs;
mod remains;
mod rotated;

/// A data folder, and a master key beside it.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Another data folder with the same master key.
    fn with_key_of(other: &Self) -> Self {
        let machine = Self::new();
        fs::copy(other.master_key(), machine.master_key()).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn master_key(&self) -> PathBuf {
        self.path("master-key")
    }

    fn kms(&self) -> KmsSource {
        KmsSource::Local(LocalKms {
            master_key: MasterKeySource::Generated(self.master_key()),
            previous_master_key: None,
        })
    }

    async fn open(&self) -> Arc<Registry> {
        self.try_open().await.unwrap()
    }

    async fn try_open(&self) -> Result<Arc<Registry>, OpenError> {
        let keyring = self.path("keyring");
        Registry::open(OpenOptions {
            backend: self.backend().await,
            kms: Kms::open(&self.kms(), &keyring).unwrap(),
            keyring,
            catalogue: catalogue(),
            rules: CredentialRules { expiring_days: 30 },
            clock: Arc::new(SystemClock),
        })
        .await
    }

    /// The store's backend, without a registry.
    async fn backend(&self) -> Backend {
        loop {
            // The run writer of the previous registry releases the store a moment later.
            match EmbeddedStore::open(&self.path("store")).await {
                Ok(store) => return store.backend(),
                Err(StoreOpenError::Locked { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A running installation with a workspace and a key.
    async fn running() -> (Self, Arc<Registry>) {
        let machine = Self::new();
        let registry = machine.open().await;
        registry
            .create_workspace(&act(), workspace("acme"))
            .await
            .unwrap();
        linked(&registry, "acme").await;
        registry.add(&act(), key("a")).await.unwrap();
        (machine, registry)
    }

    /// A running installation with a workspace and a key, and a backup of it.
    async fn backed_up() -> (Self, Arc<Registry>, PathBuf) {
        let (machine, registry) = Self::running().await;
        let file = machine.path("backup");
        backup(&registry, &file).await;
        (machine, registry, file)
    }

    async fn restore(&self, file: &Path) -> Result<Restored, RestoreError> {
        self.restore_as(file, false, false).await
    }

    async fn restore_as(
        &self,
        file: &Path,
        other_installation: bool,
        older: bool,
    ) -> Result<Restored, RestoreError> {
        let open = |folder: &Path| -> OpeningStore {
            let folder = folder.to_owned();
            Box::pin(async move {
                let store = EmbeddedStore::open(&folder).await;
                let store = store.map_err(|error| RestoreError::Store(Box::new(error)))?;
                Ok(store.backend())
            })
        };
        let restore = Restore {
            open: &open,
            store: &self.path("store"),
            keyring: &self.path("keyring"),
            kms: &self.kms(),
            other_installation,
            older,
        };
        restore.run(file).await
    }

    /// Deletes the store, as if its disk was lost.
    fn lose_the_store(&self) {
        fs::remove_dir_all(self.path("store")).unwrap();
    }

    async fn close_and_lose_the_store(&self, registry: Arc<Registry>) {
        close(self, registry).await;
        self.lose_the_store();
    }
}

fn key(label: &str) -> NewCredential {
    key_of("acme", label)
}

fn key_of(workspace: &str, label: &str) -> NewCredential {
    // Padded to the minimum length of a secret; `opened` removes the padding.
    let secret = Secret::from_plaintext(format!("sk-{label:-<5}").into_bytes()).unwrap();
    let (workspace, label) = (workspace.parse().unwrap(), label.parse().unwrap());
    NewCredential::new(workspace, "openai", label, secret)
}

fn opened(registry: &Registry, label: &str) -> Result<String, Refusal> {
    opened_of(registry, "acme", label)
}

fn opened_of(registry: &Registry, workspace: &str, label: &str) -> Result<String, Refusal> {
    let ask = CredentialQuery {
        workspace,
        provider: "openai",
        label: Some(label),
        environment: None,
        pin: EnvironmentPin::Any,
    };
    let secret = registry.resolver().resolve(&ask)?.open()?;
    let text = String::from_utf8(secret.expose().to_vec()).unwrap();
    Ok(text.trim_end_matches('-').to_owned())
}

async fn backup(registry: &Arc<Registry>, to: &Path) -> Header {
    let mut backup = registry.backup(&act()).await.unwrap();
    let mut file = Vec::new();
    while let Some(piece) = backup.next().await {
        file.extend(piece.unwrap());
    }
    fs::write(to, file).unwrap();
    backup.header
}

/// Waits until the store is released.
async fn close(machine: &Machine, registry: Arc<Registry>) {
    drop(registry);
    drop(machine.backend().await);
}

/// All records, oldest first, except links between chains, whose time is not fixed.
async fn records(registry: &Registry) -> Vec<AuditRecord> {
    let all = AuditFilter::default();
    let found = registry.audit().search(&all, None, 1_000).await;
    let mut records = found.unwrap().records;
    records.reverse();
    records.retain(|record| record.event != Event::ChainsLinked);
    records
}

/// Returns when the installation's chain has linked to a workspace's, which it does a moment after
/// a change that creates the workspace or ends access. After that nothing is written in the
/// background.
async fn linked(registry: &Arc<Registry>, workspace: &str) {
    let id: crate::WorkspaceId = workspace.parse().unwrap();
    let is_linked = async || {
        let id = id.clone();
        let is_linked = registry.run_to_completion(|registry| async move {
            let link = registry.chains.registration(&id).and_then(|it| it.link);
            let state = registry.chains.of(&id).state();
            Ok(link == state.map(|state| state.head.link()))
        });
        is_linked.await.unwrap()
    };
    let until_linked = async {
        while !is_linked().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let limit = std::time::Duration::from_secs(10);
    tokio::time::timeout(limit, until_linked).await.unwrap();
}

/// Verifies the whole log, which must fail, and returns the damage.
async fn broken(registry: &Registry) -> crate::audit::Break {
    match registry.audit().verify().await {
        Err(VerifyError::Broken(found)) => found,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_backup_restores_completely_on_another_machine_with_the_same_master_key() {
    let (machine, registry) = Machine::running().await;
    let file = machine.path("backup");
    let token = fs::read_to_string(machine.path("admin-token")).unwrap();
    let header = backup(&registry, &file).await;
    assert_eq!(check(&file).unwrap(), header);
    let there = Machine::with_key_of(&machine);
    let restored = there.restore(&file).await.unwrap();
    assert_eq!((restored.epoch, &restored.header), (1, &header));
    let restored = there.open().await;
    assert_eq!(opened(&restored, "a").unwrap(), "sk-a");
    assert_eq!(
        restored.list(&Filter::default()),
        registry.list(&Filter::default())
    );
    assert!(restored.access().authenticate(token.trim()).is_some());
    let kept = fs::read_to_string(there.path("admin-token")).unwrap();
    assert_eq!(kept, token);
    restored.audit().verify().await.unwrap();
    let all = records(&restored).await;
    let last: Vec<_> = all.iter().rev().take(2).map(|it| it.event).collect();
    assert_eq!(last, [Event::BackupRestored, Event::BackupMade]);
    restored.add(&act(), key("b")).await.unwrap();
    let verified = restored.audit().verify().await.unwrap();
    close(&there, restored).await;
    let again = there.open().await;
    assert_eq!(
        again.audit().verify().await.unwrap(),
        verified,
        "recorded once"
    );
}

#[tokio::test]
async fn restored_run_records_continue_after_deleted_ones() {
    let (machine, registry) = Machine::running().await;
    registry.runs().set_retention(100);
    for n in 0..600 {
        registry.runs().record(run(n));
        if n % 100 == 0 {
            registry.runs().flush().await;
        }
    }
    let file = machine.path("backup");
    backup(&registry, &file).await;
    let kept = registry
        .runs()
        .search(usize::MAX, &RunFilter::default())
        .await;
    assert!((100..600).contains(&kept.len()), "{}", kept.len());
    let there = Machine::with_key_of(&machine);
    assert!(there.restore(&file).await.unwrap().run_blocks > 0);
    let restored = there.open().await;
    assert_eq!(
        restored
            .runs()
            .search(usize::MAX, &RunFilter::default())
            .await,
        kept
    );
    restored.runs().record(run(600));
    restored.runs().flush().await;
    let latest = restored.runs().search(2, &RunFilter::default()).await;
    assert_eq!((latest[0].latency_us, &latest[1]), (600, &kept[0]));
}

#[tokio::test]
async fn a_label_reused_after_a_revocation_resolves_to_the_new_key_after_a_restore() {
    let (machine, registry) = Machine::running().await;
    let filter = Filter::default();
    let gone = registry.list(&filter)[0].id.clone();
    let revoked = registry.revoke(&act(), &gone, Revocation::default()).await;
    revoked.unwrap();
    let replacement = NewCredential {
        secret: crate::NewSecret::Given(
            Secret::from_plaintext(b"sk-replacement".to_vec()).unwrap(),
        ),
        ..key("a")
    };
    registry.add(&act(), replacement).await.unwrap();
    let file = machine.path("backup");
    backup(&registry, &file).await;
    let there = Machine::with_key_of(&machine);
    there.restore(&file).await.unwrap();
    let restored = there.open().await;
    assert_eq!(opened(&restored, "a").as_deref(), Ok("sk-replacement"));
    assert_eq!(restored.list(&filter), registry.list(&filter));
}

/// A large record: a few hundred fill a file.
fn run(n: u64) -> Run {
    Run {
        at: jiff::Timestamp::from_second(1_795_305_600 + n as i64).unwrap(),
        request_id: "r".repeat(4_000).into(),
        workspace: "acme".parse().unwrap(),
        provider: "openai".parse().ok(),
        used: Some(Used {
            credential: format!("cred_{}", "a".repeat(26)).parse().unwrap(),
            label: "a".parse().unwrap(),
            environment: Environment::Live,
            version: 1,
        }),
        kind: RunKind::Traffic,
        refused: None,
        status: 200,
        outcome: "ok",
        latency_us: n,
        first_byte_us: None,
        tokens: Default::default(),
        run_id: None,
        tag: None,
    }
}

#[tokio::test]
async fn a_backup_during_writes_is_consistent_and_has_every_earlier_acknowledged_change() {
    let (machine, registry) = Machine::running().await;
    let writing = registry.clone();
    let writer = tokio::spawn(async move {
        for n in 0..200 {
            writing.add(&act(), key(&format!("w{n}"))).await.unwrap();
        }
    });
    while registry.list(&Filter::default()).len() < 50 {
        tokio::task::yield_now().await;
    }
    let acknowledged: Vec<_> = registry
        .list(&Filter::default())
        .into_iter()
        .map(|it| it.label.to_string())
        .collect();
    let file = machine.path("backup");
    backup(&registry, &file).await;
    writer.await.unwrap();
    let there = Machine::with_key_of(&machine);
    there.restore(&file).await.unwrap();
    let restored = there.open().await;
    let kept = restored.list(&Filter::default());
    assert!(kept.iter().all(|it| !it.damaged));
    for label in acknowledged {
        assert!(opened(&restored, &label).is_ok(), "{label}");
    }
    restored.audit().verify().await.unwrap();
    let all = records(&restored).await;
    let created = all.iter().filter(|it| it.event == Event::CredentialCreated);
    assert_eq!(created.count(), kept.len(), "log and documents agree");
}

#[tokio::test]
async fn a_damaged_truncated_or_extended_backup_is_refused_and_nothing_is_written() {
    let (machine, _registry, file) = Machine::backed_up().await;
    let whole = fs::read(&file).unwrap();
    let there = Machine::with_key_of(&machine);
    let refused = async |contents: &[u8]| {
        fs::write(&file, contents).unwrap();
        let error = there.restore(&file).await.unwrap_err();
        assert!(!there.path("store").exists() && !there.path("keyring").exists());
        assert_eq!(check(&file).unwrap_err().to_string(), error.to_string());
        error
    };
    for len in [
        0,
        10,
        20,
        100,
        whole.len() / 2,
        whole.len() - 33,
        whole.len() - 1,
    ] {
        let error = refused(&whole[..len]).await;
        let named = match len {
            0 | 10 => matches!(error, RestoreError::NotABackup { .. }),
            _ => matches!(error, RestoreError::Truncated { .. }),
        };
        assert!(named, "{len}: {error}");
    }
    for at in (19..whole.len()).step_by(whole.len() / 23) {
        let mut edited = whole.clone();
        edited[at] ^= 1;
        let error = refused(&edited).await;
        let named = matches!(
            error,
            RestoreError::Damaged { .. } | RestoreError::Truncated { .. }
        );
        assert!(named, "{at}: {error}");
        assert!(error.to_string().contains("take another one"), "{error}");
    }
    let error = refused(&[&whole[..], b"x"].concat()).await;
    assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
    let special = machine.path("special");
    let _socket = std::os::unix::net::UnixListener::bind(&special).unwrap();
    let error = there.restore(&special).await.unwrap_err().to_string();
    assert!(error.ends_with("not a regular file"), "{error}");
    let error = refused(b"PK\x03\x04 a zip, not ours at all").await;
    assert!(matches!(error, RestoreError::NotABackup { .. }), "{error}");
    let mut newer = whole.clone();
    newer[18] = 2;
    let error = refused(&newer).await;
    assert!(
        error.to_string().contains("with the release that made it"),
        "{error}"
    );
}

#[tokio::test]
async fn an_edited_backup_with_a_recomputed_checksum_does_not_decrypt() {
    use sha2::Digest;
    let (machine, _registry, file) = Machine::backed_up().await;
    let whole = fs::read(&file).unwrap();
    let there = Machine::with_key_of(&machine);
    let after = |text: &[u8]| {
        let mut windows = whole.windows(text.len());
        windows.position(|bytes| bytes == text).unwrap() + text.len()
    };
    // In the header, and in the last chunk.
    for at in [
        after(b"\"epoch\":"),
        after(b"\"installation\":\"ins_"),
        whole.len() - 60,
    ] {
        let mut forged = whole.clone();
        forged[at] ^= 1;
        let end = forged.len() - 32;
        let sum = sha2::Sha256::digest(&forged[..end]);
        forged[end..].copy_from_slice(&sum);
        fs::write(&file, forged).unwrap();
        check(&file).unwrap();
        let error = there.restore(&file).await.unwrap_err();
        assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
        assert!(!there.path("store").exists() && !there.path("keyring").exists());
    }
}

#[tokio::test]
async fn only_the_header_of_a_backup_is_readable() {
    let (machine, _registry, file) = Machine::backed_up().await;
    let token = fs::read_to_string(machine.path("admin-token")).unwrap();
    let contents = fs::read(&file).unwrap();
    let holds = |text: &str| {
        let text = text.as_bytes();
        contents.windows(text.len()).any(|bytes| bytes == text)
    };
    assert!(holds("\"installation\""));
    for unreadable in ["acme", "openai", "sk-a", token.trim(), "cred_"] {
        assert!(!holds(unreadable), "{unreadable}");
    }
}
