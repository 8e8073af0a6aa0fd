//! Tokens that were revoked or have expired: kept for a while, then deleted.

use keyside_store::chain::Write;
use tokio::task::JoinHandle;

use super::{
    access::{limited_owner, limited_to, made, new_token, store},
    clock::at,
    *,
};
use crate::{
    access::{MAX_FROM_LIMITED, MAX_WITH_ENDED, NewToken, Role, Token, TokenDocument},
    record::Draft,
};

/// Creates a token and revokes it.
async fn revoked(registry: &Arc<Registry>) -> Token {
    let token = made(registry, new_token(Role::Viewer)).await.token;
    let (by, all) = (act(), Scope::All);
    let revoked = registry.revoke_token(&by, &all, &token.id, None);
    revoked.await.unwrap()
}

/// Whether the installation's chain has a document of the token.
fn is_stored(registry: &Registry, token: &ActorId) -> bool {
    let state = registry.chains.installation().state().unwrap();
    state.document(&format!("token/{token}")).is_some()
}

/// Tokens of limited owners that were revoked now, and are not stored yet.
fn ended(count: usize, origin: Option<&ActorId>) -> Vec<TokenDocument> {
    let ended = (0..count).map(|_| TokenDocument {
        origin: origin.cloned(),
        revoked_at: Some(at(NOW)),
        ..limited_owner()
    });
    ended.collect()
}

#[tokio::test]
async fn a_token_is_deleted_with_the_first_creation_30_days_after_it_ended() {
    let (installation, registry) = Installation::with_acme().await;
    let expiring = NewToken {
        expires_at: Some(at(NOW + DAY)),
        ..new_token(Role::Viewer)
    };
    let expiring = made(&registry, expiring).await;
    let lasting = made(&registry, new_token(Role::Viewer)).await;
    for token in [&expiring, &lasting] {
        registry.access().authenticate(&token.text).unwrap();
    }
    let revoked = revoked(&registry).await.id;
    let by_revoked = ActorContext {
        actor: revoked.clone(),
        ..act()
    };
    let expiring_id = &expiring.token.id;
    let lasting_id = &lasting.token.id;
    registry.flush().await;
    for (day, is_revoked_kept, is_expiring_kept) in
        [(29, true, true), (30, false, true), (31, false, false)]
    {
        installation.clock.set(NOW + day * DAY);
        made(&registry, new_token(Role::Viewer)).await;
        for (id, is_kept) in [
            (&revoked, is_revoked_kept),
            (expiring_id, is_expiring_kept),
            (lasting_id, true),
        ] {
            assert_eq!(is_stored(&registry, id), is_kept, "{id} on day {day}");
            let found = registry.access().find(id);
            assert_eq!(found.is_some(), is_kept, "{id} on day {day}");
        }
    }
    let notes = |id: &ActorId| {
        let contents = installation.memory.contents();
        let mut names = contents.notes.keys();
        names.any(|name| name.contains(id.as_str()))
    };
    assert!(notes(lasting_id) && !notes(expiring_id));
    // As if the request had been authenticated before the token ended.
    let refused = registry.create_workspace(&by_revoked, workspace("beta"));
    let refused = refused.await.err();
    assert!(
        matches!(refused, Some(ChangeError::AccessEnded)),
        "{refused:?}"
    );
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(registry.access().authenticate(&expiring.text), None);
    assert!(registry.access().authenticate(&lasting.text).is_some());
    assert!(registry.audit().verify().await.is_ok());
}

#[tokio::test]
async fn ended_tokens_are_deleted_faster_than_others_are_created() {
    let (installation, registry) = Installation::with_acme().await;
    store(&registry, &ended(40, None)).await;
    installation.clock.set(NOW + 30 * DAY);
    let count = || registry.access().tokens(&Scope::All).len();
    for _ in 0..3 {
        made(&registry, new_token(Role::Viewer)).await;
    }
    // Those three, and the one that the first start created.
    assert_eq!(count(), 4);
}

