//! A refusal has the shape of the provider's own errors, so that its SDK raises its usual
//! exception.

use crate::harness::{Ask, Keyside, expect};

/// A provider, a path that it allows, and how its own errors look for a missing key.
type Shape = (&'static str, &'static str, fn(&serde_json::Value) -> bool);

const SHAPES: &[Shape] = &[
    ("openai", "/v1/chat/completions", openai),
    (
        "azure-openai",
        "/openai/deployments/d/chat/completions?api-version=1",
        openai,
    ),
    ("anthropic", "/v1/messages", anthropic),
    (
        "gemini",
        "/v1beta/models/gemini-2.5-flash:generateContent",
        gemini,
    ),
    ("mistral", "/v1/chat/completions", any_message),
    ("cohere", "/v2/chat", plain_message),
    ("groq", "/openai/v1/chat/completions", openai),
    ("openrouter", "/api/v1/chat/completions", openai),
    ("bedrock", "/model/m/converse", plain_message),
];

fn openai(body: &serde_json::Value) -> bool {
    let error = &body["error"];
    error["message"].is_string()
        && error["type"].is_string()
        && error["code"] == "credential_missing"
}

fn anthropic(body: &serde_json::Value) -> bool {
    body["type"] == "error"
        && body["error"]["type"] == "authentication_error"
        && body["error"]["message"].is_string()
        // Said once, at the top.
        && body["error"]["code"].is_null()
        && body["error"]["remediation"].is_null()
}

fn gemini(body: &serde_json::Value) -> bool {
    body["error"]["code"] == 401
        && body["error"]["status"] == "UNAUTHENTICATED"
        && body["error"]["message"].is_string()
}

fn plain_message(body: &serde_json::Value) -> bool {
    body["message"].is_string()
}

fn any_message(body: &serde_json::Value) -> bool {
    expect::message_of(body).is_some()
}

#[test]
fn a_refusal_has_the_shape_of_the_provider_s_own_errors() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    let mut wire = keyside.wire();
    for (provider, path, is_its_own) in SHAPES {
        let answer = wire.ask(&Ask::post(&format!("/{provider}{path}")));
        expect::refused(provider, &answer, 401, "credential_missing");
        let body = answer.json();
        assert!(is_its_own(&body), "{provider}: {body}");
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "{provider}: {kind}");
        let message = expect::message_of(&body).expect("a message");
        assert!(
            message.contains("acme"),
            "{provider}: it says whose key is missing: {message}"
        );
    }
}

#[test]
fn a_route_with_a_shape_of_its_own_is_refused_in_that() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    let ask = |path: &str| keyside.ask(&Ask::post(path)).json();
    assert!(anthropic(&ask("/sandbox/v1/messages")));
    assert!(openai(&ask("/sandbox/v1/chat/completions")));
    assert!(anthropic(&ask("/openrouter/api/v1/messages")));
    assert!(plain_message(&ask("/cohere/v2/chat")));
    assert!(openai(&ask("/cohere/compatibility/v1/chat/completions")));
}
