//! Two workspaces that have the same id one after the other: nothing known about the first applies
//! to the second.

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

/// Creates a workspace with the same id again, at the same time and by the same actor.
pub(super) async fn erase_and_make_again(registry: &Arc<Registry>) {
    let erased = registry.erase_workspace(&act(), &acme(), None).await;
    erased.unwrap();
    let again = registry.create_workspace(&act(), workspace("acme")).await;
    again.unwrap();
}

#[tokio::test]
async fn a_state_of_an_erased_workspace_does_not_match_its_successor() {
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
async fn changes_within_a_workspace_keep_its_incarnation() {
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
async fn an_idempotency_key_of_an_erased_workspace_matches_nothing_in_its_successor() {
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
