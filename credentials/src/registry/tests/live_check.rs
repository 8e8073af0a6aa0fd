//! Rotations whose new key must pass a check by its provider first.

use std::sync::Mutex;

use async_trait::async_trait;
use keyside_config::Verification;
use tokio::{sync::oneshot, task::JoinHandle};

use super::*;
use crate::{
    access::{NewToken, Role},
    live_check::{Finding, LiveCheck},
};

/// A provider that is called for one key, and gives this result.
struct FixedResult(&'static str, Verification);

#[async_trait]
impl LiveCheck for FixedResult {
    async fn check(&self, grant: &Grant) -> Finding {
        let asked = opened(Ok(grant.clone())).unwrap();
        assert_eq!(asked, self.0, "the key that is tried");
        found(self.1)
    }
}

/// A rotation to `sk-2` if the provider accepts it.
fn checked(check: Arc<dyn LiveCheck>) -> Rotation {
    Rotation {
        check: Some(check),
        ..to("sk-2")
    }
}

/// The same in a task of its own.
fn rotating(
    registry: &Arc<Registry>,
    id: &CredentialId,
    check: Arc<BlockedCheck>,
) -> JoinHandle<Result<Saved, ChangeError>> {
    let (registry, id) = (registry.clone(), id.clone());
    tokio::spawn(async move { registry.rotate(&act(), &id, checked(check)).await })
}

/// Revokes or replaces the key during a check.
async fn come_between(registry: &Arc<Registry>, id: &CredentialId, revoked: bool) -> Credential {
    match revoked {
        true => {
            let revoked = registry.revoke(&act(), id, Revocation::default()).await;
            revoked.unwrap()
        }
        false => {
            let rotated = registry.rotate(&act(), id, to("sk-3")).await;
            rotated.unwrap().credential
        }
    }
}

fn found(verification: Verification) -> Finding {
    match verification {
        Verification::Accepted => status(verification, 200),
        Verification::Limited => status(verification, 403),
        Verification::Rejected => status(verification, 401),
        Verification::Unreachable => Finding::UNANSWERED,
    }
}

fn status(verification: Verification, status: u16) -> Finding {
    Finding {
        verification,
        status: Some(status),
    }
}

/// A provider that accepts a key when the test lets it answer.
struct BlockedCheck(Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>);

impl BlockedCheck {
    fn new() -> (Arc<Self>, oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (asked, was_asked) = oneshot::channel();
        let (answer, may_answer) = oneshot::channel();
        let check = Self(Mutex::new(Some((asked, may_answer))));
        (Arc::new(check), was_asked, answer)
    }
}

#[async_trait]
impl LiveCheck for BlockedCheck {
    async fn check(&self, _: &Grant) -> Finding {
        let (asked, may_answer) = self.0.lock().unwrap().take().unwrap();
        asked.send(()).unwrap();
        may_answer.await.unwrap();
        found(Verification::Accepted)
    }
}

#[tokio::test]
async fn a_key_that_the_provider_accepts_is_promoted_and_audited() {
    for verdict in [Verification::Accepted, Verification::Limited] {
        let (_installation, registry, id) = one_key().await;
        let from = seen(&registry).await;
        let rotation = checked(Arc::new(FixedResult("sk-2", verdict)));
        let credential = registry
            .rotate(&act(), &id, rotation)
            .await
            .unwrap()
            .credential;
        assert_eq!(
            states(&credential),
            [VersionState::Grace, VersionState::Current]
        );
        assert_eq!(credential.verification, Some(verdict));
        assert_eq!(credential.last_verified_at, credential.last_rotated_at);
        assert_eq!(
            events(&registry, &from).await,
            [Event::RotationStaged, Event::CredentialRotated]
        );
        let back = registry
            .roll_back(&act(), &id, Rollback::default())
            .await
            .unwrap();
        assert_eq!(back.verification, None, "that was about the other key");
    }
}

#[tokio::test]
async fn a_key_that_fails_its_check_is_destroyed_and_the_old_one_stays_in_use() {
    for verdict in [Verification::Rejected, Verification::Unreachable] {
        let (installation, registry, id) = one_key().await;
        let from = seen(&registry).await;
        let rotation = checked(Arc::new(FixedResult("sk-2", verdict)));
        let refused = registry.rotate(&act(), &id, rotation).await;
        assert!(
            matches!(refused, Err(ChangeError::CheckFailed(finding)) if finding == found(verdict))
        );
        assert_eq!(
            opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
            "sk-1"
        );
        let credential = registry.credential(&id).unwrap();
        assert_eq!(
            states(&credential),
            [VersionState::Current, VersionState::Destroyed]
        );
        assert_eq!(
            (credential.last_rotated_at, sealed_versions(&installation)),
            (None, 1)
        );
        assert_eq!(
            events(&registry, &from).await,
            [Event::RotationStaged, Event::RotationAbandoned]
        );
        assert!(registry.rotations().is_empty());
    }
}

#[tokio::test]
async fn during_a_check_the_new_key_is_unused_and_nobody_waits() {
    let (_installation, registry, id) = one_key().await;
    let (check, was_asked, answer) = BlockedCheck::new();
    let rotating = rotating(&registry, &id, check);
    was_asked.await.unwrap();
    let staged = registry.credential(&id).unwrap();
    assert_eq!(
        states(&staged),
        [VersionState::Current, VersionState::Staged]
    );
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-1"
    );
    let back = registry
        .roll_back(
            &act(),
            &id,
            Rollback {
                to: Some(2),
                expected: None,
            },
        )
        .await;
    assert!(
        matches!(back, Err(ChangeError::VersionNotInGrace { .. })),
        "staged is not in grace"
    );
    let edit = Edit {
        label: Some("renamed".parse().unwrap()),
        ..Edit::default()
    };
    registry.edit(&act(), &id, edit).await.unwrap();
    answer.send(()).unwrap();
    let credential = rotating.await.unwrap().unwrap().credential;
    assert_eq!(
        states(&credential),
        [VersionState::Grace, VersionState::Current]
    );
    assert_eq!(credential.label.as_str(), "renamed");
}

