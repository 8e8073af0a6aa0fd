//! Smoke runs: `keyside smoke` against stand-in providers, in each format, and runs after a change.

mod progress;

use std::{fs, sync::Arc};

use serde_json::{Value, json};

use crate::harness::{Exit, KEY, Keyside, Upstream, eventually, expect, gate::Gate, reply};

const PASSED: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NOTHING: i32 = 3;

/// A Keyside whose runs start only on request and ask once, with workspace `acme`.
fn on_request(providers: &[(&str, &str)]) -> Keyside {
    let quiet = Keyside::builder()
        .set("smoke.schedule", "\"off\"")
        .set("smoke.on_change", "false")
        .set("smoke.retry", "\"0s\"");
    let builder = providers
        .iter()
        .fold(quiet, |builder, (id, url)| builder.provider(id, url));
    let keyside = builder.start();
    keyside.workspace("acme");
    keyside
}

/// Adds a tagged sandbox key.
fn tagged(keyside: &Keyside, provider: &str, label: &str) -> Value {
    keyside.add(json!({
        "workspaceId": "acme", "provider": provider, "label": label, "secret": KEY,
        "environment": "sandbox", "usageTag": "ci-smoke",
    }))
}

fn run(keyside: &Keyside, arguments: &[&str]) -> Exit {
    let arguments = [&["smoke"][..], arguments].concat();
    let exit = keyside.cli().run(&arguments, b"");
    let shown = format!("{}{}", exit.stdout, exit.stderr);
    assert!(!shown.contains(KEY), "{arguments:?}: the key was printed");
    exit
}

fn expect_code(code: i32, exit: Exit) -> String {
    assert_eq!(exit.code, Some(code), "{exit:#?}");
    exit.stdout
}

/// One provider that accepts the key, one that rejects it and repeats it, and one that is down.
fn good_bad_and_down() -> (Keyside, Upstream) {
    let good = Upstream::ok();
    let echo = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}."}}}}"#);
    let bad = Upstream::answering(move |_| reply(401, "", echo.as_bytes()));
    let keyside = on_request(&[
        ("openai", &good.base_url()),
        ("groq", &bad.base_url()),
        ("mistral", "http://127.0.0.1:1"),
    ]);
    for provider in ["openai", "groq", "mistral"] {
        tagged(&keyside, provider, "ci");
    }
    // Both servers run until the test process ends.
    (keyside, good)
}

#[test]
fn each_format_says_which_provider_failed_and_why_and_the_exit_code_is_1() {
    let (keyside, _good) = good_bad_and_down();
    let text = expect_code(FAILED, run(&keyside, &[]));
    let row = |provider: &str| {
        let mut rows = text.lines();
        let found = rows.find(|row| row.contains(&format!("acme       {provider} ")));
        found.unwrap_or_else(|| panic!("no {provider} in {text}"))
    };
    assert!(row("openai").contains("accepted     200"), "{text}");
    assert!(row("groq").contains("rejected     401"), "{text}");
    assert!(row("mistral").contains("unreachable  -"), "{text}");
    let why = "groq key \"ci\" of workspace acme: rejected, the provider";
    assert!(text.contains(why), "{text}");
    assert!(text.contains("3 checks: 1 passed, 2 failed"), "{text}");

    for arguments in [&["--format", "json"][..], &["--json"]] {
        let json = expect_code(FAILED, run(&keyside, arguments));
        let report: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(report["run"]["state"], "finished", "{report}");
        let items = report["items"].as_array().expect("items");
        let outcomes: Vec<_> = items.iter().map(|item| &item["outcome"]).collect();
        assert_eq!(outcomes, ["failed", "failed", "passed"], "{report}");
        assert!(items[2]["latencyMs"].is_u64(), "{report}");
    }

    let xml = expect_code(FAILED, run(&keyside, &["--format", "junit"]));
    assert!(
        xml.contains("tests=\"3\" failures=\"2\" errors=\"0\""),
        "{xml}"
    );
    assert!(
        xml.contains("<testcase classname=\"acme.openai\" name=\"ci (sandbox)\""),
        "{xml}"
    );

    let printed = expect_code(FAILED, run(&keyside, &["--format", "github"]));
    let error =
        "::error title=Smoke check%3A groq key \"ci\" of workspace acme::rejected, the provider";
    assert!(printed.contains(error), "{printed}");
    assert!(
        printed.contains("| openai | ci | sandbox | acme | 200 |"),
        "{printed}"
    );
}

