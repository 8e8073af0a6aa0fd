//! Several processes, restarts, the schedule, and changed keys.

use super::*;
use crate::{
    registry::Revocation,
    smoke::{ledger::Claim, series::Begin},
};

/// Looks, and executes what that started.
async fn look(smoke: &Arc<Smoke>, watch: &mut Watch) {
    // Nothing is executed in another task, because another process might be slower or faster.
    let is_added = smoke.look_without_work(watch).await;
    if is_added {
        smoke.work().await;
    }
}

impl Smoke {
    async fn look_without_work(self: &Arc<Self>, watch: &mut Watch) -> bool {
        let scheduled = self.start_scheduled(watch).await.unwrap();
        self.look_for_changes(watch).await.unwrap();
        scheduled
    }
}

#[tokio::test(start_paused = true)]
async fn two_processes_start_one_run_for_each_time_of_the_schedule() {
    let world = World::new().await;
    world.key("openai", "one").await;
    let (first, second) = (world.process(), world.process());
    let (mut one, mut two) = (Watch::default(), Watch::default());
    look(&first, &mut one).await;
    assert_eq!(world.provider.sent(), 0, "last night was before its time");
    for night in 0..2 {
        world.clock.set(NIGHT + night * DAY);
        let added = [
            first.look_without_work(&mut one).await,
            second.look_without_work(&mut two).await,
        ];
        assert_eq!(added, [true, false], "night {night}");
        let executed = first.work().await + second.work().await;
        assert_eq!(executed, 1, "night {night}");
    }
    assert_eq!(world.provider.sent(), 2);
    world.clock.set(NIGHT + 2 * DAY - 1);
    look(&second, &mut two).await;
    assert_eq!(world.provider.sent(), 2, "a second too early");
}

#[tokio::test(start_paused = true)]
async fn a_run_is_executed_by_one_process_until_its_lease_ends() {
    let world = World::new().await;
    world.key("openai", "one").await;
    let (first, second) = (world.process(), world.process());
    first.start_all().await;
    let run = first.take().await.unwrap();
    assert!(second.take().await.is_none());
    world.clock.set(NOON + 29);
    assert!(second.take().await.is_none());
    world.clock.set(NOON + 30);
    let taken = second.take().await.unwrap();
    assert_eq!(taken.id, run.id);
    let now = first.registry.clock.now();
    let renew = |run: &Run| {
        let run = run.clone();
        move |ledger: &mut Ledger| ledger.renew(&run, now)
    };
    assert!(!first.notes.update(LEDGER, renew(&run)).await.unwrap());
    assert!(second.notes.update(LEDGER, renew(&taken)).await.unwrap());
}

#[test]
fn a_process_that_takes_a_run_again_ends_its_first_execution() {
    let at = |second| Timestamp::from_second(NOON + second).unwrap();
    let mut ledger = Ledger::default();
    assert!(ledger.add(Run::new(Trigger::Request, Selection::default(), at(0))));
    let first = ledger.take(at(0)).unwrap();
    assert!(ledger.renew(&first, at(10)));
    assert_eq!(ledger.take(at(39)), None);
    let second = ledger.take(at(40)).unwrap();
    assert!(!ledger.renew(&first, at(41)));
    ledger.finish(&first, at(41));
    assert!(ledger.renew(&second, at(42)), "not finished by the first");
}

