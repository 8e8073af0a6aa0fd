//! Rollbacks of chains with their anchors, and damage to the installation's records about them, by
//! an attacker with write access to the store and to `heads/`: the other chains and the keyring
//! prove them.

use keyside_store::chain::{Damage, Head};

use super::{
    erasing::{self, acme},
    signing_key,
    tampering::{answers, two_workspaces},
    *,
};
use crate::access::{NewToken, Role};

impl Installation {
    /// Puts everything of a chain back to its state in `older`, including its anchor.
    fn put_back_with_anchor(&self, chain: &str, older: &Installation) {
        self.put_back(chain, &older.memory);
        let synced = chain.replace('/', ".");
        for anchor in [format!("{synced}.unsynced"), synced] {
            let (from, to) = (older.heads().join(&anchor), self.heads().join(&anchor));
            // Either may have none that is not synced.
            let _ = fs::remove_file(&to);
            if from.exists() {
                fs::copy(from, to).unwrap();
            }
        }
    }
}

/// The storage key of a document of the installation's chain.
fn document(registry: &Registry, name: &str) -> String {
    let state = registry.chains.installation().state().unwrap();
    let entry = state.document(name).unwrap();
    ChainName::installation().object_key(&entry.object)
}

/// Deletes or edits an object.
fn damage(installation: &Installation, at: &str, is_removed: bool) {
    match is_removed {
        true => installation.remove(at),
        false => installation.tamper(at, |bytes| bytes[SALT] ^= 1),
    }
}

/// A rollback would revive a revoked key, and only the registration proves that the chain is older.
#[tokio::test]
async fn a_workspace_with_a_damaged_registration_is_not_served_linked_erased_or_recreated() {
    for is_removed in [true, false] {
        let (installation, [a, ..]) = two_workspaces().await;
        let registry = installation.open().await;
        registry.link(true).await;
        let older = installation.copy();
        let revoked = registry.revoke(&act(), &a, Revocation::default()).await;
        revoked.unwrap();
        registry.link(true).await;
        let at = document(&registry, "workspace/acme");
        drop(registry);
        damage(&installation, &at, is_removed);
        installation.put_back_with_anchor("workspace/acme", &older);
        for _ in 0..2 {
            let registry = installation.open().await;
            let undecryptable = Err(Refusal::CredentialUndecryptable);
            let [a, b, globex] = answers(&registry);
            assert_eq!([&a, &b], [&undecryptable, &undecryptable]);
            assert_eq!(globex.as_deref(), Ok("sk-globex-a"));
            assert!(registry.workspace(&acme()).unwrap().damaged);
            let (by, id) = (act(), acme());
            for refused in [
                registry.add(&by, key("c", "sk-c")).await.map(drop),
                registry.erase_workspace(&by, &id, None).await.map(drop),
                registry
                    .create_workspace(&by, workspace("acme"))
                    .await
                    .map(drop),
            ] {
                let error = refused.unwrap_err();
                let is_named = matches!(error, ChangeError::InstallationDamaged(_));
                assert!(is_named, "{error}");
                assert!(error.to_string().contains("workspace/acme"), "{error}");
            }
            // As an orderly stop does.
            registry.links.changed(&acme(), true);
            registry.link(true).await;
            assert_eq!(document(&registry, "workspace/acme"), at, "not replaced");
            assert_eq!(found(&registry).await.0, "installation");
            let recorded = records(&registry).await;
            assert_eq!(damages(&recorded).len(), 1, "recorded, and only once");
        }
    }
}

/// Nothing is left of it that could be used, or erased again.
#[tokio::test]
async fn an_erased_workspace_with_a_damaged_registration_is_reported_and_not_listed() {
    for is_removed in [true, false] {
        let (installation, registry, _) = erasing::two_workspaces().await;
        erasing::erase(&registry).await;
        let at = document(&registry, "workspace/acme");
        drop(registry);
        damage(&installation, &at, is_removed);
        let registry = installation.open().await;
        assert!(registry.workspace(&acme()).is_none());
        assert_eq!(registry.workspaces(&Scope::All).len(), 1);
        let answer = registry.resolver().resolve(&ask("acme"));
        assert_eq!(answer.err(), Some(Refusal::WorkspaceUnknown));
        assert_eq!(found(&registry).await.0, "installation");
        let recorded = records(&registry).await;
        assert_eq!(damages(&recorded).len(), 1, "{recorded:?}");
        // A successor could get the incarnation of an earlier workspace.
        let created = registry.create_workspace(&act(), workspace("acme")).await;
        let error = created.unwrap_err();
        let is_named = matches!(error, ChangeError::InstallationDamaged(_));
        assert!(is_named, "{error}");
    }
}

#[tokio::test]
async fn a_registration_damaged_at_run_time_disables_its_workspace() {
    let (installation, [a, ..]) = two_workspaces().await;
    let registry = installation.open().await;
    let other = installation.open().await;
    let revoked = other.revoke(&act(), &a, Revocation::default()).await;
    revoked.unwrap();
    other.link(true).await;
    let at = document(&other, "workspace/acme");
    let whole = installation.stored(&at);
    installation.remove(&at);
    registry.catch_up().await.unwrap();
    let [_, b, globex] = answers(&registry);
    assert_eq!(b, Err(Refusal::CredentialUndecryptable));
    assert_eq!(globex.as_deref(), Ok("sk-globex-a"));
    installation.put(&at, &whole);
    let registry = installation.open().await;
    let [a, b, _] = answers(&registry);
    assert_eq!(a, Err(Refusal::CredentialRevoked));
    assert_eq!(b.as_deref(), Ok("sk-acme-b"));
}