#[test]
fn the_summary_of_a_job_is_added_to_its_file() {
    let good = Upstream::ok();
    let keyside = on_request(&[("openai", &good.base_url())]);
    tagged(&keyside, "openai", "ci");
    let file = keyside.builder_of().home().join("summary.md");
    fs::write(&file, "before\n").expect("a writable folder");
    let job = keyside.cli();
    let job = job.variable("GITHUB_STEP_SUMMARY", &file.display().to_string());
    let exit = job.run(&["smoke", "--format", "github"], b"");
    assert_eq!(expect_code(PASSED, exit), "", "no annotation");
    let summary = fs::read_to_string(&file).expect("the summary");
    assert!(
        summary.starts_with("before\n### Provider smoke checks\n"),
        "{summary}"
    );
    assert!(summary.contains("1 check: 1 passed"), "{summary}");
}

#[test]
fn the_exit_code_tells_success_and_nothing_to_check_apart() {
    let good = Upstream::ok();
    let keyside = on_request(&[("openai", &good.base_url())]);
    let nothing = run(&keyside, &["--format", "json"]);
    assert!(
        nothing.stderr.contains("--usage-tag ci-smoke"),
        "{nothing:#?}"
    );
    let nothing: Value = serde_json::from_str(&expect_code(NOTHING, nothing)).expect("JSON");
    assert_eq!(nothing, json!({ "run": null, "items": [] }));
    tagged(&keyside, "openai", "ci");
    let live = json!({
        "workspaceId": "acme", "provider": "openai", "label": "live", "secret": KEY,
        "usageTag": "ci-smoke",
    });
    keyside.add(live);
    let passed = expect_code(PASSED, run(&keyside, &["-w", "acme", "-p", "openai"]));
    assert!(passed.contains("1 check: 1 passed"), "{passed}");
    assert_eq!(good.requests().len(), 1, "the live key is not checked");
    expect_code(NOTHING, run(&keyside, &["-p", "groq"]));
    expect_code(FAILED, run(&keyside, &["-w", "acne"]));
    expect_code(FAILED, run(&keyside, &["-p", "opnai"]));
    expect_code(USAGE, run(&keyside, &["--format", "xml"]));
}

#[test]
fn an_expected_provider_without_a_key_fails_the_run() {
    let builder = Keyside::builder()
        .set("smoke.schedule", "\"off\"")
        .set("smoke.on_change", "false")
        .set("smoke.expected", "[\"groq\"]");
    let keyside = builder.start();
    keyside.workspace("acme");
    let text = expect_code(FAILED, run(&keyside, &[]));
    assert!(
        text.contains("groq in workspace acme: a key with the usage tag ci-smoke is expected"),
        "{text}"
    );
    let failed = "provider_smoke_failures_total{provider=\"groq\"} 1";
    assert!(keyside.metrics().contains(failed));
}

#[test]
fn metrics_begin_at_0_and_count_failures_in_a_row_across_a_restart() {
    let (keyside, _good) = good_bad_and_down();
    let expected = |keyside: &Keyside, series: &[(&str, &str, u64)]| {
        let metrics = keyside.metrics();
        for (name, provider, value) in series {
            let line = format!("provider_smoke_{name}{{provider=\"{provider}\"}} {value}\n");
            assert!(metrics.contains(&line), "no {line} in {metrics}");
        }
    };
    expected(
        &keyside,
        &[
            ("runs_total", "openai", 0),
            ("failures_total", "openai", 0),
            ("consecutive_failures", "xai", 0),
            ("last_success_timestamp_seconds", "openai", 0),
        ],
    );
    expect_code(FAILED, run(&keyside, &[]));
    expected(&keyside, &[("consecutive_failures", "groq", 1)]);
    expect_code(FAILED, run(&keyside, &[]));
    expected(
        &keyside,
        &[
            ("runs_total", "openai", 2),
            ("failures_total", "openai", 0),
            ("runs_total", "groq", 2),
            ("failures_total", "groq", 2),
            ("consecutive_failures", "groq", 2),
            ("consecutive_failures", "mistral", 2),
        ],
    );
    let never = "provider_smoke_last_success_timestamp_seconds{provider=\"openai\"} 0\n";
    assert!(!keyside.metrics().contains(never));
    let restarted = keyside.kill9().start();
    eventually("the figures of the store", || {
        let two = "provider_smoke_consecutive_failures{provider=\"groq\"} 2\n";
        restarted.metrics().contains(two).then_some(())
    });
    expected(&restarted, &[("failures_total", "groq", 0)]);
}

