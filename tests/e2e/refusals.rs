//! Each refusal has its status, code and remedy, and sends nothing upstream.

mod shapes;

use crate::harness::{
    Ask, CHAT, Keyside, Message, Then, Upstream, Wire, chunk_of, chunked_head, eventually, expect,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::net::TcpStream;

/// Sends each request and expects its refusal; none may reach the upstream.
fn check(keyside: &Keyside, upstream: &Upstream, cases: &[(&str, u16, Ask)]) {
    let before = upstream.connections();
    for (code, status, ask) in cases {
        expect::refused(code, &keyside.ask(ask), *status, code);
    }
    assert_eq!(upstream.connections(), before, "a refused request left");
}

#[test]
fn a_refusal_says_what_the_request_lacks() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    keyside.workspace("empty");
    check(
        &keyside,
        &upstream,
        &[
            (
                "workspace_missing",
                400,
                Ask::chat().without("X-Keyside-Workspace"),
            ),
            ("workspace_unknown", 400, Ask::chat().workspace("nobody")),
            (
                "provider_unknown",
                400,
                Ask::post("/nosuch/v1/chat/completions"),
            ),
            (
                "provider_unknown",
                400,
                Ask::post("/w/acme/nosuch/v1/chat/completions"),
            ),
            ("credential_missing", 401, Ask::chat().workspace("empty")),
            (
                "label_unknown",
                400,
                Ask::chat().header("X-Keyside-Label", "nightly"),
            ),
            (
                "path_not_allowed",
                403,
                Ask::get("/openai/v1/organization/users"),
            ),
            (
                "path_not_allowed",
                403,
                Ask::new("DELETE", CHAT).workspace("acme"),
            ),
            (
                "request_malformed",
                400,
                Ask::chat().header("X-Keyside-Environment", "neither"),
            ),
        ],
    );
    for ask in [
        Ask::chat(),
        Ask::post("/w/acme/openai/v1/chat/completions").without("X-Keyside-Workspace"),
        Ask::post("/w/acme/openai/v1/chat/completions"),
        Ask::chat()
            .header("X-Keyside-Label", "default")
            .header("X-Keyside-Environment", "live"),
    ] {
        let answer = keyside.ask(&ask);
        assert_eq!(
            answer.status(),
            200,
            "the same request, complete: {}",
            answer.text()
        );
    }
}

#[test]
fn an_environment_without_a_key_is_not_served_from_the_other() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let sandbox = Ask::chat().header("X-Keyside-Environment", "sandbox");
    check(
        &keyside,
        &upstream,
        &[("credential_missing", 401, sandbox.clone())],
    );
    keyside.add(json!({
        "workspaceId": "acme", "provider": "openai", "label": "ci", "environment": "sandbox",
        "secret": "sk-proj-only-for-tests-0123456789", "default": true,
    }));
    let answer = keyside.ask(&sandbox);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.header("x-keyside-environment"), Some("sandbox"));
    assert_eq!(answer.header("x-keyside-credential-label"), Some("ci"));
    assert_eq!(
        keyside.ask(&Ask::chat()).header("x-keyside-environment"),
        Some("live")
    );
}

#[test]
fn a_revoked_key_is_refused_by_default_and_by_label() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    keyside.revoke(&keyside.list()[0]);
    check(
        &keyside,
        &upstream,
        &[
            ("credential_revoked", 401, Ask::chat()),
            (
                "credential_revoked",
                401,
                Ask::chat().header("X-Keyside-Label", "default"),
            ),
        ],
    );
}

#[test]
fn an_expired_key_is_refused() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let added = keyside.add(json!({
        "workspaceId": "acme", "provider": "openai", "label": "soon", "default": true,
        "secret": "sk-proj-soon-over-0123456789abcdef", "expiresAt": from_now(2),
    }));
    assert_eq!(added["status"], "expiring", "{added}");
    let refusal = eventually("the key expires", || {
        let answer = keyside.ask(&Ask::chat());
        (answer.status() != 200).then_some(answer)
    });
    expect::refused("expired", &refusal, 401, "credential_expired");
    let soon = |view: &&serde_json::Value| view["label"] == "soon";
    assert_eq!(
        keyside.list().iter().find(soon).expect("it stays")["status"],
        "expired"
    );
}

