//! A body is forwarded with one unambiguous framing, or not at all.

mod trailers;

use crate::harness::frames::{DATA, END_HEADERS, END_STREAM, Fate, Frames, HEADERS, block, frame};
use crate::harness::h2_upstream::{H2Answer, over_h2};
use crate::harness::h2c::H2c;
use crate::harness::{Ask, CHAT, Keyside, Message, Pair, Seen, Upstream, chunk_of, expect, reply};

const MODELS: &str = "/openai/v1/models";
type Field<'a> = (&'a str, &'a [u8]);

fn head<'a>(method: &'a str, path: &'a str) -> Vec<Field<'a>> {
    vec![
        (":method", method.as_bytes()),
        (":scheme", "http".as_bytes()),
        (":path", path.as_bytes()),
        (":authority", "localhost".as_bytes()),
        ("x-keyside-workspace", "acme".as_bytes()),
    ]
}

/// A request that an HTTP/2 client sends frame by frame, over a new connection.
fn send(keyside: &Keyside, fields: &[Field<'_>], frames: &[u8]) -> Fate {
    let mut client = Frames::connect(keyside.proxy_addr());
    client.write(HEADERS, END_HEADERS, 1, &block(fields));
    client.write_raw(frames);
    client.fate(1)
}

/// A request over HTTP/1.1 with these lengths, each in a separate field.
fn with_lengths(lengths: &[&str], body: &[u8]) -> Vec<u8> {
    let ask = Ask::chat().bare();
    let ask = lengths
        .iter()
        .fold(ask, |ask, length| ask.header("Content-Length", length));
    [&ask.head()[..], body].concat()
}

/// Checks that the forwarded request has only its body's length.
fn check_one_length(name: &str, seen: &Seen, body: &[u8]) {
    let length = body.len().to_string();
    let lengths = seen.headers_named("content-length");
    assert_eq!(lengths, [length.as_str()], "{name}");
    assert_eq!(seen.headers_named("transfer-encoding").len(), 0, "{name}");
    assert!(seen.body == body, "{name}: {:?}", seen.text());
}

/// The response to bytes on a new connection, if any.
fn answer_to(keyside: &Keyside, bytes: &[u8]) -> Option<Message> {
    let mut wire = keyside.wire();
    wire.send(bytes);
    wire.answer()
}

#[test]
fn a_length_is_forwarded_as_one_canonical_number() {
    let pair = Pair::new();
    let body = [b'x'; 200];
    let one: &[(&str, &[&str])] = &[
        ("plain", &["200"]),
        ("a leading zero", &["0200"]),
        ("many leading zeroes", &["000000000000000000000000200"]),
        ("spaces around it", &["  200\t"]),
    ];
    for (name, lengths) in one {
        let before = pair.upstream.requests().len();
        let answer = answer_to(&pair.keyside, &with_lengths(lengths, &body));
        let answer = answer.unwrap_or_else(|| panic!("{name}: closed without an answer"));
        let seen = pair.upstream.requests().split_off(before);
        // No client sends extra digits; refusing them is right, too.
        if answer.status() == 400 && name.starts_with("many") {
            assert!(seen.is_empty(), "{name}: refused, and forwarded: {seen:?}");
            continue;
        }
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        assert_eq!(seen.len(), 1, "{name}: deliveries");
        check_one_length(name, &seen[0], &body);
    }
    pair.upstream.assert_only_requests();
}

#[test]
fn equal_lengths_are_forwarded_as_one_or_refused() {
    let pair = Pair::new();
    let cases: &[(&str, &[&str])] = &[
        ("two in one field", &["5, 5"]),
        ("two fields", &["5", "5"]),
        ("two spellings in two fields", &["5", "05"]),
        ("two spellings in one field", &["05,5"]),
        ("three", &["5", "5, 5"]),
    ];
    for (name, lengths) in cases {
        let before = pair.upstream.requests().len();
        let answer = answer_to(&pair.keyside, &with_lengths(lengths, b"hello"));
        let status = answer.map(|answer| answer.status());
        let seen = pair.upstream.requests().split_off(before);
        check_one_or_none(name, status == Some(200), &seen);
        let refused = matches!(status, Some(200 | 400));
        assert!(refused, "{name}: answered {status:?}");
    }
    pair.upstream.assert_only_requests();
}

/// The upstream's request with body `hello`: one with one length if it was accepted, otherwise
/// none.
fn check_one_or_none(name: &str, accepted: bool, seen: &[Seen]) {
    assert_eq!(seen.len(), usize::from(accepted), "{name}: {seen:?}");
    for seen in seen {
        check_one_length(name, seen, b"hello");
    }
}

#[test]
fn equal_lengths_over_h2c_are_forwarded_as_one_or_refused() {
    let pair = Pair::new();
    let cases: &[(&str, &[&[u8]])] = &[
        ("a leading zero", &[b"05"]),
        ("two fields", &[b"5", b"5"]),
        ("two in one field", &[b"5, 5"]),
        ("two spellings", &[b"5", b"05"]),
    ];
    for (name, lengths) in cases {
        let before = pair.upstream.requests().len();
        let mut fields = head("POST", CHAT);
        fields.extend(lengths.iter().map(|length| ("content-length", *length)));
        let fate = send(
            &pair.keyside,
            &fields,
            &frame(DATA, END_STREAM, 1, b"hello"),
        );
        let seen = pair.upstream.requests().split_off(before);
        check_one_or_none(name, fate == Fate::Answered { ok: true }, &seen);
    }
    pair.upstream.assert_only_requests();
}

#[test]
fn equal_lengths_over_h2c_are_forwarded_as_one_or_refused_to_an_http_2_upstream() {
    let (upstream, keyside) = over_h2(true, H2Answer::default());
    for lengths in [&["5", "5"][..], &["05"], &["5, 5"], &["5", "05"]] {
        let before = upstream.requests().len();
        let mut fields = head("POST", CHAT);
        let given = lengths
            .iter()
            .map(|length| ("content-length", length.as_bytes()));
        fields.extend(given);
        let fate = send(&keyside, &fields, &frame(DATA, END_STREAM, 1, b"hello"));
        let seen = upstream.requests().split_off(before);
        let accepted = fate == Fate::Answered { ok: true };
        assert_eq!(seen.len(), usize::from(accepted), "{lengths:?}: {fate:?}");
        for seen in seen {
            let all = seen.head.headers().get_all("content-length");
            let left: Vec<_> = all.iter().collect();
            assert_eq!(left, ["5"], "{lengths:?}");
            assert_eq!(seen.body, b"hello", "{lengths:?}");
        }
    }
}

#[test]
fn lengths_that_differ_are_refused() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let differing: &[&[&str]] = &[
        &["5", "6"],
        &["6", "5"],
        &["5, 6"],
        &["5,", "6"],
        &["5", "5", "50"],
        &["5", ""],
        &["0", "5"],
    ];
    for lengths in differing {
        let answer = answer_to(&keyside, &with_lengths(lengths, b"hello!"));
        let status = answer.map(|answer| answer.status());
        assert_eq!(status, Some(400), "{lengths:?} over HTTP/1.1");

        let mut fields = head("POST", CHAT);
        let given = lengths
            .iter()
            .map(|length| ("content-length", length.as_bytes()));
        fields.extend(given);
        let fate = send(&keyside, &fields, &frame(DATA, END_STREAM, 1, b"hello"));
        assert_ne!(fate, Fate::Answered { ok: true }, "{lengths:?} over h2c");
    }
    let arrived = upstream.requests();
    assert!(arrived.is_empty(), "forwarded: {arrived:#?}");
    upstream.assert_only_requests();
}

