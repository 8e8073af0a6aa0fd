//! Requests that two parsers could read differently: refused, or forwarded as exactly one request.

mod lines;

use crate::harness::{Ask, Keyside, Upstream, holds};
use std::thread;

/// The allowed results of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Must {
    /// Status 400 and a close, and no complete request upstream.
    Refuse,
    /// That, or exactly one request upstream.
    NotSplit,
    /// An error or a close, and no complete request upstream: it was aborted.
    Break,
}
use Must::{Break, NotSplit, Refuse};

/// The request that an attacker wants to smuggle.
const SECOND: &str = "GET /openai/v1/models?smuggled HTTP/1.1\r\n\
    Host: localhost\r\nX-Keyside-Workspace: acme\r\n\r\n";

/// Sends each case over a new connection and reads until it closes.
/// `{SECOND}` is the smuggled request, `{LENGTH}` the size of the bytes after the headers.
fn check(cases: &[(&str, Must, &str)]) {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.deadlines.header", "\"1s\"")
        .set("proxy.deadlines.idle", "\"1s\"")
        .set("proxy.deadlines.body_idle", "\"1s\"")
        .start()
        .with_key();
    thread::scope(|scope| {
        for (index, case) in cases.iter().enumerate() {
            let (keyside, upstream) = (&keyside, &upstream);
            scope.spawn(move || check_one(keyside, upstream, index, case));
        }
    });
    upstream.assert_only_requests();
    let requests = upstream.requests();
    let second = requests
        .iter()
        .find(|seen| seen.target().contains("smuggled"));
    assert!(
        second.is_none(),
        "a second request went upstream: {second:?}"
    );
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200, "and it serves on");
}

fn check_one(keyside: &Keyside, upstream: &Upstream, index: usize, case: &(&str, Must, &str)) {
    let (name, must, text) = case;
    let marker = format!("case={index}.");
    let text = text.replace("{SECOND}", SECOND);
    let (head, rest) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let length = rest.len().to_string();
    let bytes = text.replacen("chat/completions", &format!("chat/completions?{marker}"), 1);
    let bytes = bytes.replace("{LENGTH}", &length).replacen(
        "{HOST}",
        "Host: localhost\r\nX-Keyside-Workspace: acme",
        1,
    );
    assert!(!head.is_empty(), "{name}: a case has a head");

    let answer = keyside.raw(&bytes);
    let said = String::from_utf8_lossy(&answer).into_owned();
    let whole = upstream
        .requests()
        .iter()
        .filter(|seen| seen.holds(&marker))
        .count();
    let cut = upstream
        .cut()
        .iter()
        .filter(|seen| seen.holds(&marker))
        .count();
    assert!(
        whole + cut <= 1,
        "{name}: {whole} whole and {cut} cut requests upstream"
    );
    let refused = said.starts_with("HTTP/1.1 400 ") || said.starts_with("HTTP/1.0 400 ");
    let answers = said.matches("HTTP/1.").count();
    assert!(
        answers <= 1 || !said.contains("smuggled"),
        "{name}: answered twice: {said}"
    );
    match must {
        Refuse => assert!(
            refused && whole == 0,
            "{name}: {whole} upstream, answer {said:?}"
        ),
        Break => {
            let failed = said.is_empty()
                || said.starts_with("HTTP/1.1 4")
                || said.starts_with("HTTP/1.1 502");
            assert!(
                failed && whole == 0,
                "{name}: {whole} upstream, answer {said:?}"
            );
        }
        NotSplit => assert!(
            (refused && whole == 0) || (said.starts_with("HTTP/1.") && whole == 1 && answers == 1),
            "{name}: {whole} upstream, answer {said:?}"
        ),
    }
}

