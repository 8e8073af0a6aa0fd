//! A proxy that refuses, lies, dies or does not respond: the request is refused with the proxy's
//! name, and never sent directly.

use super::{EgressProxy, answering, quoted, trusting};
use crate::harness::tls::{Authority, VALID};
use crate::harness::{Ask, Upstream, expect};
use std::fs;

/// Sends a request through a proxy at `url`, and expects a refusal that names it, with `cause` in
/// the log.
fn check_refused(name: &str, url: &str, answer: (u16, &str), cause: &str) {
    check_refused_with(name, url, None, answer, cause);
}

fn check_refused_with(
    name: &str,
    url: &str,
    credentials: Option<&str>,
    (status, code): (u16, &str),
    cause: &str,
) {
    let authority = Authority::new();
    let upstream = answering(&authority.issue(&["localhost"], VALID));
    let mut builder = trusting(&authority, &upstream)
        .set("egress.proxy", &format!("{url:?}"))
        .set("proxy.deadlines.connect", r#""2s""#);
    if let Some(credentials) = credentials {
        let file = builder.home().join("proxy-password");
        fs::write(&file, credentials).expect("a writable folder");
        builder = builder.set("egress.credentials_file", &quoted(&file));
    }
    let keyside = builder.start().with_key();
    let answer = keyside.ask(&Ask::chat());
    expect::refused(name, &answer, status, code);
    assert_eq!(answer.header("x-should-retry"), Some("true"), "{name}");
    let (_, authority) = url.split_once("://").expect("a URL");
    let said = format!("through the egress proxy {authority}");
    assert!(answer.text().contains(&said), "{name}: {}", answer.text());
    let logged = keyside.log_line(|line| line["fields"]["message"] == "request");
    let causes = logged["fields"]["cause"].as_str().unwrap_or_default();
    for part in [authority, cause] {
        assert!(causes.contains(part), "{name}: no {part:?} in {causes}");
    }
    let id = answer.header("x-keyside-request-id").expect("an id");
    for (field, value) in [
        ("request_id", id),
        ("workspace", "acme"),
        ("provider", "openai"),
        ("code", code),
    ] {
        assert_eq!(logged["fields"][field], value, "{name}: {logged}");
    }
    let remedy = logged["fields"]["remedy"].as_str().unwrap_or_default();
    assert!(remedy.contains(&said), "{name}: {logged}");
    assert_eq!(logged["level"], "WARN", "{name}");
    let logs = keyside.logs();
    for said_once in [id, cause] {
        let lines = logs.lines().filter(|line| line.contains(said_once));
        assert_eq!(lines.count(), 1, "{name}: {said_once:?} in {logs}");
    }
    if let Some(credentials) = credentials {
        assert!(!keyside.logs().contains(credentials), "{name}");
    }
    assert_eq!(upstream.connections(), 0, "{name}: it took another way");
}

const UNREACHABLE: (u16, &str) = (502, "upstream_unreachable");

#[test]
fn a_proxy_that_refuses_is_named_with_what_can_be_done() {
    for (answer, cause) in [
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
            "status 403",
        ),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "status 502"),
        ("HTTP/1.1 407 Who\r\n\r\n", "egress.credentials_file"),
        // It does not follow.
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
            "status 302",
        ),
    ] {
        let proxy = EgressProxy::answering(answer);
        check_refused(answer, &proxy.url(), UNREACHABLE, cause);
        assert_eq!(proxy.connections(), 1, "{answer}: it was asked again");
    }
}

#[test]
fn wrong_credentials_are_distinguished_from_a_refusal() {
    let upstream = Upstream::ok();
    for proxy in [
        EgressProxy::http_for(&upstream, Some("Basic bWU6cmlnaHQ=")),
        EgressProxy::socks5(&upstream, Some(("me", "right"))),
    ] {
        let url = proxy.url();
        let cause = "user and password";
        check_refused(&url, &url, UNREACHABLE, cause);
        let wrong = Some("me:canary-wrong-password-77d2");
        check_refused_with(&url, &url, wrong, UNREACHABLE, cause);
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_unreadable_proxy_response_is_distinguished_from_a_refusal() {
    let huge = format!("HTTP/1.1 200 OK\r\nX-Huge: {}\r\n\r\n", "x".repeat(1 << 20));
    for (name, answer, cause) in [
        ("nothing", "", "not that of an HTTP proxy"),
        (
            "half a status line",
            "HTTP/1.1 20",
            "not that of an HTTP proxy",
        ),
        (
            "half a head",
            "HTTP/1.1 200 OK\r\nX-",
            "not that of an HTTP proxy",
        ),
        (
            "another protocol",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "not that of an HTTP proxy",
        ),
        ("a huge head", huge.as_str(), "larger than"),
        (
            "bytes of its own",
            "HTTP/1.1 200 OK\r\n\r\n220 hello\r\n",
            "bytes of its own",
        ),
    ] {
        let proxy = EgressProxy::answering(answer);
        check_refused(name, &proxy.url(), UNREACHABLE, cause);
    }
}

#[test]
fn a_proxy_that_disconnects_before_tls_is_not_reported_as_a_certificate_error() {
    let proxy = EgressProxy::answering("HTTP/1.1 200 OK\r\n\r\n");
    check_refused(
        "gone",
        &proxy.url(),
        UNREACHABLE,
        "the TLS handshake through the egress proxy",
    );
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    for scheme in ["http", "https", "socks5"] {
        let url = format!("{scheme}://127.0.0.1:1");
        check_refused(&url, &url, UNREACHABLE, "cannot be reached");
    }
}

#[test]
fn a_proxy_that_never_answers_is_waited_for_as_long_as_for_any_connection() {
    let proxy = EgressProxy::silent();
    let late = (504, "upstream_timeout");
    check_refused("silent", &proxy.url(), late, "took too long to open");
}
