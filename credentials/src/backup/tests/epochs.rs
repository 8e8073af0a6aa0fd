//! A restore starts a new epoch: every chain continues with a higher epoch, and heads from before
//! the restore are refused.

use super::*;

/// The chains of [`Machine::running`], and one whose workspace is erased.
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
async fn put_back(machine: &Machine, chain: &ChainName, bytes: &[u8]) -> Vec<u8> {
    let backend = machine.backend().await;
    let there = head(&backend, chain).await;
    let storage = &backend.storage;
    let swapped = storage.swap(&chain.head_key(), Some(&there), bytes).await;
    swapped.unwrap();
    storage.sync().await.unwrap();
    there
}

async fn with_an_erased_workspace() -> (Machine, Arc<Registry>) {
    let (machine, registry) = Machine::running().await;
    registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap();
    let globex = "globex".parse().unwrap();
    registry
        .erase_workspace(&act(), &globex, None)
        .await
        .unwrap();
    (machine, registry)
}

#[tokio::test]
async fn each_restore_increases_the_epoch_of_every_chain_and_changes_continue_in_it() {
    let (machine, registry) = with_an_erased_workspace().await;
    let file = machine.path("backup");
    backup(&registry, &file).await;
    close(&machine, registry).await;
    for epoch in 1..=3 {
        machine.lose_the_store();
        let restored = machine.restore_as(&file, false, true).await.unwrap();
        assert_eq!(restored.epoch, epoch);
        let backend = machine.backend().await;
        for chain in chains() {
            let stored = head(&backend, &chain).await;
            assert_eq!(
                Head::parse_unverified(&stored).unwrap().epoch,
                epoch,
                "{chain}"
            );
            let anchor = chain.as_str().replace('/', ".");
            let anchor = fs::read(machine.path("heads").join(anchor)).unwrap();
            assert_eq!(anchor, stored, "{chain}");
        }
        drop(backend);
        let registry = machine.open().await;
        assert_eq!(registry.epoch(), epoch);
        assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
        registry.add(&act(), key("b")).await.unwrap();
        registry.audit().verify().await.unwrap();
        close(&machine, registry).await;
        let backend = machine.backend().await;
        let acme = head(&backend, &ChainName::workspace("acme")).await;
        assert_eq!(Head::parse_unverified(&acme).unwrap().epoch, epoch);
    }
}

#[tokio::test]
async fn without_a_keyring_the_epoch_is_taken_from_the_anchors() {
    let (machine, registry) = Machine::running().await;
    let (old, new) = (machine.path("old"), machine.path("new"));
    backup(&registry, &old).await;
    backup(&registry, &new).await;
    machine.close_and_lose_the_store(registry).await;
    machine.restore_as(&old, false, true).await.unwrap();
    machine.lose_the_store();
    fs::remove_file(machine.path("keyring")).unwrap();
    // Its log is longer than the restored one, but belongs to the epoch before.
    let error = machine.restore(&new).await.unwrap_err();
    assert!(matches!(error, RestoreError::Older { .. }), "{error}");
    assert!(error.to_string().contains("epoch"), "{error}");
    let restored = machine.restore_as(&new, false, true).await.unwrap();
    assert_eq!(restored.epoch, 2);
}