#[tokio::test]
async fn a_promotion_does_not_undo_changes_made_during_the_check() {
    for (revoked, kept) in [(true, 0), (false, 2)] {
        let (installation, registry, id) = one_key().await;
        let from = seen(&registry).await;
        let (check, was_asked, answer) = BlockedCheck::new();
        let rotating = rotating(&registry, &id, check);
        was_asked.await.unwrap();
        let before = come_between(&registry, &id, revoked).await;
        answer.send(()).unwrap();
        let error = rotating.await.unwrap().unwrap_err();
        let (expected, event) = match revoked {
            true => (
                matches!(error, ChangeError::Revoked),
                Event::CredentialRevoked,
            ),
            false => (
                matches!(error, ChangeError::Replaced),
                Event::RotationAbandoned,
            ),
        };
        assert!(expected, "{error}");
        let recorded = events(&registry, &from).await;
        assert!(
            recorded.contains(&event),
            "what became of the staged one: {recorded:?}"
        );
        assert_eq!(registry.credential(&id).unwrap(), before);
        assert_eq!(states(&before)[1], VersionState::Destroyed);
        assert_eq!(sealed_versions(&installation), kept);
    }
}

#[tokio::test]
async fn a_version_left_staged_by_a_crash_is_never_used_and_is_swept_later() {
    let (installation, registry, id) = one_key().await;
    let (check, was_asked, _answer) = BlockedCheck::new();
    let rotating = rotating(&registry, &id, check);
    was_asked.await.unwrap();
    // The process ends here.
    rotating.abort();
    drop(registry);
    let copy = Backend::of(Arc::new(installation.memory.copy()));
    let registry = Registry::open(installation.options(copy)).await.unwrap();
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-1"
    );
    assert_eq!(
        states(&registry.credential(&id).unwrap())[1],
        VersionState::Staged
    );
    installation.clock.set(NOW + 120);
    assert_eq!(
        states(&registry.credential(&id).unwrap())[1],
        VersionState::Destroyed
    );
}

#[tokio::test]
async fn the_result_of_checking_the_key_in_use_is_noted_and_does_not_disable_it() {
    for verdict in [
        Verification::Accepted,
        Verification::Limited,
        Verification::Rejected,
        Verification::Unreachable,
    ] {
        let (installation, registry, id) = one_key().await;
        let from = seen(&registry).await;
        installation.clock.set(NOW + 60);
        let check = Arc::new(FixedResult("sk-1", verdict));
        let (credential, finding) = registry.verify(&act(), &id, check).await.unwrap();
        assert_eq!(finding, found(verdict));
        assert_eq!(credential.verification, Some(verdict));
        let answered = verdict != Verification::Unreachable;
        assert_eq!(credential.last_verified_at.is_some(), answered);
        let still = opened(registry.resolver().resolve(&ask("acme")));
        assert_eq!(still.unwrap(), "sk-1");
        let recorded = events(&registry, &from).await;
        assert_eq!(recorded, [Event::CredentialVerified]);
    }
}

#[tokio::test]
async fn the_result_of_a_check_is_dropped_if_the_key_was_replaced_or_revoked_meanwhile() {
    for revoked in [true, false] {
        let (_installation, registry, id) = one_key().await;
        let (check, was_asked, answer) = BlockedCheck::new();
        let verifying = tokio::spawn({
            let (registry, id) = (registry.clone(), id.clone());
            async move { registry.verify(&act(), &id, check).await }
        });
        was_asked.await.unwrap();
        let before = come_between(&registry, &id, revoked).await;
        answer.send(()).unwrap();
        let error = verifying.await.unwrap().unwrap_err();
        let expected = match revoked {
            true => matches!(error, ChangeError::Revoked),
            false => matches!(error, ChangeError::Replaced),
        };
        assert!(expected, "{error}");
        assert_eq!(registry.credential(&id).unwrap(), before);
    }
}

#[tokio::test]
async fn a_staged_key_is_destroyed_if_its_actor_loses_access_during_the_check() {
    let (_installation, registry, id) = one_key().await;
    let new = NewToken {
        name: "Robin".to_owned(),
        role: Role::Editor,
        scope: Scope::All,
        expires_at: None,
    };
    let made = registry.create_token(&act(), &Scope::All, new).await;
    let actor = made.unwrap().token.id;
    let (check, was_asked, answer) = BlockedCheck::new();
    let rotating = {
        let (registry, id) = (registry.clone(), id.clone());
        let by = ActorContext {
            actor: actor.clone(),
            ..act()
        };
        tokio::spawn(async move { registry.rotate(&by, &id, checked(check)).await })
    };
    was_asked.await.unwrap();
    let by = act();
    let revoked = registry.revoke_token(&by, &Scope::All, &actor, None);
    revoked.await.unwrap();
    answer.send(()).unwrap();
    let error = rotating.await.unwrap().err();
    assert!(matches!(error, Some(ChangeError::AccessEnded)), "{error:?}");
    let credential = registry.credential(&id).unwrap();
    assert_eq!(
        states(&credential),
        [VersionState::Current, VersionState::Destroyed]
    );
}
