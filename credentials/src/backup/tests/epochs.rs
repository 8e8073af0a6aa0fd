//! A restore starts a new epoch: every chain continues with a higher epoch, and heads from before
//! the restore are refused.

use super::*;

/// The chains of [`Place::begun`], and one whose workspace is erased.
fn chains() -> [ChainName; 3] {
    [
        ChainName::installation(),
        ChainName::workspace("acme"),
        ChainName::workspace("globex"),
    ]
}

async fn head(backend: &Backend, chain: &ChainName) -> Vec<u8> {
    let head = backend.storage.get(&chain.head_key()).await.unwrap();
    head.unwrap_or_else(|| panic!("{chain} has no head"))
}

/// Replaces a head and returns the previous one.
async fn put_back(place: &Place, chain: &ChainName, bytes: &[u8]) -> Vec<u8> {
    let backend = place.backend().await;
    let there = head(&backend, chain).await;
    let storage = &backend.storage;
    let swapped = storage.swap(&chain.head_key(), Some(&there), bytes).await;
    swapped.unwrap();
    storage.sync().await.unwrap();
    there
}

async fn with_an_erased_workspace() -> (Place, Arc<Registry>) {
    let (place, registry) = Place::begun().await;
    registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap();
    let globex = "globex".parse().unwrap();
    registry
        .erase_workspace(&act(), &globex, None)
        .await
        .unwrap();
    (place, registry)
}

#[tokio::test]
async fn each_restore_increases_the_epoch_of_every_chain_and_changes_continue_in_it() {
    let (place, registry) = with_an_erased_workspace().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    close(&place, registry).await;
    for epoch in 1..=3 {
        place.lose_the_store();
        let restored = place.restore_as(&file, false, true).await.unwrap();
        assert_eq!(restored.epoch, epoch);
        let backend = place.backend().await;
        for chain in chains() {
            let stored = head(&backend, &chain).await;
            assert_eq!(
                Head::parse_unverified(&stored).unwrap().epoch,
                epoch,
                "{chain}"
            );
            let anchor = chain.as_str().replace('/', ".");
            let anchor = fs::read(place.path("heads").join(anchor)).unwrap();
            assert_eq!(anchor, stored, "{chain}");
        }
        drop(backend);
        let registry = place.open().await;
        assert_eq!(registry.epoch(), epoch);
        assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
        registry.add(&act(), key("b")).await.unwrap();
        registry.audit().verify().await.unwrap();
        close(&place, registry).await;
        let backend = place.backend().await;
        let acme = head(&backend, &ChainName::workspace("acme")).await;
        assert_eq!(Head::parse_unverified(&acme).unwrap().epoch, epoch);
    }
}

#[tokio::test]
async fn without_a_keyring_the_epoch_is_taken_from_the_anchors() {
    let (place, registry) = Place::begun().await;
    let (old, new) = (place.path("old"), place.path("new"));
    backup(&registry, &old).await;
    backup(&registry, &new).await;
    close(&place, registry).await;
    place.lose_the_store();
    place.restore_as(&old, false, true).await.unwrap();
    place.lose_the_store();
    fs::remove_file(place.path("keyring")).unwrap();
    // Its log is longer than the restored one, but belongs to the epoch before.
    let error = place.restore(&new).await.unwrap_err();
    assert!(matches!(error, RestoreError::Older { .. }), "{error}");
    assert!(error.to_string().contains("epoch"), "{error}");
    let restored = place.restore_as(&new, false, true).await.unwrap();
    assert_eq!(restored.epoch, 2);
}

