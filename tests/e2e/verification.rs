//! Keyside checks a key with its provider: on the same path as every request, with the cheapest
//! request.

use crate::harness::{CREDENTIALS, KEY, Keyside, Message, Upstream, eventually, expect, reply};
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
        ("openai", 302, "", "inconclusive"),
        (
            "openai",
            429,
            r#"{"error":{"code":"insufficient_quota"}}"#,
            "rejected",
        ),
        ("anthropic", 403, "{}", "rejected"),
        ("cohere", 200, r#"{"valid": true}"#, "accepted"),
        ("cohere", 200, "{\n  \"valid\" : false\n}", "rejected"),
        ("deepseek", 200, r#"{"is_available":false}"#, "rejected"),
        (
            "gemini",
            400,
            r#"{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}"#,
            "rejected",
        ),
        ("gemini", 400, r#"{"error":{"code":400}}"#, "inconclusive"),
        (
            "gemini",
            403,
            r#"{"error":{"details":[{"reason":"API_KEY_SERVICE_BLOCKED"}]}}"#,
            "rejected",
        ),
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
    let run = eventually("the check is recorded", || {
        let runs = keyside.admin("GET", "/api/runs?kind=check", None).json();
        let run = &runs["items"][0];
        run.is_object().then(|| run.clone())
    });
    for (name, expected) in [
        ("credentialId", json!(id)),
        ("version", json!(1)),
        ("status", json!(200)),
        ("outcome", json!("ok")),
        ("inputTokens", Value::Null),
    ] {
        assert_eq!(run.get(name), Some(&expected), "{name} in {run}");
    }
    let traffic = keyside.admin("GET", "/api/runs?kind=traffic", None).json();
    assert_eq!(traffic["items"], json!([]), "nobody's request");
    assert_eq!(keyside.list()[0]["lastUsedAt"], Value::Null, "not a use");
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
    assert_eq!(
        record["note"],
        "rejected, the provider responded with 401: wrong_key"
    );
    assert_eq!(view["check"]["cause"], "wrong_key");
    let again = verify(&keyside, &id).json();
    assert_eq!(again["verification"], "rejected");
    let audit = keyside.admin("GET", "/api/audit?event=credential_verified", None);
    let recorded = audit.json()["items"].as_array().map(Vec::len);
    assert_eq!(recorded, Some(1), "the verdict is the same");
    assert_eq!(record["fingerprint"], view["fingerprint"]);
    assert!(!keyside.logs().contains(KEY), "logged");
}

#[test]
fn an_unreachable_provider_is_reported_and_the_key_stays_active() {
    let (keyside, id) = with_key_for("openai", "http://127.0.0.1:1");
    let view = verify(&keyside, &id).json();
    assert_eq!(view["verification"], "unreachable");
    assert_eq!(view["check"]["cause"], "connection_failed", "{view}");
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
        let body = json!({ "secret": next, "check": "required", "graceSeconds": 0 });
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

/// A provider that repeats every key in its refusal, and answers a prompt to one key.
fn echoing(good: &'static str) -> Upstream {
    Upstream::answering(move |seen| {
        let sent = seen.header("authorization").unwrap_or_default().to_owned();
        match sent == format!("Bearer {good}") {
            true if seen.start.contains("/chat/completions") => {
                let usage = r#"{"usage":{"prompt_tokens":8,"completion_tokens":1}}"#;
                let json = "Content-Type: application/json\r\n";
                reply(200, json, usage.as_bytes())
            }
            true => reply(200, "", b"{}"),
            false => {
                let echo = json!({ "error": { "code": "invalid_api_key", "message": sent } });
                reply(401, "", echo.to_string().as_bytes())
            }
        }
    })
}

/// What nobody may see of a key that was refused.
const REFUSED: &str = "sk-proj-CanaryThatIsRefused0123456789abcdefghijklmnopqrstuvwxyz";

#[test]
fn a_key_that_the_provider_refuses_is_not_stored_where_a_check_is_required() {
    let upstream = echoing(KEY);
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .start();
    keyside.workspace("acme");
    let create = |secret: &str, check: &str| {
        let body = json!({
            "workspaceId": "acme", "provider": "openai", "label": check, "secret": secret, "check": check,
        });
        let answer = keyside.admin("POST", CREDENTIALS, Some(&body));
        assert!(!answer.text().contains(REFUSED), "{}", answer.text());
        expect::keyless("create", &answer);
        answer
    };
    let refused = create(REFUSED, "required");
    assert_eq!(refused.status(), 422, "{}", refused.text());
    assert_eq!(refused.json()["check"]["cause"], "wrong_key");
    assert_eq!(keyside.list(), [] as [Value; 0]);
    let tried = create(REFUSED, "try");
    assert_eq!(tried.status(), 201, "{}", tried.text());
    assert_eq!(tried.json()["check"]["verdict"], "rejected");
    let skipped = create(REFUSED, "skip");
    assert_eq!(skipped.json()["check"], Value::Null);
    assert_eq!(
        upstream.requests().len(),
        2,
        "not asked where it is skipped"
    );
    let accepted = create(KEY, "required");
    assert_eq!(accepted.status(), 201, "{}", accepted.text());
    assert_eq!(accepted.json()["check"]["verdict"], "accepted");
    for path in ["/api/audit", "/api/runs", CREDENTIALS] {
        let shown = keyside.admin("GET", path, None);
        assert!(!shown.text().contains(REFUSED), "{path}: {}", shown.text());
        expect::keyless(path, &shown);
    }
    assert!(!keyside.logs().contains(REFUSED), "logged");
    assert!(!keyside.logs().contains(KEY), "logged");
}

#[test]
fn a_prompt_is_metered_and_takes_the_provider_s_cheap_model() {
    let upstream = echoing(KEY);
    let (keyside, id) = with_key_for("openai", &upstream.base_url());
    let path = format!("{CREDENTIALS}/{id}/verify");
    let prompted = keyside.admin("POST", &path, Some(&json!({ "prompt": true })));
    expect::keyless("verify", &prompted);
    let check = prompted.json()["check"].clone();
    assert_eq!(check["verdict"], "accepted", "{check}");
    assert_eq!(check["usage"]["inputTokens"], 8, "{check}");
    assert_eq!(check["usage"]["outputTokens"], 1, "{check}");
    assert!(check["latencyMs"].is_u64(), "{check}");
    let seen = upstream.requests().pop().expect("a request");
    assert_eq!(seen.start, "POST /v1/chat/completions HTTP/1.1");
    assert!(seen.text().contains("\"max_completion_tokens\":16"));
    assert_eq!(verify(&keyside, &id).json()["check"]["usage"], Value::Null);
}

#[test]
fn the_last_result_is_there_after_a_restart() {
    let upstream = Upstream::answering(|_| reply(429, "", b"{}"));
    let (keyside, id) = with_key_for("openai", &upstream.base_url());
    let verified = verify(&keyside, &id).json();
    assert_eq!(verified["check"]["cause"], "rate_limited");
    let keyside = keyside.stop().0.start();
    let shown = keyside.admin("GET", &format!("{CREDENTIALS}/{id}"), None);
    assert_eq!(shown.json()["check"], verified["check"]);
}

#[test]
fn the_command_line_tries_a_key_and_says_what_to_do() {
    let upstream = echoing(KEY);
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .start();
    keyside.workspace("acme");
    let run = |arguments: &[&str], secret: &str| {
        let exit = keyside.cli().run(arguments, secret.as_bytes());
        for said in [&exit.stdout, &exit.stderr] {
            assert!(!said.contains(REFUSED) && !said.contains(KEY), "{exit:#?}");
        }
        exit
    };
    let add = ["key", "add", "-w", "acme", "-p", "openai", "--stdin", "-l"];
    let required = run(&[&add[..], &["a", "--check", "required"]].concat(), REFUSED);
    assert_eq!(required.code, Some(1), "{required:#?}");
    assert!(
        required.stderr.contains("does not know the key"),
        "{required:#?}"
    );
    assert!(
        required
            .stderr
            .contains("https://platform.openai.com/api-keys")
    );
    let tried = run(&[&add[..], &["b"]].concat(), REFUSED);
    assert_eq!(tried.code, Some(0), "{tried:#?}");
    assert!(tried.stderr.contains("warning: rejected"), "{tried:#?}");
    let good = run(&[&add[..], &["c", "--prompt"]].concat(), KEY);
    assert_eq!(good.code, Some(0), "{good:#?}");
    assert!(good.stdout.contains("input tokens: 8"), "{good:#?}");
    let keys = keyside.list();
    let of = |label: &str| {
        let key = keys.iter().find(|key| key["label"] == label);
        key.expect("listed")["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    assert_eq!(keys.len(), 2, "{keys:?}");
    let verified = run(&["key", "verify", &of("b")], "");
    assert_eq!(verified.code, Some(1), "{verified:#?}");
    let said = format!("error: Rejected {}: openai key", of("b"));
    assert!(verified.stderr.contains(&said), "{verified:#?}");
    let verified = run(&["key", "verify", &of("c"), "--prompt"], "");
    assert_eq!(verified.code, Some(0), "{verified:#?}");
    assert!(
        verified.stdout.contains("output tokens: 1"),
        "{verified:#?}"
    );
    let good = of("c");
    let rotate = ["key", "rotate", &good, "--stdin", "--check", "required"];
    let rotated = run(&rotate, REFUSED);
    assert_eq!(rotated.code, Some(1), "{rotated:#?}");
    let shown = run(&["key", "show", &of("c")], "");
    assert!(shown.stdout.contains("accepted"), "{shown:#?}");
}
