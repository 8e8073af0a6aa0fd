//! Receivers are told what happens to keys: signed, again if they were down, and never with a secret.

use crate::harness::egress::EgressProxy;
use crate::harness::tls::{Authority, VALID};
use crate::harness::{
    Ask, Builder, CREDENTIALS, KEY, Keyside, Seen, Then, Upstream, eventually, field, reply,
};
use crate::refusals::from_now;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

const NEXT_KEY: &str = "sk-proj-canaryOfTheRotatedKey0123456789abcdef";
/// The file, and the bytes that sign.
const SECRET: &str = "whsec_Y2FuYXJ5IG9mIGEgd2ViaG9vaydzIHNlY3JldA==";
const SIGNING_KEY: &[u8] = b"canary of a webhook's secret";

/// Settings with a webhook of these further lines, whose secret file contains `secret`.
fn with_webhook(builder: Builder, secret: &str, lines: &str) -> Builder {
    let file = builder.home().join("webhook-secret");
    fs::write(&file, secret).expect("a writable folder");
    builder.config(&format!("[[webhook]]\nsecret_file = {file:?}\n{lines}"))
}

fn standard(receiver: &Upstream, lines: &str) -> Builder {
    let url = format!("{}/hooks/keyside/", receiver.base_url());
    let lines = format!("url = {url:?}\n{lines}");
    with_webhook(Keyside::builder(), SECRET, &lines)
}

/// Receives everything.
fn receiver() -> Upstream {
    Upstream::answering(|_| reply(200, "", b"thanks"))
}

fn deliveries(webhook: &str, outcome: &str, count: u64) -> String {
    format!(
        "keyside_webhook_deliveries_total{{outcome=\"{outcome}\",webhook=\"{webhook}\"}} {count}\n"
    )
}

fn expect_metric(keyside: &Keyside, line: &str) {
    eventually(line, || keyside.metrics().contains(line).then_some(()));
}

/// Verifies a delivery as a receiver does, and returns its payload.
fn verified(delivery: &Seen) -> Value {
    assert_eq!(delivery.method(), "POST");
    assert_eq!(delivery.target(), "/hooks/keyside/");
    assert_eq!(delivery.header("content-type"), Some("application/json"));
    let header = |name| delivery.header(name).expect("a header of the signature");
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let mut hmac = Hmac::<Sha256>::new_from_slice(SIGNING_KEY).expect("any length");
    hmac.update(format!("{id}.{timestamp}.{}", delivery.text()).as_bytes());
    let expected = BASE64_STANDARD.encode(hmac.finalize().into_bytes());
    assert_eq!(header("webhook-signature"), format!("v1,{expected}"));
    assert_silent("the delivery", &delivery.raw);
    delivery.json()
}

/// No secret of this test is in it.
fn assert_silent(name: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let encoded = SECRET.trim_start_matches("whsec_");
    for secret in [KEY, NEXT_KEY, encoded, "canary"] {
        assert!(!text.contains(secret), "{name} has {secret}: {text}");
    }
}

fn type_of(delivery: &Seen) -> String {
    delivery.json()["type"].as_str().expect("a type").to_owned()
}

#[test]
fn a_rotation_is_one_signed_delivery_without_a_secret() {
    let receiver = receiver();
    let events = r#"events = ["credential.rotated"]"#;
    let keyside = standard(&receiver, events).start().with_key();
    let added = keyside.list().remove(0);
    keyside.rotate(&added, NEXT_KEY);
    receiver.wait_for(1);
    expect_metric(&keyside, &deliveries("1", "delivered", 1));
    let payload = verified(&receiver.only());
    assert_eq!(payload["type"], "credential.rotated");
    let at = payload["timestamp"].as_str().expect("a time");
    assert!(at.ends_with('Z'), "{at}");
    let expected = json!({
        "workspaceId": "acme", "provider": "openai", "credentialId": added["id"],
        "version": 2, "label": "default", "environment": "live",
    });
    assert_eq!(payload["data"], expected);
    for outcome in ["failed", "dropped"] {
        expect_metric(&keyside, &deliveries("1", outcome, 0));
    }
    let (_, exit) = keyside.stop();
    assert_silent("the log", exit.stderr.as_bytes());
}

