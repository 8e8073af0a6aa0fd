//! A new key for a workspace, interrupted between its commits.

use std::collections::BTreeSet;

use keyside_store::faulty::Fault;

use super::{
    erasing::acme, grouping::tagging, priority::open_with_remote_service, tampering::edit, *,
};
use crate::{
    documents::{CredentialDocument, Document, WorkspaceDocument},
    record::Draft,
    sealing::SealingKey,
};

/// `acme` with more keys than fit into one commit.
async fn with_many() -> (Installation, Arc<Registry>) {
    let (installation, registry) = Installation::with_acme().await;
    for n in 0..KEYS {
        let new = key(&format!("k{n}"), &format!("sk-{n}"));
        registry.add(&act(), new).await.unwrap();
    }
    (installation, registry)
}

const KEYS: usize = 120;

/// Checks that every key is served and none is damaged.
fn serves(registry: &Registry) {
    let resolver = registry.resolver();
    for n in 0..KEYS {
        let label = format!("k{n}");
        let ask = CredentialQuery {
            label: Some(&label),
            ..ask("acme")
        };
        assert_eq!(opened(resolver.resolve(&ask)).unwrap(), format!("sk-{n}"));
    }
    let credentials = registry.list(&Filter::default());
    assert!(credentials.iter().all(|it| !it.damaged));
    assert!(credentials.iter().all(|it| it.fingerprint.is_some()));
}

/// The ids of all keys that any stored object of `acme` names.
fn named(installation: &Installation) -> BTreeSet<String> {
    let contents = installation.memory.contents();
    let of_acme = contents.objects.iter();
    let of_acme = of_acme.filter(|(key, _)| key.starts_with("workspace/acme/object/"));
    let documents = of_acme.filter_map(|(_, object)| {
        let document = object.get(SALT..)?;
        serde_json::from_slice::<CredentialDocument>(document).ok()
    });
    let versions = documents.flat_map(|document| document.versions);
    let blobs = versions.flat_map(|version| [version.sealed, version.metadata]);
    blobs
        .filter_map(|blob| Some(SealingKey::id_in(&blob)?.to_owned()))
        .collect()
}

/// Adds a key that seals from now on in `acme`, without sealing again what is stored.
pub(super) async fn switch_key(registry: &Registry) {
    let key = registry.keyring.add_next(&acme()).await.unwrap();
    let workspace = registry.snapshot.load().workspaces.get(&acme()).cloned();
    let workspace = workspace.unwrap();
    let document = WorkspaceDocument {
        key: Some(key.id().to_owned()),
        revision: workspace.document.revision + 1,
        ..workspace.document.clone()
    };
    let draft = Draft {
        workspace: Some(acme()),
        ..Draft::new(Event::WorkspaceKeyRotated, &act())
    };
    let writes = vec![document.write()];
    let committed = registry.commit_in(&workspace, vec![draft], writes).await;
    let switched = workspace.with_all(document, []).at(committed.unwrap());
    registry.publish_committed(switched).await.unwrap();
}

/// Edits the keys of `acme` in the keyring, and makes the file count as newer.
pub(super) fn edit_keys(
    installation: &Installation,
    edit: impl FnOnce(&mut Vec<serde_json::Value>),
) {
    let file = installation.keyring();
    let keyring = fs::read(&file).unwrap();
    let mut edited: serde_json::Value = serde_json::from_slice(&keyring).unwrap();
    edited["generation"] = 1_000.into();
    edit(edited["workspaces"]["acme"].as_array_mut().unwrap());
    fs::write(&file, edited.to_string()).unwrap();
}

