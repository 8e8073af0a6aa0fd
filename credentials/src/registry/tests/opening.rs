use std::os::unix::fs::PermissionsExt;

use keyside_sled::{EmbeddedStore, Floors};
use keyside_store::chain::Damage;

use super::*;
use crate::{
    access::{NewToken, Role},
    keyring::KeyringError,
    kms::KmsError,
};

#[tokio::test]
async fn the_first_start_writes_a_working_owner_token_and_stores_only_its_hash() {
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
    for stored in installation.all_stored() {
        assert!(!String::from_utf8_lossy(&stored).contains(&token[3..]));
    }
    drop(registry);
    fs::remove_file(&file).unwrap();
    let registry = installation.open().await;
    assert_eq!(registry.access().authenticate(&token), Some(owner));
    assert!(!file.exists(), "a token is shown once");
}

#[tokio::test]
async fn a_token_planted_in_the_store_is_refused() {
    let installation = Installation::new();
    let other = Installation::new();
    drop((installation.open().await, other.open().await));
    let token = fs::read_to_string(other.folder.path().join("admin-token")).unwrap();
    let theirs = other.stored(&other.stored_at("{\"id\":\"tok_"));
    let ours = installation.stored_at("{\"id\":\"tok_");
    installation.put(&ours, &theirs);
    let planted = ours.replace("object/", "object/0");
    installation.put(&planted, &theirs);
    let registry = installation.open().await;
    assert_eq!(registry.access().authenticate(token.trim()), None);
}

/// Otherwise someone who can write and read the data folder, without a key, could get one.
#[tokio::test]
async fn no_owner_token_is_created_in_place_of_a_damaged_one() {
    for is_gone in [true, false] {
        let installation = Installation::new();
        let registry = installation.open().await;
        let file = registry.access().token_file().to_owned();
        drop(registry);
        fs::remove_file(&file).unwrap();
        let stored = installation.stored_at("{\"id\":\"tok_");
        match is_gone {
            true => installation.remove(&stored),
            false => installation.tamper(&stored, |token| token[20] ^= 1),
        }
        let registry = installation.open().await;
        assert!(!file.exists(), "{is_gone}");
        assert!(registry.access().tokens(&Scope::All).is_empty());
        // As `keyside token recover` does, which needs the master key.
        let new = NewToken {
            name: "Recovered".parse().unwrap(),
            role: Role::Owner,
            scope: Scope::All,
            expires_at: None,
        };
        let made = registry.create_token(&act(), &Scope::All, new).await;
        let owner = registry.access().authenticate(&made.unwrap().text);
        assert_eq!(owner.unwrap().role, Role::Owner);
    }
}

#[tokio::test]
async fn a_missing_keyring_is_never_replaced_if_there_is_data() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    fs::remove_file(installation.keyring()).unwrap();
    let error = installation.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::KeyringMissing { .. }), "{error}");
    assert!(error.to_string().contains("Restore that file"), "{error}");
    assert!(!installation.keyring().exists());
}

#[tokio::test]
async fn no_store_is_created_if_a_keyring_or_anchors_of_a_lost_one_exist() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let (keyring, heads) = (installation.keyring(), installation.heads());
    let refused = || match Registry::expect_no_store_lost(&keyring) {
        Ok(()) => false,
        Err(error) => {
            assert!(matches!(error, OpenError::StoreMissing { .. }), "{error}");
            true
        }
    };
    assert!(refused());
    let aside = keyring.with_file_name("aside");
    fs::rename(&heads, &aside).unwrap();
    assert!(refused(), "the keyring proves it");
    fs::rename(&aside, &heads).unwrap();
    fs::remove_file(&keyring).unwrap();
    assert!(refused(), "the anchors prove it");
    fs::rename(&heads, &aside).unwrap();
    assert!(!refused());
    assert!(!keyring.exists() && !heads.exists(), "nothing is made");
}

#[tokio::test]
async fn a_wrong_master_key_names_the_required_one_and_changes_nothing() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let before = installation.memory.copy();
    let kms = Kms::local(MasterKey::parse(&[10; 32], "a test").unwrap());
    let error = open_without_tasks(OpenOptions {
        kms,
        ..installation.options(installation.backend())
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
    {
        let (now, before) = (installation.memory.contents(), before.contents());
        assert!(now.objects == before.objects && now.segments == before.segments);
    }
    installation.open().await;
}

#[tokio::test]
async fn a_rolled_back_store_is_refused_with_the_remedy() {
    let (installation, registry, _) = one_key().await;
    let older = installation.memory.copy();
    let made = registry.create_workspace(&act(), workspace("globex")).await;
    made.unwrap();
    drop(registry);
    let newest = installation.memory.copy();
    let installation = installation.with_store(older);
    let (damage, said) = installation.damage().await;
    assert!(matches!(damage, Damage::Older { .. }), "{said}");
    assert!(said.contains("restore --older"), "{said}");
    installation.with_store(newest).open().await;
}

#[tokio::test]
async fn a_store_with_one_rolled_back_workspace_serves_all_others() {
    let (installation, registry, id) = one_key().await;
    let older = installation.memory.copy();
    let revoked = registry.revoke(&act(), &id, Revocation::default()).await;
    revoked.unwrap();
    drop(registry);
    let installation = installation.with_store(older);
    let registry = installation.open().await;
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))),
        Err(Refusal::CredentialUndecryptable)
    );
    assert!(registry.audit().verify().await.is_err());
}