#[test]
fn a_receiver_that_was_down_gets_the_same_event_later() {
    let count = AtomicUsize::new(0);
    let receiver = Upstream::answering(move |_| {
        let is_down = count.fetch_add(1, Ordering::SeqCst) == 0;
        reply(if is_down { 503 } else { 200 }, "", b"")
    });
    let lines = "name = \"audit\"\nevents = [\"credential.created\"]";
    let keyside = standard(&receiver, lines).start().with_key();
    let line = keyside
        .log_line(|line| field(line, "message").as_deref() == Some("a webhook will be retried"));
    assert_eq!(field(&line, "webhook").as_deref(), Some("audit"));
    let reason = field(&line, "reason").expect("a reason");
    assert_eq!(reason, "127.0.0.1 answered 503");
    let attempts = receiver.wait_for(2);
    let [first, second] = [&attempts[0], &attempts[1]].map(verified);
    assert_eq!(first, second);
    let id = |attempt: &Seen| attempt.header("webhook-id").map(str::to_owned);
    assert_eq!(id(&attempts[0]), id(&attempts[1]));
    expect_metric(&keyside, &deliveries("audit", "delivered", 1));
    expect_metric(&keyside, &deliveries("audit", "failed", 0));
}

#[test]
fn deliveries_that_wait_for_their_next_attempt_hold_up_no_other() {
    let receiver = Upstream::answering(|seen| {
        let is_rotation = type_of(seen) == "credential.rotated";
        // Longer than the test waits.
        let (status, headers) = match is_rotation {
            true => (200, ""),
            false => (503, "Retry-After: 600\r\n"),
        };
        reply(status, headers, b"")
    });
    let events = r#"events = ["credential.created", "credential.rotated"]"#;
    let keyside = standard(&receiver, events).start().with_key();
    for number in 0..5 {
        keyside.add(json!({
            "workspaceId": "acme", "provider": "openai", "label": format!("further {number}"),
            "secret": format!("{KEY}{number}"),
        }));
    }
    receiver.wait_for(6);
    let added = keyside.list().remove(0);
    keyside.rotate(&added, NEXT_KEY);
    expect_metric(&keyside, &deliveries("1", "delivered", 1));
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = receiver();
    let location = format!("Location: {}/\r\n", elsewhere.base_url());
    let receiver = Upstream::answering(move |_| reply(307, &location, b""));
    let keyside = standard(&receiver, "").start().with_key();
    let line = keyside
        .log_line(|line| field(line, "message").as_deref() == Some("a webhook was not delivered"));
    let reason = field(&line, "reason").expect("a reason");
    assert_eq!(reason, "127.0.0.1 answered 307");
    assert!(!line.to_string().contains("/hooks"), "{line}");
    expect_metric(&keyside, &deliveries("1", "failed", 1));
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_receiver_learns_what_a_provider_does_and_what_ends_soon() {
    let receiver = receiver();
    let echo = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}."}}}}"#);
    let provider = Upstream::answering(move |_| {
        reply(401, "Content-Type: application/json\r\n", echo.as_bytes())
    });
    let events = r#"events = ["credential.rejected", "check.failed", "credential.expiring"]"#;
    let builder = standard(&receiver, events).provider("openai", &provider.base_url());
    let keyside = builder.start().with_key();
    for _ in 0..2 {
        assert_eq!(keyside.ask(&Ask::chat()).status(), 401);
    }
    let deliveries = receiver.wait_for(1);
    let rejected = verified(&deliveries[0]);
    assert_eq!(rejected["type"], "credential.rejected");
    assert_eq!(rejected["data"]["cause"], "wrong_key");
    let path = format!(
        "{CREDENTIALS}/{}",
        keyside.list()[0]["id"].as_str().expect("an id")
    );
    for _ in 0..2 {
        keyside.admin("POST", &format!("{path}/verify"), None);
    }
    let failed = verified(&receiver.wait_for(2)[1]);
    assert_eq!(failed["type"], "check.failed");
    assert_eq!(failed["data"]["cause"], "wrong_key");
    let end = from_now(86_400);
    let edited = keyside.admin("PATCH", &path, Some(&json!({ "expiresAt": end })));
    assert_eq!(edited.status(), 200, "{}", edited.text());
    let expiring = verified(&receiver.wait_for(3)[2]);
    assert_eq!(expiring["type"], "credential.expiring");
    let told = expiring["data"]["expiresAt"].as_str().expect("a time");
    let second = "2026-01-01T00:00:00".len();
    assert_eq!(told[..second], end[..second]);
    let (builder, _) = keyside.stop();
    // After a restart nothing is told again: the next delivery is about something else.
    let keyside = builder.start();
    let other = keyside.add(json!({
        "workspaceId": "acme", "provider": "openai", "label": "soon",
        "secret": NEXT_KEY, "expiresAt": from_now(3_600),
    }));
    let next = verified(&receiver.wait_for(4)[3]);
    assert_eq!(next["type"], "credential.expiring");
    assert_eq!(next["data"]["credentialId"], other["id"]);
}

