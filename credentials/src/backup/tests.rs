use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use keyside_config::{Catalogue, CredentialRules, EnvironmentPin, KmsDriver, MasterKeySource};
use tempfile::TempDir;

use super::*;
use crate::{
    Act, Ask, Environment, Filter, Kms, KmsError, NewCredential, NewWorkspace, OpenError,
    OpenOptions, Refusal, Registry, Revocation, Secret, SystemClock, audit::Event,
    storage::SledStorage,
};

/// A data folder, and a master key beside it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Another folder with the same master key.
    fn with_key_of(other: &Self) -> Self {
        let place = Self::new();
        fs::copy(other.master_key(), place.master_key()).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn master_key(&self) -> PathBuf {
        self.path("master-key")
    }

    fn kms(&self) -> keyside_config::Kms {
        keyside_config::Kms {
            driver: KmsDriver::Local,
            master_key: MasterKeySource::Generated(self.master_key()),
            previous_master_key: None,
        }
    }

    async fn open(&self) -> Arc<Registry> {
        self.try_open().await.unwrap()
    }

    async fn try_open(&self) -> Result<Arc<Registry>, OpenError> {
        static BUILTIN: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::builtin()));
        let keyring = self.path("keyring");
        let storage = loop {
            // The task that writes the runs of the one before lets go of the store a moment later.
            match SledStorage::open(&self.path("store")).await {
                Ok(storage) => break storage,
                Err(crate::storage::StoreOpenError::Locked { .. }) => {
                    tokio::task::yield_now().await
                }
                Err(error) => return Err(error.into()),
            }
        };
        Registry::open(OpenOptions {
            storage: Arc::new(storage),
            kms: Kms::open(&self.kms(), &keyring).unwrap(),
            keyring,
            catalogue: BUILTIN.clone(),
            rules: CredentialRules { expiring_days: 30 },
            clock: Arc::new(SystemClock),
        })
        .await
    }

    /// One with a workspace and a key, running.
    async fn begun() -> (Self, Arc<Registry>) {
        let place = Self::new();
        let registry = place.open().await;
        let acme = NewWorkspace {
            id: "acme".parse().unwrap(),
            name: "Acme".to_owned(),
        };
        registry.create_workspace(&act(), acme).await.unwrap();
        registry.add(&act(), key("a")).await.unwrap();
        (place, registry)
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
        let restore = Restore {
            store: &self.path("store"),
            keyring: &self.path("keyring"),
            kms: &self.kms(),
            other_installation,
            older,
        };
        restore.run(file).await
    }

    /// What a disk that lost the store leaves.
    fn lose_the_store(&self) {
        fs::remove_dir_all(self.path("store")).unwrap();
    }
}

fn act() -> Act {
    Act {
        actor: "tok_tester".parse().unwrap(),
        request_id: "req_1".to_owned(),
    }
}

fn key(label: &str) -> NewCredential {
    NewCredential {
        workspace: "acme".parse().unwrap(),
        provider: "openai".to_owned(),
        label: label.parse().unwrap(),
        environment: Environment::Live,
        secret: Secret::from_plaintext(format!("sk-{label}").into_bytes()).unwrap(),
        usage_tag: None,
        expires_at: None,
        endpoint: None,
        default: false,
        idempotency: None,
    }
}

fn opened(registry: &Registry, label: &str) -> Result<String, Refusal> {
    let ask = Ask {
        workspace: "acme",
        provider: "openai",
        label: Some(label),
        environment: None,
        pin: EnvironmentPin::Any,
    };
    let secret = registry.resolver().resolve(&ask)?.open()?;
    Ok(String::from_utf8(secret.expose().to_vec()).unwrap())
}

async fn backup(registry: &Registry, to: &Path) -> Header {
    let mut backup = registry.backup(&act()).await.unwrap();
    let mut file = Vec::new();
    while let Some(piece) = backup.next().await {
        file.extend(piece.unwrap());
    }
    fs::write(to, file).unwrap();
    backup.header
}

