//! A key that its provider rejects in traffic is reported everywhere, until it is accepted again or
//! rotated. Readiness never depends on it, and what the provider wrote is repeated nowhere.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use crate::harness::{
    Ask, CREDENTIALS, KEY, Keyside, Message, Upstream, eventually, expect, field, reply,
};
use serde_json::{Value, json};

const NEXT_KEY: &str = "sk-proj-canaryOfTheRotatedKey0123456789abcdef";
const NO_QUOTA: &str = r#"{"error":{"message":"You exceeded your current quota.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
const TOO_FAST: &str = r#"{"error":{"message":"Rate limit reached.","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;

/// A provider that answers every request as it was told last.
#[derive(Clone)]
struct Provider(Arc<Mutex<(u16, String)>>);

impl Provider {
    fn start() -> (Self, Upstream) {
        let provider = Self(Arc::new(Mutex::new((200, "{}".to_owned()))));
        let says = provider.clone();
        let upstream = Upstream::answering(move |_| {
            let (status, body) = says.0.lock().expect("no panic").clone();
            reply(
                status,
                "Content-Type: application/json\r\n",
                body.as_bytes(),
            )
        });
        (provider, upstream)
    }

    fn say(&self, status: u16, body: &str) {
        *self.0.lock().expect("no panic") = (status, body.to_owned());
    }
}

/// What the API says of the only key.
fn traffic(keyside: &Keyside) -> Value {
    keyside.list()[0]["traffic"].clone()
}

fn ask(keyside: &Keyside, status: u16) -> Message {
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.status(), status, "{}", answer.text());
    expect::keyless("the answer", &answer);
    answer
}

/// Waits until the key is rejected for this cause, by so many requests.
fn is_rejected(keyside: &Keyside, cause: &str, count: u64) -> Value {
    eventually(cause, || {
        let traffic = traffic(keyside);
        let is_as_wanted = traffic["state"] == "rejected"
            && traffic["cause"] == cause
            && traffic["count"] == count;
        is_as_wanted.then_some(traffic)
    })
}

fn ok() -> Value {
    json!({ "state": "ok", "since": null, "count": 0, "cause": null })
}

fn series(state: &str, count: u64) -> String {
    format!("keyside_credentials_traffic{{provider=\"openai\",state=\"{state}\"}} {count}\n")
}

/// The output of a command.
fn command(keyside: &Keyside, arguments: &[&str]) -> String {
    let exit = keyside.cli().run(arguments, b"");
    assert_eq!(exit.code, Some(0), "{arguments:?}: {exit:#?}");
    exit.stdout
}

#[test]
fn a_rejected_key_is_reported_everywhere_until_the_next_success() {
    let (provider, upstream) = Provider::start();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let metrics = keyside.metrics();
    for state in [series("ok", 1), series("rejected", 0)] {
        assert!(metrics.contains(&state), "no {state} in {metrics}");
    }
    // The provider repeats the key, which nobody else does.
    let echo = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}."}}}}"#);
    provider.say(401, &echo);
    ask(&keyside, 401);
    let first = is_rejected(&keyside, "wrong_key", 1);
    ask(&keyside, 401);
    let second = is_rejected(&keyside, "wrong_key", 2);
    assert_eq!(first["since"], second["since"]);
    assert_eq!(keyside.list()[0]["status"], "active");
    let metrics = keyside.metrics();
    for state in [series("ok", 0), series("rejected", 1)] {
        assert!(metrics.contains(&state), "no {state} in {metrics}");
    }
    let ready = keyside.observed("/readyz");
    assert_eq!(ready.status(), 200, "{}", ready.text());
    let line =
        "credential acme/openai/default: the provider rejects it in traffic (wrong_key) since ";
    assert!(ready.text().contains(line), "{}", ready.text());
    let count = "; requests rejected: 2\n";
    assert!(ready.text().contains(count), "{}", ready.text());
    let list = command(&keyside, &["key", "list"]);
    assert!(list.contains("active, rejected"), "{list}");
    let id = keyside.list()[0]["id"].as_str().expect("an id").to_owned();
    let shown = command(&keyside, &["key", "show", &id]);
    assert!(shown.contains("rejected (wrong_key) since "), "{shown}");
    let message =
        |text: &'static str| move |line: &Value| field(line, "message").as_deref() == Some(text);
    let line = keyside.log_line(message("the provider rejects a key in traffic"));
    assert_eq!(field(&line, "cause").as_deref(), Some("wrong_key"));
    // An error that is not about the key changes nothing, and neither does an outage.
    for (status, body) in [
        (429, TOO_FAST),
        (403, "{}"),
        (500, "{}"),
        (404, "{}"),
        (400, "{}"),
    ] {
        provider.say(status, body);
        let answer = ask(&keyside, status);
        let run = answer.header("x-keyside-request-id").expect("an id");
        eventually("the run is recorded", || {
            let path = format!("/api/runs?requestId={run}");
            let runs = keyside.admin("GET", &path, None).json();
            runs["items"].get(0).is_some().then_some(())
        });
        assert_eq!(traffic(&keyside), second, "{status}");
    }
    provider.say(200, "{}");
    ask(&keyside, 200);
    assert_eq!(traffic(&keyside), ok());
    assert!(!keyside.observed("/readyz").text().contains("rejects"));
    keyside.log_line(message("the provider accepts a key again"));
    let logs = keyside.logs();
    assert_eq!(
        logs.matches("the provider rejects a key in traffic")
            .count(),
        1
    );
    assert!(!logs.contains(KEY), "logged");
}

