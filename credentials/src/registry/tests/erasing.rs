//! After an erasure nothing of the workspace can be decrypted from any copy of the data, and
//! everything else continues.

use keyside_store::faulty::Fault;

use super::{incarnations::state, *};
use crate::{
    access::{NewToken, Role},
    audit::Receipt,
    chains::Priority,
    documents::CredentialDocument,
    runs::{Run, RunFilter},
    sealing::{SealContext, SealingKey},
    snapshot::signals::{Attempt, Notice},
};

/// `acme` with a key and a run, and `globex` with the same.
pub(super) async fn two_workspaces() -> (Installation, Arc<Registry>, CredentialId) {
    let (installation, registry) = Installation::with_acme().await;
    registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap();
    let id = registry.add(&act(), key("a", "sk-acme")).await.unwrap();
    let globex = NewCredential {
        workspace: "globex".parse().unwrap(),
        ..key("a", "sk-globex")
    };
    registry.add(&act(), globex).await.unwrap();
    for workspace in ["acme", "globex", "acme"] {
        registry
            .runs()
            .record(run(workspace, &id.credential.id, NOW));
    }
    registry.runs().flush().await;
    (installation, registry, id.credential.id)
}

pub(super) fn run(workspace: &str, credential: &CredentialId, second: i64) -> Run {
    Run {
        at: jiff::Timestamp::from_second(second).unwrap(),
        request_id: "req_1".into(),
        kind: crate::runs::RunKind::Traffic,
        workspace: workspace.parse().unwrap(),
        provider: "openai".parse().ok(),
        used: Some(crate::runs::Used {
            credential: credential.clone(),
            version: 1,
            label: "a".parse().unwrap(),
            environment: Environment::Live,
        }),
        refused: None,
        status: 200,
        outcome: "ok",
        latency_us: 1,
        first_byte_us: None,
        tokens: Default::default(),
        run_id: None,
        tag: Some("of-a-person".into()),
    }
}

pub(super) fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

pub(super) async fn erase(registry: &Arc<Registry>) -> Receipt {
    let erased = registry.erase_workspace(&act(), &acme(), None).await;
    erased.unwrap()
}

/// The stored document of a credential.
fn document(installation: &Installation, id: &CredentialId) -> CredentialDocument {
    let object = installation.stored(&installation.stored_credential(id));
    serde_json::from_slice(&object[SALT..]).unwrap()
}

/// Checks what holds after `acme` is erased, and after a restart.
async fn is_erased(registry: &Registry) {
    let known: Vec<_> = registry
        .workspaces(&Scope::All)
        .into_iter()
        .map(|it| it.id)
        .collect();
    assert_eq!(known, ["globex".parse().unwrap()]);
    assert_eq!(
        registry.resolver().resolve(&ask("acme")).err(),
        Some(Refusal::WorkspaceUnknown)
    );
    assert_eq!(
        opened(registry.resolver().resolve(&ask("globex"))).unwrap(),
        "sk-globex"
    );
    registry.runs().flush().await;
    let runs = registry.runs().search(10, &RunFilter::default()).await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(&*runs[0].workspace, "globex");
    assert!(registry.keyring.ids(&acme()).await.is_empty());
    registry.audit().verify().await.unwrap();
    let recorded = records(registry).await;
    let of_acme = |record: &&AuditRecord| record.workspace == Some(acme());
    assert!(
        recorded
            .iter()
            .filter(of_acme)
            .all(|record| record.fingerprint.is_none())
    );
    let others = recorded.iter().filter(|record| !of_acme(record));
    assert_eq!(others.filter(|it| it.fingerprint.is_some()).count(), 1);
    assert!(
        recorded
            .iter()
            .all(|record| record.event != Event::DocumentDamaged)
    );
}

#[tokio::test]
async fn an_erased_workspace_is_gone_now_and_after_a_restart_and_the_log_verifies() {
    let (installation, registry, _) = two_workspaces().await;
    registry
        .erase_workspace(&act(), &acme(), None)
        .await
        .unwrap();
    is_erased(&registry).await;
    drop(registry);
    is_erased(&*installation.open().await).await;
    assert_eq!(sealed_versions(&installation), 1, "that of globex");
    let contents = installation.memory.contents();
    let of_acme = contents.objects.iter();
    let mut of_acme = of_acme.filter(|(key, _)| key.starts_with("workspace/acme/object/"));
    assert!(
        of_acme.all(|(_, object)| !String::from_utf8_lossy(object).contains("\"label\":")),
        "of its chain no more is left than the records"
    );
}

