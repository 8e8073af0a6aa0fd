//! Heads that were put back, forged, or are those of another history; and logs that were cut.

use keyside_store::{
    SigningKey,
    chain::{Damage, Head},
};

use super::{
    tampering::{answers, two_workspaces},
    *,
};
use crate::{audit::VerifyError, keyring::KeyringError};

/// `acme` whose key `a` was revoked since `older`, and is to come back.
async fn revoked_since() -> (Installation, Arc<Registry>, Memory) {
    let (installation, [a, ..]) = two_workspaces().await;
    let older = installation.memory.copy();
    let registry = installation.open().await;
    let revoked = registry.revoke(&act(), &a, Revocation::default()).await;
    revoked.unwrap();
    (installation, registry, older)
}

/// The chain of acme is not believed, and everything else goes on.
async fn stops_acme(registry: &Registry, what: &str) {
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
    match registry.audit().verify().await {
        Err(VerifyError::Broken(found)) => assert_eq!(found.chain.as_str(), "workspace/acme"),
        other => panic!("{what}: {other:?}"),
    }
    let told = records(registry).await;
    let named = told.iter().filter(|it| it.event == Event::DocumentDamaged);
    assert_eq!(named.count(), 1, "{what}");
}

#[tokio::test]
async fn a_workspace_put_back_to_an_older_state_is_found_while_running_and_at_the_start() {
    let (installation, registry, older) = revoked_since().await;
    installation.put_back("workspace/acme", &older);
    stops_acme(&registry, "running").await;
    drop(registry);
    stops_acme(&*installation.open().await, "at a start").await;
}

#[tokio::test]
async fn a_workspace_put_back_together_with_its_anchor_is_found_by_the_link_of_the_installation() {
    let (installation, registry, older) = revoked_since().await;
    registry.inner.link(true).await;
    drop(registry);
    installation.put_back("workspace/acme", &older);
    fs::remove_file(installation.heads().join("workspace.acme")).unwrap();
    stops_acme(&*installation.open().await, "linked").await;
}

#[tokio::test]
async fn an_installation_put_back_to_an_older_state_is_refused() {
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
    let error = installation.try_open().await.err().unwrap();
    let is_older = matches!(
        error,
        OpenError::Damaged {
            damage: Damage::Older { .. },
            ..
        }
    );
    assert!(is_older, "{error}");
}

/// The same installation went two ways from one state on, in one of which a key was not revoked.
#[tokio::test]
async fn another_history_is_found_although_it_is_as_long_or_longer() {
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
        stops_acme(&*installation.open().await, &what).await;
    }
}

/// Signs the heads of all chains with another key, as someone would who has everything but the key service.
fn sign_again(installation: &Installation, key: &SigningKey, id: &str) {
    for (at, bytes) in &mut installation.memory.contents().objects {
        if let Some(chain) = at.strip_suffix("/head") {
            let head = Head::claimed(bytes).unwrap();
            *bytes = head.sign(&ChainName::of(chain), id, key);
        }
    }
}

#[tokio::test]
async fn heads_signed_by_someone_else_are_refused_also_with_their_key_in_the_keyring() {
    let (installation, registry, _) = revoked_since().await;
    let id = registry
        .inner
        .keyring
        .installation()
        .installation()
        .to_owned();
    let public = registry.audit().public_key();
    drop(registry);
    let forger = SigningKey::from_seed(&[7; 32]);
    sign_again(&installation, &forger, &id);
    let error = installation.try_open().await.err().unwrap();
    let is_forged = matches!(
        error,
        OpenError::Damaged {
            damage: Damage::HeadForged,
            ..
        }
    );
    assert!(is_forged, "{error}");
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
async fn a_head_of_a_later_release_is_no_tampering_and_says_so() {
    let (installation, registry, _) = revoked_since().await;
    drop(registry);
    installation.tamper("installation/head", |head| head[0] += 1);
    let error = installation.try_open().await.err().unwrap();
    assert!(
        error.to_string().contains("use the release that wrote it"),
        "{error}"
    );
}

#[tokio::test]
async fn a_commit_that_is_gone_from_the_log_is_named_and_what_it_made_is_served() {
    let (installation, registry, _) = revoked_since().await;
    let state = registry.inner.chains.of(&erasing::acme()).state().unwrap();
    let chain = ChainName::workspace("acme");
    for object in &state.head.tail {
        let at = chain.object_key(object);
        let bytes = installation.stored(&at);
        installation.remove(&at);
        match registry.audit().verify().await {
            Err(VerifyError::Broken(found)) => assert_eq!(found.chain, chain, "{found}"),
            other => panic!("{other:?}"),
        }
        let reopened = installation.open().await;
        assert_eq!(answers(&reopened)[1].as_deref(), Ok("sk-acme-b"));
        assert!(reopened.audit().verify().await.is_err());
        installation.put(&at, &bytes);
        registry.audit().verify().await.unwrap();
    }
}

/// Someone who can write to the store puts the end of an erased workspace back, in the place of the one that has its id now.
#[tokio::test]
async fn the_head_of_an_erased_workspace_put_onto_its_successor_is_found_and_nothing_of_either_served()
 {
    for is_anchored in [true, false] {
        let (installation, registry, id) = erasing::two_workspaces().await;
        let erased = installation.memory.copy();
        erasing::erase(&registry).await;
        let again = registry.create_workspace(&act(), workspace("acme")).await;
        again.unwrap();
        let new = registry.add(&act(), key("a", "sk-new")).await.unwrap();
        registry.inner.link(true).await;
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
            let told = records(&registry).await;
            let named = told.iter().filter(|it| it.event == Event::DocumentDamaged);
            assert_eq!(named.count(), 1, "on record, and once");
        }
    }
}
