//! Limits on what a credential or a workspace may spend in a day.

use crate::harness::{
    Ask, CREDENTIALS, KEY, Keyside, Message, Upstream, eventually, expect, field, reply,
};
use serde_json::{Value, json};
use std::{fs, time::Duration};

const ACME: &str = "/api/workspaces/acme";

/// 60 tokens, as OpenAI reports them.
const SIXTY: &str = r#"{"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":20}}"#;
const NO_USAGE: &str = r#"{"choices":[]}"#;

fn answering(status: u16, body: &'static str) -> Upstream {
    Upstream::answering(move |_| {
        let json = "Content-Type: application/json\r\n";
        reply(status, json, body.as_bytes())
    })
}

/// Keyside with a key of `acme` that has these limits, and the path of the key.
fn limited(upstream: &Upstream, limits: Value) -> (Keyside, String) {
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.limits.unknown_tokens", "50")
        .start();
    let path = add_limited(&keyside, limits);
    (keyside, path)
}

fn add_limited(keyside: &Keyside, limits: Value) -> String {
    keyside.workspace("acme");
    let key = keyside.add(json!({
        "workspaceId": "acme", "provider": "openai", "label": "default", "secret": KEY,
        "limits": limits,
    }));
    format!("{CREDENTIALS}/{}", key["id"].as_str().expect("an id"))
}

fn served(keyside: &Keyside) -> Message {
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer
}

/// Tokens are counted when a request has ended, which may be after its client has the answer.
fn until_counted(keyside: &Keyside, path: &str, tokens: u64) -> Value {
    eventually("the tokens are counted", || {
        let usage = keyside.admin("GET", path, None).json()["usage"].clone();
        (usage["tokensToday"] == tokens).then_some(usage)
    })
}

fn exhausted(name: &str, keyside: &Keyside) {
    let answer = keyside.ask(&Ask::chat());
    expect::refused(name, &answer, 403, "budget_exhausted");
    assert_eq!(answer.headers_named("x-should-retry"), ["false"], "{name}");
}

