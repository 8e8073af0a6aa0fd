use std::{sync::Arc, thread};

use super::*;

const TODAY: Day = Day(20_000);
const TOMORROW: Day = Day(20_001);

fn limits(requests: u64, tokens: u64) -> Limits {
    Limits {
        requests_per_day: NonZeroU64::new(requests),
        tokens_per_day: NonZeroU64::new(tokens),
    }
}

/// Counts requests one by one and returns the warnings.
fn requests(meter: &Meter, count: u64, limits: Limits, day: Day) -> Vec<u64> {
    (0..count)
        .filter_map(|_| meter.count(Unit::Requests, 1, limits, day).warning)
        .collect()
}

#[test]
fn a_day_begins_at_midnight_utc() {
    let at = |text: &str| Day::of(text.parse().unwrap());
    assert_eq!(at("1970-01-01T00:00:00Z"), Day(0));
    assert_eq!(at("2026-11-22T23:59:59.999999999Z"), Day(20_779));
    assert_eq!(at("2026-11-23T00:00:00Z"), Day(20_780));
    // 00:30 in Berlin is still the day before.
    assert_eq!(at("2026-11-23T00:30:00+01:00"), Day(20_779));
    assert_eq!(at("1969-12-31T23:59:59Z"), Day(0));
    assert_eq!(Day::of(Timestamp::MAX), Day(LAST_DAY));
}

#[test]
fn requests_are_refused_once_the_count_has_reached_the_limit() {
    let (meter, limits) = (Meter::default(), limits(3, 0));
    for _ in 0..3 {
        assert_eq!(meter.exhausted(limits, TODAY), None);
        meter.count(Unit::Requests, 1, limits, TODAY);
    }
    assert_eq!(meter.exhausted(limits, TODAY), Some(Unit::Requests));
    assert_eq!(meter.exhausted(limits, TOMORROW), None);
    let raised = Limits {
        requests_per_day: NonZeroU64::new(4),
        ..limits
    };
    assert_eq!(meter.exhausted(raised, TODAY), None);
}

#[test]
fn tokens_exceed_the_limit_at_most_by_what_is_in_flight() {
    let (meter, limits) = (Meter::default(), limits(0, 100));
    // Three requests begin below the limit, and each uses 60 tokens.
    for _ in 0..3 {
        assert_eq!(meter.exhausted(limits, TODAY), None);
    }
    for _ in 0..3 {
        meter.count(Unit::Tokens, 60, limits, TODAY);
    }
    assert_eq!(meter.exhausted(limits, TODAY), Some(Unit::Tokens));
    let usage = meter.usage(limits, TODAY).unwrap();
    assert_eq!(
        (usage.requests_today, usage.tokens_today),
        (None, Some(180))
    );
    assert_eq!(usage.state, UsageState::Exhausted);
}

#[test]
fn only_what_is_limited_is_counted() {
    let meter = Meter::default();
    meter.count(Unit::Tokens, 60, limits(1, 0), TODAY);
    meter.count(Unit::Requests, 1, limits(0, 1), TODAY);
    let both = meter.usage(limits(1, 1), TODAY).unwrap();
    assert_eq!((both.requests_today, both.tokens_today), (Some(0), Some(0)));
    assert_eq!(meter.usage(Limits::default(), TODAY), None);
}

#[test]
fn a_warning_comes_once_a_day_at_80_percent() {
    let (meter, limits) = (Meter::default(), limits(10, 0));
    assert!(requests(&meter, 7, limits, TODAY).is_empty());
    assert_eq!(meter.usage(limits, TODAY).unwrap().state, UsageState::Ok);
    assert_eq!(requests(&meter, 5, limits, TODAY), [8]);
    let usage = meter.usage(limits, TODAY).unwrap();
    assert_eq!(usage.state, UsageState::Exhausted);
    assert_eq!(requests(&meter, 12, limits, TOMORROW), [8]);
    // One step over the line and beyond the limit is one warning too.
    let jump = Meter::default().count(Unit::Requests, 50, limits, TODAY);
    assert_eq!(jump.warning, Some(50));
    let warning = Meter::default();
    requests(&warning, 8, limits, TODAY);
    let usage = warning.usage(limits, TODAY).unwrap();
    assert_eq!(usage.state, UsageState::Warning);
}

#[test]
fn a_clock_that_goes_back_does_not_give_the_budget_again() {
    let (meter, limits) = (Meter::default(), limits(2, 0));
    requests(&meter, 1, limits, TODAY);
    requests(&meter, 1, limits, TOMORROW);
    // Back to today: the count of tomorrow goes on.
    assert_eq!(meter.exhausted(limits, TODAY), None);
    requests(&meter, 1, limits, TODAY);
    assert_eq!(meter.exhausted(limits, TODAY), Some(Unit::Requests));
    assert_eq!(meter.exhausted(limits, TOMORROW), Some(Unit::Requests));
}