#[tokio::test]
async fn a_rotation_seals_everything_in_the_workspace_with_the_new_key_and_changes_nothing_else() {
    let (installation, registry) = with_many().await;
    let grant = registry.resolver().resolve(&ask("acme")).unwrap();
    let resealed = registry
        .rotate_workspace_key(&act(), &acme())
        .await
        .unwrap();
    assert_eq!((resealed.credentials, resealed.damaged), (KEYS, 0));
    assert_eq!(
        named(&installation),
        [resealed.key.clone()].into_iter().collect()
    );
    assert_eq!(opened(Ok(grant)).unwrap(), "sk-0");
    serves(&registry);
    let again = registry.rotate_workspace_key(&act(), &acme()).await;
    assert_ne!(again.unwrap().key, resealed.key, "a new one each time");
    drop(registry);
    let registry = installation.open().await;
    serves(&registry);
    registry.audit().verify().await.unwrap();
    let records = records(&registry).await;
    let created = |it: &&AuditRecord| it.event == Event::CredentialCreated;
    assert!(
        records
            .iter()
            .filter(created)
            .all(|it| it.fingerprint.is_some()),
        "what older keys sealed in the log can still be read"
    );
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_rotation_serves_all_keys_and_continues_where_it_stopped() {
    let (prepared, _) = with_many().await;
    // Around the first and the second commit; all steps in between are alike.
    for at in [1, 2, 50]
        .into_iter()
        .chain(98..112)
        .chain([150, 210, 230, 10_000])
    {
        let installation = prepared.copy();
        let (storage, registry) = installation.open_faulty().await;
        let fault = match at % 2 == 0 {
            true => Fault::AnswerLost,
            false => Fault::Refused,
        };
        storage.fail(at, usize::MAX, fault);
        let outcome = registry.rotate_workspace_key(&act(), &acme()).await;
        let reached = storage.heal();
        serves(&registry);
        drop(registry);
        let registry = installation.open().await;
        serves(&registry);
        assert_eq!(reached, at < 10_000, "{at}");
        assert!(reached || outcome.is_ok(), "{at}: {outcome:?}");
        let keys = registry.keyring.ids(&acme()).await;
        let left = registry
            .rotate_workspace_key(&act(), &acme())
            .await
            .unwrap();
        registry.chains.sweep().await.unwrap();
        assert_eq!(named(&installation), [left.key.clone()].into(), "{at}");
        // Unless only the cleanup was left, the rotation continues with the key it started with.
        if left.credentials < KEYS {
            assert_eq!(keys.last(), Some(&left.key), "{at}");
        }
    }
}

#[tokio::test]
async fn a_workspace_without_keys_gets_a_new_one_too() {
    let (_installation, registry) = Installation::with_acme().await;
    let resealed = registry
        .rotate_workspace_key(&act(), &acme())
        .await
        .unwrap();
    assert_eq!(resealed.credentials, 0);
    let current = registry.keyring.last(&acme()).unwrap();
    assert_eq!(current.id(), resealed.key);
    let unknown = registry
        .rotate_workspace_key(&act(), &"nowhere".parse().unwrap())
        .await;
    assert!(matches!(unknown, Err(ChangeError::WorkspaceUnknown)));
}

#[tokio::test]
async fn concurrent_changes_and_a_second_rotation_end_with_everything_under_one_key() {
    let (installation, registry) = with_many().await;
    let (by, id) = (act(), acme());
    let (one, other, added, backup) = tokio::join!(
        registry.rotate_workspace_key(&by, &id),
        registry.rotate_workspace_key(&by, &id),
        registry.add(&by, key("between", "sk-between")),
        registry.backup(&by),
    );
    added.unwrap();
    drop(backup.unwrap());
    let last = registry.keyring.last(&acme()).unwrap();
    assert!([one.unwrap().key, other.unwrap().key].contains(&last.id().to_owned()));
    assert_eq!(
        named(&installation),
        [last.id().to_owned()].into(),
        "of {} keys",
        registry.keyring.ids(&acme()).await.len()
    );
    serves(&registry);
    drop(registry);
    serves(&*installation.open().await);
}

#[tokio::test]
async fn secrets_that_do_not_decrypt_are_left_unchanged_and_counted() {
    let (installation, registry) = with_many().await;
    let id = registry.list(&Filter::default())[0].id.clone();
    drop(registry);
    let at = installation.stored_credential(&id);
    // In its salt, so that the contents can still be read.
    installation.tamper(&at, |document| document[0] ^= 1);
    let registry = installation.open().await;
    let resealed = registry
        .rotate_workspace_key(&act(), &acme())
        .await
        .unwrap();
    assert_eq!((resealed.credentials, resealed.damaged), (KEYS - 1, 1));
    let damaged = registry.list(&Filter::default()).into_iter();
    assert_eq!(damaged.filter(|it| it.damaged).count(), 1);
}

#[tokio::test]
async fn a_new_key_is_created_although_old_data_does_not_decrypt() {
    let (installation, registry, id) = one_key().await;
    let first = registry.keyring.ids(&acme()).await;
    switch_key(&registry).await;
    // The metadata of the destroyed version stays, sealed with the first key, which no longer
    // unwraps.
    let rotation = Rotation {
        grace: std::time::Duration::ZERO,
        ..to("sk-2")
    };
    registry.rotate(&act(), &id, rotation).await.unwrap();
    let first = first.into_iter().collect();
    registry.keyring.destroy(&first).await.unwrap();
    for _ in 0..2 {
        let before = registry.keyring.last(&acme()).unwrap();
        let resealed = registry
            .rotate_workspace_key(&act(), &acme())
            .await
            .unwrap();
        assert_ne!(resealed.key, before.id());
        assert_eq!((resealed.credentials, resealed.damaged), (0, 1));
    }
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-2"
    );
}