#[test]
fn a_limit_on_tokens_refuses_requests_once_it_is_reached() {
    let upstream = answering(200, SIXTY);
    let (keyside, path) = limited(&upstream, json!({ "tokensPerDay": 100 }));
    served(&keyside);
    let usage = until_counted(&keyside, &path, 60);
    assert_eq!(usage["state"], "ok");
    assert_eq!(usage["requestsToday"], Value::Null, "it has no limit");
    served(&keyside);
    let usage = until_counted(&keyside, &path, 120);
    assert_eq!(usage["state"], "exhausted");
    exhausted("tokens", &keyside);
    assert_eq!(upstream.requests().len(), 2, "the third was not sent");
    let warned = keyside.log_line(|line| {
        field(line, "message").is_some_and(|message| message.starts_with("80 % of a limit"))
    });
    assert_eq!(field(&warned, "used").as_deref(), Some("120"), "{warned}");
    let metrics = keyside.metrics();
    for line in [
        "keyside_refusals_total{code=\"budget_exhausted\"} 1",
        "keyside_credential_limit_used_ratio{label=\"default\",limit=\"tokens\",\
         provider=\"openai\",workspace=\"acme\"} 1.2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
    let raised = json!({ "limits": { "tokensPerDay": 1000 } });
    let raised = keyside.admin("PATCH", &path, Some(&raised));
    assert_eq!(raised.json()["usage"]["state"], "ok", "{}", raised.text());
    served(&keyside);
}

#[test]
fn a_stream_counts_at_its_end() {
    let events = format!("data: {SIXTY}\n\ndata: [DONE]\n\n");
    let upstream = Upstream::answering(move |_| {
        let stream = "Content-Type: text/event-stream\r\n";
        reply(200, stream, events.as_bytes())
    });
    let (keyside, path) = limited(&upstream, json!({ "tokensPerDay": 60 }));
    served(&keyside);
    until_counted(&keyside, &path, 60);
    exhausted("a stream", &keyside);
}

#[test]
fn a_request_of_unknown_usage_counts_as_the_settings_say() {
    let upstream = answering(200, NO_USAGE);
    let (keyside, path) = limited(&upstream, json!({ "tokensPerDay": 100 }));
    served(&keyside);
    until_counted(&keyside, &path, 50);
    served(&keyside);
    until_counted(&keyside, &path, 100);
    exhausted("unknown usage", &keyside);
}

#[test]
fn a_request_that_the_provider_refused_costs_no_tokens() {
    let upstream = answering(429, r#"{"error":{"message":"slow down"}}"#);
    let limits = json!({ "requestsPerDay": 4, "tokensPerDay": 100 });
    let (keyside, path) = limited(&upstream, limits);
    for _ in 0..4 {
        assert_eq!(keyside.ask(&Ask::chat()).status(), 429);
    }
    exhausted("requests", &keyside);
    let usage = until_counted(&keyside, &path, 0);
    assert_eq!(usage["requestsToday"], 4);
}

#[test]
fn a_request_that_was_never_sent_counts_nothing() {
    let keyside = Keyside::builder()
        .provider("openai", "http://127.0.0.1:1")
        .start();
    let path = add_limited(
        &keyside,
        json!({ "requestsPerDay": 1, "tokensPerDay": 100 }),
    );
    for _ in 0..2 {
        let answer = keyside.ask(&Ask::chat());
        expect::refused("unreachable", &answer, 502, "upstream_unreachable");
    }
    let usage = until_counted(&keyside, &path, 0);
    assert_eq!(usage["requestsToday"], 0, "{usage}");
}

#[test]
fn a_limit_of_a_workspace_counts_across_a_restart() {
    let upstream = answering(200, SIXTY);
    let mut keyside = Keyside::with_openai(&upstream.base_url());
    let limits = json!({ "limits": { "requestsPerDay": 3 } });
    let changed = keyside.admin("PATCH", ACME, Some(&limits));
    assert_eq!(changed.status(), 200, "{}", changed.text());
    served(&keyside);
    served(&keyside);
    keyside.term();
    let exit = keyside.exit_within(Duration::from_secs(30));
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let keyside = keyside.builder_of().clone().start();
    let usage = keyside.admin("GET", ACME, None).json()["usage"].clone();
    assert_eq!(usage["requestsToday"], 2, "{usage}");
    served(&keyside);
    exhausted("a workspace", &keyside);
    let other = keyside.admin("POST", "/api/workspaces", Some(&json!({ "id": "other" })));
    assert_eq!(other.json()["usage"], Value::Null, "{}", other.text());
}

#[test]
fn a_sidecar_counts_in_memory() {
    let upstream = answering(200, SIXTY);
    let builder = Keyside::sidecar().provider("openai", &upstream.base_url());
    let file = builder.home().join("key");
    fs::write(&file, KEY).expect("a writable folder");
    let table = format!(
        "[[credential]]\nworkspace = \"acme\"\nprovider = \"openai\"\nsource = \"file:{}\"\n\
         limits = {{ requests_per_day = 1 }}\n",
        file.display()
    );
    let keyside = builder.config(&table).start();
    served(&keyside);
    let refused = keyside.ask(&Ask::chat());
    assert_eq!(refused.status(), 403, "{}", refused.text());
    assert_eq!(refused.json()["code"], "budget_exhausted");
    let used = "keyside_credential_limit_used_ratio{label=\"default\",limit=\"requests\",\
                provider=\"openai\",workspace=\"acme\"} 1";
    assert!(keyside.metrics().lines().any(|line| line == used));
}

#[test]
fn the_command_line_sets_shows_and_removes_limits() {
    let upstream = answering(200, SIXTY);
    let (keyside, path) = limited(&upstream, json!({ "requestsPerDay": 10 }));
    let run = |arguments: &[&str]| {
        let exit = keyside.cli().run(arguments, b"");
        assert_eq!(exit.code, Some(0), "{arguments:?}: {exit:?}");
        exit.stdout
    };
    served(&keyside);
    let id = path.rsplit('/').next().expect("an id");
    let shown = run(&["key", "show", id]);
    assert!(shown.contains("1 of 10"), "{shown}");
    let (no_requests, tokens) = ("--no-requests-per-day", "--tokens-per-day");
    run(&["key", "edit", id, no_requests, tokens, "500"]);
    let limits = keyside.admin("GET", &path, None).json()["limits"].clone();
    assert_eq!(
        limits,
        json!({ "requestsPerDay": null, "tokensPerDay": 500 })
    );
    run(&["workspace", "edit", "acme", "--requests-per-day", "5"]);
    served(&keyside);
    let shown = run(&["workspace", "show", "acme"]);
    assert!(shown.contains("1 of 5"), "{shown}");
    run(&["workspace", "edit", "acme", "--no-requests-per-day"]);
    let workspace = keyside.admin("GET", ACME, None).json();
    assert_eq!(workspace["limits"], Value::Null, "{workspace}");
}
