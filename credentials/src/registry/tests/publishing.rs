//! A change is answered only after requests see it.

use super::{erasing::acme, *};
use crate::snapshot::WorkspaceEntry;

#[tokio::test]
async fn a_commit_is_visible_to_requests_when_it_is_answered_even_if_a_reader_loaded_it_first() {
    let (installation, registry, id) = one_key().await;
    let committed = registry.snapshot.load().workspaces.get(&acme()).cloned();
    let other = installation.open().await;
    let by = act();
    let revoked = other.revoke(&by, &id, Revocation::default());
    revoked.await.unwrap();
    // A reader has loaded the new state and has not published it yet.
    let tracked = registry.chains.of(&acme());
    registry.chains.refresh(&tracked).await.unwrap();
    let resolver = registry.resolver();
    assert!(opened(resolver.resolve(&ask("acme"))).is_ok());
    let published = registry.publish_committed(WorkspaceEntry::clone(&committed.unwrap()));
    published.await.unwrap();
    assert_eq!(
        opened(resolver.resolve(&ask("acme"))),
        Err(Refusal::CredentialRevoked)
    );
}
