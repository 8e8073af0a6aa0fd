//! Tokens: restarts, failing storage and expiry.

use keyside_store::faulty::Fault;

use super::{
    erasing::{acme, erase, two_workspaces},
    tampering::edit,
    *,
};
use crate::{
    access::{CreatedToken, MAX_FROM_LIMITED, NewToken, Role, Token, TokenDocument, TokenStatus},
    chains::Priority,
    documents::Document,
    record::{Draft, Event},
};

pub(super) fn new_token(role: Role) -> NewToken {
    NewToken {
        name: "Robin".parse().unwrap(),
        role,
        scope: Scope::All,
        expires_at: None,
    }
}

pub(super) async fn made(registry: &Arc<Registry>, new: NewToken) -> CreatedToken {
    let made = registry.create_token(&act(), &Scope::All, new).await;
    made.unwrap()
}

pub(super) fn limited_to(workspace: &str) -> Scope {
    Scope::Only(Arc::new([workspace.parse().unwrap()].into()))
}

/// An owner's token that is limited to acme, and not stored yet.
pub(super) fn limited_owner() -> TokenDocument {
    let new = NewToken {
        scope: limited_to("acme"),
        ..new_token(Role::Owner)
    };
    let now = jiff::Timestamp::from_second(NOW).unwrap();
    TokenDocument::create(new, &act().actor, now).0
}

/// Stores tokens in one commit.
pub(super) async fn store(registry: &Registry, tokens: &[TokenDocument]) {
    let own = registry.chains.installation();
    let on = own.state();
    let drafts = vec![Draft::new(Event::TokenCreated, &act())];
    let writes = tokens.iter().map(Document::write).collect();
    let committed = registry.chains.commit(own, on.as_ref(), 0, drafts, writes);
    committed.await.unwrap();
}

#[tokio::test]
async fn a_token_is_valid_after_a_restart_with_the_same_limits_until_it_is_revoked() {
    let (installation, registry) = Installation::with_acme().await;
    let new = NewToken {
        scope: limited_to("acme"),
        ..new_token(Role::Editor)
    };
    let CreatedToken { token, text, .. } = made(&registry, new).await;
    drop(registry);
    let registry = installation.open().await;
    let principal = registry.access().authenticate(&text).unwrap();
    assert_eq!(
        (principal.role, &principal.scope),
        (Role::Editor, &limited_to("acme"))
    );
    assert_eq!(principal.actor, token.id);
    let revoked = registry
        .revoke_token(&act(), &Scope::All, &token.id, None)
        .await;
    assert_eq!(revoked.unwrap().status, TokenStatus::Revoked);
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(registry.access().authenticate(&text), None);
    assert_eq!(
        registry.access().find(&token.id).unwrap().status,
        TokenStatus::Revoked
    );
}

#[tokio::test]
async fn a_token_expires_and_does_not_revive() {
    let (installation, registry) = Installation::with_acme().await;
    let new = NewToken {
        expires_at: Some(jiff::Timestamp::from_second(NOW + DAY).unwrap()),
        ..new_token(Role::Viewer)
    };
    let text = made(&registry, new).await.text;
    assert!(registry.access().authenticate(&text).is_some());
    installation.clock.set(NOW + DAY);
    assert_eq!(registry.access().authenticate(&text), None);
    installation.clock.set(NOW);
    assert_eq!(registry.access().authenticate(&text), None);
}

#[tokio::test]
async fn a_token_cannot_create_one_that_outlives_it() {
    let (_installation, registry) = Installation::with_acme().await;
    let at = |second| Some(jiff::Timestamp::from_second(second).unwrap());
    let ending = |expires_at| NewToken {
        expires_at,
        ..new_token(Role::Owner)
    };
    let maker = made(&registry, ending(at(NOW + DAY))).await.token;
    let by = ActorContext {
        actor: maker.id,
        ..act()
    };
    for (asked, given) in [
        (None, at(NOW + DAY)),
        (at(NOW + 2 * DAY), at(NOW + DAY)),
        (at(NOW + 60), at(NOW + 60)),
    ] {
        let made = registry.create_token(&by, &Scope::All, ending(asked)).await;
        let made = made.unwrap();
        assert_eq!(made.token.expires_at, given, "{asked:?}");
        assert_eq!(made.warnings.is_empty(), asked == given, "{asked:?}");
    }
}

