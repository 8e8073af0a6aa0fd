//! Heads that were rolled back, forged, or taken from a forked history; and truncated logs.

use keyside_store::{
    SigningKey,
    chain::{Damage, Head},
};

use super::{
    tampering::{answers, two_workspaces},
    *,
};
use crate::keyring::KeyringError;

/// `acme`, whose key `a` was revoked after `older`: a rollback would revive it.
async fn revoked_since() -> (Installation, Arc<Registry>, Memory) {
    let (installation, [a, ..]) = two_workspaces().await;
    let older = installation.memory.copy();
    let registry = installation.open().await;
    let revoked = registry.revoke(&act(), &a, Revocation::default()).await;
    revoked.unwrap();
    (installation, registry, older)
}

/// Checks that acme's chain is refused and everything else works.
async fn stops_acme(registry: &Arc<Registry>, what: &str) {
    let added = registry.add(&act(), key("c", "sk-acme-c")).await;
    assert!(
        matches!(added, Err(ChangeError::Damaged)),
        "{what}: {added:?}"
    );
    let undecryptable = Err(Refusal::CredentialUndecryptable);
    let [a, b, globex] = answers(registry);
    assert_eq!([&a, &b], [&undecryptable, &undecryptable], "{what}");
    assert_eq!(globex.as_deref(), Ok("sk-globex-a"), "{what}");
    let made = registry
        .create_workspace(&act(), workspace("initech"))
        .await;
    assert!(
        matches!(made, Ok(_) | Err(ChangeError::WorkspaceExists)),
        "{what}"
    );
    assert_eq!(found(registry).await.0, "workspace/acme", "{what}");
    assert_eq!(damages(&records(registry).await).len(), 1, "{what}");
}

#[tokio::test]
async fn a_rollback_of_a_workspace_is_detected_at_run_time_and_at_the_start() {
    let (installation, registry, older) = revoked_since().await;
    installation.put_back("workspace/acme", &older);
    stops_acme(&registry, "running").await;
    drop(registry);
    stops_acme(&installation.open().await, "at a start").await;
}

#[tokio::test]
async fn a_rollback_of_a_workspace_and_its_anchor_is_detected_by_the_installations_link() {
    let (installation, registry, older) = revoked_since().await;
    registry.link(true).await;
    drop(registry);
    installation.put_back("workspace/acme", &older);
    fs::remove_file(installation.heads().join("workspace.acme")).unwrap();
    stops_acme(&installation.open().await, "linked").await;
}

#[tokio::test]
async fn a_rollback_of_the_installation_is_refused() {
    let (installation, registry, _) = revoked_since().await;
    let older = installation.memory.copy();
    let made = registry
        .create_workspace(&act(), workspace("initech"))
        .await;
    made.unwrap();
    installation.put_back("installation", &older);
    let refused = registry
        .create_workspace(&act(), workspace("umbrella"))
        .await;
    assert!(matches!(refused, Err(ChangeError::Damaged)), "{refused:?}");
    assert!(answers(&registry)[1].is_ok(), "what is in memory is served");
    drop(registry);
    let (damage, said) = installation.damage().await;
    assert!(matches!(damage, Damage::Older { .. }), "{said}");
}

/// The same installation was continued twice from one state, and only one continuation revoked a
/// key.
#[tokio::test]
async fn a_forked_history_is_detected_even_if_it_is_longer() {
    for more in [1, 3] {
        let (installation, [a, ..]) = two_workspaces().await;
        let apart = installation.copy();
        let elsewhere = apart.open().await;
        for n in 0..more {
            let new = key(&format!("k{n}"), "sk-2");
            elsewhere.add(&act(), new).await.unwrap();
        }
        let registry = installation.open().await;
        let revoked = registry.revoke(&act(), &a, Revocation::default()).await;
        revoked.unwrap();
        installation.put_back("workspace/acme", &apart.memory.copy());
        let what = format!("{more} commits");
        stops_acme(&registry, &what).await;
        drop(registry);
        stops_acme(&installation.open().await, &what).await;
    }
}

/// Signs the heads of all chains with another key, like an attacker who has everything but the key
/// service.
fn sign_again(installation: &Installation, key: &SigningKey, id: &str) {
    for (at, bytes) in &mut installation.memory.contents().objects {
        if let Some(chain) = at.strip_suffix("/head") {
            let head = Head::parse_unverified(bytes).unwrap();
            *bytes = head.sign(&ChainName::of(chain), id, key);
        }
    }
}