/// Otherwise a token that creates one for each run could do so a thousand times, ever.
#[tokio::test]
async fn tokens_that_ended_long_ago_do_not_count_against_a_limited_token() {
    let (installation, registry) = Installation::with_acme().await;
    let limited = || NewToken {
        scope: limited_to("acme"),
        ..new_token(Role::Owner)
    };
    let first = made(&registry, limited()).await.token.id;
    store(&registry, &ended(MAX_FROM_LIMITED, Some(&first))).await;
    let by = ActorContext {
        actor: first,
        ..act()
    };
    let scope = limited_to("acme");
    let refused = registry.create_token(&by, &scope, limited()).await.err();
    assert!(
        matches!(refused, Some(ChangeError::TooManyTokens)),
        "{refused:?}"
    );
    installation.clock.set(NOW + 30 * DAY);
    let created = registry.create_token(&by, &scope, limited());
    created.await.unwrap();
}

#[tokio::test]
async fn the_tokens_that_ended_first_make_room_in_a_crowded_installation() {
    let (installation, registry) = Installation::with_acme().await;
    store(&registry, &ended(MAX_WITH_ENDED, None)).await;
    let documents = || {
        let state = registry.chains.installation().state().unwrap();
        state.documents().count()
    };
    let before = documents();
    installation.clock.set(NOW + 60);
    let last = revoked(&registry).await.id;
    made(&registry, new_token(Role::Viewer)).await;
    assert!(documents() <= before, "{} > {before}", documents());
    assert!(is_stored(&registry, &last), "it ended last");
}

#[tokio::test]
async fn two_processes_delete_the_same_ended_tokens() {
    let (installation, one) = Installation::with_acme().await;
    let ended = revoked(&one).await.id;
    let other = installation.open().await;
    installation.clock.set(NOW + 30 * DAY);
    let (by, all) = (act(), Scope::All);
    let (first, second) = tokio::join!(
        one.create_token(&by, &all, new_token(Role::Viewer)),
        other.create_token(&by, &all, new_token(Role::Viewer)),
    );
    first.unwrap();
    second.unwrap();
    for registry in [&one, &other] {
        registry.catch_up().await.unwrap();
        assert!(registry.access().find(&ended).is_none());
        // The first owner's, and one from each process.
        assert_eq!(registry.access().tokens(&all).len(), 3);
    }
    assert!(one.audit().verify().await.is_ok());
}

fn read_all(registry: &Arc<Registry>) -> JoinHandle<Result<(), StorageError>> {
    let registry = registry.clone();
    tokio::spawn(async move {
        let own = registry.chains.installation();
        registry.access.read(own).await.map(drop)
    })
}

/// Its text was shown, and the first request with it would have been refused.
#[tokio::test]
async fn a_token_created_during_a_slow_read_of_all_tokens_stays() {
    let (installation, _) = Installation::with_acme().await;
    let (storage, registry) = installation.open_faulty().await;
    let held = storage.objects.hold();
    let read = read_all(&registry);
    storage.objects.arrived(1).await;
    let token = limited_owner();
    store(&registry, std::slice::from_ref(&token)).await;
    registry.access.publish(&token);
    drop(held);
    read.await.unwrap().unwrap();
    assert!(registry.access().find(&token.id).is_some());
}

#[tokio::test]
async fn a_token_deleted_during_a_slow_read_of_all_tokens_does_not_come_back() {
    let (installation, _) = Installation::with_acme().await;
    let (storage, registry) = installation.open_faulty().await;
    let token = made(&registry, new_token(Role::Viewer)).await;
    let held = storage.objects.hold();
    let read = read_all(&registry);
    storage.objects.arrived(1).await;
    // Through the registry this would wait at the gate too.
    let (own, id) = (registry.chains.installation(), &token.token.id);
    let drafts = vec![Draft::new(Event::TokenCreated, &act())];
    let removal = vec![Write::remove(format!("token/{id}"))];
    let on = own.state();
    let deleted = registry.chains.commit(own, on.as_ref(), 0, drafts, removal);
    deleted.await.unwrap();
    registry.access.forget(std::slice::from_ref(id));
    drop(held);
    read.await.unwrap().unwrap();
    assert!(registry.access().find(id).is_none());
    assert_eq!(registry.access().authenticate(&token.text), None);
}
