//! Kinds, pages and figures.

use std::collections::HashSet;

use super::*;

/// A log of these runs.
async fn recorded(runs: impl IntoIterator<Item = Run>) -> Runs {
    let log = Runs::start(Arc::new(Memory::new()), HashMap::new());
    runs.into_iter().for_each(|run| log.record(run));
    log.flush().await;
    log
}

fn by(dimensions: &[Dimension]) -> HashSet<Dimension> {
    dimensions.iter().copied().collect()
}

fn of_kind(n: u64, kind: RunKind) -> Run {
    Run { kind, ..run(n) }
}

#[tokio::test]
async fn kind_and_version_are_stored_and_found() {
    let kinds = RunKind::ALL.into_iter().zip(0..);
    let runs = recorded(kinds.map(|(kind, n)| of_kind(n, kind))).await;
    for (kind, n) in RunKind::ALL.into_iter().zip(0..) {
        let filter = RunFilter {
            kind: Some(kind),
            ..RunFilter::default()
        };
        let found = runs.search(9, &filter).await;
        assert_eq!(numbers(&found), [n], "{kind}");
        assert_eq!(found[0].kind, kind);
        assert_eq!(found[0].used.as_ref().unwrap().version, 1);
    }
    let of = |credential, environment| RunFilter {
        credential: Some(credential),
        environment: Some(environment),
        ..RunFilter::default()
    };
    let unused = format!("cred_{}", "b".repeat(26)).parse().unwrap();
    for (filter, count) in [
        (of(credential(), Environment::Live), 4),
        (of(credential(), Environment::Sandbox), 0),
        (of(unused, Environment::Live), 0),
    ] {
        assert_eq!(runs.search(9, &filter).await.len(), count, "{filter:?}");
    }
}

#[tokio::test]
async fn refused_runs_are_found_whatever_their_code() {
    let refused = |n, outcome| Run {
        used: None,
        refused: Some("GET /v1/models".into()),
        outcome,
        ..run(n)
    };
    let (missing, path) = ("credential_missing", "path_not_allowed");
    let runs = recorded([run(1), refused(2, missing), refused(3, path)]).await;
    for (outcome, expected) in [
        (REFUSED, &[3, 2][..]),
        (path, &[3][..]),
        ("ok", &[1][..]),
        ("refuse", &[][..]),
    ] {
        let filter = RunFilter {
            outcome: Some(outcome.to_owned()),
            ..RunFilter::default()
        };
        let found = runs.search(9, &filter).await;
        assert_eq!(numbers(&found), expected, "{outcome}");
    }
}

#[tokio::test]
async fn a_live_check_is_no_use_of_the_credential_not_even_after_a_restart() {
    let storage = Arc::new(Memory::new());
    let runs = Runs::start(storage.clone(), HashMap::new());
    runs.record(of_kind(1, RunKind::Check));
    runs.flush().await;
    assert_eq!(runs.last_used(&credential()), None);
    runs.record(of_kind(2, RunKind::Smoke));
    runs.record(of_kind(3, RunKind::Check));
    runs.flush().await;
    assert_eq!(runs.last_used(&credential()), Some(run(2).at));
    let runs = Runs::start(storage, HashMap::new());
    runs.flush().await;
    assert_eq!(runs.last_used(&credential()), Some(run(2).at));
}

#[tokio::test]
async fn pages_continue_where_the_last_one_ended_although_runs_are_added() {
    let log = Runs::start(Arc::new(Memory::new()), HashMap::new());
    let expected: Vec<_> = (0..700_u64).filter(|n| n.is_multiple_of(3)).rev().collect();
    for n in 0..700_u64 {
        log.record(Run {
            status: if n.is_multiple_of(3) { 200 } else { 500 },
            ..run(n)
        });
        if n.is_multiple_of(250) {
            log.flush().await;
        }
    }
    log.flush().await;
    let filter = RunFilter {
        status: Some(200),
        ..RunFilter::default()
    };
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = log.page(7, &filter, before).await;
        assert!(page.runs.len() <= 7);
        found.extend(numbers(&page.runs));
        let Some(next) = page.next else { break };
        assert_eq!(next.to_string().parse(), Ok(next));
        before = Some(next);
        log.record(run(1_000));
        log.flush().await;
    }
    assert_eq!(found, expected);
    for text in ["", "1", "1.", ".1", "+1.2", "1.-2", "1.2.3", "x.y"] {
        assert!(text.parse::<RunPosition>().is_err(), "{text:?}");
    }
}