/// All objects that the head names exist, byte for byte as in the backup: only the epoch differs.
#[tokio::test]
async fn a_head_from_before_the_restore_is_refused() {
    let (place, registry) = with_an_erased_workspace().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    close(&place, registry).await;
    let backend = place.backend().await;
    let mut before = Vec::new();
    for chain in chains() {
        before.push((head(&backend, &chain).await, chain));
    }
    drop(backend);
    place.lose_the_store();
    place.restore(&file).await.unwrap();
    for (bytes, chain) in before {
        let restored = put_back(&place, &chain, &bytes).await;
        match (chain.workspace_id(), place.try_open().await) {
            (None, Err(OpenError::Damaged { damage, .. })) => {
                assert!(matches!(damage, Damage::Older { .. }), "{damage}");
            }
            (Some(_), Ok(registry)) => {
                let found = broken(&registry).await;
                assert_eq!((&found.chain, found.position), (&chain, 0));
                assert!(found.finding.contains("older state"), "{found}");
                let is_served = opened(&registry, "a").is_ok();
                assert_eq!(is_served, chain != ChainName::workspace("acme"), "{chain}");
                close(&place, registry).await;
            }
            (_, Err(error)) => panic!("{chain}: {error}"),
            (None, Ok(_)) => panic!("{chain} was taken"),
        }
        put_back(&place, &chain, &restored).await;
    }
    let registry = place.open().await;
    registry.audit().verify().await.unwrap();
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

/// A change that it signed would be of the epoch before, and later starts would refuse the chain.
#[tokio::test]
async fn a_keyring_from_before_the_restore_is_refused_before_any_commit() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    close(&place, registry).await;
    let before = fs::read(place.path("keyring")).unwrap();
    place.lose_the_store();
    place.restore_as(&file, false, true).await.unwrap();
    let restored = fs::read(place.path("keyring")).unwrap();
    fs::write(place.path("keyring"), before).unwrap();
    let Err(OpenError::Damaged { damage, .. }) = place.try_open().await else {
        panic!("the keyring of epoch 0 was taken");
    };
    let older = Damage::KeyringOlder {
        head: 1,
        keyring: 0,
    };
    assert_eq!(damage, older);
    fs::write(place.path("keyring"), restored).unwrap();
    let registry = place.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

/// The anchors match the store: only the keyring proves that there was a restore.
#[tokio::test]
async fn a_store_and_anchors_from_before_the_restore_are_refused_with_the_later_keyring() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    close(&place, registry).await;
    let swap = |name: &str, to: &str| {
        fs::rename(place.path(name), place.path(&format!("{name}-{to}"))).unwrap();
    };
    let put = |name: &str, from: &str| {
        fs::rename(place.path(&format!("{name}-{from}")), place.path(name)).unwrap();
    };
    for name in ["store", "heads"] {
        swap(name, "before");
    }
    place.restore_as(&file, false, true).await.unwrap();
    for name in ["store", "heads"] {
        swap(name, "after");
        put(name, "before");
    }
    let Err(OpenError::Damaged { damage, .. }) = place.try_open().await else {
        panic!("the store of epoch 0 was taken");
    };
    let older = Damage::HeadOlder {
        head: 0,
        keyring: 1,
    };
    assert_eq!(damage, older);
    for name in ["store", "heads"] {
        swap(name, "before");
        put(name, "after");
    }
    let registry = place.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

#[tokio::test]
async fn a_rollback_of_a_workspace_and_its_anchor_to_before_the_restore_is_not_served() {
    let (place, registry) = Place::begun().await;
    let file = place.path("backup");
    backup(&registry, &file).await;
    close(&place, registry).await;
    let acme = ChainName::workspace("acme");
    let backend = place.backend().await;
    let before = head(&backend, &acme).await;
    drop(backend);
    place.lose_the_store();
    place.restore_as(&file, false, true).await.unwrap();
    put_back(&place, &acme, &before).await;
    fs::write(place.path("heads").join("workspace.acme"), &before).unwrap();
    let registry = place.open().await;
    let found = broken(&registry).await;
    assert_eq!((&found.chain, found.position), (&acme, 0));
    assert!(found.finding.contains("the last restore"), "{found}");
    assert!(opened(&registry, "a").is_err());
}