#[tokio::test]
async fn old_documents_do_not_decrypt_with_the_keyring_after_an_erasure() {
    let (installation, registry, id) = two_workspaces().await;
    let before = installation.copy();
    registry
        .erase_workspace(&act(), &acme(), None)
        .await
        .unwrap();
    drop(registry);
    // An old copy of the whole data folder, with the current keyring.
    let old_keyring = fs::read(before.keyring()).unwrap();
    fs::copy(installation.keyring(), before.keyring()).unwrap();
    let registry = before.open().await;
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).err(),
        Some(Refusal::CredentialUndecryptable)
    );
    let shown = registry.credential(&id).unwrap();
    assert!(shown.damaged && shown.fingerprint.is_none());
    drop(registry);
    // The limit: an old copy of the keyring, together with the master key that wrapped it.
    let path = installation.folder.path().join("old-keyring");
    fs::write(&path, &old_keyring).unwrap();
    let open = async |master_key: u8| {
        let kms = Kms::local(MasterKey::parse(&[master_key; 32], "a test").unwrap());
        Keyring::open_or_create(&path, kms, jiff::Timestamp::UNIX_EPOCH).await
    };
    let claims = document(&before, &id);
    let version = claims.version(claims.current).unwrap();
    let wrapped_by = SealingKey::id_in(&version.sealed).unwrap();
    let keyring = open(9).await.unwrap();
    let key = keyring.key(&acme(), wrapped_by).unwrap();
    let place: SealContext<'_> = claims.secret_context(version.number);
    assert_eq!(&**key.open(&place, &version.sealed).unwrap(), b"sk-acme-");
    assert!(open(8).await.is_err(), "without the master key, nothing");
}

#[tokio::test(start_paused = true)]
async fn an_erasure_interrupted_at_any_write_is_complete_or_not_begun_after_a_restart() {
    let mut erased = 0;
    let (prepared, ..) = two_workspaces().await;
    for at in 1.. {
        let installation = prepared.copy();
        let (storage, registry) = installation.open_faulty().await;
        storage.fail(at, usize::MAX, Fault::Refused);
        let outcome = registry.erase_workspace(&act(), &acme(), None).await;
        let reached = storage.heal();
        drop(registry);
        let registry = installation.open().await;
        if registry.workspaces(&Scope::All).len() == 2 {
            assert!(outcome.is_err(), "cut at {at}: confirmed and lost");
            assert_eq!(
                opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
                "sk-acme"
            );
        } else {
            is_erased(&registry).await;
            let receipt = erase(&registry).await;
            registry.audit().confirm(&receipt).await.unwrap();
            // A receipt returned by the first attempt is the same one.
            assert!(outcome.is_err() || outcome.unwrap() == receipt);
            erased += 1;
        }
        if !reached {
            assert!(erased > 3, "{erased}");
            return;
        }
    }
}

#[tokio::test]
async fn a_workspace_key_left_by_a_crash_is_destroyed_at_the_start() {
    let (installation, registry, _) = two_workspaces().await;
    let keyring = fs::read(installation.keyring()).unwrap();
    registry
        .erase_workspace(&act(), &acme(), None)
        .await
        .unwrap();
    drop(registry);
    fs::write(installation.keyring(), &keyring).unwrap();
    is_erased(&*installation.open().await).await;
    let left = fs::read_to_string(installation.keyring()).unwrap();
    assert!(!left.contains("acme"));
}

#[tokio::test]
async fn an_erasure_whose_keyring_could_not_be_written_is_completed_before_the_next_change() {
    let (installation, registry, _) = two_workspaces().await;
    let blocker = installation.folder.path().join("keyring.new");
    fs::create_dir(&blocker).unwrap();
    let error = registry
        .erase_workspace(&act(), &acme(), None)
        .await
        .unwrap_err();
    let unfinished = matches!(error, ChangeError::ErasingUnfinished(_));
    assert!(unfinished, "{error}");
    assert_eq!(
        registry.resolver().resolve(&ask("acme")).err(),
        Some(Refusal::WorkspaceUnknown)
    );
    fs::remove_dir(&blocker).unwrap();
    registry
        .create_workspace(&act(), workspace("initech"))
        .await
        .unwrap();
    assert!(registry.keyring.ids(&acme()).await.is_empty());
    let receipt = erase(&registry).await;
    registry.audit().confirm(&receipt).await.unwrap();
    let runs = registry.runs().search(10, &RunFilter::default()).await;
    assert!(runs.iter().all(|run| &*run.workspace != "acme"), "{runs:?}");
}