/// Nothing has to be read of them any more, and no rotation could mend that.
#[tokio::test]
async fn what_is_left_of_revoked_keys_under_a_lost_key_stays_and_is_not_damage() {
    let (installation, registry, id) = one_key().await;
    let lost = registry.keyring.ids(&acme()).await;
    let partly = registry.add(&act(), key("partly", "sk-2")).await.unwrap();
    let partly = partly.credential.id;
    switch_key(&registry).await;
    registry.rotate(&act(), &partly, to("sk-3")).await.unwrap();
    for id in [&id, &partly] {
        let revoked = registry.revoke(&act(), id, Revocation::default()).await;
        revoked.unwrap();
    }
    registry.add(&act(), key("live", "sk-4")).await.unwrap();
    let destroyed = lost.iter().cloned().collect();
    registry.keyring.destroy(&destroyed).await.unwrap();
    drop(registry);
    let registry = installation.open().await;
    for _ in 0..2 {
        let rotated = registry.rotate_workspace_key(&act(), &acme()).await;
        let rotated = rotated.unwrap();
        // The live one, and the version of the other that can be opened.
        assert_eq!((rotated.credentials, rotated.damaged), (2, 0));
        registry.chains.sweep().await.unwrap();
        let expected: BTreeSet<_> = lost.iter().chain([&rotated.key]).cloned().collect();
        assert_eq!(named(&installation), expected);
    }
}

/// Also while Keyside runs, in a file that claims to be newer than the one that it replaces.
#[tokio::test]
async fn a_document_whose_key_is_missing_in_the_keyring_fails_verification() {
    let (installation, registry, _) = one_key().await;
    let rotated = registry.rotate_workspace_key(&act(), &acme()).await;
    rotated.unwrap();
    let file = installation.keyring();
    let keyring = fs::read(&file).unwrap();
    edit_keys(&installation, |keys| {
        assert_eq!(keys.len(), 2, "the old one stays");
        keys.pop();
    });
    for registry in [registry, installation.open().await] {
        let (chain, finding) = found(&registry).await;
        assert_eq!(chain, "workspace/acme");
        assert!(
            finding.contains("its key is not in the keyring"),
            "{finding}"
        );
    }
    fs::write(&file, keyring).unwrap();
    let registry = installation.open().await;
    registry.audit().verify().await.unwrap();
}

