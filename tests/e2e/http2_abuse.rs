//! HTTP/2 that violates the protocol: reset or answered with an error, and never forwarded.

use crate::harness::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, Frames, HEADERS, PING, RST_STREAM, SETTINGS,
    block, frame,
};
use crate::harness::{Ask, CHAT, Keyside, Upstream, expect};

type Field<'a> = (&'a str, &'a [u8]);

const HEAD: &[Field<'static>] = &[
    (":method", b"POST"),
    (":scheme", b"http"),
    (":path", CHAT.as_bytes()),
    (":authority", b"localhost"),
    ("x-keyside-workspace", b"acme"),
];

/// Sends a request of these fields, on a connection of its own, and a body if there is one.
fn send(keyside: &Keyside, fields: &[Field<'_>], body: Option<&[u8]>) -> Fate {
    let mut frames = Frames::connect(keyside.proxy_addr());
    let end = if body.is_none() { END_STREAM } else { 0 };
    frames.write(HEADERS, END_HEADERS | end, 1, &block(fields));
    if let Some(body) = body {
        frames.write(DATA, END_STREAM, 1, body);
    }
    frames.fate(1)
}

#[test]
fn a_well_formed_request_of_hand_written_frames_is_answered() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    assert_eq!(
        send(&keyside, HEAD, Some(b"{}")),
        Fate::Answered { ok: true }
    );
    assert_eq!(upstream.only().body, b"{}");
}

#[test]
fn a_malformed_head_is_never_forwarded() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let cases: &[(&str, Field<'_>)] = &[
        ("CR LF in a value", ("x-a", b"1\r\nX-Injected: 1")),
        ("LF in a value", ("x-a", b"1\n2")),
        ("NUL in a value", ("x-a", b"1\x002")),
        ("CR LF in a name", ("x-a\r\nx-b", b"1")),
        ("a colon in a name", ("x-a: 1", b"1")),
        ("capitals in a name", ("X-A", b"1")),
        ("an empty name", ("", b"1")),
        ("a framing of HTTP/1.1", ("transfer-encoding", b"chunked")),
        ("a header of one hop", ("connection", b"keep-alive")),
        ("an upgrade", ("upgrade", b"websocket")),
        (
            "a pseudo-header after others",
            (":path", b"/openai/v1/models"),
        ),
        ("a second authority", (":authority", b"attacker.example")),
        ("an unknown pseudo-header", (":evil", b"1")),
        ("another Host", ("host", b"attacker.example")),
        ("TE with anything but trailers", ("te", b"gzip")),
    ];
    for (name, field) in cases {
        let fate = send(&keyside, &[HEAD, &[*field]].concat(), None);
        let arrived = upstream.requests();
        match fate {
            // Some may be ignored; then the plain request must arrive.
            Fate::Answered { ok: true } => {
                let seen = arrived
                    .last()
                    .unwrap_or_else(|| panic!("{name}: answered by whom?"));
                assert_eq!(seen.target(), "/v1/chat/completions", "{name}");
                let odd = ["x-injected", "transfer-encoding", "upgrade"];
                let odd = odd.iter().find(|odd| seen.header(odd).is_some());
                assert!(odd.is_none(), "{name}: {:?}", seen.headers);
                assert!(
                    *name == "TE with anything but trailers",
                    "{name}: forwarded"
                );
            }
            _ => assert!(arrived.is_empty(), "{name}: {fate:?}, yet forwarded"),
        }
    }
    upstream.assert_only_requests();
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200, "and it serves on");
}

