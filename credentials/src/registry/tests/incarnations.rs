//! Two workspaces that have one id after each other: nothing that was seen of the first is true of the second.

use keyside_store::Hash;

use super::{erasing::acme, *};
use crate::model::WorkspaceState;

pub(super) fn state(registry: &Registry) -> WorkspaceState {
    let workspace = registry.workspace(&acme()).unwrap();
    WorkspaceState {
        incarnation: workspace.incarnation,
        revision: workspace.revision,
    }
}

/// The same id again, in the same instant, by the same person.
async fn erase_and_make_again(registry: &Arc<Registry>) {
    let erased = registry.erase_workspace(&act(), &acme(), None).await;
    erased.unwrap();
    let again = registry.create_workspace(&act(), workspace("acme")).await;
    again.unwrap();
}

#[tokio::test]
async fn a_state_that_was_seen_of_an_erased_workspace_is_none_of_the_next_one() {
    let (installation, registry) = Installation::with_acme().await;
    let seen = state(&registry);
    erase_and_make_again(&registry).await;
    assert_eq!(state(&registry).revision, seen.revision);
    let late = registry.erase_workspace(&act(), &acme(), Some(seen)).await;
    assert!(matches!(late, Err(ChangeError::Superseded { .. })));
    let current = state(&registry);
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(state(&registry), current);
    let erased = registry
        .erase_workspace(&act(), &acme(), Some(current))
        .await;
    erased.unwrap();
}

#[tokio::test]
async fn a_workspaces_own_changes_do_not_make_it_another_one() {
    let (_installation, registry) = Installation::with_acme().await;
    let made = state(&registry);
    registry.add(&act(), key("a", "sk-1")).await.unwrap();
    let resealed = registry.rotate_workspace_key(&act(), &acme()).await;
    resealed.unwrap();
    let now = state(&registry);
    assert_eq!(now.incarnation, made.incarnation);
    assert!(now.revision > made.revision);
}

#[tokio::test]
async fn an_idempotency_key_of_an_erased_workspace_leads_to_no_credential_of_the_next_one() {
    let (_installation, registry) = Installation::with_acme().await;
    let new = || NewCredential {
        idempotency: Some(Idempotency {
            key: "my-key".to_owned(),
            request: Hash::of(b"request"),
        }),
        ..key("default", "sk-1")
    };
    let first = registry.add(&act(), new()).await.unwrap();
    erase_and_make_again(&registry).await;
    let second = registry.add(&act(), new()).await.unwrap();
    assert!(!second.repeated);
    assert_ne!(second.credential.id, first.credential.id);
    assert!(registry.add(&act(), new()).await.unwrap().repeated);
}
