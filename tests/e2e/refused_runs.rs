//! Refused requests are recorded as runs: for known workspaces, without a credential, and at most a
//! certain number a minute.

use crate::harness::{Ask, Keyside, Message, Upstream, eventually};
use serde_json::{Value, json};

/// The number recorded per workspace and minute.
const A_MINUTE: usize = 60;

fn runs(keyside: &Keyside) -> Vec<Value> {
    let runs = keyside.admin("GET", "/api/runs?limit=1000", None);
    assert_eq!(runs.status(), 200, "{}", runs.text());
    runs.json()["items"].as_array().expect("a list").clone()
}

/// Waits for the run of this answer.
fn run_of(keyside: &Keyside, answer: &Message) -> Value {
    let id = answer.header("x-keyside-request-id").expect("an id");
    eventually("the refusal is recorded", || {
        runs(keyside).into_iter().find(|run| run["requestId"] == id)
    })
}

#[test]
fn a_refusal_is_a_run_with_its_code_and_without_a_credential() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for (ask, provider, status, code, refused) in [
        (
            Ask::post("/anthropic/messages?beta=true"),
            "anthropic",
            403,
            "path_not_allowed",
            "POST /messages",
        ),
        (
            Ask::post("/groq/openai/v1/chat/completions"),
            "groq",
            401,
            "credential_missing",
            "POST /openai/v1/chat/completions",
        ),
        (
            Ask::chat().header("X-Keyside-Label", "nightly"),
            "openai",
            400,
            "label_unknown",
            "POST /v1/chat/completions",
        ),
    ] {
        let answer = keyside.ask(&ask.header("X-Keyside-Run", code));
        assert_eq!(answer.status(), status, "{code}: {}", answer.text());
        let run = run_of(&keyside, &answer);
        for (name, expected) in [
            ("workspaceId", json!("acme")),
            ("provider", json!(provider)),
            ("credentialId", Value::Null),
            ("status", json!(status)),
            ("outcome", json!(code)),
            ("refused", json!(refused)),
            ("runId", json!(code)),
            ("inputTokens", Value::Null),
        ] {
            assert_eq!(run.get(name), Some(&expected), "{code}: {name} in {run}");
        }
    }
    let served = keyside.ask(&Ask::chat());
    assert_eq!(served.status(), 200, "{}", served.text());
    let run = run_of(&keyside, &served);
    assert_eq!(run["refused"], Value::Null, "{run}");
    assert!(run["credentialId"].is_string(), "{run}");
}

#[test]
fn a_refusal_for_an_unknown_workspace_is_not_a_run() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    for ask in [
        Ask::chat().workspace("nobody"),
        Ask::chat().workspace("not a workspace"),
        Ask::chat().without("X-Keyside-Workspace"),
        Ask::post("/w/nobody/anthropic/messages").without("X-Keyside-Workspace"),
    ] {
        assert_eq!(keyside.ask(&ask).status() / 100, 4, "{ask:?}");
    }
    // Records are written in order: with this one, those before would be there.
    run_of(&keyside, &keyside.ask(&Ask::post("/anthropic/messages")));
    assert_eq!(runs(&keyside).len(), 1);
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_all_recorded() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    keyside.workspace("other");
    let flood = 5 * A_MINUTE;
    let mut wire = keyside.wire();
    for _ in 0..flood {
        let answer = wire.ask(&Ask::post("/anthropic/messages"));
        assert_eq!(answer.status(), 403, "{}", answer.text());
    }
    let other = wire.ask(&Ask::post("/anthropic/messages").workspace("other"));
    run_of(&keyside, &other);
    let recorded = runs(&keyside)
        .iter()
        .filter(|run| run["workspaceId"] == "acme")
        .count();
    // Twice as many if a new minute began meanwhile.
    assert!(
        (A_MINUTE..=2 * A_MINUTE).contains(&recorded),
        "{recorded} of {flood}"
    );
    let counted = format!(
        "keyside_refusals_total{{code=\"path_not_allowed\"}} {}\n",
        flood + 1
    );
    let metrics = keyside.metrics();
    assert!(metrics.contains(&counted), "no {counted} in {metrics}");
}
