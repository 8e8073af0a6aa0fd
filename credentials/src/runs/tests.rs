mod figures;

use keyside_store::{
    Backend,
    faulty::{Fault, Faulty},
};

use super::*;

fn run(n: u64) -> Run {
    Run {
        at: Timestamp::from_microsecond(1_795_305_600_000_000 + n as i64).unwrap(),
        request_id: format!("req_{n}").into(),
        kind: RunKind::Traffic,
        workspace: "acme".parse().unwrap(),
        provider: "openai".parse().ok(),
        used: Some(Used {
            credential: credential(),
            version: 1,
            label: "default".parse().unwrap(),
            environment: Environment::Live,
        }),
        refused: None,
        status: 200,
        outcome: "ok",
        latency_us: 1_000 + n,
        first_byte_us: n.is_multiple_of(2).then_some(500),
        tokens: Tokens {
            input: Some(n),
            output: None,
            cached_input: Some(n / 2),
            cache_write: Some(0),
            reasoning: None,
        },
        run_id: Some("run-7".into()),
        tag: None,
    }
}

fn faulty() -> Arc<Faulty> {
    let memory = Arc::new(Memory::new());
    Arc::new(Faulty::new(Backend::of(memory)))
}

fn credential() -> CredentialId {
    format!("cred_{}", "a".repeat(26)).parse().unwrap()
}

fn numbers(runs: &[StoredRun]) -> Vec<u64> {
    runs.iter().map(|run| run.latency_us - 1_000).collect()
}

#[tokio::test]
async fn providers_without_a_credential_are_known_from_refused_requests() {
    let runs = Runs::start(Arc::new(Memory::new()), HashMap::new());
    let refused = |n, provider: &str| Run {
        provider: provider.parse().ok(),
        used: None,
        outcome: "credential_missing",
        ..run(n)
    };
    runs.record(run(0));
    runs.record(refused(1, "groq"));
    runs.record(refused(3, "cohere"));
    runs.record(Run {
        kind: RunKind::Preview,
        ..refused(4, "mistral")
    });
    runs.record(refused(2, "cohere"));
    runs.flush().await;
    let missing = |workspace: &str, since| {
        let found = runs.missing(&workspace.parse().unwrap(), run(since).at);
        let names = found.iter().map(ToString::to_string);
        names.collect::<Vec<_>>()
    };
    assert_eq!(missing("acme", 0), ["cohere", "groq"]);
    assert_eq!(missing("acme", 3), ["cohere"]);
    assert!(missing("acme", 4).is_empty());
    assert!(missing("beta", 0).is_empty());
    // A successor with the same id has only its own.
    runs.erase("acme".parse().unwrap(), run(2).at).await;
    assert_eq!(missing("acme", 0), ["cohere"]);
}

#[tokio::test]
async fn runs_are_returned_as_recorded_newest_first() {
    let runs = Runs::start(Arc::new(Memory::new()), HashMap::new());
    (0..3).for_each(|n| runs.record(run(n)));
    runs.flush().await;
    let recent = runs.search(2, &RunFilter::default()).await;
    assert_eq!(numbers(&recent), [2, 1]);
    let (stored, noted) = (&recent[0], run(2));
    assert_eq!(
        (stored.at, &stored.request_id),
        (noted.at, &noted.request_id)
    );
    assert_eq!((&*stored.workspace, &*stored.provider), ("acme", "openai"));
    assert_eq!((stored.status, &*stored.outcome), (200, "ok"));
    let used = stored.used.as_ref().unwrap();
    assert_eq!(
        (&*used.label, used.environment),
        ("default", Environment::Live)
    );
    assert_eq!(
        (stored.first_byte_us, stored.tokens),
        (Some(500), noted.tokens)
    );
    assert_eq!(
        (stored.run_id.as_deref(), stored.tag.as_deref()),
        (Some("run-7"), None)
    );
}

#[tokio::test]
async fn a_run_without_a_provider_is_stored_with_an_empty_one() {
    let runs = Runs::start(Arc::new(Memory::new()), HashMap::new());
    runs.record(Run {
        provider: None,
        ..run(1)
    });
    runs.flush().await;
    let stored = runs.search(1, &RunFilter::default()).await;
    assert_eq!(&*stored[0].provider, "");
}