/// The result of a request with the body `of a GET`: the provider received it, or it was refused.
fn check_not_dropped(name: &str, status: u16, bodies: &[Vec<u8>]) {
    match status {
        200 => assert_eq!(bodies, [b"of a GET"], "{name}: the bodies that arrived"),
        status => {
            assert_eq!(status, 400, "{name}");
            assert!(bodies.is_empty(), "{name}: refused, and forwarded");
        }
    }
}

/// Requests whose method needs no body, with one.
fn with_needless_bodies() -> Vec<(&'static str, Ask)> {
    let ask = |method| Ask::new(method, MODELS).workspace("acme");
    vec![
        ("a GET with a length", ask("GET").body(b"of a GET")),
        (
            "a GET in chunks",
            ask("GET").chunks(&[b"of a", b" GET"], ""),
        ),
        ("a DELETE with a length", ask("DELETE").body(b"of a GET")),
        (
            "a DELETE in chunks",
            ask("DELETE").chunks(&[b"of a GET"], ""),
        ),
    ]
}

const ROUTES: &str = r#"["GET DELETE /v1/models", "POST /v1/chat/completions"]"#;

#[test]
fn the_body_of_a_get_is_forwarded_or_refused_and_never_dropped() {
    let upstream = Upstream::answering(|_| reply(200, "", b"{}"));
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("providers.openai.routes", ROUTES)
        .start()
        .with_key();
    let check = |name: &str, ask: &mut dyn FnMut() -> Message| {
        let before = upstream.requests().len();
        let answer = ask();
        let seen = upstream.requests().split_off(before);
        let bodies: Vec<_> = seen.iter().map(|seen| seen.body.clone()).collect();
        check_not_dropped(name, answer.status(), &bodies);
        upstream.assert_only_requests();
    };
    for (name, ask) in with_needless_bodies() {
        check(name, &mut || keyside.ask(&ask));
    }
    for method in ["GET", "DELETE"] {
        let ask = Ask::new(method, MODELS).workspace("acme");
        for (name, ask) in [
            ("of a length", ask.clone().header("Content-Length", "8")),
            ("of no length", ask),
        ] {
            check(&format!("a {method} over h2c, {name}"), &mut || {
                let mut client = H2c::connect(keyside.proxy_addr());
                let mut stream = client.open(&ask, false);
                client.send(&mut stream, b"of a", false);
                client.send(&mut stream, b" GET", true);
                client.finish(stream)
            });
        }
    }
}

