//! Rotations whose new key has to pass a check first.

use std::sync::Mutex;

use async_trait::async_trait;
use keyside_config::Verification;
use tokio::{sync::oneshot, task::JoinHandle};

use super::*;
use crate::{
    access::{NewToken, Role},
    live_check::{Finding, LiveCheck},
};

/// A provider that is asked about one key, and says this of it.
struct Says(&'static str, Verification);

#[async_trait]
impl LiveCheck for Says {
    async fn check(&self, grant: &Grant) -> Finding {
        let asked = opened(Ok(grant.clone())).unwrap();
        assert_eq!(asked, self.0, "the key that is tried");
        found(self.1)
    }
}

/// To `sk-2`, if the provider takes it.
fn checked(check: Arc<dyn LiveCheck>) -> Rotation {
    Rotation {
        check: Some(check),
        ..to("sk-2")
    }
}

/// The same, under way.
fn rotating(
    registry: &Arc<Registry>,
    id: &CredentialId,
    check: Arc<Waits>,
) -> JoinHandle<Result<Saved, ChangeError>> {
    let (registry, id) = (registry.clone(), id.clone());
    tokio::spawn(async move { registry.rotate(&act(), &id, checked(check)).await })
}

/// Withdraws the key while another is tried, or replaces it.
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

/// A provider that says yes once it is let to.
struct Waits(Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>);

impl Waits {
    fn new() -> (Arc<Self>, oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (asked, was_asked) = oneshot::channel();
        let (answer, may_answer) = oneshot::channel();
        let check = Self(Mutex::new(Some((asked, may_answer))));
        (Arc::new(check), was_asked, answer)
    }
}

#[async_trait]
impl LiveCheck for Waits {
    async fn check(&self, _: &Grant) -> Finding {
        let (asked, may_answer) = self.0.lock().unwrap().take().unwrap();
        asked.send(()).unwrap();
        may_answer.await.unwrap();
        found(Verification::Accepted)
    }
}

#[tokio::test]
async fn a_key_that_the_provider_takes_is_promoted_and_says_so() {
    for verdict in [Verification::Accepted, Verification::Limited] {
        let (_installation, registry, id) = one_key().await;
        let from = seen(&registry).await;
        let rotation = checked(Arc::new(Says("sk-2", verdict)));
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
async fn a_key_that_does_not_pass_is_destroyed_and_the_old_one_used_as_ever() {
    for verdict in [Verification::Rejected, Verification::Unreachable] {
        let (installation, registry, id) = one_key().await;
        let from = seen(&registry).await;
        let rotation = checked(Arc::new(Says("sk-2", verdict)));
        let refused = registry.rotate(&act(), &id, rotation).await;
        assert!(matches!(refused, Err(ChangeError::CheckFailed(said)) if said == found(verdict)));
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
async fn while_a_key_is_tried_nobody_gets_it_and_nobody_waits() {
    let (_installation, registry, id) = one_key().await;
    let (check, was_asked, answer) = Waits::new();
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
async fn what_is_done_while_a_key_is_tried_is_not_undone_by_its_promotion() {
    for (revoked, kept) in [(true, 0), (false, 2)] {
        let (installation, registry, id) = one_key().await;
        let from = seen(&registry).await;
        let (check, was_asked, answer) = Waits::new();
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
        let told = events(&registry, &from).await;
        assert!(
            told.contains(&event),
            "what became of the staged one: {told:?}"
        );
        assert_eq!(registry.credential(&id).unwrap(), before);
        assert_eq!(states(&before)[1], VersionState::Destroyed);
        assert_eq!(sealed_versions(&installation), kept);
    }
}

#[tokio::test]
async fn what_a_crash_leaves_staged_is_never_used_and_swept_after_its_time() {
    let (installation, registry, id) = one_key().await;
    let (check, was_asked, _answer) = Waits::new();
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
async fn what_the_provider_says_of_the_key_in_use_is_noted_and_takes_it_from_nobody() {
    for verdict in [
        Verification::Accepted,
        Verification::Limited,
        Verification::Rejected,
        Verification::Unreachable,
    ] {
        let (installation, registry, id) = one_key().await;
        let from = seen(&registry).await;
        installation.clock.set(NOW + 60);
        let check = Arc::new(Says("sk-1", verdict));
        let (credential, finding) = registry.verify(&act(), &id, check).await.unwrap();
        assert_eq!(finding, found(verdict));
        assert_eq!(credential.verification, Some(verdict));
        let answered = verdict != Verification::Unreachable;
        assert_eq!(credential.last_verified_at.is_some(), answered);
        let still = opened(registry.resolver().resolve(&ask("acme")));
        assert_eq!(still.unwrap(), "sk-1");
        let told = events(&registry, &from).await;
        assert_eq!(told, [Event::CredentialVerified]);
    }
}

#[tokio::test]
async fn what_is_said_of_a_key_that_was_replaced_or_revoked_meanwhile_is_not_noted() {
    for revoked in [true, false] {
        let (_installation, registry, id) = one_key().await;
        let (check, was_asked, answer) = Waits::new();
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
async fn a_key_whose_actor_loses_access_while_it_is_tried_is_destroyed_and_not_used() {
    let (_installation, registry, id) = one_key().await;
    let new = NewToken {
        name: "Robin".to_owned(),
        role: Role::Editor,
        scope: Scope::All,
        expires_at: None,
    };
    let made = registry.create_token(&act(), &Scope::All, new).await;
    let actor = made.unwrap().token.id;
    let (check, was_asked, answer) = Waits::new();
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
