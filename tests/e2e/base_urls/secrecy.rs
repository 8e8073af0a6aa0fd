//! A refusal repeats the method and the path after the provider, in the answer and in the log, and nothing else of the
//! request's target: no query, and no segment that may be a key.

use super::message_of;
use crate::harness::{Ask, KEY, Keyside, Message, expect, field};
use serde_json::Value;

/// The log line of this refusal.
fn log_line(keyside: &Keyside, answer: &Message) -> Value {
    let id = answer.header("x-keyside-request-id").expect("an id");
    keyside.log_line(|line| {
        field(line, "message").as_deref() == Some("refused")
            && field(line, "request_id").as_deref() == Some(id)
    })
}

/// Expects a refusal whose answer and log line hold `said`.
fn check(keyside: &Keyside, ask: &Ask, said: &[&str]) -> String {
    let answer = keyside.ask(ask);
    assert!([400, 403].contains(&answer.status()), "{}", answer.text());
    let message = message_of(&answer);
    let line = log_line(keyside, &answer).to_string();
    for said in said {
        assert!(message.contains(said), "no {said} in {message}");
        assert!(line.contains(said), "no {said} in {line}");
    }
    format!("{}\n{line}", answer.text())
}

#[test]
fn method_and_path_are_in_the_answer_and_in_the_log() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    for (ask, said) in [
        (Ask::post("/anthropic/messages"), "POST /messages"),
        (Ask::post("/w/acme/anthropic/messages"), "POST /messages"),
        (
            Ask::get("/openai/v1/organization/users"),
            "GET /v1/organization/users",
        ),
        (
            Ask::new("DELETE", "/openai/v1/chat/completions").workspace("acme"),
            "DELETE /v1/chat/completions",
        ),
    ] {
        check(&keyside, &ask, &[said]);
    }
}

#[test]
fn a_host_that_is_not_ours_is_in_the_answer_and_in_the_log() {
    let keyside = Keyside::builder().start();
    let ask = Ask::chat().set("Host", "keyside.example:7380");
    check(
        &keyside,
        &ask,
        &["keyside.example", "POST /v1/chat/completions"],
    );
}

#[test]
fn a_query_is_nowhere() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    for target in [
        "/anthropic/messages?beta=canary-of-the-query",
        "/v1/messages?beta=canary-of-the-query",
        "/gemini/models/m:generateContent?key=canary-of-the-query&alt=sse",
        "/openai/v1/files?purpose=canary-of-the-query",
    ] {
        let all = check(&keyside, &Ask::post(target), &[]);
        assert!(!all.contains("canary-of-the-query"), "{all}");
    }
    assert!(!keyside.logs().contains("canary-of-the-query"));
}

#[test]
fn a_segment_that_may_be_a_key_is_masked() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    let masked = |target: &str| {
        let target = target.replace("{key}", KEY);
        let answer = keyside.ask(&Ask::post(&target));
        expect::keyless(&target, &answer);
        check(&keyside, &Ask::post(&target), &[])
    };
    let all = masked("/openai/{key}/v1/chat/completions");
    assert!(all.contains("POST /…/v1/chat/completions"), "{all}");
    for target in [
        "/openai/v1/{key}/chat/completions",
        "/openai/v1/chat/completions/{key}",
        "/openai/v1/nothing/{key}/",
        "/{key}/v1/chat/completions",
        "/w/{key}/openai/v1/chat/completions",
        "/w/acme/{key}/v1/chat/completions",
    ] {
        let all = masked(target);
        assert!(!all.contains(KEY), "{target}: {all}");
    }
    assert!(!keyside.logs().contains(KEY));
}