#[tokio::test]
async fn the_last_use_of_a_token_survives_an_orderly_restart() {
    let (installation, registry) = Installation::with_acme().await;
    let CreatedToken { token, text, .. } = made(&registry, new_token(Role::Viewer)).await;
    installation.clock.set(NOW + 60);
    registry.access().authenticate(&text).unwrap();
    registry.flush().await;
    drop(registry);
    let registry = installation.open().await;
    let used = registry.access().find(&token.id).unwrap().last_used_at;
    assert_eq!(used.map(|at| at.as_second()), Some(NOW + 60));
}

#[tokio::test]
async fn two_owners_who_revoke_each_other_at_the_same_time_leave_one() {
    let (_installation, registry) = Installation::with_acme().await;
    made(&registry, new_token(Role::Owner)).await;
    let ids: Vec<_> = registry
        .access()
        .tokens(&Scope::All)
        .into_iter()
        .map(|token| token.id)
        .collect();
    let (by, all) = (act(), Scope::All);
    let (one, other) = tokio::join!(
        registry.revoke_token(&by, &all, &ids[0], None),
        registry.revoke_token(&by, &all, &ids[1], None),
    );
    assert!(one.is_ok() != other.is_ok());
    let refused = one.err().or(other.err());
    assert!(
        matches!(refused, Some(ChangeError::LastOwner)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_conditional_revocation_of_a_token_fails_if_the_token_changed_before() {
    let (_installation, registry) = Installation::with_acme().await;
    let made_too = registry.create_workspace(&act(), workspace("globex")).await;
    made_too.unwrap();
    let both = ["acme", "globex"].map(|id| id.parse().unwrap());
    let new = NewToken {
        scope: Scope::Only(Arc::new(both.into())),
        ..new_token(Role::Viewer)
    };
    let Token { id, revision, .. } = made(&registry, new).await.token;
    let own = registry.chains.installation();
    let changing = own.lock(Priority::Normal).await;
    let of = registry.clone();
    let erased = tokio::spawn(async move { of.erase_workspace(&act(), &acme(), None).await });
    // The workspace's chain has ended, and the installation's has not recorded it yet.
    while registry.workspace(&acme()).is_some() {
        tokio::task::yield_now().await;
    }
    let_all_wait().await;
    let (of, token) = (registry.clone(), id.clone());
    let revoked = async move {
        let (by, seen) = (act(), Some(revision));
        of.revoke_token(&by, &Scope::All, &token, seen).await
    };
    let revoked = tokio::spawn(revoked);
    let_all_wait().await;
    drop(changing);
    erased.await.unwrap().unwrap();
    let current = registry.access().find(&id).unwrap().revision;
    assert!(matches!(
        revoked.await.unwrap(),
        Err(ChangeError::Superseded(found)) if found == current
    ));
    let by = act();
    let again = registry.revoke_token(&by, &Scope::All, &id, Some(current));
    again.await.unwrap();
}

/// At whichever write storage fails, and whether or not that write was done: a token whose creation
/// was confirmed is valid, and any other is not, until the store is read again.
#[tokio::test(start_paused = true)]
async fn a_token_is_created_completely_or_not_at_all_at_whichever_write_storage_fails() {
    let (prepared, _) = Installation::with_acme().await;
    for (count, fault) in [
        (1, Fault::Refused),
        (1, Fault::AnswerLost),
        (usize::MAX, Fault::Refused),
        (usize::MAX, Fault::AnswerLost),
    ] {
        for at in 1.. {
            let context = format!("write {at}, {count} of them: {fault:?}");
            let installation = prepared.copy();
            let (storage, registry) = installation.open_faulty().await;
            let before = registry.access().tokens(&Scope::All).len();
            storage.fail(at, count, fault);
            let (by, new) = (act(), new_token(Role::Viewer));
            let made = registry.create_token(&by, &Scope::All, new).await;
            let reached = storage.heal();
            let after = registry.access().tokens(&Scope::All).len();
            assert_eq!(after - before, usize::from(made.is_ok()), "{context}");
            drop(registry);
            let registry = installation.open().await;
            let there = registry.access().tokens(&Scope::All).len() - before;
            match made {
                Ok(made) => assert!(
                    registry.access().authenticate(&made.text).is_some(),
                    "{context}"
                ),
                Err(ChangeError::OutcomeUnknown(_)) => assert!(there <= 1, "{context}"),
                Err(ChangeError::StoreUnavailable(_)) => assert_eq!(there, 0, "{context}"),
                Err(other) => panic!("{context}: {other}"),
            }
            assert!(registry.audit().verify().await.is_ok(), "{context}");
            if !reached {
                assert!(at > 4, "{context}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_token_edited_in_the_store_is_refused() {
    let (installation, registry) = Installation::with_acme().await;
    let CreatedToken { token, text, .. } = made(&registry, new_token(Role::Viewer)).await;
    drop(registry);
    let at = installation.stored_at(&format!("{{\"id\":\"{}\"", token.id));
    installation.tamper(&at, |document| edit(document, "viewer", "owner"));
    for _ in 0..2 {
        let registry = installation.open().await;
        assert_eq!(registry.access().authenticate(&text), None);
        let recorded = records(&registry).await;
        assert_eq!(damages(&recorded).len(), 1, "recorded, and only once");
    }
}

#[tokio::test]
async fn an_audit_search_reads_a_bounded_number_of_records_and_returns_a_cursor_for_the_rest() {
    let (_installation, registry) = Installation::with_acme().await;
    let chains = &registry.chains;
    for _ in 0..201 {
        let on = chains.installation().state();
        let drafts = vec![Draft::new(Event::Refused, &act()); 100];
        let noted = chains.commit(chains.installation(), on.as_ref(), 0, drafts, Vec::new());
        noted.await.unwrap();
    }
    let filter = AuditFilter {
        event: Some(Event::WorkspaceCreated),
        ..AuditFilter::default()
    };
    let none = registry.audit().search(&filter, None, 10).await.unwrap();
    assert_eq!(none.records.len(), 0);
    let found = registry
        .audit()
        .search(&filter, none.before, 10)
        .await
        .unwrap();
    assert_eq!(found.records.len(), 1);
    assert_eq!(found.before, None);
}

#[tokio::test]
async fn an_audit_search_with_a_limited_scope_finds_only_records_of_its_workspaces() {
    let (_installation, registry) = Installation::with_acme().await;
    registry
        .create_workspace(&act(), workspace("beta"))
        .await
        .unwrap();
    registry
        .add(&act(), key("a", "sk-1234567890"))
        .await
        .unwrap();
    let filter = AuditFilter {
        within: limited_to("acme"),
        ..AuditFilter::default()
    };
    let found = registry.audit().search(&filter, None, 100).await.unwrap();
    let recorded: Vec<_> = found.records.iter().map(|record| record.event).collect();
    assert_eq!(
        recorded,
        [
            Event::CredentialCreated,
            Event::ChainBegun,
            Event::WorkspaceCreated
        ]
    );
    let of_beta = AuditFilter {
        workspace: Some("beta".parse().unwrap()),
        ..filter
    };
    let found = registry.audit().search(&of_beta, None, 100).await.unwrap();
    assert!(found.records.is_empty());
}

#[tokio::test]
async fn a_token_revoked_during_a_request_changes_nothing() {
    let (_installation, registry) = Installation::with_acme().await;
    let all = Scope::All;
    let actor = made(&registry, new_token(Role::Owner)).await.token.id;
    let by = ActorContext {
        actor: actor.clone(),
        ..act()
    };
    let acme = acme();
    registry.rotate_workspace_key(&by, &acme).await.unwrap();
    let revoked = registry.revoke_token(&act(), &all, &actor, None).await;
    revoked.unwrap();
    let new = NewWorkspace {
        id: "beta".parse().unwrap(),
        name: "Beta".parse().unwrap(),
    };
    let refused = [
        registry.create_workspace(&by, new).await.err(),
        registry.rotate_workspace_key(&by, &acme).await.err(),
        registry.rotate_master_key(&by).await.err(),
        registry.export_workspace(&by, &acme).await.err(),
        registry.backup(&by).await.err(),
        registry.erase_workspace(&by, &acme, None).await.err(),
        registry.revoke_token(&by, &all, &actor, None).await.err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(ChangeError::AccessEnded)), "{error:?}");
    }
}

/// As if the requests had been authenticated before the erasure, and their bodies arrived after it.
#[tokio::test]
async fn a_token_that_loses_a_workspace_during_a_request_changes_nothing_in_its_successor() {
    let (_installation, registry, _) = two_workspaces().await;
    let both = ["acme", "globex"].map(|id| id.parse().unwrap());
    let new = NewToken {
        scope: Scope::Only(Arc::new(both.into())),
        ..new_token(Role::Owner)
    };
    let by = ActorContext {
        actor: made(&registry, new).await.token.id,
        ..act()
    };
    registry.add(&by, key("b", "sk-b")).await.unwrap();
    erase(&registry).await;
    let again = registry.create_workspace(&act(), workspace("acme")).await;
    again.unwrap();
    let edit = WorkspaceEdit::default();
    let refused = [
        registry.add(&by, key("c", "sk-c")).await.err(),
        registry.edit_workspace(&by, &acme(), edit).await.err(),
        registry.rotate_workspace_key(&by, &acme()).await.err(),
        registry.export_workspace(&by, &acme()).await.err(),
        registry.erase_workspace(&by, &acme(), None).await.err(),
    ];
    for error in refused {
        let is_unknown = matches!(error, Some(ChangeError::WorkspaceUnknown));
        assert!(is_unknown, "{error:?}");
    }
    let globex = NewCredential {
        workspace: "globex".parse().unwrap(),
        ..key("b", "sk-b")
    };
    registry.add(&by, globex).await.unwrap();
}

#[tokio::test]
async fn a_token_revoked_during_a_slow_read_of_all_tokens_stays_revoked() {
    let (installation, registry) = Installation::with_acme().await;
    let CreatedToken { token, text, .. } = made(&registry, new_token(Role::Viewer)).await;
    let before = installation.copy();
    let read_before = before.open().await;
    let revoked = registry
        .revoke_token(&act(), &Scope::All, &token.id, None)
        .await;
    revoked.unwrap();
    let own = read_before.chains.installation();
    registry.access.read(own).await.unwrap();
    assert_eq!(registry.access().authenticate(&text), None);
}

/// Otherwise a token for one workspace could use up the documents that all workspaces share.
#[tokio::test]
async fn tokens_that_come_from_a_limited_token_are_bounded_and_others_are_not_affected() {
    let (_installation, registry) = Installation::with_acme().await;
    let limited = || NewToken {
        scope: limited_to("acme"),
        ..new_token(Role::Owner)
    };
    let scope = limited_to("acme");
    let create = async |by: &ActorId| {
        let by = ActorContext {
            actor: by.clone(),
            ..act()
        };
        let created = registry.create_token(&by, &scope, limited());
        created.await.map(|created| created.token.id)
    };
    let first = made(&registry, limited()).await.token.id;
    let second = create(&first).await.unwrap();
    let third = create(&second).await.unwrap();
    let ended = (3..MAX_FROM_LIMITED).map(|_| TokenDocument {
        origin: Some(first.clone()),
        revoked_at: Some(jiff::Timestamp::from_second(NOW).unwrap()),
        ..limited_owner()
    });
    store(&registry, &ended.collect::<Vec<_>>()).await;
    let last = create(&second).await.unwrap();
    let revoked = registry.revoke_token(&act(), &scope, &last, None).await;
    revoked.unwrap();
    for by in [&first, &second, &third] {
        let refused = create(by).await;
        let is_full = matches!(refused, Err(ChangeError::TooManyTokens));
        assert!(is_full, "{refused:?}");
    }
    let other = made(&registry, limited()).await.token.id;
    create(&other).await.unwrap();
}
