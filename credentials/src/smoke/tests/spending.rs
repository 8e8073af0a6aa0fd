//! Caps on requests and tokens.

use std::num::NonZeroU64;

use super::*;
use crate::{model::Limits, resolver::CredentialQuery, runs::Tokens, smoke::spend::Cap};

#[tokio::test(start_paused = true)]
async fn the_cap_on_requests_holds_across_restarts_until_the_next_day() {
    let mut world = World::new().await;
    world.settings.requests_per_day = 2;
    world.key("openai", "one").await;
    for expected in [Verdict::Accepted, Verdict::Accepted, Verdict::Capped] {
        assert_eq!(world.process().verdicts().await, [expected]);
    }
    let smoke = world.process();
    let items = smoke.run().await;
    let result = items[0].result.as_ref().unwrap();
    assert!(
        result.detail.contains("smoke.requests_per_day"),
        "{result:?}"
    );
    assert_eq!(items[0].consecutive_failures, 0, "a cap is no failure");
    assert_eq!((world.provider.sent(), smoke.spent().await), (2, (2, 0)));
    world.clock.set(NOON + DAY / 2);
    assert_eq!(world.process().verdicts().await, [Verdict::Accepted]);
}

/// The limit is for all requests of the key, and it says nothing about the key.
#[tokio::test(start_paused = true)]
async fn a_used_up_limit_of_the_key_is_no_failure() {
    let world = World::new().await;
    let limited = NewCredential {
        limits: Limits {
            requests_per_day: NonZeroU64::new(1),
            ..Limits::default()
        },
        ..new("openai", "one")
    };
    world.add(limited).await;
    assert_eq!(world.process().verdicts().await, [Verdict::Accepted]);
    let query = CredentialQuery {
        workspace: "acme",
        provider: "openai",
        label: Some("one"),
        environment: Some(Environment::Sandbox),
        pin: EnvironmentPin::Any,
    };
    let grant = world.registry.resolver().resolve(&query).unwrap();
    grant.count_request(world.registry.now());
    let items = world.process().run().await;
    let result = items[0].result.as_ref().unwrap();
    assert_eq!((result.verdict, result.attempts), (Verdict::Capped, 0));
    assert!(result.detail.contains("limit of the key"), "{result:?}");
    assert_eq!(items[0].consecutive_failures, 0);
    assert_eq!(world.provider.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_counts_and_is_not_sent_beyond_the_cap() {
    let mut world = World::new().await;
    world.settings.requests_per_day = 1;
    world.key("openai", "one").await;
    world.provider.will_answer([Finding::UNANSWERED]);
    let items = world.process().run().await;
    let result = items[0].result.as_ref().unwrap();
    assert_eq!((result.verdict, result.attempts), (Verdict::Unreachable, 1));
    assert_eq!(world.provider.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn parallel_checks_never_exceed_the_cap_together() {
    let mut world = World::new().await;
    world.settings.requests_per_day = 3;
    world.settings.parallel = 8;
    for label in 0..8 {
        world.key("openai", &format!("key-{label}")).await;
    }
    let verdicts = world.process().verdicts().await;
    let capped = verdicts.iter().filter(|one| **one == Verdict::Capped);
    assert_eq!((world.provider.sent(), capped.count()), (3, 5));
}

#[tokio::test(start_paused = true)]
async fn a_check_with_a_prompt_needs_tokens_and_others_do_not() {
    let mut world = World::new().await;
    // Enough for one prompt, whose usage stays unknown.
    world.settings.tokens_per_day = 100;
    world.key("perplexity", "prompt").await;
    world.key("openai", "list").await;
    let smoke = world.process();
    smoke.run().await;
    let (requests, tokens) = smoke.spent().await;
    assert_eq!(requests, 2);
    assert!((1..=100).contains(&tokens), "{tokens}");
    let items = smoke.run().await;
    let verdict = |label: &str| {
        let mut items = items.iter();
        let item = items.find(|item| item.label.as_ref().is_some_and(|it| it.as_str() == label));
        item.unwrap().result.as_ref().unwrap().verdict
    };
    assert_eq!(verdict("prompt"), Verdict::Capped);
    assert_eq!(verdict("list"), Verdict::Accepted);
}

fn of_nine_tokens() -> Finding {
    Finding {
        tokens: Some(Tokens {
            input: Some(8),
            output: Some(1),
            ..Tokens::default()
        }),
        ..found(Verification::Accepted, 200)
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_that_the_provider_reports_are_shown_and_counted() {
    let mut world = World::new().await;
    world.settings.prompt = true;
    world.key("openai", "one").await;
    world.provider.will_answer([of_nine_tokens()]);
    let smoke = world.process();
    let items = smoke.run().await;
    assert_eq!(items[0].result.as_ref().unwrap().tokens, Some(9));
    assert_eq!(smoke.spent().await, (1, 9));
}

/// The result of what was sent is worth more than an exact count.
#[tokio::test(start_paused = true)]
async fn a_result_is_kept_although_its_tokens_or_its_retry_could_not_be_noted() {
    let mut world = World::new().await;
    world.settings.prompt = true;
    world.key("openai", "one").await;
    let smoke = world.process();
    let breaks_once = || *world.provider.breaks.lock() = Some(world.notes.clone());
    world.provider.will_answer([of_nine_tokens()]);
    breaks_once();
    assert_eq!(smoke.verdicts().await, [Verdict::Accepted]);
    assert!(!world.notes.will_fail());
    assert_eq!(smoke.spent().await, (1, 64), "what was set aside");

    world.provider.will_answer([Finding::UNANSWERED]);
    breaks_once();
    let items = smoke.run().await;
    let result = items[0].result.as_ref().unwrap();
    assert_eq!((result.verdict, result.attempts), (Verdict::Unreachable, 1));
    assert_eq!(world.provider.sent(), 2);
}

#[test]
fn what_was_spent_with_the_clock_a_year_ahead_counts_until_tomorrow_at_the_latest() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let caps = SmokeSettings {
        requests_per_day: 1,
        ..Settings::load(&Sources::default()).unwrap().settings.smoke
    };
    let mut spend = DayTotals::default();
    spend.reserve(at(NOON + 365 * DAY), 0, &caps).unwrap();
    // After `keyside clock accept`: no day comes twice.
    assert_eq!(spend.reserve(at(NOON), 0, &caps), Err(Cap::Requests));
    assert_eq!(spend.reserve(at(NOON + DAY), 0, &caps), Err(Cap::Requests));
    spend.reserve(at(NOON + 2 * DAY), 0, &caps).unwrap();
}

#[test]
fn reported_tokens_replace_the_reservation_of_the_same_day() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let caps = SmokeSettings {
        requests_per_day: 10,
        tokens_per_day: 100,
        ..Settings::load(&Sources::default()).unwrap().settings.smoke
    };
    let mut spend = DayTotals::default();
    spend.reserve(at(NOON), 64, &caps).unwrap();
    assert!(spend.reserve(at(NOON), 64, &caps).is_err());
    spend.settle(at(NOON), 64, None);
    assert_eq!(spend.on(at(NOON)), (1, 64), "unknown is not zero");
    spend.settle(at(NOON), 64, Some(9));
    assert_eq!(spend.on(at(NOON)), (1, 9));
    spend.reserve(at(NOON), 64, &caps).unwrap();
    // The provider answered after midnight.
    spend.reserve(at(NOON + DAY), 64, &caps).unwrap();
    spend.settle(at(NOON), 64, Some(9));
    assert_eq!(spend.on(at(NOON + DAY)), (1, 64));
    // A clock that is behind gets no new day.
    assert_eq!(spend.on(at(NOON)), (1, 64));
}
