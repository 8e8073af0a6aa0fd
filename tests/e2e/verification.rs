//! Keyside checks a key with its provider: on the same path as every request, with the cheapest
//! request.

use crate::harness::{CREDENTIALS, KEY, Keyside, Message, Upstream, expect, reply};
use serde_json::{Value, json};
use std::sync::Mutex;

/// One with a key for `provider`, which is at `base_url`.
fn with_key_for(provider: &str, base_url: &str) -> (Keyside, String) {
    let keyside = Keyside::builder().provider(provider, base_url).start();
    keyside.workspace("acme");
    let added = keyside.add_key("acme", provider, "default", KEY);
    let id = added["id"].as_str().expect("an id").to_owned();
    (keyside, id)
}

fn verify(keyside: &Keyside, id: &str) -> Message {
    let answer = keyside.admin("POST", &format!("{CREDENTIALS}/{id}/verify"), None);
    expect::keyless("verify", &answer);
    answer
}

#[test]
fn each_response_of_a_provider_is_interpreted_correctly() {
    let cases = [
        ("openai", 200, "{}", "accepted"),
        ("openai", 401, "{}", "rejected"),
        ("openai", 403, "{}", "limited"),
        ("openai", 429, "{}", "limited"),
        ("openai", 500, "{}", "unreachable"),
        ("openai", 302, "", "unreachable"),
        ("anthropic", 403, "{}", "rejected"),
        ("cohere", 200, r#"{"valid": true}"#, "accepted"),
        ("cohere", 200, "{\n  \"valid\" : false\n}", "rejected"),
        ("deepseek", 200, r#"{"is_available":false}"#, "limited"),
        (
            "gemini",
            400,
            r#"{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}"#,
            "rejected",
        ),
        ("gemini", 400, r#"{"error":{"code":400}}"#, "unreachable"),
        (
            "bedrock",
            403,
            r#"{"message":"You don't have access to the model with the specified model ID."}"#,
            "limited",
        ),
        (
            "bedrock",
            403,
            r#"{"message":"The security token included in the request is invalid."}"#,
            "rejected",
        ),
    ];
    for (provider, status, body, verdict) in cases {
        let headers = "Location: http://127.0.0.1:1/elsewhere\r\n";
        let upstream = Upstream::answering(move |_| reply(status, headers, body.as_bytes()));
        let (keyside, id) = with_key_for(provider, &upstream.base_url());
        let name = format!("{provider} {status} {body}");
        let answer = verify(&keyside, &id);
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        assert_eq!(answer.json()["verification"], verdict, "{name}");
        assert_eq!(upstream.requests().len(), 1, "{name}: asked once");
    }
}

#[test]
fn a_live_check_sends_the_catalogue_s_request_with_only_the_key() {
    let upstream = Upstream::ok();
    let (keyside, id) = with_key_for("perplexity", &upstream.base_url());
    assert_eq!(verify(&keyside, &id).json()["verification"], "accepted");
    let seen = upstream.requests().pop().expect("a request");
    assert_eq!(seen.start, "POST /v1/responses HTTP/1.1");
    assert_eq!(
        seen.header("authorization"),
        Some(&*format!("Bearer {KEY}"))
    );
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert!(
        seen.text().contains("\"max_output_tokens\":16"),
        "{}",
        seen.text()
    );
    assert!(!seen.holds(&keyside.token()), "the asker's token");
    let runs = keyside.admin("GET", "/api/runs", None).json();
    assert_eq!(runs["items"], json!([]), "nobody's run");
}

#[test]
fn the_result_of_a_live_check_is_audited_without_the_key() {
    let echo = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}."}}}}"#);
    let upstream = Upstream::answering(move |_| reply(401, "", echo.as_bytes()));
    let (keyside, id) = with_key_for("openai", &upstream.base_url());
    let view = verify(&keyside, &id).json();
    assert!(view["lastVerifiedAt"].is_string(), "{view}");
    let audit = keyside.admin("GET", "/api/audit?event=credential_verified", None);
    expect::keyless("audit", &audit);
    let record = &audit.json()["items"][0];
    assert_eq!(record["note"], "rejected, the provider responded with 401");
    assert_eq!(record["fingerprint"], view["fingerprint"]);
    assert!(!keyside.logs().contains(KEY), "logged");
}

#[test]
fn an_unreachable_provider_is_reported_and_the_key_stays_active() {
    let (keyside, id) = with_key_for("openai", "http://127.0.0.1:1");
    let view = verify(&keyside, &id).json();
    assert_eq!(view["verification"], "unreachable");
    assert_eq!(view["lastVerifiedAt"], Value::Null);
    assert_eq!(view["status"], "active");
}

#[test]
fn a_checked_rotation_leaves_the_old_key_in_use_until_the_provider_takes_the_new_one() {
    let good = Mutex::new(vec![KEY.to_owned()]);
    let good: &'static Mutex<Vec<String>> = Box::leak(Box::new(good));
    let upstream = Upstream::answering(move |seen| {
        let sent = seen.header("authorization").unwrap_or_default();
        let known = good.lock().expect("the keys");
        let known = known.iter().any(|key| sent == format!("Bearer {key}"));
        reply(if known { 200 } else { 401 }, "", b"{}")
    });
    let (keyside, id) = with_key_for("openai", &upstream.base_url());
    let next = format!("{KEY}next");
    let rotate = || {
        let body = json!({ "secret": next, "check": true, "graceSeconds": 0 });
        keyside.admin("PATCH", &format!("{CREDENTIALS}/{id}"), Some(&body))
    };
    let refused = rotate();
    assert_eq!(refused.status(), 422, "{}", refused.text());
    assert_eq!(refused.json()["type"], "urn:keyside:problem:secret-refused");
    assert_eq!(verify(&keyside, &id).json()["verification"], "accepted");
    good.lock().expect("the keys").push(next.clone());
    let taken = rotate();
    assert_eq!(taken.status(), 200, "{}", taken.text());
    assert_eq!(taken.json()["verification"], "accepted");
    assert!(!keyside.logs().contains(KEY), "logged");
}
