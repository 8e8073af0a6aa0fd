//! What is checked, what comes of it, and what is kept.

use super::*;

#[tokio::test(start_paused = true)]
async fn only_tagged_keys_of_the_environment_are_checked() {
    let mut world = World::new().await;
    world.key("openai", "tagged").await;
    let live = NewCredential {
        environment: Environment::Live,
        ..new("openai", "live")
    };
    world.add(live).await;
    let untagged = NewCredential {
        usage_tag: Some("production".parse().unwrap()),
        ..new("openai", "untagged")
    };
    world.add(untagged).await;
    world.process().run().await;
    let asked = |world: &World| ["tagged", "live", "untagged"].map(|it| world.provider.asked(it));
    assert_eq!(asked(&world), [1, 0, 0]);
    world.settings.environment = EnvironmentPin::Any;
    world.process().run().await;
    assert_eq!(asked(&world), [2, 1, 0]);
    world.settings.environment = EnvironmentPin::Live;
    world.process().run().await;
    assert_eq!(asked(&world), [2, 2, 0]);
    world.settings.workspaces = vec!["elsewhere".to_owned()];
    let none = world
        .process()
        .start(Selection::default(), &Scope::All)
        .await
        .unwrap();
    assert!(none.is_none(), "nothing is configured");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_checks_nothing_of_what_is_asked_for_is_not_shown() {
    let world = World::new().await;
    world.key("openai", "one").await;
    world.key("groq", "two").await;
    let smoke = world.process();
    let of = |provider: &str| Selection {
        workspaces: vec![acme()],
        providers: vec![provider.parse().unwrap()],
    };
    let mut started = Vec::new();
    for provider in ["openai", "groq"] {
        let run = smoke.start(of(provider), &Scope::All).await.unwrap();
        started.push((provider, run.unwrap().run.id));
        smoke.work().await;
    }
    for (provider, id) in started {
        let shown = smoke.overview(&of(provider), &Scope::All).await.unwrap();
        assert_eq!(shown.run.unwrap().id, id, "{provider}");
    }
    let other = Selection {
        workspaces: vec!["beta".parse().unwrap()],
        ..Selection::default()
    };
    let shown = smoke.overview(&other, &Scope::All).await.unwrap();
    assert_eq!(shown.run, None);
}

#[tokio::test(start_paused = true)]
async fn a_result_of_a_process_whose_clock_is_behind_replaces_the_one_before_it_in_the_metrics() {
    let world = World::new().await;
    let key = world.key("openai", "one").await;
    let smoke = world.process();
    let subject = smoke.plan(&Selection::default()).remove(0);
    let result = |verdict, second| {
        let at = Timestamp::from_second(second).unwrap();
        SmokeResult::posted(verdict, None, at)
    };
    let mut series = Series::default();
    series.record(result(Verdict::Rejected, NOON + 60));
    let mut board = Board::default();
    board.count(&subject, Class::Failed, &series);
    let (before, since) = (series.clone(), board.counted());
    // The other process executes the next run.
    series.record(result(Verdict::Accepted, NOON));
    let read = |series| vec![(key.id.clone(), key.provider.clone(), series)];
    board.replace_credentials(read(series.clone()), since);
    *smoke.board.lock() = board;
    assert_eq!(smoke.figures_of("openai").consecutive_failures, 0);

    series.record(result(Verdict::Rejected, NOON));
    smoke.board.lock().count(&subject, Class::Failed, &series);
    smoke.board.lock().replace_credentials(read(before), since);
    let last = smoke.figures_of("openai").last_success_at;
    assert_eq!(
        last.map(|at| at.as_second()),
        Some(NOON),
        "counted since it was read"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_can_be_narrowed_to_a_provider() {
    let world = World::new().await;
    world.key("openai", "one").await;
    world.key("groq", "two").await;
    let smoke = world.process();
    let only = |provider: &str| Selection {
        workspaces: vec![acme()],
        providers: vec![provider.parse().unwrap()],
    };
    let report = smoke
        .start(only("groq"), &Scope::All)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(report.items.len(), 1);
    smoke.work().await;
    assert_eq!(
        (world.provider.asked("one"), world.provider.asked("two")),
        (0, 1)
    );
    assert!(
        smoke
            .start(only("mistral"), &Scope::All)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_limited_caller_has_two_runs_at_a_time_and_leaves_room_for_others() {
    let world = World::new().await;
    world.key("openai", "one").await;
    let smoke = world.process();
    let own = || Selection {
        workspaces: vec![acme()],
        providers: Vec::new(),
    };
    let within = Scope::Only(Arc::new([acme()].into()));
    for _ in 0..2 {
        smoke.start(own(), &within).await.unwrap().unwrap();
    }
    let third = smoke.start(own(), &within).await;
    assert!(
        matches!(third, Err(SmokeError::TooManyOwnRuns)),
        "{third:?}"
    );
    smoke.start(own(), &Scope::All).await.unwrap().unwrap();
    smoke.work().await;
    smoke.start(own(), &within).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_expected_provider_without_a_key_fails_until_there_is_one() {
    let mut world = World::new().await;
    world.settings.expected = vec!["openai".parse().unwrap()];
    let smoke = world.process();
    for failures in 1..=2 {
        let items = smoke.run().await;
        let [missing] = &items[..] else {
            panic!("{items:?}")
        };
        let result = missing.result.as_ref().unwrap();
        assert_eq!(result.verdict, Verdict::Missing);
        assert_eq!(result.attempts, 0);
        assert!(result.detail.contains("ci-smoke"), "{result:?}");
        assert_eq!(missing.consecutive_failures, failures);
        assert_eq!(smoke.figures_of("openai").consecutive_failures, failures);
    }
    assert_eq!(smoke.spent().await, (0, 0));
    world.key("openai", "one").await;
    assert_eq!(smoke.verdicts().await, [Verdict::Accepted]);
    smoke.look_for_changes(&mut Watch::default()).await.unwrap();
    let figures = smoke.figures_of("openai");
    assert_eq!(
        figures.consecutive_failures, 0,
        "it is not missing any more"
    );
    assert_eq!((figures.runs, figures.failures), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn only_an_unreachable_or_busy_provider_is_asked_again_and_once() {
    use Verification::{Accepted, Limited, Rejected, Unreachable};
    for (findings, sent, verdict) in [
        (vec![found(Accepted, 200)], 1, Verdict::Accepted),
        (vec![found(Rejected, 401)], 1, Verdict::Rejected),
        (vec![found(Limited, 402)], 1, Verdict::Limited),
        // Out of funds.
        (vec![found(Rejected, 429)], 1, Verdict::Rejected),
        (vec![found(Limited, 429)], 2, Verdict::Accepted),
        (vec![Finding::UNANSWERED], 2, Verdict::Accepted),
        (vec![found(Unreachable, 503)], 2, Verdict::Accepted),
        (
            vec![found(Verification::Inconclusive, 302)],
            1,
            Verdict::Inconclusive,
        ),
        (vec![Finding::UNANSWERED; 2], 2, Verdict::Unreachable),
    ] {
        let world = World::new().await;
        world.key("openai", "one").await;
        world.provider.will_answer(findings.clone());
        let items = world.process().run().await;
        let result = items[0].result.clone().unwrap();
        assert_eq!(result.verdict, verdict, "{findings:?}");
        assert_eq!(world.provider.sent(), sent, "{findings:?}");
        assert_eq!(usize::from(result.attempts), sent, "{findings:?}");
    }
    let mut world = World::new().await;
    world.settings.retry = std::time::Duration::ZERO;
    world.key("openai", "one").await;
    world.provider.will_answer([Finding::UNANSWERED]);
    assert_eq!(world.process().verdicts().await, [Verdict::Unreachable]);
    assert_eq!(world.provider.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_are_counted_across_restarts_and_end_with_a_success() {
    let world = World::new().await;
    world.key("openai", "one").await;
    let rejected = found(Verification::Rejected, 401);
    world.provider.will_answer([rejected; 2]);
    let before = world.process();
    let none = before.figures_of("openai");
    assert_eq!(
        (none.runs, none.failures, none.last_success_at),
        (0, 0, None)
    );
    before.run().await;
    assert_eq!(before.figures_of("openai").consecutive_failures, 1);
    before.run().await;
    drop(before);
    let after = world.process();
    after.look_for_changes(&mut Watch::default()).await.unwrap();
    assert_eq!(after.figures_of("openai").consecutive_failures, 2);
    world.clock.set(NOON + 60);
    let items = after.run().await;
    assert_eq!(items[0].consecutive_failures, 0);
    let verdicts: Vec<_> = items[0].history.iter().map(|one| one.verdict).collect();
    use Verdict::{Accepted, Rejected};
    assert_eq!(verdicts, [Accepted, Rejected, Rejected], "newest first");
    let figures = after.figures_of("openai");
    let succeeded = figures.last_success_at.map(|at| at.as_second());
    assert_eq!(succeeded, Some(NOON + 60));
    assert_eq!((figures.runs, figures.failures), (1, 0), "of this process");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_expired_fails_and_is_not_sent() {
    let world = World::new().await;
    let soon = Timestamp::from_second(NOON + 60).unwrap();
    let expiring = NewCredential {
        expires_at: Some(soon),
        ..new("openai", "one")
    };
    world.add(expiring).await;
    world.clock.set(NOON + 61);
    let items = world.process().run().await;
    let result = items[0].result.as_ref().unwrap();
    assert_eq!(result.verdict, Verdict::Unusable);
    assert!(result.detail.contains("credential_expired"), "{result:?}");
    assert_eq!(world.provider.sent(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_posted_result_counts_like_one_of_a_run_and_spends_nothing() {
    let world = World::new().await;
    let smoke = world.process();
    let post = |verdict| ExternalResult {
        workspace: acme(),
        provider: "groq".parse().unwrap(),
        verdict,
        status: Some(401),
        latency_ms: Some(12),
        tokens: None,
    };
    let item = smoke.post(post(Verdict::Rejected)).await.unwrap();
    assert_eq!(item.consecutive_failures, 1);
    let figures = smoke.figures_of("groq");
    assert_eq!((figures.runs, figures.failures), (1, 1));
    let restarted = world.process();
    restarted
        .look_for_changes(&mut Watch::default())
        .await
        .unwrap();
    assert_eq!(restarted.figures_of("groq").consecutive_failures, 1);
    let shown = restarted.overview(&Selection::default(), &Scope::All).await;
    let shown = shown.unwrap();
    assert_eq!(shown.items, [item]);
    restarted.post(post(Verdict::Accepted)).await.unwrap();
    assert_eq!(restarted.figures_of("groq").consecutive_failures, 0);
    assert_eq!(restarted.spent().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn notes_stay_small_and_hold_no_secret() {
    let world = World::new().await;
    world.key("openai", "one").await;
    let smoke = world.process();
    for _ in 0..2 * KEPT {
        smoke.run().await;
    }
    for number in 0..20 {
        let ids = (0..16).map(|id| format!("{number}-{id}-{}", "a".repeat(50)));
        let largest = Selection {
            workspaces: std::iter::once(acme())
                .chain(ids.clone().map(|id| id.parse().unwrap()))
                .collect(),
            providers: std::iter::once("openai".parse().unwrap())
                .chain(ids.map(|id| id.parse().unwrap()))
                .collect(),
        };
        smoke.start(largest, &Scope::All).await.unwrap().unwrap();
        smoke.work().await;
    }
    let contents = world.memory.contents();
    assert!(!contents.notes.is_empty());
    for (name, note) in &contents.notes {
        // What fits into one page of the embedded store.
        assert!(note.len() < 6 << 10, "{name}: {} bytes", note.len());
        let text = String::from_utf8_lossy(note);
        assert!(!text.contains("a-secret-of-the-smoke-tests"), "{name}");
    }
}