/// All objects that the head names exist, byte for byte as in the backup: only the epoch differs.
#[tokio::test]
async fn a_head_from_before_the_restore_is_refused() {
    let (machine, registry) = with_an_erased_workspace().await;
    let file = machine.path("backup");
    backup(&registry, &file).await;
    close(&machine, registry).await;
    let backend = machine.backend().await;
    let mut before = Vec::new();
    for chain in chains() {
        before.push((head(&backend, &chain).await, chain));
    }
    drop(backend);
    machine.lose_the_store();
    machine.restore(&file).await.unwrap();
    for (bytes, chain) in before {
        let restored = put_back(&machine, &chain, &bytes).await;
        match (chain.workspace_id(), machine.try_open().await) {
            (None, Err(OpenError::Damaged { damage, .. })) => {
                assert!(matches!(damage, Damage::Older { .. }), "{damage}");
            }
            (Some(_), Ok(registry)) => {
                let found = broken(&registry).await;
                assert_eq!((&found.chain, found.position), (&chain, 0));
                assert!(found.finding.contains("older state"), "{found}");
                let is_served = opened(&registry, "a").is_ok();
                assert_eq!(is_served, chain != ChainName::workspace("acme"), "{chain}");
                close(&machine, registry).await;
            }
            (_, Err(error)) => panic!("{chain}: {error}"),
            (None, Ok(_)) => panic!("{chain} was taken"),
        }
        put_back(&machine, &chain, &restored).await;
    }
    let registry = machine.open().await;
    registry.audit().verify().await.unwrap();
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

/// A change that it signed would be of the epoch before, and later starts would refuse the chain.
#[tokio::test]
async fn a_keyring_from_before_the_restore_is_refused_before_any_commit() {
    let (machine, registry, file) = Machine::backed_up().await;
    close(&machine, registry).await;
    let before = fs::read(machine.path("keyring")).unwrap();
    machine.lose_the_store();
    machine.restore_as(&file, false, true).await.unwrap();
    let restored = fs::read(machine.path("keyring")).unwrap();
    fs::write(machine.path("keyring"), before).unwrap();
    let Err(OpenError::Damaged { damage, .. }) = machine.try_open().await else {
        panic!("the keyring of epoch 0 was taken");
    };
    let older = Damage::KeyringOlder {
        head: 1,
        keyring: 0,
    };
    assert_eq!(damage, older);
    fs::write(machine.path("keyring"), restored).unwrap();
    let registry = machine.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

/// The anchors match the store: only the keyring proves that there was a restore.
#[tokio::test]
async fn a_store_and_anchors_from_before_the_restore_are_refused_with_the_later_keyring() {
    let (machine, registry, file) = Machine::backed_up().await;
    close(&machine, registry).await;
    let swap = |name: &str, to: &str| {
        fs::rename(machine.path(name), machine.path(&format!("{name}-{to}"))).unwrap();
    };
    let put = |name: &str, from: &str| {
        fs::rename(machine.path(&format!("{name}-{from}")), machine.path(name)).unwrap();
    };
    for name in ["store", "heads"] {
        swap(name, "before");
    }
    machine.restore_as(&file, false, true).await.unwrap();
    for name in ["store", "heads"] {
        swap(name, "after");
        put(name, "before");
    }
    let Err(OpenError::Damaged { damage, .. }) = machine.try_open().await else {
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
    let registry = machine.open().await;
    assert_eq!(opened(&registry, "a").unwrap(), "sk-a");
}

#[tokio::test]
async fn a_rollback_of_a_workspace_and_its_anchor_to_before_the_restore_is_not_served() {
    let (machine, registry, file) = Machine::backed_up().await;
    close(&machine, registry).await;
    let acme = ChainName::workspace("acme");
    let backend = machine.backend().await;
    let before = head(&backend, &acme).await;
    drop(backend);
    machine.lose_the_store();
    machine.restore_as(&file, false, true).await.unwrap();
    put_back(&machine, &acme, &before).await;
    fs::write(machine.path("heads").join("workspace.acme"), &before).unwrap();
    let registry = machine.open().await;
    let found = broken(&registry).await;
    assert_eq!((&found.chain, found.position), (&acme, 0));
    assert!(found.finding.contains("the last restore"), "{found}");
    assert!(opened(&registry, "a").is_err());
}

/// Somebody who can write the keyring, but not use the master key, must not be able to have restores
/// recorded that never happened.
#[tokio::test]
async fn a_restore_is_recorded_once_whatever_the_keyring_says_about_it_later() {
    let (machine, registry, file) = Machine::backed_up().await;
    close(&machine, registry).await;
    let edit = || {
        let keyring = fs::read(machine.path("keyring")).unwrap();
        let mut keyring: serde_json::Value = serde_json::from_slice(&keyring).unwrap();
        keyring["restoredFrom"] = "bkp_of_someone".into();
        fs::write(machine.path("keyring"), keyring.to_string()).unwrap();
    };
    let recorded = async || {
        let registry = machine.open().await;
        let mut restores = records(&registry).await;
        restores.retain(|it| it.event == Event::BackupRestored);
        close(&machine, registry).await;
        restores
            .into_iter()
            .map(|it| it.note.unwrap())
            .collect::<Vec<_>>()
    };
    edit();
    assert_eq!(recorded().await, Vec::<String>::new());
    machine.lose_the_store();
    let restored = machine.restore_as(&file, false, true).await.unwrap();
    let note = format!("{}, epoch 1", restored.header.id);
    assert_eq!(recorded().await, std::slice::from_ref(&note));
    edit();
    assert_eq!(recorded().await, [note]);
}
