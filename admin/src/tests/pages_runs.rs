//! The page Runs.

use jiff::SignedDuration;
use keyside_credentials::{
    Environment, Role, Scope,
    runs::{Run, RunKind, Used},
};

use super::{
    lists::run,
    pages_activity::{unescaped, with_workspace},
    *,
};

/// Records runs of a sandbox key: `number` of them, the first of which failed.
async fn record(api: &Api, number: u64) -> Value {
    let new = json!({ "environment": "sandbox", "label": "QA <Sandbox>" });
    let made = api.post(CREDENTIALS, &new_credential(new)).await.json();
    for number in 0..number {
        let run = run(&made, number);
        let used = run.used.clone().map(|used| Used {
            label: "QA <Sandbox>".parse().unwrap(),
            environment: Environment::Sandbox,
            version: 2,
            ..used
        });
        let run = Run {
            used,
            outcome: if number == 0 { "server_error" } else { "ok" },
            tag: Some("ci <1>".into()),
            ..run
        };
        api.registry.runs().record(run);
    }
    api.registry.runs().flush().await;
    made
}

/// The number of rows in the table of runs.
fn rows(page: &Answer) -> usize {
    page.assert_is_page(StatusCode::OK);
    page.body.matches("data-label=\"When\"").count()
}

#[tokio::test]
async fn runs_are_shown_with_the_key_that_each_used() {
    let api = with_workspace().await;
    let made = record(&api, 2).await;
    let browser = api.owner().await;
    let page = browser.get("/runs").await;
    assert_eq!(rows(&page), 2);
    let key = format!("{}/keys/{}", browser.base, made["id"].as_str().unwrap());
    for shown in [
        key.as_str(),
        "OpenAI",
        "version 2",
        "Sandbox",
        "2 of these runs used a sandbox key",
        "Succeeded",
        "The provider failed",
        "HTTP 200",
        "2 ms",
        "3 / –",
        "req-1",
        "Requests a day, 2, 1 failed. ",
        "Latency a day, median 2 ms. ",
        "Tokens a day, 6. ",
        "<rect ",
        "<polyline ",
    ] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    assert!(!page.body.contains("QA <Sandbox>"), "{}", page.body);
    assert!(!page.body.contains("ci <1>"), "{}", page.body);
}

#[tokio::test]
async fn runs_after_the_days_of_the_charts_take_the_place_of_none_in_them() {
    let api = with_workspace().await;
    let made = record(&api, 2).await;
    let later = SystemClock.now() + SignedDuration::from_hours(48);
    for number in 3..6 {
        let run = run(&made, number);
        api.registry.runs().record(Run { at: later, ..run });
    }
    api.registry.runs().flush().await;
    let page = api.owner().await.get("/runs?days=1").await;
    assert_eq!(rows(&page), 5);
    let shown = "Requests a day, 2, 1 failed. ";
    assert!(page.body.contains(shown), "{}", page.body);
}

#[tokio::test]
async fn a_check_of_a_secret_that_was_not_stored_says_so_and_is_no_failed_request() {
    let api = with_workspace().await;
    let made = record(&api, 2).await;
    let never = json!({ "id": format!("cred_{}", "b".repeat(26)) });
    for (key, version, number) in [(&never, 1, 7), (&made, 9, 8)] {
        let run = run(key, number);
        let used = run.used.clone().map(|used| Used { version, ..used });
        api.registry.runs().record(Run {
            kind: RunKind::Check,
            used,
            status: 401,
            outcome: "client_error",
            ..run
        });
    }
    api.registry.runs().flush().await;
    let browser = api.owner().await;
    let page = browser.get("/runs").await;
    assert_eq!(rows(&page), 4);
    let candidates = page.body.matches("candidate, not stored").count();
    assert_eq!(candidates, 2, "{}", page.body);
    assert!(page.body.contains("Requests a day, 2, 1 failed. "));
    assert!(page.body.contains("Live checks of keys are not counted"));
    let checks = browser.get("/runs?kind=check").await;
    assert!(checks.body.contains("Requests a day, 2, 2 failed. "));
}