/// Waits until the store is let go of.
async fn close(place: &Place, registry: Arc<Registry>) {
    drop(registry);
    let store = place.path("store");
    while matches!(
        SledStorage::open(&store).await,
        Err(crate::storage::StoreOpenError::Locked { .. })
    ) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_backup_comes_back_whole_on_another_machine_with_the_same_master_key() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    let token = fs::read_to_string(place.path("admin-token")).unwrap();
    let header = backup(&registry, &file).await;
    assert_eq!(check(&file).unwrap(), header);
    let there = Place::with_key_of(&place);
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
    let records = restored.audit().records(1, 100).await.unwrap();
    let last: Vec<_> = records.iter().rev().take(2).map(|it| it.event).collect();
    assert_eq!(last, [Event::BackupRestored, Event::BackupMade]);
    restored.add(&act(), key("b")).await.unwrap();
    let head = restored.audit().head().await;
    close(&there, restored).await;
    let again = there.open().await;
    assert_eq!(again.audit().head().await, head, "on record once");
}

#[tokio::test]
async fn a_backup_under_writes_is_one_state_and_nothing_acknowledged_before_it_is_missing() {
    let (place, registry) = Place::begun().await;
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
    let file = place.path("backup");
    backup(&registry, &file).await;
    writer.await.unwrap();
    let there = Place::with_key_of(&place);
    there.restore(&file).await.unwrap();
    let restored = there.open().await;
    let kept = restored.list(&Filter::default());
    assert!(kept.iter().all(|it| !it.damaged));
    for label in acknowledged {
        assert!(opened(&restored, &label).is_ok(), "{label}");
    }
    restored.audit().verify().await.unwrap();
    let records = restored.audit().records(1, 1_000).await.unwrap();
    let created = records
        .iter()
        .filter(|it| it.event == Event::CredentialCreated);
    assert_eq!(created.count(), kept.len(), "log and documents agree");
}

#[tokio::test]
async fn a_damaged_cut_or_lengthened_file_is_refused_and_nothing_is_written() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    let whole = fs::read(&file).unwrap();
    let there = Place::with_key_of(&place);
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
async fn a_file_whose_checksum_was_made_to_fit_does_not_open() {
    use sha2::Digest;
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    let whole = fs::read(&file).unwrap();
    let there = Place::with_key_of(&place);
    // In the header's epoch, and in the last chunk.
    let epoch = whole
        .windows(9)
        .position(|bytes| bytes == b"\"epoch\":0")
        .unwrap();
    for at in [epoch + 8, whole.len() - 60] {
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
async fn a_store_that_is_there_is_never_written_over() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    let error = place.restore_as(&file, true, true).await.unwrap_err();
    assert!(matches!(error, RestoreError::StoreThere { .. }), "{error}");
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

#[tokio::test]
async fn another_master_key_says_which_is_wanted_and_none_is_made() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    let header = backup(&registry, &file).await;
    let there = Place::new();
    let error = there.restore(&file).await.unwrap_err();
    assert!(
        matches!(error, RestoreError::Kms(KmsError::NotThere { .. })),
        "{error}"
    );
    assert!(!there.master_key().exists());
    fs::write(there.master_key(), crate::MasterKey::generate().as_bytes()).unwrap();
    let error = there.restore(&file).await.unwrap_err();
    assert!(error.to_string().contains(&header.master_key), "{error}");
    assert!(!there.path("store").exists() && !there.path("keyring").exists());
}

#[tokio::test]
async fn what_happened_since_is_only_undone_when_someone_says_so() {
    let (place, registry) = Place::begun().await;
    let (old, new) = (place.path("old"), place.path("new"));
    backup(&registry, &old).await;
    let id = registry.list(&Filter::default())[0].id.clone();
    registry
        .revoke(&act(), &id, Revocation::default())
        .await
        .unwrap();
    backup(&registry, &new).await;
    close(&place, registry).await;
    place.lose_the_store();
    let error = place.restore(&old).await.unwrap_err();
    assert!(matches!(error, RestoreError::Older { .. }), "{error}");
    assert!(error.to_string().contains("--older"), "{error}");
    place.restore(&new).await.unwrap();
    let registry = place.open().await;
    assert!(opened(&registry, "a").is_err());
    close(&place, registry).await;
    place.lose_the_store();
    let restored = place.restore_as(&old, false, true).await.unwrap();
    assert_eq!(restored.epoch, 2);
    let registry = place.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
    close(&place, registry).await;
    // The newer one is of the epoch before now, though its log is longer.
    place.lose_the_store();
    let error = place.restore(&new).await.unwrap_err();
    assert!(error.to_string().contains("epoch"), "{error}");
}

#[tokio::test]
async fn another_installation_is_not_replaced_unless_someone_says_so_and_its_keyring_is_kept() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    let other = Place::with_key_of(&place);
    let theirs = other.open().await;
    close(&other, theirs).await;
    other.lose_the_store();
    let keyring = fs::read(other.path("keyring")).unwrap();
    let error = other.restore(&file).await.unwrap_err();
    assert!(
        matches!(error, RestoreError::OtherInstallation { here: Some(_), .. }),
        "{error}"
    );
    // Only the head of its log remains.
    fs::rename(other.path("keyring"), other.path("aside")).unwrap();
    let error = other.restore(&file).await.unwrap_err();
    assert!(
        matches!(error, RestoreError::OtherInstallation { here: None, .. }),
        "{error}"
    );
    fs::rename(other.path("aside"), other.path("keyring")).unwrap();
    other.restore_as(&file, true, false).await.unwrap();
    assert_eq!(
        fs::read(other.path("keyring.before-restore-0")).unwrap(),
        keyring
    );
    assert_eq!(opened(&*other.open().await, "a").unwrap(), "sk-a");
}

