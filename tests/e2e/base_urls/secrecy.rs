//! A refusal repeats the method and the path after the provider, in the response and in the log,
//! but no query and no segment that may be a key.

use super::message_of;
use crate::harness::{Ask, KEY, Keyside, Message, expect, field};
use serde_json::Value;

/// A key that could be a workspace's id too.
const LOWER_CASE_KEY: &str = "sk-e2ebaseurls0123456789abcdefghij";

/// The log line of this refusal.
fn log_line(keyside: &Keyside, answer: &Message) -> Value {
    let id = answer.header("x-keyside-request-id").expect("an id");
    keyside.log_line(|line| {
        field(line, "message").as_deref() == Some("refused")
            && field(line, "request_id").as_deref() == Some(id)
    })
}

/// The response to a request that must be refused, and its log line.
fn said(keyside: &Keyside, ask: &Ask) -> (Message, Value) {
    let answer = keyside.ask(ask);
    assert!([400, 403].contains(&answer.status()), "{}", answer.text());
    let line = log_line(keyside, &answer);
    (answer, line)
}

/// Expects a refusal whose message contains this method and path, and whose log line has them as
/// fields.
fn check(keyside: &Keyside, ask: &Ask, method: &str, path: &str) {
    let (answer, line) = said(keyside, ask);
    let message = message_of(&answer);
    assert!(message.contains(&format!("{method} {path}")), "{message}");
    assert_eq!(field(&line, "method").as_deref(), Some(method), "{line}");
    assert_eq!(field(&line, "path").as_deref(), Some(path), "{line}");
}

#[test]
fn method_and_path_are_in_the_answer_and_in_the_log() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    let messages = Ask::post("/anthropic/messages");
    check(&keyside, &messages, "POST", "/messages");
    let messages = Ask::post("/w/acme/anthropic/messages");
    check(&keyside, &messages, "POST", "/messages");
    let users = Ask::get("/openai/v1/organization/users");
    check(&keyside, &users, "GET", "/v1/organization/users");
    let chat = Ask::new("DELETE", "/openai/v1/chat/completions").workspace("acme");
    check(&keyside, &chat, "DELETE", "/v1/chat/completions");
}

#[test]
fn a_host_that_is_not_ours_is_in_the_answer_and_in_the_log() {
    let keyside = Keyside::builder().start();
    let ask = Ask::chat().set("Host", "keyside.example:7380");
    check(&keyside, &ask, "POST", "/v1/chat/completions");
    let (answer, line) = said(&keyside, &ask);
    let message = message_of(&answer);
    assert!(message.contains("keyside.example"), "{message}");
    let host = field(&line, "host").unwrap_or_default();
    assert!(host.starts_with("keyside.example"), "{line}");
}

#[test]
fn the_query_is_never_repeated() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    for target in [
        "/anthropic/messages?beta=canary-of-the-query",
        "/v1/messages?beta=canary-of-the-query",
        "/gemini/models/m:generateContent?key=canary-of-the-query&alt=sse",
        "/openai/v1/files?purpose=canary-of-the-query",
        "/nosuch?canary-of-the-query",
    ] {
        let (answer, _) = said(&keyside, &Ask::post(target));
        assert!(!answer.holds("canary-of-the-query"), "{}", answer.text());
    }
    assert!(!keyside.logs().contains("canary-of-the-query"));
}

#[test]
fn a_segment_that_may_be_a_key_is_masked() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    let (answer, line) = said(
        &keyside,
        &Ask::post(&format!("/openai/{KEY}/v1/chat/completions")),
    );
    let message = message_of(&answer);
    assert!(message.contains("POST /…/v1/chat/completions"), "{message}");
    assert_eq!(
        field(&line, "path").as_deref(),
        Some("/…/v1/chat/completions")
    );
}

#[test]
fn a_key_in_the_wrong_place_is_never_repeated() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    for key in [KEY, LOWER_CASE_KEY] {
        for request in [
            "POST /openai/{key}/v1/chat/completions",
            "POST /openai/v1/{key}/chat/completions",
            "POST /openai/v1/chat/completions/{key}",
            "POST /openai/v1/nothing/{key}/",
            // The rest resembles a route, and the suggestion repeats a part of the path.
            "GET /openai/models/{key}",
            "GET /openai/v1/v1/models/{key}",
            "POST /gemini/models/{key}:generateContent",
            "POST /azure-openai/deployments/{key}/chat/completions",
            // In the place of a provider or a workspace.
            "POST /{key}/v1/chat/completions",
            "POST /{key}/openai/v1/chat/completions",
            "POST /w/acme/{key}/v1/chat/completions",
            "POST /w/acme/{key}/openai/v1/chat/completions",
            "{key} /openai/v1/models",
        ] {
            let request = request.replace("{key}", key);
            let (method, target) = request.split_once(' ').expect("a method and a target");
            let ask = Ask::new(method, target).workspace("acme");
            let (answer, line) = said(&keyside, &ask);
            assert!(!answer.holds(key), "{request}: {}", answer.text());
            assert!(!line.to_string().contains(key), "{request}: {line}");
            expect::closed_to_browsers(&request, &answer);
        }
    }
    let runs = keyside.admin("GET", "/api/runs?limit=1000", None);
    assert_eq!(runs.status(), 200, "{}", runs.text());
    for key in [KEY, LOWER_CASE_KEY] {
        assert!(!runs.holds(key), "{}", runs.text());
        assert!(!keyside.logs().contains(key));
    }
}
