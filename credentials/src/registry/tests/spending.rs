//! Limits on spend: which requests they refuse, and what restarts, crashes and clocks do to counts.

use std::num::NonZeroU64;

use super::*;
use crate::{
    model::{Cap, Usage, UsageState, Workspace, WorkspaceState},
    spend::Stored,
};

fn limits(requests: u64, tokens: u64) -> Limits {
    Limits {
        requests_per_day: NonZeroU64::new(requests),
        tokens_per_day: NonZeroU64::new(tokens),
    }
}

fn changed(requests: u64, tokens: u64) -> LimitsChange {
    LimitsChange {
        requests_per_day: Some(NonZeroU64::new(requests)),
        tokens_per_day: Some(NonZeroU64::new(tokens)),
    }
}

/// An installation with one key that has these limits.
async fn limited(requests: u64, tokens: u64) -> (Installation, Arc<Registry>, CredentialId) {
    let (installation, registry) = Installation::with_acme().await;
    let new = NewCredential {
        limits: limits(requests, tokens),
        ..key("default", "sk-1")
    };
    let saved = registry.add(&act(), new).await.unwrap();
    (installation, registry, saved.credential.id)
}

/// One request with this many tokens, from its beginning to its end.
fn send(registry: &Registry, tokens: u64) -> Result<(), Refusal> {
    let resolver = registry.resolver();
    let grant = resolver.resolve(&ask("acme"))?;
    let now = resolver.clock().now();
    grant.count_request(now);
    grant.count_tokens(tokens, || now);
    Ok(())
}

fn usage(registry: &Registry, id: &CredentialId) -> Usage {
    registry.credential(id).unwrap().usage.unwrap()
}

async fn limit_workspace(registry: &Arc<Registry>, limits: LimitsChange) -> Workspace {
    let edit = WorkspaceEdit {
        limits,
        expected: None,
    };
    let id = "acme".parse().unwrap();
    registry.edit_workspace(&act(), &id, edit).await.unwrap()
}

#[tokio::test]
async fn a_limit_of_a_credential_refuses_it_until_midnight_utc() {
    let (installation, registry, id) = limited(2, 0).await;
    let exhausted = Err(Refusal::BudgetExhausted(Cap::CredentialRequests));
    let midnight = NOW - NOW.rem_euclid(DAY) + DAY;
    installation.clock.set(midnight - 1);
    assert_eq!(send(&registry, 0), Ok(()));
    assert_eq!(send(&registry, 0), Ok(()));
    assert_eq!(send(&registry, 0), exhausted);
    assert_eq!(usage(&registry, &id).state, UsageState::Exhausted);
    installation.clock.set(midnight);
    assert_eq!(send(&registry, 0), Ok(()));
    assert_eq!(usage(&registry, &id).requests_today, Some(1));
    installation.clock.set(midnight - 1);
    assert_eq!(send(&registry, 0), Ok(()));
    assert_eq!(send(&registry, 0), exhausted);
}

#[tokio::test]
async fn a_limit_of_a_workspace_counts_all_its_credentials() {
    let (_installation, registry, _) = one_key().await;
    let other = registry.add(&act(), key("other", "sk-2")).await.unwrap();
    let workspace = limit_workspace(&registry, changed(0, 100)).await;
    assert_eq!(workspace.limits, limits(0, 100));
    assert_eq!(workspace.revision, 3, "created, a default, limits");
    send(&registry, 60).unwrap();
    let labelled = CredentialQuery {
        label: Some("other"),
        ..ask("acme")
    };
    let grant = registry.resolver().resolve(&labelled).unwrap();
    grant.count_tokens(40, || registry.clock.now());
    let exhausted = Refusal::BudgetExhausted(Cap::WorkspaceTokens);
    assert_eq!(send(&registry, 0), Err(exhausted));
    let refused = registry.resolver().resolve(&labelled).map(drop);
    assert_eq!(refused, Err(exhausted));
    assert_eq!(other.credential.usage, None, "it has no limit of its own");
    let removed = LimitsChange {
        requests_per_day: Some(None),
        tokens_per_day: Some(None),
    };
    limit_workspace(&registry, removed).await;
    assert_eq!(send(&registry, 0), Ok(()));
}

#[tokio::test]
async fn a_count_stays_when_the_credential_or_its_workspace_changes() {
    let (_installation, registry, id) = limited(10, 0).await;
    limit_workspace(&registry, changed(10, 0)).await;
    send(&registry, 0).unwrap();
    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    let edit = Edit {
        limits: LimitsChange {
            tokens_per_day: Some(NonZeroU64::new(500)),
            ..LimitsChange::default()
        },
        ..Edit::default()
    };
    let edited = registry.edit(&act(), &id, edit).await.unwrap().credential;
    assert_eq!(edited.limits, limits(10, 500), "the other limit is kept");
    registry.add(&act(), key("other", "sk-3")).await.unwrap();
    limit_workspace(&registry, changed(20, 0)).await;
    send(&registry, 7).unwrap();
    let counted = usage(&registry, &id);
    assert_eq!(counted.requests_today, Some(2));
    assert_eq!(counted.tokens_today, Some(7));
    let workspace = registry.workspace(&"acme".parse().unwrap()).unwrap();
    assert_eq!(workspace.usage.unwrap().requests_today, Some(2));
}