#[test]
fn a_request_with_two_framings_is_never_two_requests() {
    check(&[
        (
            "length and chunked, the length covering a second request",
            NotSplit,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nContent-Length: {LENGTH}\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SECOND}",
        ),
        (
            "chunked and length, in that order",
            NotSplit,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\
             Content-Length: {LENGTH}\r\n\r\n0\r\n\r\n{SECOND}",
        ),
        (
            "a length of 0 beside chunks that hold a second request",
            NotSplit,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nContent-Length: 0\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SECOND}",
        ),
        (
            "two lengths that differ",
            Refuse,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nContent-Length: 0\r\n\
             Content-Length: {LENGTH}\r\n\r\n{SECOND}",
        ),
        (
            "two lengths that differ, in one field",
            Refuse,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nContent-Length: 0, {LENGTH}\r\n\
             \r\n{SECOND}",
        ),
        (
            "the same length twice",
            NotSplit,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nContent-Length: {LENGTH}\r\n\
             Content-Length: {LENGTH}\r\n\r\n{SECOND}",
        ),
        (
            "two codings in two fields, the last not chunked",
            Refuse,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\
             Transfer-Encoding: identity\r\n\r\n0\r\n\r\n{SECOND}",
        ),
        (
            "chunked twice, in two fields",
            NotSplit,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n{SECOND}",
        ),
        (
            "chunked twice, in one field",
            NotSplit,
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{HOST}\r\n\
             Transfer-Encoding: chunked, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n{SECOND}",
        ),
        (
            "a GET whose body is a request",
            NotSplit,
            "GET /openai/v1/models?chat/completions HTTP/1.1\r\n{HOST}\r\nConnection: close\r\n\
             Content-Length: {LENGTH}\r\n\r\n{SECOND}",
        ),
    ]);
}

#[test]
fn an_odd_length_is_refused() {
    let odd = [
        "+5",
        "-5",
        "0x5",
        "5 5",
        "5;5",
        "",
        "5.0",
        "18446744073709551621",
        "\u{663}",
        "5\t6",
    ];
    let texts = odd.map(|length| {
        format!(
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{{HOST}}\r\nContent-Length: {length}\r\n\
             \r\n12345{{SECOND}}"
        )
    });
    let cases: Vec<_> = odd
        .iter()
        .zip(&texts)
        .map(|(n, text)| (*n, Refuse, &**text))
        .collect();
    check(&cases);
}

#[test]
fn an_odd_transfer_encoding_is_refused() {
    let odd = [
        "xchunked",
        "chunked, identity",
        "chunked;q=1",
        "chunked-",
        "\x0bchunked",
        "chunked\x0b",
        "\"chunked\"",
        "chunked,",
        "identity",
        "cow",
        "",
    ];
    let texts = odd.map(|coding| {
        format!(
            "POST /openai/v1/chat/completions HTTP/1.1\r\n{{HOST}}\r\n\
             Transfer-Encoding: {coding}\r\nConnection: close\r\n\r\n0\r\n\r\n{{SECOND}}"
        )
    });
    let cases: Vec<_> = odd
        .iter()
        .zip(&texts)
        .map(|(n, text)| (*n, Refuse, &**text))
        .collect();
    check(&cases);
}

#[test]
fn what_follows_a_refused_upgrade_is_not_tunnelled() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let upgrade = Ask::get("/openai/v1/realtime?model=m")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut wire = keyside.wire();
    wire.send([upgrade.bytes(), SECOND.into()].concat());
    let answer = wire
        .answer()
        .expect("the upstream's own refusal to upgrade");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    // Bytes that were sent too early may be served as an ordinary request, or dropped.
    wire.finish();
    wire.until_close();
    let arrived = upstream.bytes();
    assert!(
        !holds(&arrived, "X-Keyside-Workspace"),
        "raw bytes of the client went upstream"
    );
    assert!(
        !holds(&arrived, "/openai/"),
        "raw bytes of the client went upstream"
    );
    upstream.assert_only_requests();
}

#[test]
fn an_upgrade_with_a_body_is_never_two_requests() {
    for (name, framing) in [
        (
            "a length",
            format!("Content-Length: {}\r\n\r\n{SECOND}", SECOND.len()),
        ),
        (
            "a length of 0",
            format!("Content-Length: 0\r\n\r\n{SECOND}"),
        ),
        (
            "chunks",
            format!("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SECOND}"),
        ),
    ] {
        let upstream = Upstream::ok();
        let keyside = Keyside::with_openai(&upstream.base_url());
        let mut wire = keyside.wire();
        wire.send(format!(
            "GET /openai/v1/realtime?model=m HTTP/1.1\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{framing}"
        ));
        let answer = wire.answer().unwrap_or_else(|| panic!("{name}: no answer"));
        assert!(
            [200, 400].contains(&answer.status()),
            "{name}: {}",
            answer.text()
        );
        wire.finish();
        wire.until_close();
        upstream.assert_only_requests();
        for seen in upstream.requests() {
            assert_eq!(seen.header("x-keyside-workspace"), None, "{name}: {seen:?}");
            assert!(!seen.target().starts_with("/openai"), "{name}: {seen:?}");
        }
    }
}