/// A time so many seconds ahead, as the admin API takes it.
#[expect(
    clippy::disallowed_methods,
    reason = "the process under test uses the same wall clock"
)]
pub fn from_now(seconds: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string()
}

#[test]
fn an_upstream_that_nobody_listens_at_is_unreachable() {
    let keyside = Keyside::with_openai("http://127.0.0.1:1");
    expect::refused(
        "closed",
        &keyside.ask(&Ask::chat()),
        502,
        "upstream_unreachable",
    );

    let keyside = Keyside::with_openai("https://no-such-name.invalid");
    expect::refused(
        "no name",
        &keyside.ask(&Ask::chat()),
        502,
        "upstream_unreachable",
    );
}

#[test]
fn requests_after_the_drain_deadline_are_told_to_retry() {
    let upstream = Upstream::scripted(|_, line| {
        line.write(chunked_head(""));
        line.write(chunk_of(b"begun"));
        // Only the deadline ends it.
        let _ = line.peek();
        Then::Close
    });
    // Only some milliseconds are between the deadline and the end of the process. A busy machine may
    // spend them on something else.
    let refusal = eventually("a request in between", || refused_at_the_end(&upstream));
    expect::refused("draining", &refusal, 503, "draining");
    assert!(
        refusal.header("retry-after").is_some(),
        "{:?}",
        refusal.headers
    );
    assert_eq!(refusal.header("connection"), Some("close"));
}

/// Keeps asking until the process ends because of its drain deadline, or until the refusal.
fn refused_at_the_end(upstream: &Upstream) -> Option<Message> {
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.deadlines.drain", "\"100ms\"")
        .start()
        .with_key();
    let mut stream = keyside.wire();
    stream.send(Ask::chat().bytes());
    assert_eq!(stream.head().expect("a head").status(), 200);
    stream.body_until("begun");
    keyside.term();
    // Unknown workspaces are refused, so no further stream begins meanwhile.
    let ask = Ask::chat().workspace("nobody").bytes();
    loop {
        let mut wire = Wire::from_tcp(TcpStream::connect(keyside.proxy_addr()).ok()?);
        wire.send(&ask);
        let answer = wire.answer();
        if answer.as_ref().is_some_and(|it| it.status() == 503) {
            return answer;
        }
    }
}

#[test]
fn a_refusal_links_to_where_it_is_remedied() {
    let keyside = Keyside::builder()
        .set("admin.public_url", "\"http://keys.example:8000\"")
        .start();
    keyside.workspace("acme");
    let body = keyside.ask(&Ask::chat()).json();
    let link = body["remediation"].as_str().expect("a link");
    assert!(link.starts_with("http://keys.example:8000/"), "{link}");
    assert!(link.contains("acme") && link.contains("openai"), "{link}");
}

#[test]
fn every_refusal_is_counted_and_logged_once() {
    let keyside = Keyside::builder().start();
    let series = |code: &str| {
        let start = format!("keyside_refusals_total{{code=\"{code}\"}} ");
        let metrics = keyside.metrics();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&start).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no series of {code} in\n{metrics}"))
    };
    for code in [
        "workspace_unknown",
        "browser_not_allowed",
        "store_unavailable",
        "draining",
    ] {
        assert_eq!(series(code), "0", "known series start at 0");
    }
    let answer = keyside.ask(&Ask::chat().workspace("nobody"));
    let id = answer
        .header("x-keyside-request-id")
        .expect("an id")
        .to_owned();
    keyside.log_line(|line| line.to_string().contains(&id));
    assert_eq!(series("workspace_unknown"), "1");
    assert_eq!(
        keyside
            .logs()
            .lines()
            .filter(|line| line.contains(&id))
            .count(),
        1
    );
}

#[test]
fn a_head_request_is_refused_without_a_body() {
    let keyside = Keyside::builder().start();
    let mut wire = Wire::tcp(keyside.proxy_addr());
    let answer = wire.ask(&Ask::new("HEAD", "/openai/v1/models").workspace("nobody"));
    assert!([400, 403].contains(&answer.status()), "{}", answer.start);
    assert!(answer.body.is_empty());
    assert_eq!(
        wire.ask(&Ask::chat().workspace("nobody")).status(),
        400,
        "and stays in step"
    );
}
