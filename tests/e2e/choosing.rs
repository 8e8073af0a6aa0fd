//! Which workspace a request is for, and which of its keys it gets: decided the same way every time.

use crate::harness::{Ask, Keyside, Message, Upstream, expect, holds};
use serde_json::json;

const LIVE: &str = "sk-proj-live-one-0123456789abcdefghij";
const SECOND: &str = "sk-proj-live-two-0123456789abcdefghij";
const SANDBOX: &str = "sk-proj-sandbox-0123456789abcdefghij";

/// Checks which key left for the last request, and that the answer names it.
fn check(name: &str, upstream: &Upstream, answer: &Message, label: &str, secret: &str) {
    assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
    assert_eq!(
        answer.header("x-keyside-credential-label"),
        Some(label),
        "{name}"
    );
    let last = upstream.requests().pop().expect("a request");
    assert_eq!(
        last.headers_named("authorization"),
        [format!("Bearer {secret}")],
        "{name}"
    );
}

fn add(keyside: &Keyside, label: &str, environment: &str, secret: &str, default: bool) {
    let added = keyside.add(json!({
        "workspaceId": "acme", "provider": "openai", "label": label, "secret": secret,
        "environment": environment, "default": default,
    }));
    assert_eq!(added["label"], label);
    assert!(
        !added.to_string().contains(secret),
        "a secret is write-only"
    );
}

#[test]
fn the_tag_may_stand_in_the_header_the_path_or_a_header_of_one_s_own() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.tag_headers", r#"["X-Tenant", "X-Team"]"#)
        .start()
        .with_key();
    let untagged = || Ask::chat().without("X-Keyside-Workspace");
    let in_path = Ask::post("/w/acme/openai/v1/chat/completions");
    let cases = [
        ("the header", Ask::chat()),
        ("the path", in_path.clone().without("X-Keyside-Workspace")),
        ("both, agreeing", in_path),
        (
            "the first header of one's own",
            untagged().header("X-Tenant", "acme"),
        ),
        (
            "the second header of one's own",
            untagged().header("x-team", "acme"),
        ),
        (
            "all of them, agreeing",
            Ask::chat()
                .header("X-Tenant", "acme")
                .header("X-Team", "acme"),
        ),
    ];
    for (name, ask) in cases {
        assert_eq!(keyside.ask(&ask).status(), 200, "{name}");
    }
    let disagreeing = Ask::chat().header("X-Tenant", "other");
    expect::refused(
        "disagreeing",
        &keyside.ask(&disagreeing),
        400,
        "request_malformed",
    );
    expect::refused("none", &keyside.ask(&untagged()), 400, "workspace_missing");
    assert_eq!(upstream.requests().len(), 6);
    assert!(!holds(&upstream.bytes(), "X-Team") && !holds(&upstream.bytes(), "x-team"));
}

#[test]
fn the_first_key_is_the_default_until_another_says_so() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .start();
    keyside.workspace("acme");
    add(&keyside, "one", "live", LIVE, false);
    check(
        "the only one",
        &upstream,
        &keyside.ask(&Ask::chat()),
        "one",
        LIVE,
    );
    add(&keyside, "two", "live", SECOND, false);
    check(
        "still the first",
        &upstream,
        &keyside.ask(&Ask::chat()),
        "one",
        LIVE,
    );
    let by_label = Ask::chat().header("X-Keyside-Label", "two");
    check(
        "by its label",
        &upstream,
        &keyside.ask(&by_label),
        "two",
        SECOND,
    );
    let defaults = keyside
        .list()
        .iter()
        .filter(|view| view["isDefault"] == true)
        .count();
    assert_eq!(defaults, 1);
}

#[test]
fn a_key_saved_as_default_takes_over_at_once() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .start();
    keyside.workspace("acme");
    add(&keyside, "one", "live", LIVE, false);
    let mut wire = keyside.wire();
    check("before", &upstream, &wire.ask(&Ask::chat()), "one", LIVE);
    add(&keyside, "two", "live", SECOND, true);
    check(
        "after, on the same connection",
        &upstream,
        &wire.ask(&Ask::chat()),
        "two",
        SECOND,
    );
    let keyside = keyside.kill9().start();
    check(
        "after a restart",
        &upstream,
        &keyside.ask(&Ask::chat()),
        "two",
        SECOND,
    );
}

#[test]
fn without_a_wish_live_goes_before_sandbox() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .start();
    keyside.workspace("acme");
    add(&keyside, "ci", "sandbox", SANDBOX, false);
    check(
        "sandbox only",
        &upstream,
        &keyside.ask(&Ask::chat()),
        "ci",
        SANDBOX,
    );
    add(&keyside, "prod", "live", LIVE, false);
    check("both", &upstream, &keyside.ask(&Ask::chat()), "prod", LIVE);
    let sandbox = Ask::chat().header("X-Keyside-Environment", "sandbox");
    check(
        "sandbox wished for",
        &upstream,
        &keyside.ask(&sandbox),
        "ci",
        SANDBOX,
    );
    let wrong = sandbox.header("X-Keyside-Label", "prod");
    let answer = keyside.ask(&wrong);
    assert!(
        [403, 404].contains(&answer.status()),
        "a label of the other: {}",
        answer.text()
    );
}

#[test]
fn a_label_is_unique_within_workspace_and_provider() {
    let keyside = Keyside::builder().start().with_key();
    let again = json!({
        "workspaceId": "acme", "provider": "openai", "label": "default", "secret": LIVE,
    });
    let answer = keyside.try_add(&again);
    assert_eq!(answer.status(), 409, "{}", answer.text());
    assert!(!answer.holds(LIVE));
    let mut elsewhere = again;
    elsewhere["provider"] = "anthropic".into();
    keyside.add(elsewhere);
    assert_eq!(keyside.list().len(), 2);
}