#[test]
fn a_target_that_is_no_path_is_never_forwarded() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let plain = |replaced: &str| {
        HEAD.iter()
            .copied()
            .filter(|(name, _)| *name != replaced)
            .collect::<Vec<_>>()
    };
    let cases: &[(&str, &str, &[Field<'_>])] = &[
        ("no path", ":path", &[]),
        ("an empty path", ":path", &[(":path", b"")]),
        ("an asterisk", ":path", &[(":path", b"*")]),
        (
            "a path without its slash",
            ":path",
            &[(":path", b"openai/v1/models")],
        ),
        (
            "an absolute path",
            ":path",
            &[(":path", b"http://attacker.example/openai/v1/models")],
        ),
        (
            "a path with CR LF",
            ":path",
            &[(":path", b"/openai/v1/models HTTP/1.1\r\nX: 1")],
        ),
        (
            "a path with a space",
            ":path",
            &[(":path", b"/openai/v1/models x")],
        ),
        ("no method", ":method", &[]),
        (
            "a method with a space",
            ":method",
            &[(":method", b"GET /x HTTP/1.1\r\n")],
        ),
        ("CONNECT", ":method", &[(":method", b"CONNECT")]),
        ("no authority", ":authority", &[]),
        (
            "an authority with user information",
            ":authority",
            &[(":authority", b"localhost@evil")],
        ),
        (
            "another authority",
            ":authority",
            &[(":authority", b"attacker.example")],
        ),
    ];
    for (name, replaced, fields) in cases {
        let fate = send(&keyside, &[*fields, &plain(replaced)].concat(), None);
        assert_ne!(fate, Fate::Answered { ok: true }, "{name}");
        assert_eq!(upstream.connections(), 0, "{name}: {fate:?}, yet forwarded");
    }
}

#[test]
fn a_body_that_contradicts_its_length_is_never_a_whole_request_upstream() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let second = b"GET /v1/models?smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for (name, length) in [
        ("longer", &b"2"[..]),
        ("shorter", b"500"),
        ("none", b"0"),
        ("no number", b"+4"),
    ] {
        let fields = [HEAD, &[("content-length", length)]].concat();
        let fate = send(&keyside, &fields, Some(second));
        assert_ne!(fate, Fate::Answered { ok: true }, "{name}");
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
    upstream.assert_only_requests();
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
}

#[test]
fn floods_end_the_connection_and_not_the_service() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let head = block(HEAD);
    type Flood<'a> = &'a dyn Fn(&mut Frames, u32) -> bool;
    let floods: &[(&str, Flood<'_>)] = &[
        ("resets", &|frames, n| {
            frames.write(HEADERS, END_HEADERS, 2 * n + 1, &head)
                && frames.write(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])
        }),
        ("continuations", &|frames, n| {
            let kind = if n == 0 { HEADERS } else { CONTINUATION };
            let part = if n == 0 {
                head.clone()
            } else {
                block(&[("x-a", &[b'a'; 100])])
            };
            frames.write(kind, 0, 1, &part)
        }),
        ("empty continuations", &|frames, n| {
            let kind = if n == 0 { HEADERS } else { CONTINUATION };
            frames.write(kind, 0, 1, if n == 0 { &head } else { &[] })
        }),
        ("oversized frames", &|frames, n| {
            frames.write(DATA, 0, 2 * n + 1, &[0; 20_000])
        }),
    ];
    for (name, flood) in floods {
        let mut frames = Frames::connect(keyside.proxy_addr());
        let cut = (0..20_000).any(|n| !flood(&mut frames, n));
        // A later write shows that the peer has closed; before that it sent a GOAWAY or nothing.
        assert!(cut || frames.fate(u32::MAX) == Fate::Gone, "{name}");
    }
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.status(), 200, "and it serves on");
    expect::keyless("after floods", &answer);
}

#[test]
fn a_flood_that_asks_for_answers_and_takes_none_is_held_back_and_cut() {
    // More than fits into the buffers of both sides' sockets.
    const ENOUGH: usize = 64 * 1024 * 1024;
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.deadlines.write_idle", r#""500ms""#)
        .start()
        .with_key();
    let (settings, ping) = (frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, &[0; 8]));
    for (name, asking) in [("settings", settings), ("pings", ping)] {
        let mut frames = Frames::connect(keyside.proxy_addr());
        let before = keyside.peak_memory();
        let block = asking.repeat(64 * 1024 / asking.len());
        let cut = (0..ENOUGH / block.len()).any(|_| !frames.write_raw(&block));
        assert!(cut, "{name}: all of it was taken");
        let grown = keyside.peak_memory().saturating_sub(before);
        assert!(grown < 16 * 1024, "{name}: {grown} KiB more");
        assert_eq!(keyside.ask(&Ask::chat()).status(), 200, "{name}");
    }
}