#[tokio::test]
async fn each_filter_matches_exactly_its_own_runs() {
    let runs = Runs::start(Arc::new(Memory::new()), HashMap::new());
    let odd = Run {
        workspace: "globex".parse().unwrap(),
        provider: "anthropic".parse().ok(),
        used: run(1).used.map(|used| Used {
            label: "ci".parse().unwrap(),
            ..used
        }),
        status: 0,
        outcome: "cancelled",
        run_id: Some("run-8".into()),
        tag: Some("nightly".into()),
        ..run(1)
    };
    for one in [run(0), odd, run(2)] {
        runs.record(one);
        runs.flush().await;
    }
    let text = |text: &str| Some(text.to_owned());
    let all = RunFilter::default;
    for (filter, expected) in [
        (all(), vec![2, 1, 0]),
        (
            RunFilter {
                workspace: "globex".parse().ok(),
                ..all()
            },
            vec![1],
        ),
        (
            RunFilter {
                workspace: "gone".parse().ok(),
                ..all()
            },
            vec![],
        ),
        (
            RunFilter {
                provider: text("openai"),
                ..all()
            },
            vec![2, 0],
        ),
        (
            RunFilter {
                label: text("ci"),
                ..all()
            },
            vec![1],
        ),
        (
            RunFilter {
                request_id: text("req_2"),
                ..all()
            },
            vec![2],
        ),
        (
            RunFilter {
                run_id: text("run-7"),
                ..all()
            },
            vec![2, 0],
        ),
        (
            RunFilter {
                run_id: text("run-"),
                ..all()
            },
            vec![],
        ),
        (
            RunFilter {
                tag: text("nightly"),
                ..all()
            },
            vec![1],
        ),
        (
            RunFilter {
                tag: text(""),
                ..all()
            },
            vec![],
        ),
        (
            RunFilter {
                status: Some(200),
                ..all()
            },
            vec![2, 0],
        ),
        (
            RunFilter {
                status: Some(0),
                ..all()
            },
            vec![1],
        ),
        (
            RunFilter {
                outcome: text("ok"),
                ..all()
            },
            vec![2, 0],
        ),
        (
            RunFilter {
                since: Some(run(1).at),
                ..all()
            },
            vec![2, 1],
        ),
        (
            RunFilter {
                until: Some(run(1).at),
                ..all()
            },
            vec![0],
        ),
        (
            RunFilter {
                since: Some(run(1).at),
                status: Some(200),
                ..all()
            },
            vec![2],
        ),
    ] {
        let found = runs.search(9, &filter).await;
        assert_eq!(numbers(&found), expected, "{filter:?}");
    }
    let first = RunFilter {
        label: text("default"),
        ..all()
    };
    assert_eq!(numbers(&runs.search(1, &first).await), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_written_within_a_tenth_of_a_second_without_a_flush() {
    let storage = Arc::new(Memory::new());
    let runs = Runs::start(storage.clone(), HashMap::new());
    runs.record(run(1));
    tokio::time::timeout(std::time::Duration::from_millis(100), async {
        while storage.last().await.unwrap() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn runs_and_last_used_times_survive_a_restart() {
    let storage = Arc::new(Memory::new());
    let runs = Runs::start(storage.clone(), HashMap::new());
    assert_eq!(runs.last_used(&credential()), None);
    (0..2_000).for_each(|n| runs.record(run(n)));
    runs.flush().await;
    let runs = Runs::start(storage, HashMap::new());
    runs.record(run(2_000));
    runs.flush().await;
    let expected: Vec<_> = (0..=2_000).rev().collect();
    assert_eq!(
        numbers(&runs.search(5_000, &RunFilter::default()).await),
        expected
    );
    assert_eq!(runs.last_used(&credential()), Some(run(2_000).at));
    let unused = format!("cred_{}", "b".repeat(26)).parse().unwrap();
    assert_eq!(runs.last_used(&unused), None);
}

#[tokio::test]
async fn the_oldest_runs_are_deleted_first_and_enough_are_kept_after_a_restart() {
    let storage = Arc::new(Memory::new());
    for _ in 0..2 {
        let runs = Runs::start(storage.clone(), HashMap::new());
        runs.set_retention(1_000);
        for n in 0..3_000 {
            runs.record(run(n));
        }
        runs.flush().await;
        let kept = numbers(&runs.search(usize::MAX, &RunFilter::default()).await);
        assert!((1_000..1_500).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept[0], 2_999);
    }
}

#[tokio::test]
async fn damaged_blocks_of_the_log_are_skipped() {
    let storage = Arc::new(Memory::new());
    let runs = Runs::start(storage.clone(), HashMap::new());
    for n in 0..6 {
        runs.record(run(n));
        runs.flush().await;
    }
    storage
        .contents()
        .runs
        .retain(|position, _| ![1, 3, 4].contains(position));
    assert_eq!(
        numbers(&runs.search(9, &RunFilter::default()).await),
        [5, 4, 1]
    );
    let runs = Runs::start(storage, HashMap::new());
    runs.record(run(6));
    runs.flush().await;
    assert_eq!(
        numbers(&runs.search(9, &RunFilter::default()).await),
        [6, 5, 4, 1]
    );
}

#[tokio::test]
async fn a_gap_in_the_log_of_any_size_is_skipped_at_once() {
    let storage = Arc::new(Memory::new());
    let runs = Runs::start(storage.clone(), HashMap::new());
    for n in 0..4 {
        runs.record(run(n));
        runs.flush().await;
    }
    for (position, to) in [(4, u64::MAX >> 1), (3, 1 << 40), (2, 9)] {
        let mut contents = storage.contents();
        let block = contents.runs.remove(&position).unwrap();
        contents.runs.insert(to, block);
    }
    assert_eq!(
        numbers(&runs.search(9, &RunFilter::default()).await),
        [3, 2, 1, 0]
    );
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_records_without_waiting() {
    let runs = Runs::start(Arc::new(Memory::new()), HashMap::new());
    // On a single thread the writer cannot run meanwhile.
    (0..QUEUE_CAPACITY as u64 + 10).for_each(|n| runs.record(run(n)));
    assert_eq!((runs.unrecorded(), runs.are_recorded()), (10, false));
    runs.flush().await;
    assert!(runs.are_recorded());
    assert_eq!(
        runs.search(usize::MAX, &RunFilter::default()).await.len(),
        QUEUE_CAPACITY
    );
}

#[tokio::test]
async fn failing_storage_loses_records_and_accepts_the_next_ones() {
    for fault in [Fault::Refused, Fault::AnswerLost] {
        let storage = faulty();
        let runs = Runs::start(storage.clone(), HashMap::new());
        // At its start the writer scans the log, which counts as a write.
        runs.flush().await;
        storage.fail(1, 1, fault);
        runs.record(run(1));
        runs.flush().await;
        assert!(storage.heal(), "{fault:?}");
        assert_eq!(runs.unrecorded(), 1, "{fault:?}");
        runs.record(run(2));
        runs.flush().await;
        assert_eq!(numbers(&runs.search(9, &RunFilter::default()).await)[0], 2);
    }
}

#[tokio::test]
async fn after_a_partial_write_only_records_that_are_not_on_disk_are_counted_as_lost() {
    let storage = faulty();
    let runs = Runs::start(storage.clone(), HashMap::new());
    runs.flush().await;
    // The first block is accepted, the second one is not.
    storage.fail(2, 1, Fault::Refused);
    (0..600).for_each(|n| runs.record(run(n)));
    runs.flush().await;
    let kept = runs.search(usize::MAX, &RunFilter::default()).await.len() as u64;
    assert!((1..600).contains(&kept), "{kept}");
    assert_eq!(runs.unrecorded(), 600 - kept);
}

#[tokio::test(start_paused = true)]
async fn requests_are_served_again_although_a_record_was_lost_during_a_queue_drain() {
    let runs = Runs::start(Arc::new(Memory::new()), HashMap::new());
    runs.set_when_full(WhenFull::Refuse);
    runs.flush().await;
    assert!(!runs.refuses());
    // As `record` does when the queue is full, although the writer has already drained it and waits
    // for the next message.
    runs.lose();
    assert!(runs.refuses());
    is_recorded_again(&runs).await;
    assert_eq!(runs.unrecorded(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_are_refused_only_if_configured_and_only_while_they_cannot_be_recorded() {
    for (when_full, refuses) in [(WhenFull::Serve, false), (WhenFull::Refuse, true)] {
        let storage = faulty();
        let runs = Runs::start(storage.clone(), HashMap::new());
        runs.set_when_full(when_full);
        runs.flush().await;
        assert!(runs.are_recorded() && !runs.refuses());
        storage.fail(1, usize::MAX, Fault::Refused);
        runs.record(run(1));
        runs.flush().await;
        assert_eq!((runs.are_recorded(), runs.refuses()), (false, refuses));
        assert!(storage.heal());
        // Without another request, because there may be none.
        is_recorded_again(&runs).await;
        assert!(!runs.refuses());
        runs.record(run(2));
        runs.flush().await;
        assert_eq!(numbers(&runs.search(9, &RunFilter::default()).await), [2]);
        assert_eq!(runs.unrecorded(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_full_at_the_start_is_detected_before_any_request_is_served_unrecorded() {
    let storage = faulty();
    let runs = Runs::start(storage.clone(), HashMap::new());
    storage.fail(1, usize::MAX, Fault::Refused);
    runs.set_when_full(WhenFull::Refuse);
    runs.flush().await;
    assert!(runs.refuses());
    assert_eq!(runs.unrecorded(), 0);
    assert!(storage.heal());
    is_recorded_again(&runs).await;
}

/// Waits for the retry interval of a refused client, and a little more.
async fn is_recorded_again(runs: &Runs) {
    let again = async {
        while !runs.are_recorded() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let limit = std::time::Duration::from_millis(1_500);
    tokio::time::timeout(limit, again).await.unwrap();
}

#[tokio::test]
async fn a_malformed_block_is_skipped() {
    let storage = Arc::new(Memory::new());
    storage.append(1, b"\x01noise".to_vec()).await.unwrap();
    storage
        .append(2, b"\x02\xff\xff\xff\xff\xff".to_vec())
        .await
        .unwrap();
    storage.append(3, vec![]).await.unwrap();
    let runs = Runs::start(storage, HashMap::new());
    runs.record(run(1));
    runs.flush().await;
    assert_eq!(numbers(&runs.search(9, &RunFilter::default()).await), [1]);
}
