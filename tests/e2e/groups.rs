//! Each request's group, its upstream path, and requests that no group forwards.

use crate::harness::{Ask, Keyside, Upstream, eventually, expect, reply};

/// Keyside with a key of this provider, at `upstream`.
fn with(provider: &str, allow: &str, upstream: &Upstream) -> Keyside {
    let builder = Keyside::builder().provider(provider, &upstream.base_url());
    let keyside = builder
        .set(&format!("providers.{provider}.allow"), allow)
        .start();
    keyside.workspace("acme");
    let secret = format!("canary-groups-{provider}-0123456789abcdef");
    keyside.add_key("acme", provider, "default", &secret);
    keyside
}

fn ask(request: &str) -> Ask {
    let (method, target) = request.split_once(' ').expect("a method and a target");
    match method {
        "POST" => Ask::post(target),
        _ => Ask::new(method, target).workspace("acme"),
    }
}

/// Checks the upstream path of requests: (request, upstream path).
fn check_forwarded(keyside: &Keyside, upstream: &Upstream, requests: &[(&str, &str)]) {
    for (request, path) in requests {
        let answer = keyside.ask(&ask(request));
        assert_eq!(answer.status(), 200, "{request}: {}", answer.text());
        let seen = upstream.requests().pop().expect("a request");
        assert_eq!(seen.target(), *path, "{request}");
    }
}

/// Checks that requests are refused before they are sent; each refusal contains `words`.
fn check_refused(keyside: &Keyside, upstream: &Upstream, requests: &[&str], words: &str) {
    let before = upstream.requests().len();
    for request in requests {
        let answer = keyside.ask(&ask(request));
        expect::refused(request, &answer, 403, "path_not_allowed");
        assert!(
            answer.text().contains(words),
            "{request}: {}",
            answer.text()
        );
    }
    assert_eq!(upstream.requests().len(), before);
}

const BOTH: &str = r#"["inference", "stored"]"#;
const INFERENCE: &str = r#"["inference"]"#;

#[test]
fn a_call_whose_media_goes_elsewhere_is_forwarded_and_its_usage_is_unknown() {
    let body = br#"{"id":"rtc_1","usage":{"input_tokens":36,"output_tokens":87}}"#;
    let upstream =
        Upstream::answering(move |_| reply(200, "Content-Type: application/json\r\n", body));
    let keyside = with("openai", INFERENCE, &upstream);
    let requests = [
        "POST /openai/v1/realtime/calls",
        "POST /openai/v1/realtime/calls/rtc_1/accept",
        "POST /openai/v1/realtime/calls/rtc_1/refer",
        "POST /openai/v1/realtime/calls/rtc_1/reject",
        "POST /openai/v1/realtime/calls/rtc_1/hangup",
        "POST /openai/v1/live/sessions",
        "POST /openai/v1/live/sessions/s_1/hangup",
    ];
    let there = requests.map(|request| {
        let path = request.strip_prefix("POST /openai").expect("of OpenAI");
        (request, path)
    });
    check_forwarded(&keyside, &upstream, &there);
    let runs = eventually("all are recorded", || {
        let runs = keyside.admin("GET", "/api/runs", None).json()["items"].clone();
        (runs.as_array()?.len() == requests.len()).then_some(runs)
    });
    for run in runs.as_array().expect("a list") {
        assert!(run["inputTokens"].is_null(), "{run}");
        assert!(run["outputTokens"].is_null(), "{run}");
    }
}

#[test]
fn what_hands_out_credentials_for_calls_is_in_no_group() {
    let upstream = Upstream::ok();
    let keyside = with("openai", BOTH, &upstream);
    let requests = [
        "POST /openai/v1/realtime/client_secrets",
        "POST /openai/v1/realtime/sessions",
        "POST /openai/v1/realtime/transcription_sessions",
        "POST /openai/v1/realtime/translations/client_secrets",
    ];
    check_refused(&keyside, &upstream, &requests, "issue credentials");
}