#[test]
fn concurrent_requests_are_all_counted_across_a_change_of_day() {
    let (meter, limits) = (Arc::new(Meter::default()), limits(1_000_000, 0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let meter = meter.clone();
            thread::spawn(move || {
                requests(&meter, 1_000, limits, TODAY);
                requests(&meter, 1_000, limits, TOMORROW);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // A thread that is still on today counts for tomorrow once another one is there.
    let counted = meter.usage(limits, TOMORROW).unwrap().requests_today;
    assert!((4_000..=7_000).contains(&counted.unwrap()), "{counted:?}");
}

#[test]
fn a_reservation_is_renewed_when_half_of_it_is_used() {
    let (meter, limits) = (Meter::default(), limits(1_000, 0));
    assert!(!meter.is_store_due(), "nothing was counted");
    assert!(meter.count(Unit::Requests, 1, limits, TODAY).is_store_due);
    let totals = meter.totals(limits, Stored::Ahead);
    assert_eq!((totals.day, totals.requests, totals.tokens), (TODAY, 21, 0));
    meter.stored(totals, limits, Stored::Ahead);
    for count in 2..=10 {
        let counted = meter.count(Unit::Requests, 1, limits, TODAY);
        assert!(!counted.is_store_due, "{count}");
    }
    assert!(meter.count(Unit::Requests, 1, limits, TODAY).is_store_due);
    assert!(meter.is_store_due());
    meter.stored(meter.totals(limits, Stored::Ahead), limits, Stored::Ahead);
    // A new day begins with a reservation of its own.
    assert!(
        meter
            .count(Unit::Requests, 1, limits, TOMORROW)
            .is_store_due
    );
}

#[test]
fn a_small_limit_reserves_one_request() {
    let (meter, limits) = (Meter::default(), limits(3, 0));
    for count in 1..=3 {
        assert!(meter.count(Unit::Requests, 1, limits, TODAY).is_store_due);
        let totals = meter.totals(limits, Stored::Ahead);
        assert_eq!(totals.requests, count + 1);
        meter.stored(totals, limits, Stored::Ahead);
    }
}

#[test]
fn exact_counts_are_stored_again_only_after_further_requests() {
    let (meter, limits) = (Meter::default(), limits(1_000, 1_000));
    meter.count(Unit::Requests, 1, limits, TODAY);
    meter.count(Unit::Tokens, 70, limits, TODAY);
    let totals = meter.totals(limits, Stored::Exact);
    assert_eq!((totals.requests, totals.tokens), (1, 70));
    meter.stored(totals, limits, Stored::Exact);
    assert!(!meter.is_store_due());
    assert!(meter.count(Unit::Tokens, 1, limits, TODAY).is_store_due);
}

#[test]
fn what_was_stored_is_added_to_the_same_day_only() {
    let limits = limits(1_000, 1_000);
    let stored = |day| DayTotals {
        day,
        requests: 10,
        tokens: 100,
    };
    let restored = |day: Day| {
        let meter = Meter::default();
        meter.count(Unit::Requests, 1, limits, TODAY);
        meter.restore(stored(day), TODAY);
        let usage = meter.usage(limits, TODAY).unwrap();
        (usage.requests_today.unwrap(), usage.tokens_today.unwrap())
    };
    assert_eq!(restored(TODAY), (11, 100));
    assert_eq!(restored(Day(19_999)), (1, 0));
    // The clock was ahead: its count goes on, until tomorrow at the latest.
    assert_eq!(restored(Day(30_000)), (10, 100));
    let meter = Meter::default();
    meter.restore(stored(Day(30_000)), TODAY);
    assert_eq!(
        meter.usage(limits, TOMORROW).unwrap().requests_today,
        Some(10)
    );
    assert_eq!(
        meter.usage(limits, Day(20_002)).unwrap().requests_today,
        Some(0)
    );
}

#[test]
fn a_count_never_overflows_into_the_day() {
    let (meter, limits) = (Meter::default(), limits(0, Limits::MAX));
    for _ in 0..3 {
        meter.count(Unit::Tokens, u64::MAX, limits, TODAY);
    }
    assert_eq!(meter.exhausted(limits, TODAY), Some(Unit::Tokens));
    assert_eq!(meter.exhausted(limits, TOMORROW), None);
    let totals = meter.totals(limits, Stored::Ahead);
    assert_eq!((totals.day, totals.tokens), (TODAY, LARGEST_COUNT));
    meter.stored(totals, limits, Stored::Exact);
}

#[test]
fn a_count_whose_limit_was_removed_is_not_stored_again_and_again() {
    let meter = Meter::default();
    meter.count(Unit::Tokens, 60, limits(10, 100), TODAY);
    let requests_only = limits(10, 0);
    let totals = meter.totals(requests_only, Stored::Ahead);
    meter.stored(totals, requests_only, Stored::Ahead);
    assert!(!meter.is_store_due());
}
