use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::{
    KeyringError, KmsError, Role,
    audit::VerifyError,
    authentic,
    sealing::Place,
    storage::{Floors, Log, SledStorage, StorageError},
};

#[tokio::test]
async fn the_first_start_leaves_an_owner_token_that_works_and_is_kept_only_hashed() {
    let installation = Installation::new();
    let registry = installation.open().await;
    let file = registry.access().token_file().to_owned();
    assert_eq!(file, installation.folder.path().join("admin-token"));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let token = fs::read_to_string(&file).unwrap().trim().to_owned();
    let owner = registry.access().authenticate(&token).unwrap();
    assert_eq!(owner.role, Role::Owner);
    for wrong in [
        "",
        "ks_",
        &token[1..],
        &format!("{token}x"),
        &token.to_uppercase(),
    ] {
        assert_eq!(registry.access().authenticate(wrong), None);
    }
    installation.memory.tamper(|documents, logs| {
        for stored in documents
            .values()
            .map(|document| &document.body)
            .chain(logs.values())
        {
            assert!(!String::from_utf8_lossy(stored).contains(&token[3..]));
        }
    });
    drop(registry);
    fs::remove_file(&file).unwrap();
    let registry = installation.open().await;
    assert_eq!(registry.access().authenticate(&token), Some(owner));
    assert!(!file.exists(), "a token is shown once");
}

#[tokio::test]
async fn a_token_slipped_into_the_store_lets_nobody_in() {
    let installation = Installation::new();
    let other = Installation::new();
    drop((installation.open().await, other.open().await));
    let token = fs::read_to_string(other.folder.path().join("admin-token")).unwrap();
    let mut theirs = None;
    other.memory.tamper(|documents, _| {
        theirs = documents
            .iter()
            .next()
            .map(|(key, document)| (key.clone(), document.clone()))
    });
    let (key, document) = theirs.unwrap();
    installation
        .memory
        .tamper(|documents, _| drop(documents.insert(key, document)));
    let registry = installation.open().await;
    assert_eq!(registry.access().authenticate(token.trim()), None);
}

#[tokio::test]
async fn a_missing_keyring_over_data_is_never_answered_with_a_new_one() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    fs::remove_file(installation.keyring()).unwrap();
    let error = installation.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::KeyringMissing { .. }), "{error}");
    assert!(error.to_string().contains("Restore that file"), "{error}");
    assert!(!installation.keyring().exists());
}

#[tokio::test]
async fn a_wrong_master_key_says_which_is_wanted_and_changes_nothing() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let before = installation.memory.copy();
    let kms = Kms::local(MasterKey::parse(&[10; 32], "a test").unwrap());
    let error = Registry::open(OpenOptions {
        kms,
        ..installation.options(installation.memory.clone())
    })
    .await
    .err()
    .unwrap();
    assert!(
        matches!(
            error,
            OpenError::Keyring(KeyringError::Kms(KmsError::WrongMasterKey { .. }))
        ),
        "{error}"
    );
    assert!(error.to_string().contains("KMS_MASTER_KEY_FILE"), "{error}");
    let dump = |memory: &MemoryStorage| {
        let mut all = String::new();
        memory.tamper(|documents, logs| all = format!("{documents:?}{logs:?}"));
        all
    };
    assert_eq!(dump(&before), dump(&installation.memory));
    installation.open().await;
}

#[tokio::test]
async fn a_store_that_was_cut_or_put_back_is_refused_until_someone_says_so() {
    let (installation, registry, id) = one_key().await;
    let older = installation.memory.copy();
    registry
        .revoke(&act(), &id, Revocation::default())
        .await
        .unwrap();
    drop(registry);
    let restored = Installation {
        memory: Arc::new(older),
        ..installation
    };
    let error = restored.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::Replaced { .. }), "{error}");
    assert!(
        error.to_string().contains("audit record 4 is missing"),
        "{error}"
    );
    fs::remove_file(restored.anchor()).unwrap();
    assert!(
        restored
            .open()
            .await
            .resolver()
            .resolve(&ask("acme"))
            .is_ok()
    );
}

#[tokio::test]
async fn an_emptied_store_is_refused_as_cut() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let emptied = Installation {
        memory: Arc::default(),
        ..installation
    };
    let error = emptied.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::Replaced { .. }), "{error}");
    fs::remove_file(emptied.anchor()).unwrap();
    let error = emptied.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::StoreMissing { .. }), "{error}");
}

#[tokio::test]
async fn a_torn_or_missing_anchor_is_no_finding() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    fs::write(installation.anchor(), "").unwrap();
    installation.open().await;
    fs::remove_file(installation.anchor()).unwrap();
    installation.open().await;
}