#[tokio::test]
async fn counts_survive_an_orderly_restart_exactly() {
    let (installation, registry, id) = limited(1_000, 1_000_000).await;
    limit_workspace(&registry, changed(1_000, 0)).await;
    for _ in 0..3 {
        send(&registry, 50).unwrap();
    }
    registry.flush().await;
    drop(registry);
    let registry = installation.open().await;
    let counted = usage(&registry, &id);
    assert_eq!(counted.requests_today, Some(3));
    assert_eq!(counted.tokens_today, Some(150));
    let workspace = registry.workspace(&"acme".parse().unwrap()).unwrap();
    assert_eq!(workspace.usage.unwrap().requests_today, Some(3));
    // A restart on the next day begins at 0.
    drop(registry);
    installation.clock.set(NOW + DAY);
    let registry = installation.open().await;
    assert_eq!(usage(&registry, &id).requests_today, Some(0));
}

#[tokio::test]
async fn a_crash_counts_the_reservation_and_forgets_nothing_that_it_covers() {
    let (installation, registry, id) = limited(1_000, 0).await;
    send(&registry, 0).unwrap();
    registry.store_spend(Stored::Ahead).await.unwrap();
    for _ in 0..9 {
        send(&registry, 0).unwrap();
    }
    // Not flushed.
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(usage(&registry, &id).requests_today, Some(21));
}

#[tokio::test]
async fn the_background_task_stores_counts_by_itself() {
    let (installation, registry, id) = limited(1_000, 0).await;
    drop(registry);
    let registry = installation.open_running().await;
    send(&registry, 0).unwrap();
    let name = format!("spend/acme/credential/{id}");
    let is_stored = || installation.memory.contents().notes.contains_key(&name);
    for _ in 0..1_000 {
        if is_stored() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(is_stored());
}

#[tokio::test]
async fn a_restart_with_the_clock_set_back_does_not_give_the_budget_again() {
    let (installation, registry, id) = limited(2, 0).await;
    installation.clock.set(NOW + 10 * DAY);
    send(&registry, 0).unwrap();
    send(&registry, 0).unwrap();
    // Only the counts: a whole flush would write the later time into the log too.
    registry.store_spend(Stored::Exact).await.unwrap();
    drop(registry);
    installation.clock.set(NOW);
    let registry = installation.open().await;
    let exhausted = Err(Refusal::BudgetExhausted(Cap::CredentialRequests));
    assert_eq!(send(&registry, 0), exhausted);
    assert_eq!(usage(&registry, &id).requests_today, Some(2));
    // The clock was wrong, but that does not lock the key for longer than the next day.
    installation.clock.set(NOW + 2 * DAY);
    assert_eq!(send(&registry, 0), Ok(()));
}

#[tokio::test]
async fn a_stored_count_that_was_edited_or_moved_is_not_used() {
    let (installation, registry, id) = limited(1_000, 0).await;
    send(&registry, 0).unwrap();
    registry.flush().await;
    drop(registry);
    let name = format!("spend/acme/credential/{id}");
    {
        let mut contents = installation.memory.contents();
        let stored = contents.notes.get_mut(&name).unwrap();
        let last = stored.len() - 1;
        stored[last] ^= 1;
    }
    let registry = installation.open().await;
    assert_eq!(usage(&registry, &id).requests_today, Some(0));
    // The next write replaces it.
    send(&registry, 0).unwrap();
    registry.flush().await;
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(usage(&registry, &id).requests_today, Some(1));
}

#[tokio::test]
async fn a_new_workspace_with_an_erased_id_begins_at_zero() {
    let (installation, registry) = Installation::with_acme().await;
    limit_workspace(&registry, changed(10, 0)).await;
    registry.add(&act(), key("default", "sk-1")).await.unwrap();
    send(&registry, 0).unwrap();
    registry.flush().await;
    let id = "acme".parse().unwrap();
    registry.erase_workspace(&act(), &id, None).await.unwrap();
    registry
        .create_workspace(&act(), workspace("acme"))
        .await
        .unwrap();
    let edited = limit_workspace(&registry, changed(10, 0)).await;
    assert_eq!(edited.usage.unwrap().requests_today, Some(0));
    drop(registry);
    let registry = installation.open().await;
    let reopened = registry.workspace(&id).unwrap();
    assert_eq!(reopened.usage.unwrap().requests_today, Some(0));
}

#[tokio::test]
async fn an_edit_of_a_workspace_is_recorded_and_needs_the_state_that_was_seen() {
    let (_installation, registry) = Installation::with_acme().await;
    let before = seen(&registry).await;
    let id = "acme".parse().unwrap();
    let of = |revision| {
        Some(WorkspaceState {
            incarnation: 1,
            revision,
        })
    };
    let edit = |expected| WorkspaceEdit {
        limits: changed(100, 0),
        expected,
    };
    let stale = registry.edit_workspace(&act(), &id, edit(of(7))).await;
    assert!(matches!(stale, Err(ChangeError::Superseded(1))));
    let edited = registry.edit_workspace(&act(), &id, edit(of(1))).await;
    assert_eq!(edited.unwrap().revision, 2);
    // Nothing changes, so nothing is recorded.
    registry
        .edit_workspace(&act(), &id, edit(of(2)))
        .await
        .unwrap();
    let records = since(&registry, &before).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].event, Event::WorkspaceEdited);
    let note = records[0].note.as_deref();
    assert_eq!(note, Some("limits: requestsPerDay 100, tokensPerDay none"));
}
