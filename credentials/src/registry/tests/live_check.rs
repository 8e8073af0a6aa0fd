//! Checks by a provider: before a key is stored, and of the key in use.

use std::sync::Mutex;

use async_trait::async_trait;
use keyside_config::{Cause, Verification};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{incarnations::erase_and_make_again, *};
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
        check: CheckBeforeSave::Required(check),
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
        Verification::Accepted => Finding::of_verdict(verification, Some(200)),
        Verification::Limited => Finding::because(Cause::PermissionMissing, Some(403)),
        Verification::Rejected => Finding::because(Cause::WrongKey, Some(401)),
        Verification::Unreachable => Finding::UNANSWERED,
        Verification::Inconclusive => Finding::because(Cause::ResponseUnexpected, Some(302)),
    }
}

/// A new credential with this check.
fn checked_key(text: &str, check: CheckBeforeSave) -> NewCredential {
    NewCredential {
        check,
        ..key("checked", text)
    }
}

/// Every verdict.
const VERDICTS: [Verification; 5] = [
    Verification::Accepted,
    Verification::Limited,
    Verification::Rejected,
    Verification::Unreachable,
    Verification::Inconclusive,
];

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
        assert_eq!(events(&registry, &from).await, [Event::CredentialRotated]);
        let back = registry
            .roll_back(&act(), &id, Rollback::default())
            .await
            .unwrap();
        assert_eq!(back.verification, None, "that was about the other key");
    }
}

#[tokio::test]
async fn a_key_that_fails_its_check_is_not_stored_and_the_old_one_stays_in_use() {
    for verdict in [
        Verification::Rejected,
        Verification::Unreachable,
        Verification::Inconclusive,
    ] {
        let (installation, registry, id) = one_key().await;
        let before = registry.credential(&id).unwrap();
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
        assert_eq!(registry.credential(&id).unwrap(), before);
        assert_eq!(sealed_versions(&installation), 1);
        assert!(events(&registry, &from).await.is_empty());
        assert!(registry.rotations().is_empty());
    }
}