#[test]
fn a_workflow_is_executed_by_its_name_and_deployments_are_no_name() {
    let upstream = Upstream::ok();
    let keyside = with("mistral", BOTH, &upstream);
    let forwarded = [
        (
            "POST /mistral/v1/workflows/nightly/execute",
            "/v1/workflows/nightly/execute",
        ),
        (
            "GET /mistral/v1/workflows/executions/e-1",
            "/v1/workflows/executions/e-1",
        ),
        ("GET /mistral/v1/workflows/nightly", "/v1/workflows/nightly"),
    ];
    check_forwarded(&keyside, &upstream, &forwarded);
    let administers = [
        "GET /mistral/v1/workflows/deployments",
        "GET /mistral/v1/workflows/Deployments",
        "PUT /mistral/v1/workflows/deployments",
        "GET /mistral/v1/workflows/%64eployments",
        "GET /mistral/v1/workflows/deployments/nightly",
        "POST /mistral/v1/workflows/deployments/execute",
        "PUT /mistral/v1/workflows/deployments/archive",
        "GET /mistral/v1/workflows/deployments/metrics",
        "POST /mistral/v1/workflows/deployments/nightly/stop",
    ];
    check_refused(&keyside, &upstream, &administers, "");

    let keyside = with("mistral", INFERENCE, &upstream);
    check_forwarded(&keyside, &upstream, &forwarded[..2]);
    let stored = ["GET /mistral/v1/workflows/nightly"];
    check_refused(&keyside, &upstream, &stored, "the group \\\"stored\\\"");
}

#[test]
fn fireworks_stores_beside_the_path_below_which_its_models_answer() {
    let upstream = Upstream::ok();
    let keyside = with("fireworks", BOTH, &upstream);
    let forwarded = [
        (
            "POST /fireworks/v1/chat/completions",
            "/inference/v1/chat/completions",
        ),
        ("GET /fireworks/v1/models", "/inference/v1/models"),
        (
            "GET /fireworks/v1/accounts/mine/datasets/d",
            "/v1/accounts/mine/datasets/d",
        ),
        (
            "POST /fireworks/v1/accounts/mine/datasets/d:upload",
            "/v1/accounts/mine/datasets/d:upload",
        ),
        (
            "POST /fireworks/v1/accounts/mine/supervisedFineTuningJobs",
            "/v1/accounts/mine/supervisedFineTuningJobs",
        ),
    ];
    check_forwarded(&keyside, &upstream, &forwarded);
    let id = keyside.list()[0]["id"].as_str().expect("an id").to_owned();
    let verify = format!("/api/integrations/credentials/{id}/verify");
    assert_eq!(keyside.admin("POST", &verify, None).status(), 200);
    let check = upstream.requests().pop().expect("a live check");
    assert_eq!(check.target(), "/inference/v1/models");
    let administers = [
        "GET /fireworks/v1/accounts",
        "GET /fireworks/v1/accounts/mine",
        "GET /fireworks/v1/accounts/mine/users",
        "POST /fireworks/v1/accounts/mine/users/me/apiKeys",
        "POST /fireworks/v1/accounts/mine/users/me/apiKeys:delete",
        "GET /fireworks/v1/accounts/mine/secrets/s",
        "POST /fireworks/v1/accounts/mine/deployments",
    ];
    check_refused(&keyside, &upstream, &administers, "");

    let keyside = with("fireworks", INFERENCE, &upstream);
    check_forwarded(&keyside, &upstream, &forwarded[..2]);
    let stored = ["GET /fireworks/v1/accounts/mine/datasets/d"];
    check_refused(&keyside, &upstream, &stored, "the group \\\"stored\\\"");
}

#[test]
fn a_route_of_ones_own_may_except_names_and_lie_below_a_path() {
    let upstream = Upstream::ok();
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    let route = r#"[{ request = "POST /v1/flows/*/run", below = "/beta", except = ["admin"] }]"#;
    let keyside = builder.set("providers.openai.extra_routes", route);
    let keyside = keyside.start().with_key();
    let forwarded = [("POST /openai/v1/flows/mine/run", "/beta/v1/flows/mine/run")];
    check_forwarded(&keyside, &upstream, &forwarded);
    let excepted = ["POST /openai/v1/flows/admin/run"];
    check_refused(&keyside, &upstream, &excepted, "");
}