#[tokio::test]
async fn rate_limits_rejections_and_refusals_are_told_apart() {
    let api = with_workspace().await;
    let made = record(&api, 0).await;
    for (number, status, outcome) in [(1, 429, "rate_limited"), (2, 404, "client_error")] {
        api.registry.runs().record(Run {
            status,
            outcome,
            ..run(&made, number)
        });
    }
    api.registry.runs().record(Run {
        used: None,
        refused: Some("GET /v1/models".into()),
        status: 400,
        outcome: "label_unknown",
        ..run(&made, 3)
    });
    api.registry.runs().flush().await;
    let browser = api.owner().await;
    for (outcome, word) in [
        ("rate_limited", "Rate limited"),
        ("client_error", "Rejected"),
        ("refused", "Refused"),
        ("label_unknown", "Refused"),
    ] {
        let page = browser.get(&format!("/runs?outcome={outcome}")).await;
        assert_eq!(rows(&page), 1, "{outcome}");
        let shown = format!("{word}</span>");
        assert!(page.body.contains(&shown), "{outcome}: {}", page.body);
    }
}

#[tokio::test]
async fn runs_are_narrowed_by_what_is_known_of_them() {
    let api = with_workspace().await;
    record(&api, 3).await;
    let browser = api.owner().await;
    for (query, expected) in [
        ("workspace=acme&provider=&label=&tag=", 3),
        ("provider=openai&environment=sandbox&kind=traffic", 3),
        ("label=QA+%3CSandbox%3E&days=1", 3),
        ("environment=live", 0),
        ("kind=preview", 0),
        ("outcome=server_error", 1),
        ("outcome=ok&days=30", 2),
        ("tag=ci+%3C1%3E", 3),
        ("run=none", 0),
        ("request=req-2", 1),
        ("label=no-longer", 0),
    ] {
        let page = browser.get(&format!("/runs?{query}")).await;
        assert_eq!(rows(&page), expected, "{query}");
    }
    for wrong in ["days=2", "kind=x", "cursor=x", "nosuch=1", "tag=1&tag=2"] {
        let page = browser.get(&format!("/runs?{wrong}")).await;
        page.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn many_runs_are_shown_page_by_page() {
    let api = with_workspace().await;
    record(&api, 60).await;
    let browser = api.owner().await;
    let first = browser.get("/runs?outcome=ok").await;
    assert_eq!(rows(&first), 50);
    assert!(first.body.contains("The newest 50 runs"), "{}", first.body);
    let (before, _) = first.body.split_once("\" rel=\"next\"").unwrap();
    let (_, older) = before.rsplit_once("href=\"").unwrap();
    let older = unescaped(older);
    let older = older.strip_prefix(&browser.base).unwrap();
    let second = browser.get(older).await;
    assert_eq!(rows(&second), 9, "the filter stays");
    assert!(second.body.contains("9 older runs"), "{}", second.body);
    assert!(second.body.contains(">Newest</a>"), "{}", second.body);
    assert!(!second.body.contains("rel=\"next\""), "{}", second.body);
}

#[tokio::test]
async fn runs_of_other_workspaces_do_not_exist() {
    let api = with_workspace().await;
    let empty = api.owner().await.get("/runs").await;
    empty.assert_is_page(StatusCode::OK);
    assert!(empty.body.contains("No runs yet"), "{}", empty.body);
    record(&api, 1).await;
    api.post("/api/workspaces", &json!({ "id": "beta" })).await;
    let scope = Scope::Only(Arc::new(["beta".parse().unwrap()].into()));
    let limited = api.token_of(Role::Viewer, scope).await;
    let limited = api.sign_in(&limited).await;
    for page in ["/runs", "/checks", "/preview"] {
        let own = limited.get(page).await;
        own.assert_is_page(StatusCode::OK);
        assert!(!own.body.contains("acme"), "{page}: {}", own.body);
        let other = limited.get(&format!("{page}?workspace=acme")).await;
        other.assert_is_page(StatusCode::NOT_FOUND);
    }
    let progress = limited
        .get("/checks/progress?workspace=acme&run=smoke_1")
        .await;
    progress.assert_is_page(StatusCode::NOT_FOUND);
}