#[tokio::test]
async fn a_restore_that_was_cut_off_has_restored_nothing_and_can_be_begun_again() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    let there = Place::with_key_of(&place);
    there.restore(&file).await.unwrap();
    // All but the last step.
    fs::rename(there.path("store"), there.path("store.restoring")).unwrap();
    assert!(there.try_open().await.is_err());
    there.lose_the_store();
    there.restore(&file).await.unwrap();
    assert!(!there.path("store.restoring").exists());
    assert_eq!(opened(&*there.open().await, "a").unwrap(), "sk-a");
}

#[tokio::test]
async fn nothing_in_a_backup_is_readable_but_its_header() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    let token = fs::read_to_string(place.path("admin-token")).unwrap();
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

#[tokio::test]
async fn the_keyring_that_remains_is_kept_whosoever_it_is_and_none_is_written_over() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    let globex = NewWorkspace {
        id: "globex".parse().unwrap(),
        name: "Globex".to_owned(),
    };
    registry.create_workspace(&act(), globex).await.unwrap();
    close(&place, registry).await;
    place.lose_the_store();
    let first = fs::read(place.path("keyring")).unwrap();
    place.restore_as(&file, false, true).await.unwrap();
    assert_eq!(
        fs::read(place.path("keyring.before-restore-0")).unwrap(),
        first
    );
    // As if the first one had been put back by hand, and something made since.
    let second = fs::read(place.path("keyring")).unwrap();
    fs::write(place.path("keyring.before-restore-1"), "someone's").unwrap();
    place.lose_the_store();
    place.restore_as(&file, false, true).await.unwrap();
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    assert_eq!(read("keyring.before-restore-0"), first);
    assert_eq!(read("keyring.before-restore-1"), b"someone's");
    assert_eq!(read("keyring.before-restore-1-2"), second);
}

#[tokio::test]
async fn leave_to_replace_another_installation_is_none_to_go_back_in_the_same_one() {
    let (place, registry) = Place::begun().await;
    let (old, new) = (place.path("old"), place.path("new"));
    backup(&registry, &old).await;
    registry.add(&act(), key("b")).await.unwrap();
    backup(&registry, &new).await;
    close(&place, registry).await;
    place.lose_the_store();
    let error = place.restore_as(&old, true, false).await.unwrap_err();
    assert!(matches!(error, RestoreError::Older { .. }), "{error}");
    place.restore_as(&new, true, false).await.unwrap();
    place.lose_the_store();
    fs::remove_file(place.path("audit-head")).unwrap();
    let error = place.restore_as(&old, true, false).await.unwrap_err();
    assert!(error.to_string().contains("epoch"), "{error}");
}

#[tokio::test]
async fn the_owners_token_that_is_left_after_a_restore_is_the_backups() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    let token = fs::read_to_string(place.path("admin-token")).unwrap();
    let other = Place::with_key_of(&place);
    let theirs = other.open().await;
    close(&other, theirs).await;
    other.lose_the_store();
    let their_token = fs::read_to_string(other.path("admin-token")).unwrap();
    other.restore_as(&file, true, false).await.unwrap();
    let read = |name: &str| fs::read_to_string(other.path(name)).unwrap();
    assert_eq!(read("admin-token"), token);
    assert_eq!(read("admin-token.before-restore-0"), their_token);
    fs::remove_file(place.path("admin-token")).unwrap();
    let without = place.path("without");
    backup(&registry, &without).await;
    other.lose_the_store();
    other.restore_as(&without, false, true).await.unwrap();
    assert!(!other.path("admin-token").exists(), "the backup had none");
    let registry = other.open().await;
    assert!(registry.access().authenticate(token.trim()).is_some());
}