#[tokio::test]
async fn a_rotation_that_loses_a_race_counts_and_dates_everything_once() {
    let (installation, registry, id) = one_key().await;
    drop(registry);
    let (service, registry) = open_with_remote_service(&installation).await;
    let other = installation.open().await;
    installation.clock.set(NOW + 60);
    let before = seen(&registry).await;
    let held = service.gate.hold();
    let of = registry.clone();
    let rotated = tokio::spawn(async move { of.rotate_workspace_key(&act(), &acme()).await });
    service.gate.arrived(1).await;
    tagging(&other, &id, "a tag").await.unwrap().unwrap();
    drop(held);
    assert_eq!(rotated.await.unwrap().unwrap().credentials, 1);
    let age = registry.key_ages().oldest_workspace;
    assert_eq!(age, Some(std::time::Duration::ZERO));
    assert_eq!(registry.keyring.ids(&acme()).await.len(), 2);
    assert_eq!(
        events(&registry, &before).await,
        [Event::CredentialEdited, Event::WorkspaceKeyRotated]
    );
}

/// Who knows an older key, and can write the keyring but not use the key service, must not get new
/// secrets sealed with that key.
#[tokio::test]
async fn an_older_key_put_last_in_the_keyring_seals_nothing() {
    let (installation, registry, id) = one_key().await;
    let rotated = registry.rotate_workspace_key(&act(), &acme()).await;
    let newest = rotated.unwrap().key;
    drop(registry);
    edit_keys(&installation, |keys| keys.reverse());
    let registry = installation.open().await;
    assert_ne!(registry.keyring.last(&acme()).unwrap().id(), newest);
    registry.add(&act(), key("b", "sk-b")).await.unwrap();
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    assert_eq!(named(&installation), [newest].into());
    registry.audit().verify().await.unwrap();
}

/// The key of a new workspace is named from its registration on, before its chain begins.
#[tokio::test]
async fn a_key_put_into_the_keyring_behind_that_of_a_new_workspace_seals_nothing() {
    let (installation, registry) = Installation::with_acme().await;
    let registration = registry.chains.registration(&acme()).unwrap();
    let first = registration.pending.unwrap().key.unwrap();
    let planted = registry.keyring.add_next(&acme()).await.unwrap();
    assert_ne!(planted.id(), first);
    registry.add(&act(), key("a", "sk-a")).await.unwrap();
    assert_eq!(named(&installation), [first].into());
}

/// Not even where nothing is sealed with the newest key, which would show that it is gone.
#[tokio::test]
async fn without_the_newest_key_nothing_is_sealed_and_verification_reports_it() {
    let (installation, registry) = Installation::with_acme().await;
    let rotated = registry.rotate_workspace_key(&act(), &acme()).await;
    let newest = rotated.unwrap().key;
    drop(registry);
    let whole = fs::read(installation.keyring()).unwrap();
    edit_keys(&installation, |keys| {
        keys.retain(|key| key["id"] != newest.as_str())
    });
    let registry = installation.open().await;
    assert!(
        registry.keyring.last(&acme()).is_some(),
        "the old one stays"
    );
    for refused in [
        registry.add(&act(), key("a", "sk-a")).await.map(drop),
        registry
            .rotate_workspace_key(&act(), &acme())
            .await
            .map(drop),
    ] {
        assert!(matches!(refused, Err(ChangeError::KeyLost)), "{refused:?}");
    }
    let (chain, finding) = found(&registry).await;
    assert_eq!(chain, "workspace/acme");
    assert!(
        finding.contains("its key is not in the keyring"),
        "{finding}"
    );
    drop(registry);
    fs::write(installation.keyring(), whole).unwrap();
    let registry = installation.open().await;
    registry.add(&act(), key("a", "sk-a")).await.unwrap();
    assert_eq!(named(&installation), [newest].into());
}