#[tokio::test]
async fn heads_signed_with_a_foreign_key_are_refused_even_if_the_keyring_lists_it() {
    let (installation, registry, _) = revoked_since().await;
    let id = registry.keyring.installation().installation().to_owned();
    let public = registry.audit().public_key();
    drop(registry);
    let forger = SigningKey::from_seed(&[7; 32]);
    sign_again(&installation, &forger, &id);
    let (damage, said) = installation.damage().await;
    assert!(matches!(damage, Damage::HeadForged), "{said}");
    let keyring = fs::read_to_string(installation.keyring()).unwrap();
    let theirs = keyring.replace(&public.to_string(), &forger.public().to_string());
    assert_ne!(keyring, theirs);
    fs::write(installation.keyring(), theirs).unwrap();
    let error = installation.try_open().await.err().unwrap();
    assert!(
        matches!(
            error,
            OpenError::Keyring(KeyringError::Damaged { .. } | KeyringError::Kms(_))
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_head_of_a_later_release_is_not_reported_as_tampering() {
    let (installation, registry, _) = revoked_since().await;
    drop(registry);
    installation.tamper("installation/head", |head| head[0] += 1);
    let error = installation.try_open().await.err().unwrap();
    let said = error.to_string();
    assert!(said.contains("use the release that wrote it"), "{said}");
    assert!(said.contains("If no later release has run"), "{said}");
}

#[tokio::test]
async fn a_commit_missing_from_the_log_is_reported_and_its_credentials_are_served() {
    let (installation, registry, _) = revoked_since().await;
    let state = registry.chains.of(&erasing::acme()).state().unwrap();
    let chain = ChainName::workspace("acme");
    for object in &state.head.tail {
        let at = chain.object_key(object);
        let bytes = installation.stored(&at);
        installation.remove(&at);
        assert_eq!(found(&registry).await.0, chain.as_str());
        let reopened = installation.open().await;
        assert_eq!(answers(&reopened)[1].as_deref(), Ok("sk-acme-b"));
        assert!(reopened.audit().verify().await.is_err());
        installation.put(&at, &bytes);
        registry.audit().verify().await.unwrap();
    }
}

/// An attacker with write access to the store puts the last head of an erased workspace in place of
/// that of the workspace that has its id now.
#[tokio::test]
async fn an_erased_workspaces_head_in_place_of_its_successors_is_detected_and_not_served() {
    for is_anchored in [true, false] {
        let (installation, registry, id) = erasing::two_workspaces().await;
        let erased = installation.memory.copy();
        erasing::erase(&registry).await;
        let again = registry.create_workspace(&act(), workspace("acme")).await;
        again.unwrap();
        let new = registry.add(&act(), key("a", "sk-new")).await.unwrap();
        registry.link(true).await;
        drop(registry);
        for (key, bytes) in &erased.contents().objects {
            if key.starts_with("workspace/acme/") {
                installation.put(key, bytes);
            }
        }
        if !is_anchored {
            fs::remove_file(installation.heads().join("workspace.acme")).unwrap();
        }
        for _ in 0..2 {
            let registry = installation.open().await;
            let answer = opened(registry.resolver().resolve(&ask("acme")));
            assert_eq!(answer, Err(Refusal::CredentialUndecryptable));
            let other = opened(registry.resolver().resolve(&ask("globex")));
            assert_eq!(other.as_deref(), Ok("sk-globex"));
            assert!(registry.workspace(&erasing::acme()).unwrap().damaged);
            assert!(registry.credential(&id).is_none_or(|it| it.damaged));
            assert!(
                registry
                    .credential(&new.credential.id)
                    .is_none_or(|it| it.damaged)
            );
            let added = registry.add(&act(), key("b", "sk-b")).await;
            assert!(matches!(added, Err(ChangeError::Damaged)), "{added:?}");
            assert!(registry.audit().verify().await.is_err());
            let recorded = records(&registry).await;
            assert_eq!(damages(&recorded).len(), 1, "recorded, and only once");
        }
    }
}

/// Only the anchor could prove it: no link is as new as the state that is put back.
#[tokio::test]
async fn a_rollback_of_a_workspace_without_its_anchor_is_reported_and_not_served() {
    let (installation, [a, ..]) = two_workspaces().await;
    let registry = installation.open().await;
    registry.link(true).await;
    let older = installation.memory.copy();
    let edit = Edit {
        label: Some("renamed".parse().unwrap()),
        ..Edit::default()
    };
    registry.edit(&act(), &a, edit).await.unwrap();
    drop(registry);
    installation.put_back("workspace/acme", &older);
    fs::remove_file(installation.heads().join("workspace.acme")).unwrap();
    let registry = installation.open().await;
    stops_acme(&registry, "no anchor").await;
    let recorded = records(&registry).await;
    let note = damages(&recorded)[0].note.clone().unwrap();
    assert!(note.contains("heads/workspace.acme is gone"), "{note}");
}

#[tokio::test]
async fn an_anchor_not_written_before_a_crash_is_written_at_the_start_and_required_from_then_on() {
    let (installation, registry, _) = erasing::two_workspaces().await;
    drop(registry);
    let anchor = installation.heads().join("workspace.acme");
    // As if the process had ended between the first head and its anchor.
    fs::remove_file(&anchor).unwrap();
    let registry = installation.open().await;
    let answer = opened(registry.resolver().resolve(&ask("acme")));
    assert_eq!(answer.as_deref(), Ok("sk-acme"));
    assert!(anchor.exists());
    registry.audit().verify().await.unwrap();
    registry.link(true).await;
    drop(registry);
    fs::remove_file(&anchor).unwrap();
    let registry = installation.open().await;
    assert!(registry.workspace(&erasing::acme()).unwrap().damaged);
    assert!(!anchor.exists(), "none is made");
}

/// An anchor that could not be written must not be reported as missing later.
#[tokio::test]
async fn a_workspace_creation_is_incomplete_until_its_anchor_is_written() {
    let (installation, registry, _) = erasing::two_workspaces().await;
    let anchor = installation.heads().join("workspace.acme");
    fs::remove_file(&anchor).unwrap();
    let pending = || {
        let registration = registry.chains.registration(&erasing::acme()).unwrap();
        registration.pending.is_some()
    };
    registry.link(true).await;
    assert!(pending());
    registry.add(&act(), key("b", "sk-b")).await.unwrap();
    assert!(anchor.exists());
    registry.link(true).await;
    assert!(!pending());
}

#[tokio::test]
async fn a_read_only_process_needs_no_anchors() {
    let (installation, registry, _) = erasing::two_workspaces().await;
    registry.link(true).await;
    drop(registry);
    fs::remove_dir_all(installation.heads()).unwrap();
    let options = installation.options(installation.backend());
    let reader = Registry::open_to_read(options).await.unwrap();
    let answer = opened(reader.resolver().resolve(&ask("acme")));
    assert_eq!(answer.as_deref(), Ok("sk-acme"));
}

#[tokio::test]
async fn a_workspace_with_a_damaged_or_missing_anchor_can_be_erased_and_its_id_reused() {
    for is_gone in [true, false] {
        let (installation, registry, _) = erasing::two_workspaces().await;
        registry.link(true).await;
        drop(registry);
        let anchor = installation.heads().join("workspace.acme");
        match is_gone {
            true => fs::remove_file(&anchor).unwrap(),
            false => fs::write(&anchor, "not a head").unwrap(),
        }
        let registry = installation.open().await;
        let shown = registry.workspace(&erasing::acme()).unwrap();
        assert!(shown.damaged);
        assert_eq!(shown.created_at.as_second(), NOW, "no date of 1970");
        let seen = incarnations::state(&registry);
        let (by, id) = (act(), erasing::acme());
        let erased = registry.erase_workspace(&by, &id, Some(seen)).await;
        let receipt = erased.unwrap();
        assert_eq!((receipt.incarnation, receipt.credentials), (1, 1));
        let again = registry.create_workspace(&act(), workspace("acme")).await;
        again.unwrap();
        registry.add(&act(), key("a", "sk-new")).await.unwrap();
        registry.link(true).await;
        for registry in [registry, installation.open().await] {
            let answer = opened(registry.resolver().resolve(&ask("acme")));
            assert_eq!(answer.as_deref(), Ok("sk-new"));
            registry.audit().verify().await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_id_with_a_damaged_earlier_chain_is_refused_before_any_write() {
    let (installation, registry, _) = erasing::two_workspaces().await;
    erasing::erase(&registry).await;
    drop(registry);
    let anchor = installation.heads().join("workspace.acme");
    let whole = fs::read(&anchor).unwrap();
    fs::write(&anchor, "not a head").unwrap();
    let registry = installation.open().await;
    let refused = registry.create_workspace(&act(), workspace("acme")).await;
    let error = refused.unwrap_err();
    let is_chain = matches!(error, ChangeError::ChainDamaged { .. });
    assert!(is_chain, "{error}");
    assert!(
        error.to_string().contains("heads/workspace.acme"),
        "{error}"
    );
    let registration = registry.chains.registration(&erasing::acme()).unwrap();
    assert!(!registration.exists && registration.pending.is_none());
    assert!(registry.keyring.ids(&erasing::acme()).await.is_empty());
    fs::write(&anchor, whole).unwrap();
    let again = registry.create_workspace(&act(), workspace("acme")).await;
    assert_eq!(again.unwrap().incarnation, 2);
}

#[tokio::test]
async fn a_stray_head_makes_its_id_refused_before_any_write_and_does_not_prevent_a_start() {
    let (installation, registry) = Installation::with_acme().await;
    let zeta: WorkspaceId = "zeta".parse().unwrap();
    let of_acme = fs::read(installation.heads().join("workspace.acme")).unwrap();
    let stray = installation.heads().join("workspace.zeta");
    for contents in [b"not a head".to_vec(), of_acme] {
        fs::write(&stray, contents).unwrap();
        let before = all_records(&registry).await.len();
        let refused = registry.create_workspace(&act(), workspace("zeta")).await;
        match refused {
            Err(error @ ChangeError::HeadInTheWay { .. }) => {
                let said = error.to_string();
                let anchor = installation.heads().join("workspace.zeta");
                let named = format!("the file {} is in the way", anchor.display());
                assert!(said.starts_with(&named), "{said}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(all_records(&registry).await.len(), before);
        assert!(registry.chains.registration(&zeta).is_none());
        assert!(registry.keyring.ids(&zeta).await.is_empty());
    }
    drop(registry);
    let registry = installation.open().await;
    fs::remove_file(&stray).unwrap();
    let made = registry.create_workspace(&act(), workspace("zeta")).await;
    assert!(!made.unwrap().damaged);
}

#[tokio::test]
async fn a_forked_installation_is_refused_with_its_own_remedy() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let apart = installation.copy();
    for (place, id) in [(&installation, "globex"), (&apart, "initech")] {
        let registry = place.open().await;
        let made = registry.create_workspace(&act(), workspace(id)).await;
        made.unwrap();
    }
    installation.put_back("installation", &apart.memory);
    let (damage, said) = installation.damage().await;
    assert!(matches!(damage, Damage::Forked), "{said}");
    assert!(said.contains("two different copies"), "{said}");
    assert!(!said.contains("--older"), "{said}");
}

/// A folder at its path, as after a wrong copy. File permissions would not stop a test that runs as
/// root.
#[tokio::test]
async fn an_unreadable_anchor_damages_only_its_workspace_and_is_reported_with_its_path() {
    let (installation, _) = two_workspaces().await;
    let registry = installation.open().await;
    registry.link(true).await;
    drop(registry);
    let in_place = |name: &str| {
        let path = installation.heads().join(name);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        path
    };
    let path = in_place("workspace.acme");
    let registry = installation.open().await;
    stops_acme(&registry, "a folder").await;
    let recorded = records(&registry).await;
    let said = damages(&recorded)[0].note.clone().unwrap();
    assert!(said.contains(&path.display().to_string()), "{said}");
    drop(registry);
    let path = in_place("installation");
    let (_, said) = installation.damage().await;
    for part in [&*path.display().to_string(), "newest copy"] {
        assert!(said.contains(part), "no {part}: {said}");
    }
}

/// The process has read them at its start, and replaces them only with its next commit.
#[tokio::test]
async fn a_verification_finds_anchors_that_were_removed_or_edited_since_the_start() {
    let (installation, registry, _) = erasing::two_workspaces().await;
    registry.link(true).await;
    let apart = installation.copy();
    let elsewhere = apart.open().await;
    elsewhere.add(&act(), key("b", "sk-b")).await.unwrap();
    elsewhere.chains.anchors.sync().await.unwrap();
    let newer = fs::read(apart.heads().join("workspace.acme")).unwrap();
    for (name, edited) in [
        ("installation", None),
        ("installation", Some(b"not a head".to_vec())),
        ("workspace.acme", None),
        ("workspace.acme", Some(b"not a head".to_vec())),
        ("workspace.acme", Some(newer)),
    ] {
        let anchor = installation.heads().join(name);
        let whole = fs::read(&anchor).unwrap();
        match &edited {
            Some(edited) => fs::write(&anchor, edited).unwrap(),
            None => fs::remove_file(&anchor).unwrap(),
        }
        let (chain, finding) = found(&registry).await;
        assert_eq!(chain, name.replace('.', "/"), "{edited:?}: {finding}");
        fs::write(&anchor, whole).unwrap();
        registry.audit().verify().await.unwrap();
    }
}