#[test]
fn a_run_that_is_refused_costs_no_finished_one() {
    let now = Timestamp::from_second(NOON).unwrap();
    let mut ledger = Ledger::default();
    let run = || Run::new(Trigger::Request, Selection::default(), now);
    assert!(ledger.add(run()));
    let finished = ledger.take(now).unwrap();
    ledger.finish(&finished, now);
    for _ in 0..10 {
        assert!(ledger.add(run()));
    }
    assert_eq!(ledger.runs().count(), 11, "the finished one is kept");
    let large = Selection {
        workspaces: (0..200)
            .map(|number| format!("workspace-{number}").parse().unwrap())
            .collect(),
        providers: Vec::new(),
    };
    let before = ledger.clone();
    assert!(!ledger.add(Run::new(Trigger::Request, large.clone(), now)));
    assert_eq!(ledger, before);
    let large = Run::new(Trigger::Schedule, large, now);
    assert_eq!(ledger.claim(now, large, true), Claim::Full);
    assert_eq!(ledger.runs().count(), before.runs().count());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_revoked_while_it_waits_has_no_result() {
    let world = World::new().await;
    let id = world.key("openai", "one").await.id;
    world.key("openai", "two").await;
    let smoke = world.process();
    let started = smoke.start_all().await;
    let run = smoke.take().await.unwrap();
    let permits = u32::try_from(world.settings.parallel).unwrap();
    let busy = smoke
        .permits
        .clone()
        .acquire_many_owned(permits)
        .await
        .unwrap();
    let working = tokio::spawn(smoke.clone().execute(run));
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let revoked = world
        .registry
        .revoke(&act(), &id, Revocation::default())
        .await;
    revoked.unwrap();
    drop(busy);
    working.await.unwrap();
    assert_eq!(
        (world.provider.asked("one"), world.provider.asked("two")),
        (0, 1)
    );
    let note = format!("smoke-series/acme/{id}");
    assert!(!world.memory.contents().notes.contains_key(&note));
    let report = smoke.report(&started.run.id, &Scope::All).await.unwrap();
    assert_eq!(report.unwrap().items.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_added_during_a_run_is_no_check_without_a_result() {
    let world = World::new().await;
    world.key("openai", "one").await;
    let smoke = world.process();
    let started = smoke.start_all().await;
    world.clock.set(NOON + 1);
    world.key("openai", "before-its-plan").await;
    let run = smoke.take().await.unwrap();
    let permits = u32::try_from(world.settings.parallel).unwrap();
    let busy = smoke.permits.clone().acquire_many_owned(permits).await;
    let busy = busy.unwrap();
    let working = tokio::spawn(smoke.clone().execute(run));
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    world.key("openai", "after-its-plan").await;
    drop(busy);
    working.await.unwrap();
    let report = smoke.report(&started.run.id, &Scope::All).await.unwrap();
    let items = report.unwrap().items;
    let labels: Vec<_> = items
        .iter()
        .map(|item| item.label.as_ref().unwrap().as_str())
        .collect();
    assert_eq!(labels, ["before-its-plan", "one"]);
    assert!(items.iter().all(|item| item.result.is_some()));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_run_goes_on_with_what_was_not_begun() {
    let mut world = World::new().await;
    world.settings.parallel = 1;
    for label in ["one", "two", "three"] {
        world.key("openai", label).await;
    }
    let before = world.process();
    let started = before.start_all().await;
    let run = before.take().await.unwrap();
    world.provider.is_stuck.store(true, Ordering::SeqCst);
    let working = tokio::spawn(before.clone().execute(run));
    while world.provider.sent() == 0 {
        tokio::task::yield_now().await;
    }
    // The process ends here, with one request on its way.
    working.abort();
    let _ = working.await;
    drop(before);
    world.provider.is_stuck.store(false, Ordering::SeqCst);

    let after = world.process();
    assert_eq!(after.spent().await, (1, 0), "counted before it was sent");
    world.clock.set(NOON + 30);
    assert_eq!(after.work().await, 1);
    let report = after.report(&started.run.id, &Scope::All).await.unwrap();
    let mut verdicts: Vec<_> = report
        .unwrap()
        .items
        .into_iter()
        .map(|item| item.result.unwrap().verdict.as_str())
        .collect();
    verdicts.sort_unstable();
    assert_eq!(verdicts, ["accepted", "accepted", "interrupted"]);
    for label in ["one", "two", "three"] {
        assert_eq!(world.provider.asked(label), 1, "{label}");
    }
    assert_eq!(after.spent().await, (3, 0));
    let failures = after.figures_of("openai").consecutive_failures;
    assert_eq!(failures, 0, "an unknown result is no failure");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_none_of_two_runs_checks_the_key_again_that_both_had_begun() {
    let world = World::new().await;
    world.key("openai", "one").await;
    let before = world.process();
    world.provider.is_stuck.store(true, Ordering::SeqCst);
    let mut working = Vec::new();
    for sent in 1..=2 {
        before.start_all().await;
        let run = before.take().await.unwrap();
        working.push(tokio::spawn(before.clone().execute(run)));
        while world.provider.sent() < sent {
            tokio::task::yield_now().await;
        }
    }
    // The process ends here, with both requests on their way.
    for working in working {
        working.abort();
        let _ = working.await;
    }
    drop(before);
    world.provider.is_stuck.store(false, Ordering::SeqCst);

    let after = world.process();
    world.clock.set(NOON + 30);
    assert_eq!(after.work().await, 2);
    assert_eq!(world.provider.sent(), 2);
    assert_eq!(after.spent().await, (2, 0));
    let shown = after.overview(&Selection::default(), &Scope::All).await;
    let history = &shown.unwrap().items[0].history;
    let verdicts: Vec<_> = history.iter().map(|result| result.verdict).collect();
    assert_eq!(verdicts, [Verdict::Interrupted, Verdict::Interrupted]);
}

/// The note has room for a few of them only.
#[test]
fn a_run_begins_a_key_once_however_many_others_are_checking_it() {
    let now = Timestamp::from_second(NOON).unwrap();
    let run = || Run::new(Trigger::Request, Selection::default(), now);
    let runs: Vec<_> = (0..12).map(|_| run()).collect();
    let (mut series, version) = (Series::default(), (1, None));
    for run in &runs {
        assert_eq!(series.begin(run, &version, now), Begin::Go);
    }
    for run in &runs {
        assert_ne!(series.begin(run, &version, now), Begin::Go);
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_of_the_schedule_that_was_missed_gets_one_run() {
    let world = World::new().await;
    world.key("openai", "one").await;
    look(&world.process(), &mut Watch::default()).await;
    world.clock.set(NIGHT + 5 * DAY + 60);
    let restarted = world.process();
    let mut watch = Watch::default();
    look(&restarted, &mut watch).await;
    look(&restarted, &mut watch).await;
    assert_eq!(world.provider.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_key_is_checked_at_the_next_time_of_the_schedule() {
    let world = World::new().await;
    let (smoke, mut watch) = (world.process(), Watch::default());
    look(&smoke, &mut watch).await;
    assert!(world.memory.contents().notes.is_empty(), "nothing to note");
    world.key("openai", "one").await;
    look(&smoke, &mut watch).await;
    assert_eq!(world.provider.sent(), 0);
    world.clock.set(NIGHT);
    look(&smoke, &mut watch).await;
    assert_eq!(world.provider.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_checked_once_after_it_was_tagged_and_after_each_rotation() {
    let world = World::new().await;
    let untagged = NewCredential {
        usage_tag: None,
        ..new("openai", "one")
    };
    let id = world.add(untagged).await.id;
    world.key("groq", "other").await;
    let smoke = world.process();
    let background = tokio::spawn(smoke.background());
    settle().await;
    assert_eq!(world.provider.asked("other"), 1);
    assert_eq!(world.provider.asked("one"), 0, "no tag");
    let edit = Edit {
        usage_tag: Some(Some("ci-smoke".parse().unwrap())),
        ..Edit::default()
    };
    world.registry.edit(&act(), &id, edit).await.unwrap();
    settle().await;
    assert_eq!(world.provider.asked("one"), 1);
    let rotation = Rotation::to(secret("rotated"));
    world.registry.rotate(&act(), &id, rotation).await.unwrap();
    settle().await;
    assert_eq!(world.provider.asked("one"), 2);
    assert_eq!(world.provider.asked("other"), 1, "not changed");
    background.abort();
}

#[tokio::test(start_paused = true)]
async fn changed_keys_wait_for_the_schedule_if_the_settings_say_so() {
    let mut world = World::new().await;
    world.settings.on_change = false;
    world.key("openai", "one").await;
    let smoke = world.process();
    let background = tokio::spawn(smoke.background());
    settle().await;
    assert_eq!(world.provider.sent(), 0);
    background.abort();
}

/// Lets a minute of the background task's time pass.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_found_nothing_left_to_check_does_not_hide_the_one_that_checks() {
    let world = World::new().await;
    world.key("openai", "one").await;
    let smoke = world.process();
    world.provider.is_stuck.store(true, Ordering::SeqCst);
    let started = smoke.start_all().await;
    // Finds the key due, and starts a run of changed keys after the one on request.
    smoke.look(&mut Watch::default(), true).await.unwrap();
    settle().await;
    assert_eq!(world.provider.sent(), 1);
    let ledger: Ledger = smoke.notes.read(LEDGER).await.unwrap();
    let ended: Vec<_> = ledger
        .runs()
        .map(|run| (run.trigger, run.finished_at.is_some()))
        .collect();
    assert_eq!(ended, [(Trigger::Request, false), (Trigger::Change, true)]);
    assert_eq!(shown(&smoke, &Scope::All).await, started.run.id);

    world.provider.is_stuck.store(false, Ordering::SeqCst);
    world.clock.set(NOON + 120);
    smoke.work().await;
    assert_eq!(
        shown(&smoke, &Scope::All).await,
        started.run.id,
        "finished last"
    );
}

#[test]
fn the_run_that_finished_last_is_shown_although_the_clock_was_ahead_at_an_earlier_one() {
    let mut ledger = Ledger::default();
    let mut finished = Vec::new();
    // Before the second run, `keyside clock accept` said that the clock is right.
    for second in [NOON + 365 * DAY, NOON] {
        let now = Timestamp::from_second(second).unwrap();
        assert!(ledger.add(Run::new(Trigger::Request, Selection::default(), now)));
        let run = ledger.take(now).unwrap();
        ledger.finish(&run, now);
        finished.push(run.id);
    }
    let latest = ledger.latest(&Selection::default(), &Scope::All);
    assert_eq!(latest.unwrap().id, finished[1]);
}

#[test]
fn a_clock_that_was_a_year_ahead_keeps_neither_schedule_nor_leases_waiting() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let run = |second| Run::new(Trigger::Schedule, Selection::default(), at(second));
    let (ahead, now) = (NIGHT + 365 * DAY, NIGHT + DAY);
    let mut ledger = Ledger::default();
    assert_eq!(ledger.claim(at(NIGHT), run(NIGHT), true), Claim::Added);
    assert_eq!(ledger.claim(at(ahead), run(ahead), true), Claim::Added);
    while ledger.take(at(ahead)).is_some() {}
    // Keyside ended here, and `keyside clock accept` said that the clock is right.
    let taken = [ledger.take(at(now)), ledger.take(at(now))];
    assert!(taken.iter().all(Option::is_some));
    assert_eq!(ledger.take(at(now)), None, "leased again");
    assert_eq!(ledger.claim(at(now), run(now), true), Claim::Added);
    assert_eq!(ledger.claim(at(now), run(now), true), Claim::NotDue);
}

/// A machine without a battery for its clock begins with an old time, until it has asked a time server.
#[test]
fn a_clock_that_is_behind_at_a_start_repeats_no_run_of_the_schedule() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let run = |second| Run::new(Trigger::Schedule, Selection::default(), at(second));
    let mut ledger = Ledger::default();
    assert_eq!(ledger.claim(at(NIGHT), run(NIGHT), true), Claim::Added);
    let behind = NIGHT - 2 * DAY;
    let claimed = ledger.claim(at(behind), run(behind), false);
    assert_eq!(claimed, Claim::NotDue);
    let set = run(NIGHT + 60);
    assert_eq!(ledger.claim(at(NIGHT), set, true), Claim::NotDue);
}

/// The lease and the claim of another process hold.
#[test]
fn clocks_may_differ_by_minutes() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let run = |second| Run::new(Trigger::Schedule, Selection::default(), at(second));
    let mut ledger = Ledger::default();
    assert_eq!(ledger.claim(at(NIGHT), run(NIGHT), true), Claim::Added);
    ledger.take(at(NIGHT)).unwrap();
    let behind = NIGHT - 600;
    assert_eq!(ledger.take(at(behind)), None);
    let before = at(NIGHT - DAY);
    assert_eq!(ledger.claim(before, run(behind), true), Claim::NotDue);
}

#[tokio::test(start_paused = true)]
async fn the_next_run_is_not_at_a_time_that_another_process_claimed_already() {
    let world = World::new().await;
    world.key("openai", "one").await;
    let smoke = world.process();
    let next = async || {
        let shown = smoke.overview(&Selection::default(), &Scope::All).await;
        shown.unwrap().next_at.unwrap().as_second()
    };
    world.clock.set(NIGHT - 60);
    assert_eq!(next().await, NIGHT);
    // Its clock is a minute ahead.
    let time = Timestamp::from_second(NIGHT).unwrap();
    let run = Run::new(Trigger::Schedule, Selection::default(), time);
    let claim = |ledger: &mut Ledger| ledger.claim(time, run.clone(), true);
    let claimed = smoke.notes.update(LEDGER, claim).await.unwrap();
    assert_eq!(claimed, Claim::Added);
    assert_eq!(next().await, NIGHT + DAY);
}

#[tokio::test(start_paused = true)]
async fn a_run_of_changed_keys_is_shown_where_keys_changed() {
    let world = World::new().await;
    let actor = act();
    let created = world.registry.create_workspace(&actor, workspace("beta"));
    created.await.unwrap();
    world.key("openai", "one").await;
    let smoke = world.process();
    smoke.run().await;
    let of_acme = shown(&smoke, &only("acme")).await;
    let other = NewCredential {
        workspace: "beta".parse().unwrap(),
        ..new("openai", "other")
    };
    world.add(other).await;
    world.clock.set(NOON + 10);
    smoke.look(&mut Watch::default(), true).await.unwrap();
    settle().await;
    assert_eq!(world.provider.asked("other"), 1);
    assert_eq!(shown(&smoke, &only("acme")).await, of_acme);
    assert_ne!(shown(&smoke, &only("beta")).await, of_acme);
}

fn only(workspace: &str) -> Scope {
    Scope::Only(Arc::new([workspace.parse().unwrap()].into()))
}

/// The id of the run that a page of `within` shows.
async fn shown(smoke: &Smoke, within: &Scope) -> String {
    let overview = smoke.overview(&Selection::default(), within).await;
    overview.unwrap().run.unwrap().id
}