#[test]
fn the_body_of_a_get_is_forwarded_or_refused_over_an_http_2_upstream() {
    let (upstream, keyside) = over_h2(false, H2Answer::default());
    for (name, ask) in with_needless_bodies() {
        if !name.starts_with("a GET") {
            continue;
        }
        let before = upstream.requests().len();
        let answer = keyside.ask(&ask);
        let seen = upstream.requests().split_off(before);
        let bodies: Vec<_> = seen.into_iter().map(|seen| seen.body).collect();
        check_not_dropped(name, answer.status(), &bodies);
    }
}

#[test]
fn a_get_without_a_body_is_forwarded_without_framing() {
    let pair = Pair::new();
    let ask = Ask::get(MODELS);
    let (seen, answer) = pair.exchange(&ask, reply(200, "", b"ok"));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let answer = H2c::connect(pair.keyside.proxy_addr()).ask(&ask);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    for seen in [&seen, &pair.upstream.requests()[1]] {
        for name in ["content-length", "transfer-encoding"] {
            assert_eq!(seen.headers_named(name).len(), 0, "{:?}", seen.headers);
        }
    }
}

#[test]
fn transfer_codings_other_than_chunked_are_refused_on_both_sides() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n\x1f\x8b\r\n0\r\n\r\n"
            .to_vec()
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    for coding in ["gzip, chunked", "chunked, chunked", "identity, chunked"] {
        let ask = Ask::chat().bare().header("Transfer-Encoding", coding);
        let answer = answer_to(&keyside, &[&ask.head()[..], b"0\r\n\r\n"].concat());
        let answer = answer.unwrap_or_else(|| panic!("{coding}: closed without an answer"));
        assert_eq!(answer.status(), 400, "{coding}: {}", answer.text());
    }
    assert!(upstream.requests().is_empty());
    let answer = keyside.ask(&Ask::chat());
    expect::refused("an answer", &answer, 502, "upstream_unreachable");
}

/// Sends these beginnings of chunked bodies and keeps the connection open: each must be refused and
/// closed at once, before any deadline.
fn check_refused_at_once(cases: &[(&str, Vec<u8>)]) {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for (name, body) in cases {
        let mut wire = keyside.wire();
        wire.send([Ask::chat().chunks(&[], "").head(), body.clone()].concat());
        let answer = wire.answer();
        let answer = answer.unwrap_or_else(|| panic!("{name}: closed without an answer"));
        expect::refused(name, &answer, 400, "request_malformed");
        let more = wire.until_close();
        assert!(more.is_empty(), "{name}: and then {more:?}");
        let arrived = upstream.requests();
        assert!(arrived.is_empty(), "{name}: arrived whole: {arrived:#?}");
    }
    upstream.assert_only_requests();
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200, "and it serves on");
}

