//! Bytes that are not a request get an error or a close promptly, and never reach an upstream.

use crate::harness::{Ask, Keyside, Upstream, expect};
use std::thread;

/// Sends each of these and reads until the close that must come. With `answered`, a refusal too.
fn check(answered: bool, cases: &[(&str, Vec<u8>)]) {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.deadlines.header", "\"1s\"")
        .set("proxy.deadlines.idle", "\"1s\"")
        .start()
        .with_key();
    thread::scope(|scope| {
        for (name, bytes) in cases {
            let keyside = &keyside;
            scope.spawn(move || {
                let said = keyside.raw(bytes);
                let said = String::from_utf8_lossy(&said[..said.len().min(400)]).into_owned();
                // An HTTP/2 preface is answered in frames, the first of which are settings.
                let refused = ["HTTP/1.1 4", "HTTP/1.0 4", "\0\0"]
                    .iter()
                    .any(|start| said.starts_with(start));
                assert!(
                    refused || (!answered && said.is_empty()),
                    "{name}: {said:?}"
                );
            });
        }
    });
    assert_eq!(upstream.connections(), 0);
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200, "and it serves on");
}

#[test]
fn garbage_is_answered_or_closed() {
    check(
        false,
        &[
            ("zeroes", vec![0; 64]),
            ("ones", vec![0xff; 64]),
            (
                "a TLS hello",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            ),
            ("an SSH greeting", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
            ("lines of nothing", b"\r\n\r\n\r\n\r\n".to_vec()),
            ("an SMTP greeting", b"EHLO localhost\r\n".to_vec()),
            ("half an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\n".to_vec()),
            (
                "an HTTP/2 preface and garbage",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage".to_vec(),
            ),
            (
                "a proxy protocol line",
                b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            ),
            ("a single byte", b"G".to_vec()),
        ],
    );
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let head = |filler: &str| {
        format!("GET /openai/v1/models HTTP/1.1\r\nHost: localhost\r\n{filler}\r\n").into_bytes()
    };
    let many = (0..1000)
        .map(|n| format!("X-{n}: 1\r\n"))
        .collect::<String>();
    check(
        true,
        &[
            (
                "a large header",
                head(&format!("X-Large: {}\r\n", "a".repeat(300_000))),
            ),
            ("many headers", head(&many)),
            (
                "a large target",
                format!(
                    "GET /openai/v1/models?{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    "a".repeat(300_000)
                )
                .into_bytes(),
            ),
        ],
    );
}

#[test]
fn as_many_headers_are_taken_as_the_documents_say_and_no_more() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    // Four are there already.
    let of =
        |count: usize| (4..count).fold(Ask::chat(), |ask, n| ask.header(&format!("X-{n}"), "1"));
    assert_eq!(keyside.ask(&of(300)).status(), 200);
    assert_eq!(keyside.ask(&of(301)).status(), 431);
}

#[test]
fn limits_are_settings() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.limits.headers", "10")
        .set("proxy.limits.header_bytes", "8192")
        .start()
        .with_key();
    let with =
        |count: usize| (0..count).fold(Ask::chat(), |ask, n| ask.header(&format!("X-{n}"), "1"));
    assert_eq!(keyside.ask(&with(2)).status(), 200, "within the limits");
    let answer = keyside.ask(&with(20));
    assert!(
        (400..500).contains(&answer.status()),
        "too many: {}",
        answer.start
    );
    let answer = keyside.ask(&Ask::chat().header("X-Large", "a".repeat(20_000)));
    assert!(
        (400..500).contains(&answer.status()),
        "too large: {}",
        answer.start
    );
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_request_that_is_understood_but_wrong_says_what_is_wrong() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let cases = [
        (
            "two workspaces",
            Ask::chat().header("X-Keyside-Workspace", "other"),
        ),
        (
            "a workspace in the path and another in a header",
            Ask::post("/w/other/openai/v1/chat/completions"),
        ),
        (
            "an unknown environment",
            Ask::chat().header("X-Keyside-Environment", "production"),
        ),
        (
            "a run that is too long",
            Ask::chat().header("X-Keyside-Run", "r".repeat(5000)),
        ),
        (
            "an absolute target",
            Ask::get("http://localhost/openai/v1/models"),
        ),
        ("no Host", Ask::chat().without("Host")),
    ];
    for (name, ask) in cases {
        expect::refused(name, &keyside.ask(&ask), 400, "request_malformed");
    }
    assert_eq!(upstream.connections(), 0);
}