#[tokio::test]
async fn figures_leave_unknown_usage_out_and_count_it() {
    let unknown = Run {
        tokens: Tokens::default(),
        ..run(4)
    };
    let refused = Run {
        used: None,
        outcome: "credential_missing",
        refused: Some("POST /v1/chat/completions".into()),
        latency_us: 1,
        tokens: Tokens::default(),
        ..run(5)
    };
    let cut = Run {
        outcome: "client_closed",
        ..run(2)
    };
    let failed = Run {
        outcome: "upstream_aborted",
        ..run(1)
    };
    let runs = recorded([failed, cut, unknown, refused]).await;
    let all = RunFilter::default();
    let figures = runs.figures(&all, &by(&[]), 9).await.unwrap();
    let total = &figures.total;
    assert_eq!((total.count, total.errors, total.refused), (4, 2, 1));
    assert_eq!(total.unknown_usage, 1);
    let Tokens {
        input,
        output,
        cached_input,
        ..
    } = total.tokens;
    assert_eq!((input, output, cached_input), (Some(3), None, Some(1)));
    // Of the forwarded ones alone: 1001, 1002 and 1004.
    let latency = total.latency.unwrap();
    assert_eq!((latency.p50_us, latency.p99_us), (1_002, 1_004));
    assert_eq!(figures.groups.len(), 1, "one group without a value");
    let none = RunFilter {
        tag: Some("none".into()),
        ..all
    };
    let figures = runs.figures(&none, &by(&Dimension::ALL), 9).await.unwrap();
    assert_eq!(figures, RunFigures::default());
}

#[tokio::test]
async fn figures_count_live_checks_only_if_asked_for_them() {
    let kinds = RunKind::ALL.into_iter().zip(0..);
    let runs = recorded(kinds.map(|(kind, n)| of_kind(n, kind))).await;
    for (kind, expected) in [
        (
            None,
            &[RunKind::Traffic, RunKind::Preview, RunKind::Smoke][..],
        ),
        (Some(RunKind::Check), &[RunKind::Check][..]),
        (Some(RunKind::Traffic), &[RunKind::Traffic][..]),
    ] {
        let filter = RunFilter {
            kind,
            ..RunFilter::default()
        };
        let by_kind = by(&[Dimension::Kind]);
        let figures = runs.figures(&filter, &by_kind, 9).await.unwrap();
        let counted = figures.groups.iter().map(|group| group.group.kind.unwrap());
        assert_eq!(counted.collect::<Vec<_>>(), expected, "{kind:?}");
        assert_eq!(figures.total.count, expected.len() as u64, "{kind:?}");
    }
}

#[tokio::test]
async fn groups_share_what_they_are_grouped_by_and_the_smallest_are_omitted() {
    let day = |n: u64, days: i64| Run {
        at: run(n).at + jiff::SignedDuration::from_hours(24 * days),
        ..run(n)
    };
    let sandbox = Run {
        used: run(9).used.map(|used| Used {
            environment: Environment::Sandbox,
            label: "ci".parse().unwrap(),
            ..used
        }),
        kind: RunKind::Smoke,
        tag: Some("nightly".into()),
        ..day(9, 1)
    };
    let runs = recorded([day(0, 0), day(1, 0), day(2, 1), sandbox, day(3, 2)]).await;
    let all = RunFilter::default();
    let days = runs.figures(&all, &by(&[Dimension::Day]), 2).await.unwrap();
    let shown = |figures: &RunFigures| {
        let groups = figures.groups.iter();
        groups
            .map(|group| (group.group.day.unwrap().to_string(), group.figures.count))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shown(&days),
        [("2026-11-22".to_owned(), 2), ("2026-11-23".to_owned(), 2)]
    );
    assert_eq!((days.omitted, days.total.count), (1, 5));
    let keys = by(&[Dimension::Credential, Dimension::Environment]);
    let keys = runs.figures(&all, &keys, 9).await.unwrap();
    let [live, ci] = &keys.groups[..] else {
        panic!("{keys:?}")
    };
    assert_eq!(live.group.environment, Some(Environment::Live));
    assert_eq!(
        (live.label.as_deref(), live.figures.count),
        (Some("default"), 4)
    );
    assert_eq!(ci.group.environment, Some(Environment::Sandbox));
    assert_eq!((ci.label.as_deref(), ci.figures.count), (Some("ci"), 1));
    let kinds = by(&[Dimension::Kind, Dimension::Tag]);
    let kinds = runs.figures(&all, &kinds, 9).await.unwrap();
    let smoke = &kinds.groups[1].group;
    assert_eq!(smoke.kind, Some(RunKind::Smoke));
    assert_eq!(smoke.tag.as_deref(), Some("nightly"));
    assert_eq!(smoke.provider, None);
}