#[tokio::test]
async fn a_required_check_decides_whether_a_new_key_is_stored() {
    for verdict in VERDICTS {
        let (installation, registry) = Installation::with_acme().await;
        let from = seen(&registry).await;
        let check = CheckBeforeSave::Required(Arc::new(FixedResult("sk-1", verdict)));
        let added = registry.add(&act(), checked_key("sk-1", check)).await;
        let stored = registry.list(&Filter::default());
        match added {
            Ok(saved) => {
                assert!(found(verdict).is_usable());
                assert_eq!(saved.finding, Some(found(verdict)));
                assert_eq!(saved.credential.verification, Some(verdict));
                assert_eq!(stored, [saved.credential]);
                assert_eq!(events(&registry, &from).await, [Event::CredentialCreated]);
            }
            Err(ChangeError::CheckFailed(finding)) => {
                assert!(!found(verdict).is_usable());
                assert_eq!(finding, found(verdict));
                assert!(stored.is_empty());
                assert_eq!(sealed_versions(&installation), 0);
                assert!(events(&registry, &from).await.is_empty());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_key_that_is_only_tried_is_stored_whatever_the_provider_says() {
    for verdict in VERDICTS {
        let (_installation, registry, id) = one_key().await;
        let tried = |text| CheckBeforeSave::Try(Arc::new(FixedResult(text, verdict)));
        let new = checked_key("sk-9", tried("sk-9"));
        let added = registry.add(&act(), new).await.unwrap();
        assert_eq!(added.finding, Some(found(verdict)));
        assert_eq!(added.credential.verification, Some(verdict));
        let rotation = Rotation {
            check: tried("sk-2"),
            ..to("sk-2")
        };
        let rotated = registry.rotate(&act(), &id, rotation).await.unwrap();
        assert_eq!(rotated.finding, Some(found(verdict)));
        assert_eq!(rotated.credential.verification, Some(verdict));
        let used = opened(registry.resolver().resolve(&ask("acme")));
        assert_eq!(used.unwrap(), "sk-2");
    }
}

#[tokio::test]
async fn during_a_check_nothing_is_stored_and_nobody_waits() {
    let (installation, registry, id) = one_key().await;
    let (check, was_asked, answer) = BlockedCheck::new();
    let rotating = rotating(&registry, &id, check);
    was_asked.await.unwrap();
    let meanwhile = registry.credential(&id).unwrap();
    assert_eq!(states(&meanwhile), [VersionState::Current]);
    assert_eq!(sealed_versions(&installation), 1);
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-1"
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
async fn a_new_key_is_decided_again_after_its_check() {
    let (installation, registry) = Installation::with_acme().await;
    let (check, was_asked, answer) = BlockedCheck::new();
    let adding = tokio::spawn({
        let (registry, check) = (registry.clone(), CheckBeforeSave::Required(check));
        async move { registry.add(&act(), checked_key("sk-1", check)).await }
    });
    was_asked.await.unwrap();
    let listed = registry.list(&Filter::default());
    assert!(listed.is_empty(), "while it is checked");
    assert_eq!(sealed_versions(&installation), 0);
    let other = registry.add(&act(), key("checked", "sk-2")).await.unwrap();
    answer.send(()).unwrap();
    let error = adding.await.unwrap().unwrap_err();
    assert!(matches!(error, ChangeError::LabelTaken { .. }), "{error}");
    assert_eq!(registry.list(&Filter::default()), [other.credential]);
}

#[tokio::test]
async fn a_key_does_not_get_into_the_successor_of_a_workspace_that_was_erased_during_its_check() {
    let (_installation, registry) = Installation::with_acme().await;
    let (check, was_asked, answer) = BlockedCheck::new();
    let adding = tokio::spawn({
        let (registry, check) = (registry.clone(), CheckBeforeSave::Required(check));
        async move { registry.add(&act(), checked_key("sk-1", check)).await }
    });
    was_asked.await.unwrap();
    erase_and_make_again(&registry).await;
    answer.send(()).unwrap();
    let error = adding.await.unwrap().unwrap_err();
    assert!(matches!(error, ChangeError::WorkspaceUnknown), "{error}");
    assert!(registry.list(&Filter::default()).is_empty());

    let saved = registry.add(&act(), key("a", "sk-1")).await.unwrap();
    let (check, was_asked, answer) = BlockedCheck::new();
    let rotating = rotating(&registry, &saved.credential.id, check);
    was_asked.await.unwrap();
    erase_and_make_again(&registry).await;
    answer.send(()).unwrap();
    let error = rotating.await.unwrap().unwrap_err();
    assert!(matches!(error, ChangeError::CredentialUnknown), "{error}");
    assert!(registry.list(&Filter::default()).is_empty());
}

#[tokio::test]
async fn a_provider_is_not_asked_in_vain() {
    /// Must not be called.
    struct Never;

    #[async_trait]
    impl LiveCheck for Never {
        async fn check(&self, _: &Grant) -> Finding {
            panic!("the provider was asked");
        }
    }

    let (_installation, registry, id) = one_key().await;
    let never = || CheckBeforeSave::Required(Arc::new(Never));
    let taken = NewCredential {
        check: never(),
        ..key("default", "sk-2")
    };
    let error = registry.add(&act(), taken).await.unwrap_err();
    assert!(matches!(error, ChangeError::LabelTaken { .. }), "{error}");
    let superseded = Rotation {
        expected: Some(9),
        check: never(),
        ..to("sk-2")
    };
    let error = registry.rotate(&act(), &id, superseded).await.unwrap_err();
    assert!(matches!(error, ChangeError::Superseded { .. }), "{error}");
    let once = |check| NewCredential {
        idempotency: Some(Idempotency {
            key: "once".to_owned(),
            request: keyside_store::Hash::of(b"request"),
        }),
        ..checked_key("sk-3", check)
    };
    let first = Arc::new(FixedResult("sk-3", Verification::Accepted));
    let first = once(CheckBeforeSave::Required(first));
    let first = registry.add(&act(), first).await.unwrap();
    let repeated = registry.add(&act(), once(never())).await.unwrap();
    assert_eq!(
        (repeated.repeated, repeated.credential),
        (true, first.credential)
    );
}

#[tokio::test]
async fn a_promotion_does_not_undo_changes_made_during_the_check() {
    // The old one in grace, and the one that came between.
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
                Event::CredentialRotated,
            ),
        };
        assert!(expected, "{error}");
        let recorded = events(&registry, &from).await;
        assert!(recorded.contains(&event), "what came between: {recorded:?}");
        assert_eq!(registry.credential(&id).unwrap(), before);
        assert_eq!(sealed_versions(&installation), kept);
    }
}

#[tokio::test]
async fn a_crash_during_a_check_leaves_nothing() {
    let (installation, registry, id) = one_key().await;
    let before = registry.credential(&id).unwrap();
    let (check, was_asked, _answer) = BlockedCheck::new();
    let rotating = rotating(&registry, &id, check);
    was_asked.await.unwrap();
    // The process ends here.
    rotating.abort();
    drop(registry);
    let copy = Backend::of(Arc::new(installation.memory.copy()));
    let registry = Registry::open(installation.options(copy)).await.unwrap();
    assert_eq!(registry.credential(&id).unwrap(), before);
    assert_eq!(sealed_versions(&installation), 1);
}

#[tokio::test]
async fn the_result_of_checking_the_key_in_use_is_kept_and_does_not_disable_it() {
    for verdict in VERDICTS {
        let (installation, registry, id) = one_key().await;
        let revision = registry.credential(&id).unwrap().revision;
        let from = seen(&registry).await;
        installation.clock.set(NOW + 60);
        let check = Arc::new(FixedResult("sk-1", verdict));
        let (credential, finding) = registry.verify(&act(), &id, check).await.unwrap();
        assert_eq!(finding, found(verdict));
        assert_eq!(credential.verification, Some(verdict));
        assert_eq!(credential.revision, revision, "a note changes nothing");
        let is_verdict = verdict.is_about_the_key();
        assert_eq!(credential.last_verified_at.is_some(), is_verdict);
        let last = registry.last_check(&id).unwrap();
        assert_eq!((last.finding, last.at.as_second()), (finding, NOW + 60));
        let still = opened(registry.resolver().resolve(&ask("acme")));
        assert_eq!(still.unwrap(), "sk-1");
        let recorded = events(&registry, &from).await;
        assert_eq!(recorded, [Event::CredentialVerified]);
    }
}

#[tokio::test]
async fn only_a_change_of_the_verdict_is_audited() {
    let (_installation, registry, id) = one_key().await;
    let from = seen(&registry).await;
    let mut changes = 0;
    for (verdict, is_change) in [
        (Verification::Accepted, true),
        (Verification::Accepted, false),
        (Verification::Rejected, true),
        (Verification::Rejected, false),
        (Verification::Accepted, true),
    ] {
        let check = Arc::new(FixedResult("sk-1", verdict));
        registry.verify(&act(), &id, check).await.unwrap();
        changes += usize::from(is_change);
        let recorded = events(&registry, &from).await;
        assert_eq!(recorded, vec![Event::CredentialVerified; changes]);
    }
}

#[tokio::test]
async fn the_last_result_survives_a_restart_and_belongs_to_its_secret() {
    let (installation, registry, id) = one_key().await;
    let check = Arc::new(FixedResult("sk-1", Verification::Limited));
    let (credential, _) = registry.verify(&act(), &id, check).await.unwrap();
    registry.flush().await;
    drop(registry);
    let copy = Backend::of(Arc::new(installation.memory.copy()));
    let registry = Registry::open(installation.options(copy)).await.unwrap();
    assert_eq!(registry.credential(&id).unwrap(), credential);
    let rotated = registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    assert_eq!(rotated.credential.verification, None, "not of this secret");
    assert_eq!(registry.last_check(&id), None);
    let back = registry.roll_back(&act(), &id, Rollback::default()).await;
    assert_eq!(back.unwrap().verification, Some(Verification::Limited));
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
async fn a_key_is_not_stored_if_its_actor_loses_access_during_the_check() {
    let (installation, registry, id) = one_key().await;
    let new = NewToken {
        name: "Robin".parse().unwrap(),
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
    assert_eq!(states(&credential), [VersionState::Current]);
    assert_eq!(sealed_versions(&installation), 1);
}