#[tokio::test]
async fn a_workspace_with_the_id_of_an_erased_one_starts_empty_with_its_own_key_and_runs() {
    let (installation, registry, id) = two_workspaces().await;
    registry
        .erase_workspace(&act(), &acme(), None)
        .await
        .unwrap();
    // A request in flight is recorded only now.
    registry.runs().record(run("acme", &id, NOW));
    installation.clock.set(NOW + 10);
    registry
        .create_workspace(&act(), workspace("acme"))
        .await
        .unwrap();
    registry.add(&act(), key("a", "sk-new")).await.unwrap();
    registry.runs().record(run("acme", &id, NOW + 10));
    registry.runs().flush().await;
    for registry in [registry, installation.open().await] {
        assert_eq!(
            opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
            "sk-new"
        );
        registry.runs().flush().await;
        let runs = registry.runs().search(10, &RunFilter::default()).await;
        let of_acme = runs.iter().filter(|run| &*run.workspace == "acme");
        assert_eq!(of_acme.count(), 1, "{runs:?}");
    }
}

#[tokio::test]
async fn a_damaged_workspace_can_be_erased_too() {
    let (prepared, _, id) = two_workspaces().await;
    let credential = prepared.stored_credential(&id);
    let settings = prepared.stored_at("{\"id\":\"acme\"");
    let head = "workspace/acme/head".to_owned();
    for damaged in [vec![credential, settings], vec![head]] {
        let installation = prepared.copy();
        for key in &damaged {
            installation.tamper(key, |bytes| bytes[60] ^= 1);
        }
        let registry = installation.open().await;
        assert!(registry.workspace(&acme()).unwrap().damaged);
        let before = seen(&registry).await;
        let receipt = erase(&registry).await;
        assert!(!receipt.destroyed_keys.is_empty());
        drop(registry);
        let registry = installation.open().await;
        assert_eq!(registry.workspaces(&Scope::All).len(), 1);
        let recorded = events(&registry, &before).await;
        assert_eq!(recorded, [Event::WorkspaceErased], "{damaged:?}");
    }
}

#[tokio::test]
async fn erased_runs_are_deleted_from_storage_and_not_only_hidden() {
    let (installation, registry, _) = two_workspaces().await;
    registry
        .erase_workspace(&act(), &acme(), None)
        .await
        .unwrap();
    let stored: Vec<u8> = {
        let contents = installation.memory.contents();
        contents.runs.values().flatten().copied().collect()
    };
    let holds = |text: &str| stored.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(holds("globex") && !holds("acme"));
}

#[tokio::test]
async fn an_erasure_revokes_its_tokens_and_none_opens_a_later_workspace_of_that_id() {
    let (installation, registry, _) = two_workspaces().await;
    let token = async |workspaces: &[&str]| {
        let scope = workspaces.iter().map(|id| id.parse().unwrap()).collect();
        let new = NewToken {
            name: "a test's".parse().unwrap(),
            role: Role::Owner,
            scope: Scope::Only(Arc::new(scope)),
            expires_at: None,
        };
        let made = registry.create_token(&act(), &Scope::All, new).await;
        made.unwrap()
    };
    let (alone, both) = (token(&["acme"]).await, token(&["acme", "globex"]).await);
    let receipt = registry
        .erase_workspace(&act(), &acme(), None)
        .await
        .unwrap();
    let mut named = [alone.token.id.clone(), both.token.id.clone()];
    named.sort();
    let mut revoked = receipt.tokens;
    revoked.sort();
    assert_eq!(revoked, named);
    registry
        .create_workspace(&act(), workspace("acme"))
        .await
        .unwrap();
    for registry in [registry, installation.open().await] {
        let access = registry.access();
        assert!(access.authenticate(&alone.text).is_none());
        let scope = access.authenticate(&both.text).unwrap().scope;
        assert!(scope.holds("globex") && !scope.holds("acme"));
    }
}