#[test]
fn each_cause_is_one_of_our_own_words() {
    let (provider, upstream) = Provider::start();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for (status, body, cause) in [
        (
            402,
            r#"{"error":{"message":"Insufficient Balance"}}"#,
            "no_funds",
        ),
        (429, NO_QUOTA, "no_funds"),
        (
            401,
            r#"{"error":{"code":"account_deactivated"}}"#,
            "revoked",
        ),
        (401, r#"{"error":{"code":"invalid_api_key"}}"#, "wrong_key"),
        (
            400,
            r#"{"error":{"code":"billing_hard_limit_reached"}}"#,
            "quota",
        ),
    ] {
        provider.say(status, body);
        ask(&keyside, status);
        is_rejected(&keyside, cause, 1);
        provider.say(200, "{}");
        ask(&keyside, 200);
        assert_eq!(traffic(&keyside), ok(), "{cause}");
    }
}

#[test]
fn a_restart_keeps_a_rejection_and_a_rotation_ends_it() {
    let (provider, upstream) = Provider::start();
    let keyside = Keyside::with_openai(&upstream.base_url());
    provider.say(401, "{}");
    ask(&keyside, 401);
    let before = is_rejected(&keyside, "wrong_key", 1);
    let (builder, _) = keyside.stop();
    let keyside = builder.start();
    assert_eq!(traffic(&keyside), before);
    let credential = keyside.list()[0].clone();
    let path = format!(
        "{CREDENTIALS}/{}",
        credential["id"].as_str().expect("an id")
    );
    let edit = json!({ "usageTag": "ci" });
    assert_eq!(keyside.admin("PATCH", &path, Some(&edit)).status(), 200);
    assert_eq!(traffic(&keyside), before, "an edit does not end it");
    keyside.rotate(&credential, NEXT_KEY);
    assert_eq!(traffic(&keyside), ok());
    let metrics = keyside.metrics();
    assert!(metrics.contains(&series("rejected", 0)), "{metrics}");
    // The new key is no better.
    ask(&keyside, 401);
    is_rejected(&keyside, "wrong_key", 1);
}

#[test]
fn a_sidecar_reports_a_rejected_key_too() {
    let (provider, upstream) = Provider::start();
    let builder = Keyside::sidecar()
        .provider("openai", &upstream.base_url())
        .declare("acme", "openai", "main", "key");
    fs::write(builder.home().join("key"), KEY).expect("a writable folder");
    let keyside = builder.start();
    provider.say(402, "{}");
    ask(&keyside, 402);
    eventually("it is reported", || {
        let metrics = keyside.metrics();
        metrics.contains(&series("rejected", 1)).then_some(())
    });
    let ready = keyside.observed("/readyz");
    assert_eq!(ready.status(), 200, "{}", ready.text());
    let line = "credential acme/openai/main: the provider rejects it in traffic (no_funds) since ";
    assert!(ready.text().contains(line), "{}", ready.text());
    provider.say(200, "{}");
    ask(&keyside, 200);
    let metrics = keyside.metrics();
    assert!(metrics.contains(&series("ok", 1)), "{metrics}");
}
