//! Two processes that change one store at the same time, coordinated only by its compare-and-swap.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{
    access::{NewToken, Role},
    model::Status,
};

/// What all tasks know, and the expected outcome.
struct Shared {
    registries: [Arc<Registry>; 2],
    /// Credentials of each lasting workspace that are not revoked, according to the answers so far.
    live: Mutex<Vec<Vec<CredentialId>>>,
    /// How often each was changed.
    changed: Mutex<HashMap<CredentialId, u64>>,
    /// The revisions on which a conditional change succeeded: at most one change per revision may
    /// succeed.
    won: Mutex<HashSet<(CredentialId, u64)>>,
    counts: Mutex<HashMap<&'static str, usize>>,
    done: AtomicUsize,
    number: AtomicUsize,
}

const CHANGES: usize = 10_000;
/// Workspaces that are never erased.
const LASTING: usize = 6;
/// Workspaces that are erased and created again.
const TEMPORARY: usize = 2;
const TASKS: usize = 16;

impl Shared {
    fn was_done(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    fn was_changed(&self, what: &'static str, id: &CredentialId, seen: Option<u64>) {
        *self.changed.lock().unwrap().entry(id.clone()).or_default() += 1;
        if let Some(seen) = seen {
            let is_first = self.won.lock().unwrap().insert((id.clone(), seen));
            assert!(is_first, "{what}: an update of revision {seen} was lost");
        }
        self.was_done(what);
    }

    fn some_live(&self, workspace: usize, dice: &mut Dice) -> Option<CredentialId> {
        let live = self.live.lock().unwrap();
        let live = &live[workspace];
        (!live.is_empty()).then(|| live[dice.below(live.len())].clone())
    }

    fn unique(&self) -> usize {
        self.number.fetch_add(1, Ordering::SeqCst)
    }

    async fn add(&self, registry: &Arc<Registry>, at: usize, dice: &mut Dice) {
        let new = NewCredential {
            workspace: lasting(at),
            environment: match dice.below(2) {
                0 => Environment::Live,
                _ => Environment::Sandbox,
            },
            default: dice.below(3) == 0,
            ..key(
                &format!("l{}", dice.below(30)),
                &format!("sk-{}", self.unique()),
            )
        };
        match registry.add(&act(), new).await {
            Ok(saved) => {
                let id = saved.credential.id;
                self.live.lock().unwrap()[at].push(id);
                self.was_done("added");
            }
            Err(ChangeError::LabelTaken { .. }) => {}
            Err(error) => panic!("add: {error}"),
        }
    }

    async fn rotate(&self, registry: &Arc<Registry>, id: &CredentialId, seen: Option<u64>) {
        let rotation = Rotation {
            grace: Duration::ZERO,
            expected: seen,
            ..to(&format!("sk-{}", self.unique()))
        };
        match registry.rotate(&act(), id, rotation).await {
            Ok(_) => self.was_changed("rotated", id, seen),
            Err(error) => came_too_late("rotate", &error),
        }
    }

    async fn edit(
        &self,
        registry: &Arc<Registry>,
        id: &CredentialId,
        seen: Option<u64>,
        dice: &mut Dice,
    ) {
        // A different value each time, so that each successful edit is a change.
        let tag = format!("tag {}", self.unique());
        let edit = Edit {
            label: (dice.below(3) == 0).then(|| format!("l{}", dice.below(30)).parse().unwrap()),
            usage_tag: Some(Some(tag.parse().unwrap())),
            default: (dice.below(3) == 0).then_some(true),
            expected: seen,
            ..Edit::default()
        };
        match registry.edit(&act(), id, edit).await {
            Ok(_) => self.was_changed("edited", id, seen),
            Err(ChangeError::LabelTaken { .. }) => {}
            Err(error) => came_too_late("edit", &error),
        }
    }

    /// Revokes a key, which the other process refuses once it has caught up.
    async fn revoke(
        &self,
        registry: &Arc<Registry>,
        other: &Arc<Registry>,
        at: usize,
        id: &CredentialId,
    ) {
        let there = registry.credential(id);
        // A second revocation changes nothing. A key unknown to this process may already be
        // revoked.
        let Some(there) = there.filter(|it| it.status != Status::Revoked) else {
            return;
        };
        let seen = Some(there.revision);
        let revocation = Revocation {
            cut: false,
            expected: seen,
        };
        match registry.revoke(&act(), id, revocation).await {
            Ok(_) => {
                self.live.lock().unwrap()[at].retain(|live| live != id);
                self.was_changed("revoked", id, seen);
            }
            Err(error) => return came_too_late("revoke", &error),
        }
        other.catch_up().await.unwrap();
        let found = other.credential(id).unwrap();
        assert_eq!(found.status, Status::Revoked, "after catching up");
    }

    /// Creates a token in one process, uses it in the other, and revokes it in either.
    async fn token(&self, registry: &Arc<Registry>, other: &Arc<Registry>, at: usize) {
        let new = NewToken {
            name: "Robin".parse().unwrap(),
            role: Role::Editor,
            scope: Scope::Only(Arc::new([lasting(at)].into())),
            expires_at: None,
        };
        let made = registry
            .create_token(&act(), &Scope::All, new)
            .await
            .unwrap();
        self.was_done("token made");
        let by = ActorContext {
            actor: made.token.id.clone(),
            ..act()
        };
        let unknown = format!("cred_{}", "a".repeat(26)).parse().unwrap();
        let change = || other.edit(&by, &unknown, Edit::default());
        assert!(matches!(
            change().await,
            Err(ChangeError::CredentialUnknown)
        ));
        assert!(
            other.access().authenticate(&made.text).is_some(),
            "after catching up"
        );
        let label = format!("t{}", self.unique());
        let new = NewCredential {
            workspace: lasting(at),
            ..key(&label, "sk-by-token")
        };
        let added = other.add(&by, new).await.unwrap();
        self.live.lock().unwrap()[at].push(added.credential.id.clone());
        self.was_done("added");
        let revoked = registry
            .revoke_token(&act(), &Scope::All, &made.token.id, None)
            .await;
        revoked.unwrap();
        self.was_done("token revoked");
        let id = &added.credential.id;
        let refused = other.edit(&by, id, Edit::default()).await;
        assert!(
            matches!(refused, Err(ChangeError::AccessEnded)),
            "{refused:?}"
        );
        assert!(other.access().authenticate(&made.text).is_none());
    }

    /// Creates, uses or erases a workspace that other tasks create, use and erase.
    async fn use_temporary(&self, registry: &Arc<Registry>, dice: &mut Dice) {
        let id = temporary(dice.below(TEMPORARY));
        match dice.below(3) {
            0 => match registry
                .create_workspace(&act(), workspace(id.as_str()))
                .await
            {
                Ok(_) => self.was_done("made"),
                Err(ChangeError::WorkspaceExists | ChangeError::WorkspaceUnknown) => {}
                Err(error) => panic!("make: {error}"),
            },
            1 => {
                let new = NewCredential {
                    workspace: id,
                    ..key(&format!("f{}", self.unique()), "sk-temporary")
                };
                match registry.add(&act(), new).await {
                    Ok(_) => self.was_done("added to a temporary workspace"),
                    // Erased before it could be listed.
                    Err(ChangeError::WorkspaceUnknown | ChangeError::CredentialUnknown) => {}
                    Err(error) => panic!("add to a temporary workspace: {error}"),
                }
            }
            _ => match registry.erase_workspace(&act(), &id, None).await {
                Ok(_) => self.was_done("erased"),
                // The second case: another task has created the id since, or is creating it.
                Err(ChangeError::WorkspaceUnknown | ChangeError::ErasingUnfinished(_)) => {}
                Err(error) => panic!("erase: {error}"),
            },
        }
    }

    async fn work(&self, task: usize) {
        let mut dice = Dice::of(task as u64 + 1);
        let registry = &self.registries[task % 2];
        let other = &self.registries[(task + 1) % 2];
        while self.done.load(Ordering::SeqCst) < CHANGES {
            let at = dice.below(LASTING);
            let kind = dice.below(100);
            if kind < 3 {
                self.token(registry, other, at).await;
                continue;
            }
            if kind < 8 {
                self.use_temporary(registry, &mut dice).await;
                continue;
            }
            let id = self.some_live(at, &mut dice);
            let (Some(id), false) = (id, kind < 28) else {
                self.add(registry, at, &mut dice).await;
                continue;
            };
            // A key unknown to this process is changed unconditionally.
            let seen = registry.credential(&id).map(|it| it.revision);
            match kind {
                28..60 => self.rotate(registry, &id, seen).await,
                60..85 => self.edit(registry, &id, seen, &mut dice).await,
                _ => self.revoke(registry, other, at, &id).await,
            }
        }
    }
}

/// Another task was first.
fn came_too_late(what: &str, error: &ChangeError) {
    let is_late = matches!(error, ChangeError::Superseded { .. } | ChangeError::Revoked);
    assert!(is_late, "{what}: {error}");
}

fn lasting(at: usize) -> WorkspaceId {
    format!("lasting-{at}").parse().unwrap()
}

fn temporary(at: usize) -> WorkspaceId {
    format!("temporary-{at}").parse().unwrap()
}

/// Two processes on one store.
async fn two() -> (Installation, [Arc<Registry>; 2]) {
    let installation = Installation::new();
    let one = installation.open_running().await;
    let other = installation.open_running().await;
    (installation, [one, other])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_concurrent_changes_by_two_processes_are_all_kept() {
    let (installation, registries) = two().await;
    for at in 0..LASTING {
        let id = lasting(at);
        let made = registries[at % 2]
            .create_workspace(&act(), workspace(id.as_str()))
            .await;
        made.unwrap();
    }
    let shared = Arc::new(Shared {
        registries: registries.clone(),
        live: Mutex::new(vec![Vec::new(); LASTING]),
        changed: Mutex::default(),
        won: Mutex::default(),
        counts: Mutex::default(),
        done: AtomicUsize::new(0),
        number: AtomicUsize::new(0),
    });
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let shared = shared.clone();
            tokio::spawn(async move { shared.work(task).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let [one, other] = &registries;
    for registry in &registries {
        registry.catch_up().await.unwrap();
    }
    is_what_was_done(one, &shared).await;
    same(one, other);
    let again = installation.open().await;
    same(one, &again);
    is_what_was_done(&again, &shared).await;
}

/// Checks that all confirmed changes are there, and nothing else.
async fn is_what_was_done(registry: &Registry, shared: &Shared) {
    let verified = registry.audit().verify().await.unwrap();
    assert_eq!(
        verified.heads.len(),
        1 + registry.chains.registrations().len()
    );
    let keys = registry.list(&Filter::default());
    assert!(keys.iter().all(|key| !key.damaged));
    let is_lasting = |id: &WorkspaceId| id.as_str().starts_with("lasting");
    let changed = shared.changed.lock().unwrap().clone();
    let (mut labels, mut defaults) = (HashSet::new(), HashSet::new());
    for key in &keys {
        if key.status != Status::Revoked {
            let label = (&key.workspace, &key.provider, &key.label);
            assert!(labels.insert(label), "twice: {label:?}");
        }
        let place = (&key.workspace, &key.provider, key.environment);
        assert!(
            !key.is_default || defaults.insert(place),
            "two defaults: {place:?}"
        );
        if is_lasting(&key.workspace) {
            let times = changed.get(&key.id).copied().unwrap_or(0);
            assert_eq!(key.revision, 1 + times, "{:?}", key.id);
        }
    }
    let counts = shared.counts.lock().unwrap().clone();
    let count = |what| counts.get(what).copied().unwrap_or(0);
    let of_lasting = keys.iter().filter(|key| is_lasting(&key.workspace));
    assert_eq!(of_lasting.count(), count("added"));
    let recorded = records(registry).await;
    let recorded = |event: Event| {
        let of_event = recorded.iter().filter(|record| {
            let workspace = record.workspace.as_ref();
            record.event == event && workspace.is_none_or(is_lasting)
        });
        of_event.count()
    };
    for (event, what) in [
        (Event::CredentialCreated, "added"),
        (Event::CredentialRotated, "rotated"),
        (Event::CredentialEdited, "edited"),
        (Event::CredentialRevoked, "revoked"),
        (Event::TokenRevoked, "token revoked"),
        (Event::DocumentDamaged, "never"),
    ] {
        assert_eq!(recorded(event), count(what), "{event:?}");
        assert!(
            what == "never" || count(what) > 50,
            "{what} was hardly done"
        );
    }
    for what in ["made", "erased", "added to a temporary workspace"] {
        assert!(count(what) > 10, "{what} was hardly done: {counts:?}");
    }
}

/// Checks that both see the same state.
fn same(one: &Registry, other: &Registry) {
    assert_eq!(one.workspaces(&Scope::All), other.workspaces(&Scope::All));
    assert_eq!(one.list(&Filter::default()), other.list(&Filter::default()));
    let tokens = |registry: &Registry| {
        let tokens = registry.access().tokens(&Scope::All).into_iter();
        tokens
            .map(|token| (token.id, token.status, token.revision))
            .collect::<Vec<_>>()
    };
    assert_eq!(tokens(one), tokens(other));
}

/// The keyring is caught up before the chain is: a change that was decided on the older state must
/// decide again, not report a lost key.
#[tokio::test]
async fn a_key_destroyed_by_another_process_is_a_lost_race_and_not_a_lost_key() {
    let (_installation, [one, other]) = two().await;
    let made = one.create_workspace(&act(), workspace("acme")).await;
    made.unwrap();
    other.catch_up().await.unwrap();
    let acme: WorkspaceId = "acme".parse().unwrap();
    assert!(other.keyring.last(&acme).is_some());
    one.erase_workspace(&act(), &acme, None).await.unwrap();
    other.keyring.catch_up().await.unwrap();
    assert!(other.keyring.last(&acme).is_none());
    let refused = other.missing_key(&acme).await;
    assert!(matches!(refused, ChangeError::Raced), "{refused:?}");
    let refused = other.add(&act(), key("a", "sk-1")).await.err();
    let is_unknown = matches!(refused, Some(ChangeError::WorkspaceUnknown));
    assert!(is_unknown, "{refused:?}");
}

#[tokio::test]
async fn catching_up_shows_objects_created_changed_and_erased_by_another_process() {
    let (_installation, [one, other]) = two().await;
    let made = one.create_workspace(&act(), workspace("acme")).await;
    made.unwrap();
    let a = one.add(&act(), key("a", "sk-1")).await.unwrap().credential;
    assert!(other.credential(&a.id).is_none());
    other.catch_up().await.unwrap();
    same(&one, &other);
    let answer = |registry: &Registry| opened(registry.resolver().resolve(&ask("acme")));
    assert_eq!(answer(&other).as_deref(), Ok("sk-1"));
    let acme = "acme".parse().unwrap();
    one.rotate_workspace_key(&act(), &acme).await.unwrap();
    other.catch_up().await.unwrap();
    assert_eq!(
        answer(&other).as_deref(),
        Ok("sk-1"),
        "under a key that is new here"
    );
    // Even without catching up, a change is decided on the current state.
    one.rotate(&act(), &a.id, to("sk-2")).await.unwrap();
    let seen = other.credential(&a.id).unwrap().revision;
    let late = Edit {
        label: Some("late".parse().unwrap()),
        expected: Some(seen),
        ..Edit::default()
    };
    let late = other.edit(&act(), &a.id, late).await;
    assert!(
        matches!(late, Err(ChangeError::Superseded { .. })),
        "{late:?}"
    );
    let taken = other.add(&act(), key("a", "sk-3")).await;
    assert!(matches!(taken, Err(ChangeError::LabelTaken { .. })));
    one.erase_workspace(&act(), &acme, None).await.unwrap();
    let added = other.add(&act(), key("b", "sk-4")).await;
    assert!(
        matches!(added, Err(ChangeError::WorkspaceUnknown)),
        "{added:?}"
    );
    assert_eq!(answer(&other), Err(Refusal::WorkspaceUnknown));
}

/// A note must not hide another process's change to a token from this process.
#[tokio::test]
async fn a_token_revoked_by_another_process_is_refused_despite_a_note_in_between() {
    let (_installation, [one, other]) = two().await;
    let made = one.create_workspace(&act(), workspace("acme")).await;
    made.unwrap();
    let new = NewToken {
        name: "Robin".parse().unwrap(),
        role: Role::Owner,
        scope: Scope::All,
        expires_at: None,
    };
    let made = one.create_token(&act(), &Scope::All, new).await.unwrap();
    let by = ActorContext {
        actor: made.token.id.clone(),
        ..act()
    };
    other.add(&by, key("a", "sk-1")).await.unwrap();
    let revoked = one
        .revoke_token(&act(), &Scope::All, &made.token.id, None)
        .await;
    revoked.unwrap();
    other.audit().refused(&act(), "wrong-token").await.unwrap();
    let refused = other.add(&by, key("b", "sk-2")).await;
    assert!(
        matches!(refused, Err(ChangeError::AccessEnded)),
        "{refused:?}"
    );
}