/// To end a use takes no key that seals anything new: an interrupted rotation leaves secrets under an
/// older one.
#[tokio::test]
async fn without_the_newest_key_what_an_older_one_seals_is_used_and_can_be_revoked() {
    let (installation, registry, id) = one_key().await;
    switch_key(&registry).await;
    let newest = registry.keyring.last(&acme()).unwrap().id().to_owned();
    drop(registry);
    edit_keys(&installation, |keys| {
        keys.retain(|key| key["id"] != newest.as_str())
    });
    let registry = installation.open().await;
    let resolved = || opened(registry.resolver().resolve(&ask("acme")));
    assert_eq!(resolved().unwrap(), "sk-1");
    let refused = registry.rotate(&act(), &id, to("sk-2")).await;
    assert!(matches!(refused, Err(ChangeError::KeyLost)), "{refused:?}");
    let revoked = registry.revoke(&act(), &id, Revocation::default()).await;
    revoked.unwrap();
    resolved().unwrap_err();
}

/// Its document is edited too, to name the older key.
#[tokio::test]
async fn the_edited_document_of_a_workspace_does_not_choose_the_key() {
    let (installation, registry, id) = one_key().await;
    let older = registry.keyring.ids(&acme()).await.remove(0);
    let rotated = registry.rotate_workspace_key(&act(), &acme()).await;
    let newest = rotated.unwrap().key;
    drop(registry);
    let at = installation.stored_at("{\"id\":\"acme\"");
    installation.tamper(&at, |document| edit(document, &newest, &older));
    edit_keys(&installation, |keys| keys.reverse());
    let registry = installation.open().await;
    assert!(registry.workspace(&acme()).unwrap().damaged);
    let refused = registry.rotate(&act(), &id, to("sk-2")).await;
    assert!(matches!(refused, Err(ChangeError::Damaged)), "{refused:?}");
    let revoked = registry.revoke(&act(), &id, Revocation::default()).await;
    revoked.unwrap();
    assert_eq!(named(&installation), [newest].into());
}

/// Stores of development builds name no key in the workspace's document.
#[tokio::test]
async fn a_workspace_that_names_no_key_is_sealed_with_the_last_one_until_the_next_rotation() {
    let (installation, registry, id) = one_key().await;
    let first = registry.keyring.ids(&acme()).await;
    let mut document = registry
        .snapshot
        .load()
        .workspaces
        .get(&acme())
        .unwrap()
        .document
        .clone();
    document.key = None;
    document.revision += 1;
    let workspace = registry
        .snapshot
        .load()
        .workspaces
        .get(&acme())
        .cloned()
        .unwrap();
    let draft = Draft::new(Event::WorkspaceEdited, &act());
    let committed = registry.commit_in(&workspace, vec![draft], vec![document.write()]);
    committed.await.unwrap();
    drop(registry);
    let registry = installation.open().await;
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    assert_eq!(named(&installation), first.into_iter().collect());
    let rotated = registry.rotate_workspace_key(&act(), &acme()).await;
    assert_eq!(named(&installation), [rotated.unwrap().key].into());
}

/// An owner who is limited to a workspace could otherwise make the keyring too large for all others.
#[tokio::test]
async fn a_workspace_has_at_most_1000_keys_in_the_keyring() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    edit_keys(&installation, |keys| {
        for n in keys.len()..999 {
            let mut older = keys[0].clone();
            older["id"] = format!("wk_{n}").into();
            keys.insert(0, older);
        }
    });
    let registry = installation.open().await;
    let (by, id) = (act(), acme());
    registry.rotate_workspace_key(&by, &id).await.unwrap();
    let refused = registry.rotate_workspace_key(&by, &id).await;
    let is_full = matches!(refused, Err(ChangeError::TooManyKeys));
    assert!(is_full, "{refused:?}");
    assert_eq!(registry.keyring.ids(&id).await.len(), 1_000);
    registry.add(&by, key("a", "sk-a")).await.unwrap();
    erasing::erase(&registry).await;
}