#[tokio::test]
async fn an_emptied_store_is_refused_if_anything_proves_that_it_had_data() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let installation = installation.with_store(Memory::new());
    for _ in 0..2 {
        let error = installation.try_open().await.err().unwrap();
        assert!(matches!(error, OpenError::StoreMissing { .. }), "{error}");
        // The second time, only the workspace keys in the keyring prove it.
        let _ = fs::remove_dir_all(installation.heads());
    }
}

#[tokio::test]
async fn missing_and_truncated_anchors_are_reported() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let whole = installation.copy();
    fs::remove_dir_all(installation.heads()).unwrap();
    let error = installation.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::AnchorMissing { .. }), "{error}");
    assert!(!installation.heads().exists(), "none is made");
    copy_files(&whole.heads(), &installation.heads());
    fs::remove_file(installation.heads().join("installation")).unwrap();
    let error = installation.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::AnchorMissing { .. }), "{error}");
    assert!(
        error.to_string().contains("/heads/installation is gone"),
        "{error}"
    );
    copy_files(&whole.heads(), &installation.heads());
    installation.open().await;
    fs::write(installation.heads().join("installation"), "").unwrap();
    let error = installation.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_first_start_interrupted_before_its_anchor_is_continued() {
    let installation = Installation::new();
    drop(installation.open().await);
    fs::remove_dir_all(installation.heads()).unwrap();
    let registry = installation.open().await;
    assert!(installation.heads().join("installation").exists());
    registry
        .audit()
        .refused(&act(), "wrong-token")
        .await
        .unwrap();
    drop(registry);
    fs::remove_dir_all(installation.heads()).unwrap();
    let error = installation.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::AnchorMissing { .. }), "{error}");
}

#[tokio::test]
async fn a_keyring_newer_than_a_rolled_back_store_and_its_anchors_is_detected() {
    let (installation, registry) = Installation::with_acme().await;
    let before = installation.copy();
    let made = registry.create_workspace(&act(), workspace("globex")).await;
    made.unwrap();
    let noticed =
        |registry: &Registry| open::unregistered::keys(&registry.chains, &registry.keyring);
    assert_eq!(noticed(&registry), []);
    fs::copy(installation.keyring(), before.keyring()).unwrap();
    let registry = before.open().await;
    assert_eq!(noticed(&registry), ["globex".parse().unwrap()]);
}

#[tokio::test]
async fn anchors_behind_the_store_after_a_power_cut_are_accepted() {
    let (installation, registry) = Installation::with_acme().await;
    let before = installation.copy();
    for n in 0..70 {
        let new = key(&format!("k{n}"), "sk-1");
        registry.add(&act(), new).await.unwrap();
    }
    drop(registry);
    installation.put_back_anchors(&before);
    let registry = installation.open().await;
    assert_eq!(registry.list(&Filter::default()).len(), 70);
    registry.audit().verify().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_only_the_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let installation = Installation::new();
    let open = async |floors: Floors| {
        let storage = EmbeddedStore::open_with_floors(&store, floors)
            .await
            .unwrap();
        let registry = open_without_tasks(installation.options(storage.backend())).await;
        (storage, registry.unwrap())
    };
    let (storage, registry) = open(Floors::above(0)).await;
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
    let (_, registry) = open(Floors::above(0)).await;
    registry.add(&act(), key("more", "sk-2")).await.unwrap();
}

/// Waits for the task that writes run records, which has the store open, too.
async fn close(registry: Arc<Registry>, storage: Arc<EmbeddedStore>) {
    drop(registry);
    while Arc::strong_count(&storage) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_workspace_is_not_created_if_the_keyring_cannot_be_written() {
    let (installation, registry) = Installation::with_acme().await;
    // A folder at the path of the temporary file: root may write everywhere else.
    fs::create_dir(installation.folder.path().join("keyring.new")).unwrap();
    let error = registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap_err();
    assert!(matches!(error, ChangeError::StoreUnavailable(_)), "{error}");
    assert_eq!(registry.workspaces(&Scope::All).len(), 1);
}

#[tokio::test]
async fn the_store_on_disk_is_read_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let installation = Installation::new();
    let open = async || {
        let storage = EmbeddedStore::open(&folder.path().join("store")).await;
        let storage = storage.unwrap();
        let registry = open_without_tasks(installation.options(storage.backend())).await;
        (storage, registry.unwrap())
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
    let label = CredentialQuery {
        label: Some("k37"),
        ..ask("acme")
    };
    assert_eq!(
        opened(registry.resolver().resolve(&label)).unwrap(),
        "sk-37"
    );
    registry.audit().verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_during_its_verification_verifies() {
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