#[tokio::test]
async fn a_full_disk_refuses_the_change_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let installation = Installation::new();
    let open = async |floors: Floors| {
        let storage = Arc::new(SledStorage::open_with_room(&store, floors).await.unwrap());
        (
            storage.clone(),
            Registry::open(installation.options(storage)).await.unwrap(),
        )
    };
    let (storage, registry) = open(Floors::NONE).await;
    registry
        .create_workspace(&act(), workspace("acme"))
        .await
        .unwrap();
    registry.add(&act(), key("default", "sk-1")).await.unwrap();
    close(registry, storage).await;
    let (storage, registry) = open(Floors::above(u64::MAX)).await;
    let head = seen(&registry).await;
    for _ in 0..3 {
        let error = registry.add(&act(), key("more", "sk-2")).await.unwrap_err();
        assert!(
            matches!(
                error,
                ChangeError::StoreUnavailable(StorageError::Full { .. })
            ),
            "{error}"
        );
        assert!(error.to_string().contains("free some space"), "{error}");
    }
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-1"
    );
    assert_eq!(
        (
            registry.list(&Filter::default()).len(),
            seen(&registry).await
        ),
        (1, head)
    );
    close(registry, storage).await;
    let (_, registry) = open(Floors::NONE).await;
    registry.add(&act(), key("more", "sk-2")).await.unwrap();
}

/// Waits for the task that writes run records: it has the store as well.
async fn close(registry: Arc<Registry>, storage: Arc<SledStorage>) {
    drop(registry);
    while Arc::strong_count(&storage) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_keyring_that_cannot_be_replaced_refuses_the_workspace() {
    let (installation, registry) = Installation::with_acme().await;
    // A folder where the temporary file should go: root may write everywhere else.
    fs::create_dir(installation.folder.path().join("keyring.new")).unwrap();
    let error = registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap_err();
    assert!(matches!(error, ChangeError::StoreUnavailable(_)), "{error}");
    assert_eq!(registry.workspaces(&Scope::All).len(), 1);
}

#[tokio::test]
async fn the_store_on_disk_is_the_one_that_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let installation = Installation::new();
    let open = async || {
        let storage = Arc::new(
            SledStorage::open(&folder.path().join("store"))
                .await
                .unwrap(),
        );
        (
            storage.clone(),
            Registry::open(installation.options(storage)).await.unwrap(),
        )
    };
    let (storage, registry) = open().await;
    registry
        .create_workspace(&act(), workspace("acme"))
        .await
        .unwrap();
    let adding: Vec<_> = (0..50)
        .map(|n| {
            let registry = registry.clone();
            tokio::spawn(async move {
                registry
                    .add(&act(), key(&format!("k{n}"), &format!("sk-{n}")))
                    .await
            })
        })
        .collect();
    for adding in adding {
        adding.await.unwrap().unwrap();
    }
    close(registry, storage).await;
    let (_storage, registry) = open().await;
    assert_eq!(registry.list(&Filter::default()).len(), 50);
    let label = Ask {
        label: Some("k37"),
        ..ask("acme")
    };
    assert_eq!(
        opened(registry.resolver().resolve(&label)).unwrap(),
        "sk-37"
    );
    registry.audit().verify().await.unwrap();
}

#[tokio::test]
async fn a_longer_log_in_the_place_of_the_one_that_was_here_is_refused() {
    let (installation, registry, id) = one_key().await;
    let apart = installation.memory.copy();
    registry
        .revoke(&act(), &id, Revocation::default())
        .await
        .unwrap();
    drop(registry);
    let anchor = fs::read(installation.anchor()).unwrap();
    // The same installation went another way, in which the key was not revoked and more has happened.
    let elsewhere = Installation {
        memory: Arc::new(apart),
        ..installation
    };
    fs::remove_file(elsewhere.anchor()).unwrap();
    let registry = elsewhere.open().await;
    for n in 0..3 {
        let more = key(&format!("k{n}"), "sk-2");
        registry.add(&act(), more).await.unwrap();
    }
    drop(registry);
    fs::write(elsewhere.anchor(), anchor).unwrap();
    let error = elsewhere.try_open().await.err().unwrap();
    let said = "audit record 4 is another than the one that was here";
    assert!(error.to_string().contains(said), "{error}");
}

#[tokio::test]
async fn a_record_of_a_later_release_is_no_tampering_and_stops_the_start() {
    let (installation, registry) = Installation::with_acme().await;
    let installation_key = registry.inner.keyring.installation();
    installation.memory.tamper(|_, logs| {
        let (&(log, position), last) = logs.iter_mut().next_back().unwrap();
        assert_eq!(log, Log::Audit);
        let entry = authentic::Stored::parse(last).unwrap();
        let mut record: serde_json::Value = entry.claims().unwrap();
        assert_eq!(record["position"], position);
        record["event"] = "of_a_later_release".into();
        *last = authentic::write(installation_key, &Place::Record, &record);
    });
    let verified = registry.audit().verify().await;
    assert!(
        matches!(verified, Err(VerifyError::Broken(_))),
        "its hash is not the one that was told"
    );
    drop(registry);
    fs::remove_file(installation.anchor()).unwrap();
    let error = installation.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::Newer { position: 2 }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_while_it_is_verified_is_whole() {
    let (_installation, registry) = Installation::with_acme().await;
    let growing = tokio::spawn({
        let registry = registry.clone();
        async move {
            for n in 0..200 {
                let more = workspace(&format!("w{n}"));
                registry.create_workspace(&act(), more).await.unwrap();
            }
        }
    });
    while !growing.is_finished() {
        registry.audit().verify().await.unwrap();
    }
    growing.await.unwrap();
}