#[test]
fn a_key_that_a_provider_repeats_is_in_no_result_and_no_log() {
    let (keyside, _good) = good_bad_and_down();
    for format in ["text", "json", "junit", "github"] {
        run(&keyside, &["--format", format]);
    }
    let shown = keyside.admin("GET", "/api/smoke", None);
    assert_eq!(shown.status(), 200, "{}", shown.text());
    assert!(shown.text().contains("rejected"), "{}", shown.text());
    expect::keyless("history", &shown);
    assert!(!keyside.metrics().contains(KEY), "in the metrics");
    assert!(!keyside.logs().contains(KEY), "logged");
    let hint = &KEY[KEY.len() - 8..];
    assert!(!shown.holds(hint), "the end of the key");
}

#[test]
fn a_request_is_counted_before_it_is_sent_and_the_count_survives_a_crash() {
    let gate = Arc::new(Gate::default());
    let stuck = gate.clone();
    let upstream = Upstream::answering(move |_| {
        stuck.wait_for(1);
        reply(200, "", b"{}")
    });
    let keyside = on_request(&[("openai", &upstream.base_url())]);
    tagged(&keyside, "openai", "ci");
    let started = keyside.admin("POST", "/api/smoke/runs", None);
    assert_eq!(started.status(), 202, "{}", started.text());
    let id = started.json()["run"]["id"].clone();
    eventually("the request", || {
        (upstream.requests().len() == 1).then_some(())
    });
    let restarted = keyside.kill9().start();
    gate.open(1);
    let path = format!("/api/smoke?runId={}", id.as_str().expect("an id"));
    let shown = restarted.admin("GET", &path, None).json();
    assert_eq!(shown["spentToday"][0]["requests"], 1, "{shown}");
    assert_eq!(shown["run"]["state"], "running", "it goes on: {shown}");
    assert_eq!(upstream.requests().len(), 1, "not sent again");
}

#[test]
fn a_key_is_checked_after_it_was_added_and_after_a_rotation() {
    let upstream = Upstream::ok();
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    let keyside = builder.start();
    keyside.workspace("acme");
    let key = tagged(&keyside, "openai", "ci");
    eventually("the first check", || {
        (upstream.requests().len() == 1).then_some(())
    });
    keyside.rotate(&key, &format!("{KEY}Next"));
    eventually("the second check", || {
        (upstream.requests().len() == 2).then_some(())
    });
    let sent = upstream.requests().pop().expect("a request");
    let expected = format!("Bearer {KEY}Next");
    assert_eq!(sent.header("authorization"), Some(&*expected));
    let shown = keyside.admin("GET", "/api/smoke", None).json();
    assert_eq!(shown["run"]["trigger"], "change", "{shown}");
    assert_eq!(shown["schedule"], "17 3 * * *");
    assert!(
        shown["nextRunAt"]
            .as_str()
            .is_some_and(|at| at.ends_with("T03:17:00Z"))
    );
}

#[test]
fn a_result_of_a_ci_job_shows_in_the_metrics() {
    let keyside = on_request(&[]);
    let body = json!({
        "workspaceId": "acme", "provider": "anthropic", "verdict": "rejected", "status": 401,
    });
    let posted = keyside.admin("POST", "/api/smoke/results", Some(&body));
    assert_eq!(posted.status(), 201, "{}", posted.text());
    let metrics = keyside.metrics();
    for name in ["runs_total", "failures_total", "consecutive_failures"] {
        let line = format!("provider_smoke_{name}{{provider=\"anthropic\"}} 1\n");
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }
}