/// A rollback would revive a revoked token.
#[tokio::test]
async fn a_rollback_of_the_installation_and_its_anchor_is_refused_if_a_workspace_changed_since() {
    let token = || NewToken {
        name: "another owner".parse().unwrap(),
        role: Role::Owner,
        scope: Scope::All,
        expires_at: None,
    };
    let (installation, _) = two_workspaces().await;
    let registry = installation.open().await;
    let made = registry.create_token(&act(), &Scope::All, token()).await;
    let id = made.unwrap().token.id;
    // From now on, the workspaces' anchors are required.
    registry.link(true).await;
    let older = installation.copy();
    let revoked = registry.revoke_token(&act(), &Scope::All, &id, None).await;
    revoked.unwrap();
    registry.add(&act(), key("c", "sk-acme-c")).await.unwrap();
    drop(registry);
    let newest = installation.copy();
    installation.put_back_with_anchor("installation", &older);
    let (damage, said) = installation.damage().await;
    assert!(matches!(damage, Damage::Older { .. }), "{said}");
    assert!(said.contains("newest copy"), "{said}");
    // Without its anchor, the workspace's head proves it too.
    let anchor = installation.heads().join("workspace.acme");
    let kept = fs::read(&anchor).unwrap();
    fs::remove_file(&anchor).unwrap();
    let (damage, said) = installation.damage().await;
    assert!(matches!(damage, Damage::Older { .. }), "{said}");
    fs::write(&anchor, kept).unwrap();
    // The older state was continued elsewhere, so it is longer.
    let elsewhere = older.open().await;
    for _ in 0..4 {
        let made = elsewhere.create_token(&act(), &Scope::All, token()).await;
        made.unwrap();
    }
    drop(elsewhere);
    installation.put_back_with_anchor("installation", &older);
    let (damage, said) = installation.damage().await;
    assert!(matches!(damage, Damage::Forked), "{said}");
    installation.put_back_with_anchor("installation", &newest);
    let registry = installation.open().await;
    registry.audit().verify().await.unwrap();
}

/// The end of the chain is not linked like its other states.
#[tokio::test]
async fn an_erased_workspaces_chain_truncated_before_its_end_is_detected_and_its_id_refused() {
    let (installation, registry, _) = erasing::two_workspaces().await;
    registry.link(true).await;
    let before = installation.copy();
    erasing::erase(&registry).await;
    drop(registry);
    installation.put_back_with_anchor("workspace/acme", &before);
    let registry = installation.open().await;
    let answer = registry.resolver().resolve(&ask("acme"));
    assert_eq!(answer.err(), Some(Refusal::WorkspaceUnknown));
    let (chain, finding) = found(&registry).await;
    assert_eq!(chain, "workspace/acme");
    assert!(finding.contains("older state"), "{finding}");
    let made = registry.create_workspace(&act(), workspace("acme")).await;
    let error = made.unwrap_err();
    let is_chain = matches!(error, ChangeError::ChainDamaged { .. });
    assert!(is_chain, "{error}");
    let said = error.to_string();
    assert!(said.contains("heads/workspace.acme"), "{said}");
}

#[tokio::test]
async fn a_damaged_installation_document_is_audited_and_not_replaced_by_a_rotation() {
    let (installation, registry, _) = erasing::two_workspaces().await;
    drop(registry);
    let options = || signing_key::options(&installation, installation.backend());
    let registry = open_without_tasks(options()).await.unwrap();
    registry.rotate_master_key(&act()).await.unwrap();
    let at = document(&registry, "state");
    let whole = installation.stored(&at);
    drop(registry);
    for is_removed in [false, true] {
        damage(&installation, &at, is_removed);
        let registry = open_without_tasks(options()).await.unwrap();
        let answer = opened(registry.resolver().resolve(&ask("globex")));
        assert_eq!(answer.as_deref(), Ok("sk-globex"));
        let recorded = records(&registry).await;
        let named = damages(&recorded).into_iter().any(|it| {
            let note = it.note.as_deref().unwrap_or_default();
            note.contains("document state")
        });
        assert!(named, "{recorded:?}");
        let error = registry.rotate_master_key(&act()).await.unwrap_err();
        let is_named = matches!(error, ChangeError::InstallationDamaged(_));
        assert!(is_named, "{error}");
        assert_eq!(document(&registry, "state"), at, "not replaced");
        assert_eq!(found(&registry).await.0, "installation");
        installation.put(&at, &whole);
    }
    let registry = open_without_tasks(options()).await.unwrap();
    registry.settle_keys().await.unwrap();
    registry.audit().verify().await.unwrap();
}

/// On a backend that processes share. A head of the epoch before would make the chain unusable.
#[tokio::test]
async fn a_process_from_before_a_restore_changes_nothing_after_it() {
    let (installation, registry) = Installation::with_acme().await;
    let signer = registry.keyring.signer().unwrap();
    let id = registry.keyring.installation().installation();
    for chain in ["installation", "workspace/acme"] {
        let name = ChainName::of(chain);
        installation.tamper(&name.head_key(), |stored| {
            let mut head = Head::parse_unverified(stored).unwrap();
            head.epoch += 1;
            *stored = head.sign(&name, id, &*signer);
        });
    }
    let before = installation.memory.contents().objects.clone();
    let token = NewToken {
        name: "another owner".parse().unwrap(),
        role: Role::Owner,
        scope: Scope::All,
        expires_at: None,
    };
    let by = act();
    for refused in [
        registry.add(&by, key("a", "sk-a")).await.map(drop),
        registry
            .create_token(&by, &Scope::All, token)
            .await
            .map(drop),
    ] {
        assert!(matches!(refused, Err(ChangeError::Damaged)), "{refused:?}");
    }
    assert_eq!(installation.memory.contents().objects, before);
}
