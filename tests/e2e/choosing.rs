//! Which workspace a request is for, and which of its keys is used.

use crate::harness::{Ask, Keyside, Message, Upstream, expect, holds};
use serde_json::json;

const LIVE: &str = "sk-proj-live-one-0123456789abcdefghij";
const SECOND: &str = "sk-proj-live-two-0123456789abcdefghij";
const SANDBOX: &str = "sk-proj-sandbox-0123456789abcdefghij";

/// Keyside with workspace `acme`, which has no key yet, and the OpenAI that it calls.
struct Acme {
    upstream: Upstream,
    keyside: Keyside,
}

impl Acme {
    fn without_keys() -> Self {
        let upstream = Upstream::ok();
        let keyside = Keyside::builder()
            .provider("openai", &upstream.base_url())
            .start();
        keyside.workspace("acme");
        Self { upstream, keyside }
    }

    /// Saves a key, and checks that nothing shows it.
    fn save(&self, label: &str, environment: &str, secret: &str, default: bool) {
        let added = self.keyside.add(json!({
            "workspaceId": "acme", "provider": "openai", "label": label, "secret": secret,
            "environment": environment, "default": default,
        }));
        assert_eq!(added["label"], label);
        assert!(!added.to_string().contains(secret), "it is write-only");
    }

    /// Checks which key leaves for a request, and that the answer names it.
    fn gives(&self, name: &str, ask: &Ask, label: &str, secret: &str) {
        self.gave(name, &self.keyside.ask(ask), label, secret);
    }

    fn gave(&self, name: &str, answer: &Message, label: &str, secret: &str) {
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        let named = answer.header("x-keyside-credential-label");
        assert_eq!(named, Some(label), "{name}");
        let last = self.upstream.requests().pop().expect("a request");
        let sent = last.headers_named("authorization");
        assert_eq!(sent, [format!("Bearer {secret}")], "{name}");
    }
}

#[test]
fn the_workspace_may_be_in_the_header_the_path_or_a_configured_header() {
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
    let acme = Acme::without_keys();
    acme.save("one", "live", LIVE, false);
    acme.gives("the only one", &Ask::chat(), "one", LIVE);
    acme.save("two", "live", SECOND, false);
    acme.gives("still the first", &Ask::chat(), "one", LIVE);
    let by_label = Ask::chat().header("X-Keyside-Label", "two");
    acme.gives("by its label", &by_label, "two", SECOND);
    let views = acme.keyside.list();
    let defaults = views.iter().filter(|view| view["isDefault"] == true);
    assert_eq!(defaults.count(), 1);
}

#[test]
fn a_key_saved_as_default_takes_over_at_once() {
    let mut acme = Acme::without_keys();
    acme.save("one", "live", LIVE, false);
    let mut wire = acme.keyside.wire();
    acme.gave("before", &wire.ask(&Ask::chat()), "one", LIVE);
    acme.save("two", "live", SECOND, true);
    let answer = wire.ask(&Ask::chat());
    acme.gave("after, on the same connection", &answer, "two", SECOND);
    acme.keyside = acme.keyside.kill9().start();
    acme.gives("after a restart", &Ask::chat(), "two", SECOND);
}

#[test]
fn live_is_preferred_to_sandbox_by_default() {
    let acme = Acme::without_keys();
    acme.save("ci", "sandbox", SANDBOX, false);
    acme.gives("sandbox only", &Ask::chat(), "ci", SANDBOX);
    acme.save("prod", "live", LIVE, false);
    acme.gives("both", &Ask::chat(), "prod", LIVE);
    let sandbox = Ask::chat().header("X-Keyside-Environment", "sandbox");
    acme.gives("sandbox wished for", &sandbox, "ci", SANDBOX);
    let wrong = sandbox.header("X-Keyside-Label", "prod");
    let answer = acme.keyside.ask(&wrong);
    expect::refused("of the other", &answer, 403, "environment_not_allowed");
    let message = expect::message_of(&answer.json()).map(str::to_owned);
    let cause = "The request asks for a sandbox key, and the OpenAI key labelled \"prod\"";
    assert!(
        message.is_some_and(|message| message.starts_with(cause)),
        "{}",
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

#[test]
fn the_replacement_of_a_leaked_key_takes_its_label_and_runners_need_no_change() {
    let mut acme = Acme::without_keys();
    acme.save("default one", "live", LIVE, false);
    acme.save("batch", "live", SANDBOX, false);
    let batch = Ask::chat().header("X-Keyside-Label", "batch");
    let mut wire = acme.keyside.wire();
    acme.gave("before", &wire.ask(&batch), "batch", SANDBOX);
    let views = acme.keyside.list();
    let leaked = views.iter().find(|view| view["label"] == "batch");
    acme.keyside.revoke(leaked.expect("the key"));
    expect::refused("between", &wire.ask(&batch), 401, "credential_revoked");
    acme.save("batch", "live", SECOND, false);
    acme.gave(
        "after, on the same connection",
        &wire.ask(&batch),
        "batch",
        SECOND,
    );
    acme.keyside = acme.keyside.kill9().start();
    acme.gives("after a restart", &batch, "batch", SECOND);
    let views = acme.keyside.list();
    let named = views.iter().filter(|view| view["label"] == "batch");
    assert_eq!(named.count(), 2, "the record of the leaked one stays");
}