#[test]
fn a_chunk_extension_without_a_name_is_refused_at_once() {
    let lines = [
        "5;\r\n", "5 ;\r\n", "5;;a\r\n", "5;a;\r\n", "5; \r\n", "5;=b\r\n",
    ];
    let mut cases: Vec<_> = lines
        .iter()
        .map(|line| (*line, [line.as_bytes(), b"hello\r\n"].concat()))
        .collect();
    // The last chunk has extensions too.
    cases.push(("0;", b"5\r\nhello\r\n0;\r\n".to_vec()));
    // Incomplete ones are wrong, too.
    cases.push(("nothing after it", b"5;\r\n".to_vec()));
    check_refused_at_once(&cases);
}

#[test]
fn a_chunk_extension_with_a_control_character_is_refused_at_once() {
    let cases: Vec<_> = [
        ("NUL in a name", "5;a\0b\r\n"),
        ("NUL for a name", "5;\0\r\n"),
        ("NUL in a value", "5;a=\0\r\n"),
        ("NUL in a quoted value", "5;a=\"\0\"\r\n"),
        ("DEL", "5;a=\x7f\r\n"),
        ("BEL", "5;a=\x07\r\n"),
        ("a bare LF", "5;a\nb\r\n"),
        ("a bare CR", "5;a\rb\r\n"),
    ]
    .iter()
    .map(|(name, line)| (*name, [line.as_bytes(), b"hello\r\n"].concat()))
    .collect();
    check_refused_at_once(&cases);
}

#[test]
fn a_bare_lf_after_the_last_chunk_is_refused_at_once() {
    check_refused_at_once(&[
        ("for the empty line", b"5\r\nhello\r\n0\r\n\n".to_vec()),
        ("without a chunk before", b"0\r\n\n".to_vec()),
        ("for both", b"5\r\nhello\r\n0\n\n".to_vec()),
        ("after the size", b"5\r\nhello\r\n0\n\r\n".to_vec()),
        ("after data", b"5\r\nhello\n0\r\n\r\n".to_vec()),
        ("after a size", b"5\nhello\r\n0\r\n\r\n".to_vec()),
    ]);
}

#[test]
fn a_valid_chunk_extension_is_accepted() {
    let pair = Pair::new();
    for extension in [
        ";a",
        ";a=b",
        ";a=\"b c\"",
        ";a=\"b;\\\"c\"",
        ";a=b;c",
        ";signature=0af9",
    ] {
        let before = pair.upstream.requests().len();
        let body = format!("5{extension}\r\nhello\r\n0\r\n\r\n");
        let bytes = [Ask::chat().chunks(&[], "").head(), body.into_bytes()].concat();
        let answer = answer_to(&pair.keyside, &bytes);
        let answer = answer.unwrap_or_else(|| panic!("{extension}: closed without an answer"));
        assert_eq!(answer.status(), 200, "{extension}: {}", answer.text());
        let seen = pair.upstream.requests().split_off(before);
        assert_eq!(seen.len(), 1, "{extension}: deliveries");
        assert_eq!(seen[0].body, b"hello", "{extension}");
        assert!(
            !seen[0].holds(extension),
            "{extension} went on: {:?}",
            seen[0]
        );
    }
}

#[test]
fn chunks_of_later_requests_on_a_connection_are_checked_too() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    assert_eq!(wire.ask(&Ask::chat()).status(), 200);
    let fine = Ask::chat().chunks(&[b"one", b"two"], "");
    assert_eq!(wire.ask(&fine).status(), 200);
    wire.send([fine.head(), chunk_of(b"one"), b"3;\r\n".to_vec()].concat());
    let answer = wire.answer().expect("an answer");
    expect::refused("the third request", &answer, 400, "request_malformed");
    assert!(wire.until_close().is_empty(), "and then more");
    assert_eq!(upstream.requests().len(), 2, "it arrived whole");
}