#[test]
fn a_stop_delivers_what_has_just_happened() {
    let receiver = receiver();
    let keyside = standard(&receiver, "").start().with_key();
    let added = keyside.list().remove(0);
    keyside.revoke(&added);
    keyside.stop();
    let types: Vec<_> = receiver.requests().iter().map(type_of).collect();
    assert_eq!(types.len(), 2, "{types:?}");
    for wanted in ["credential.created", "credential.revoked"] {
        assert!(types.iter().any(|it| it == wanted), "{types:?}");
    }
}

#[test]
fn github_and_slack_are_told_in_their_own_form() {
    let github = receiver();
    let url = format!("{}/repos/acme/app/dispatches", github.base_url());
    let lines = format!("format = \"github-dispatch\"\nurl = {url:?}");
    let keyside = with_webhook(Keyside::builder(), "ghp_canary\n", &lines).start();
    let keyside = keyside.with_key();
    let dispatch = github.wait_for(1).remove(0);
    assert_eq!(dispatch.target(), "/repos/acme/app/dispatches");
    let authorization = dispatch.header("authorization");
    assert_eq!(authorization, Some("Bearer ghp_canary"));
    let body = dispatch.json();
    assert_eq!(body["event_type"], "credential-changed");
    assert_eq!(body["client_payload"]["type"], "credential.created");
    assert_eq!(body["client_payload"]["data"]["provider"], "openai");
    assert_silent("the body", dispatch.text().as_bytes());
    let (_, exit) = keyside.stop();
    assert_silent("the log", exit.stderr.as_bytes());

    let slack = receiver();
    let url = format!("{}/services/T0/B0/canary", slack.base_url());
    let lines = r#"format = "slack""#;
    let keyside = with_webhook(Keyside::builder(), &url, lines).start();
    let keyside = keyside.with_key();
    let post = slack.wait_for(1).remove(0);
    assert_eq!(post.target(), "/services/T0/B0/canary");
    let text = "Keyside: credential.created: acme/openai/default (live)";
    assert_eq!(post.json(), json!({ "text": text }));
    let (_, exit) = keyside.stop();
    assert_silent("the log", exit.stderr.as_bytes());
}

#[test]
fn a_receiver_is_reached_through_the_egress_proxy_with_verified_tls() {
    let authority = Authority::new();
    let receiver = authority.issue(&["hooks.test"], VALID).upstream(|_, line| {
        line.write(reply(200, "", b""));
        Then::Keep
    });
    let proxy = EgressProxy::http(&receiver);
    let url = format!("{}/hooks/keyside/", receiver.url_for("hooks.test"));
    let builder = Keyside::builder();
    let file = authority.file_in(builder.home());
    let builder = builder
        .set("egress.ca_file", &format!("{file:?}"))
        .set("egress.proxy", &format!("{:?}", proxy.url()));
    let lines = format!("url = {url:?}");
    let _keyside = with_webhook(builder, SECRET, &lines).start().with_key();
    verified(&receiver.wait_for(1)[0]);
    let target = format!("hooks.test:{}", receiver.address().port());
    assert_eq!(proxy.targets(), [target]);
}

#[test]
fn a_webhook_that_cannot_work_is_refused_before_the_start() {
    let url = "url = \"https://hooks.example/\"";
    let private = "url = \"https://10.0.0.1/\"";
    let plain = "url = \"http://hooks.example/\"";
    for (secret, lines, reason) in [
        ("canary", url, "openssl rand -base64 32"),
        (SECRET, private, "allow_private = true"),
        (SECRET, plain, "use https://"),
    ] {
        let builder = with_webhook(Keyside::builder(), secret, lines);
        for command in ["check", "serve"] {
            let exit = builder.run(&[command], b"");
            assert_eq!(exit.code, Some(78), "{command}: {exit:#?}");
            assert!(exit.stderr.contains(reason), "{command}: {}", exit.stderr);
            assert_silent(command, exit.stderr.as_bytes());
        }
    }
    let proxied = Keyside::builder().set("egress.proxy", "\"http://127.0.0.1:1\"");
    let exit = with_webhook(proxied, SECRET, private).run(&["check"], b"");
    assert_eq!(
        exit.code,
        Some(78),
        "an egress proxy changes nothing: {exit:#?}"
    );
    let lines = format!("{private}\nallow_private = true");
    let builder = with_webhook(Keyside::builder(), SECRET, &lines);
    let exit = builder.run(&["check"], b"");
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}