#[tokio::test]
async fn a_token_of_an_erased_workspace_loses_its_name_and_is_hidden_from_a_later_owner() {
    let (_installation, registry, _) = two_workspaces().await;
    let acme_alone = Scope::Only(Arc::new([acme()].into()));
    let new = |name: &str| NewToken {
        name: name.parse().unwrap(),
        role: Role::Owner,
        scope: acme_alone.clone(),
        expires_at: None,
    };
    let by = act();
    let withdrawn = registry.create_token(&by, &Scope::All, new("Robin")).await;
    let withdrawn = withdrawn.unwrap().token.id;
    registry
        .revoke_token(&by, &Scope::All, &withdrawn, None)
        .await
        .unwrap();
    let good = registry.create_token(&by, &Scope::All, new("Kim")).await;
    let good = good.unwrap().token.id;
    erase(&registry).await;
    registry
        .create_workspace(&by, workspace("acme"))
        .await
        .unwrap();
    assert_eq!(registry.access().tokens(&acme_alone), []);
    let again = registry.revoke_token(&by, &acme_alone, &good, None).await;
    assert!(matches!(again, Err(ChangeError::TokenUnknown)));
    for id in [withdrawn, good] {
        let shown = registry.access().find(&id).unwrap();
        assert_eq!(
            (shown.name.as_str(), shown.scope.holds("acme")),
            ("", false)
        );
    }
}

#[tokio::test]
async fn the_scope_of_a_later_workspace_of_that_id_finds_no_record_of_the_erased_one() {
    let (installation, registry, _) = two_workspaces().await;
    registry
        .erase_workspace(&act(), &acme(), None)
        .await
        .unwrap();
    registry
        .create_workspace(&act(), workspace("acme"))
        .await
        .unwrap();
    for registry in [registry, installation.open().await] {
        let found = async |within: Scope| {
            let filter = AuditFilter {
                within,
                workspace: Some(acme()),
                ..AuditFilter::default()
            };
            let found = registry.audit().search(&filter, None, 100).await.unwrap();
            let mut exported = exported(&registry, filter).await;
            exported.reverse();
            assert_eq!(exported, found.records);
            let recorded = exported.iter().map(|record| record.event);
            recorded.collect::<Vec<_>>()
        };
        let limited = Scope::Only(Arc::new([acme()].into()));
        let of_the_later = [Event::ChainBegun, Event::WorkspaceCreated];
        assert_eq!(found(limited).await, of_the_later);
        // In the workspace's chain: the first one's start, credential and end, and the second one's
        // start. In the installation's: that the first was created and erased, and that the second
        // was created.
        assert_eq!(found(Scope::All).await.len(), 4 + 3);
        let of_acme = registry.records_of(&acme()).await.unwrap();
        assert_eq!(of_acme.len(), 2, "in an archive of the later one");
    }
}

#[tokio::test]
async fn no_fingerprint_of_an_erased_workspace_stays_in_memory() {
    let (_installation, registry, id) = two_workspaces().await;
    let fingerprint = registry.credential(&id).unwrap().fingerprint.unwrap();
    let snapshot = &registry.snapshot;
    let candidates = || {
        let duplicates = &registry.duplicates;
        duplicates.candidates(&fingerprint, || snapshot.load_full())
    };
    assert_eq!(candidates(), [id]);
    registry
        .erase_workspace(&act(), &acme(), None)
        .await
        .unwrap();
    assert_eq!(candidates(), []);
}

#[tokio::test]
async fn a_conditional_erasure_fails_if_the_workspace_changed_before() {
    let (installation, registry, _) = two_workspaces().await;
    let other = installation.open().await;
    let seen = state(&registry);
    let default = NewCredential {
        default: true,
        ..key("b", "sk-b")
    };
    let tracked = registry.chains.of(&acme());
    let lock = tracked.lock(Priority::Normal).await;
    let of = registry.clone();
    let erased = tokio::spawn(async move { of.erase_workspace(&act(), &acme(), Some(seen)).await });
    let_all_wait().await;
    other.add(&act(), default).await.unwrap();
    drop(lock);
    let erased = erased.await.unwrap();
    let current = state(&registry);
    assert!(
        matches!(
            erased,
            Err(ChangeError::Superseded(found)) if found == current.revision
        ),
        "{seen:?}, {current:?}"
    );
    let (by, id) = (act(), acme());
    let erased = registry.erase_workspace(&by, &id, Some(current));
    erased.await.unwrap();
}

#[tokio::test]
async fn a_refused_use_noted_late_is_not_recorded_in_a_later_workspace_of_that_id() {
    let (_installation, registry, id) = two_workspaces().await;
    let snapshot = registry.snapshot.load_full();
    let (_, entry) = snapshot.credential(&id).unwrap();
    let notice = Notice {
        entry: entry.clone(),
        attempt: Attempt::Revoked,
    };
    let erased = registry.erase_workspace(&act(), &acme(), None).await;
    erased.unwrap();
    registry
        .create_workspace(&act(), workspace("acme"))
        .await
        .unwrap();
    let before = seen(&registry).await;
    registry.record_refused_use(&notice).await.unwrap();
    assert_eq!(seen(&registry).await, before);
}
