//! A WebSocket handshake is forwarded; then bytes flow unchanged in both directions, from the
//! upstream in whole frames.

mod echoes;
mod odd_frames;
mod origins;

use crate::harness::{
    Ask, KEY, Keyside, Line, Then, Upstream, Wire, eventually, expect, holds, reply,
};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

fn upgrade() -> Ask {
    Ask::get("/openai/v1/realtime?model=gpt-realtime")
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "WebSocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Protocol", "realtime")
        .header(
            "Sec-WebSocket-Extensions",
            "permessage-deflate; client_max_window_bits",
        )
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: realtime\r\n\r\n";

/// Accepts the upgrade and passes the connection to `speak`.
fn switching(speak: impl Fn(&mut Line) + Send + Sync + 'static) -> Upstream {
    Upstream::scripted(move |_, line| {
        line.write(SWITCHING);
        speak(line);
        Then::Close
    })
}

/// A frame as a server sends it (RFC 6455 section 5.2), of less than 64 KiB.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u16::try_from(payload.len()).expect("a short frame");
    let mut frame = vec![first];
    match u8::try_from(length) {
        Ok(short @ ..126) => frame.push(short),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x81, payload)
}

/// Echoes everything. Keyside does not check the client's bytes, so the client here sends frames
/// that a server may send.
fn echo(line: &mut Line) {
    while let Ok(bytes) = line.some(u64::MAX) {
        if bytes.is_empty() || !line.write(bytes) {
            return;
        }
    }
}

fn opened(keyside: &Keyside) -> Wire {
    let mut wire = keyside.wire();
    wire.send(upgrade().bytes());
    let head = wire.head().expect("an answer to the upgrade");
    assert_eq!(head.status(), 101, "{:?}", head.headers);
    assert_eq!(
        head.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(head.header("sec-websocket-protocol"), Some("realtime"));
    assert!(
        head.header("upgrade")
            .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    );
    assert!(head.header("x-keyside-request-id").is_some());
    wire
}

#[test]
fn an_upgrade_reaches_the_upstream_with_the_key_and_its_own_headers() {
    let upstream = switching(echo);
    let keyside = Keyside::with_openai(&upstream.base_url());
    let _wire = opened(&keyside);
    let seen = upstream.only();
    assert_eq!(seen.target(), "/v1/realtime?model=gpt-realtime");
    assert_eq!(
        seen.headers_named("authorization"),
        [format!("Bearer {KEY}")]
    );
    assert!(
        seen.header("upgrade")
            .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    );
    assert!(
        seen.header("connection")
            .is_some_and(|value| holds(value.to_lowercase().as_bytes(), "upgrade"))
    );
    assert_eq!(seen.header("sec-websocket-version"), Some("13"));
    assert_eq!(
        seen.header("sec-websocket-key"),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    let extensions = seen.header("sec-websocket-extensions").unwrap_or_default();
    assert!(
        !extensions.contains("deflate"),
        "an echo must stay visible: {extensions}"
    );
}

#[test]
fn a_subprotocol_that_was_not_offered_fails_the_handshake() {
    let upstream = switching(echo);
    let keyside = Keyside::with_openai(&upstream.base_url());
    for (name, ask) in [
        (
            "none is offered",
            upgrade().without("Sec-WebSocket-Protocol"),
        ),
        (
            "another is offered",
            upgrade().set("Sec-WebSocket-Protocol", "openai-beta.realtime-v1"),
        ),
        (
            "one that does not go on is offered",
            upgrade().set("Sec-WebSocket-Protocol", "other"),
        ),
    ] {
        let answer = keyside.ask(&ask);
        expect::refused(name, &answer, 502, "upstream_unreachable");
    }
}

#[test]
fn bytes_flow_both_ways_unchanged() {
    let upstream = switching(echo);
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = opened(&keyside);
    let every_byte: Vec<u8> = (0..=255).collect();
    for round in 0..20 {
        let sent = [
            format!("<{round}").as_bytes(),
            &every_byte,
            format!("{round}>").as_bytes(),
        ]
        .concat();
        let sent = frame(0x82, sent);
        wire.send(&sent);
        let mut got = Vec::new();
        while got.len() < sent.len() {
            let more = wire.some();
            assert!(!more.is_empty(), "closed in round {round}");
            got.extend(more);
        }
        assert_eq!(got, sent, "round {round}");
    }
}

#[test]
fn the_upstream_may_speak_first_and_close_first() {
    let upstream = switching(|line| {
        line.write(b"\x81\x05hello\x88\x00");
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = opened(&keyside);
    assert_eq!(wire.until_close(), b"\x81\x05hello\x88\x00");
}

#[test]
fn the_client_s_close_reaches_the_upstream() {
    let (closed, seen) = std::sync::mpsc::channel();
    let closed = std::sync::Mutex::new(closed);
    let upstream = switching(move |line| {
        echo(line);
        let _ = closed.lock().expect("one tunnel").send(());
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = opened(&keyside);
    wire.send(text("ping"));
    wire.some_until("ping");
    drop(wire);
    seen.recv_timeout(crate::harness::PATIENCE)
        .expect("the upstream's end closes too");
}

#[test]
fn bytes_sent_with_the_upgrade_arrive_after_it() {
    let upstream = switching(echo);
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send([upgrade().bytes(), text("early")].concat());
    let head = wire.head().expect("an answer");
    if head.status() == 101 {
        wire.some_until("early");
    } else {
        expect::refused("early bytes", &head, 400, "request_malformed");
    }
    upstream.assert_only_requests();
}

#[test]
fn an_upgrade_that_is_refused_is_an_ordinary_answer() {
    let body = format!(r#"{{"error":"no such model for {KEY}"}}"#);
    let upstream = Upstream::answering(move |_| reply(403, "", body.as_bytes()));
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send(upgrade().bytes());
    let answer = wire.answer().expect("an answer");
    assert_eq!(answer.status(), 403);
    expect::keyless("a refused upgrade", &answer);
    assert!(
        answer
            .text()
            .starts_with(r#"{"error":"no such model for ***"#),
        "{}",
        answer.text()
    );
}

#[test]
fn an_upgrade_to_anything_else_or_elsewhere_is_not_passed_through() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let cases = [
        ("another protocol", upgrade().set("Upgrade", "h2c")),
        ("a path without upgrades", {
            let mut ask = upgrade();
            ask.target = "/openai/v1/models".into();
            ask
        }),
        ("no Connection header", upgrade().without("Connection")),
    ];
    for (name, ask) in cases {
        let answer = keyside.ask(&ask);
        assert_ne!(answer.status(), 101, "{name}");
    }
    for seen in upstream.requests() {
        assert_eq!(seen.header("upgrade"), None, "{:?}", seen.headers);
    }
}

#[test]
fn an_answer_101_that_nobody_asked_for_opens_no_tunnel() {
    let upstream = switching(|line| {
        line.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let answer = keyside.ask(&Ask::chat());
    expect::refused("an unasked 101", &answer, 502, "upstream_unreachable");
}

#[test]
fn a_tunnel_counts_as_a_connection() {
    let upstream = switching(echo);
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.limits.connections", "1")
        .start()
        .with_key();
    let mut tunnel = opened(&keyside);
    tunnel.send(text("ping"));
    tunnel.some_until("ping");
    let mut beyond = keyside.wire();
    beyond.send(Ask::chat().bytes());
    let answer = beyond.answer().expect("a refusal");
    assert_eq!(answer.status(), 503, "{}", answer.text());
    tunnel.send(text("pong"));
    tunnel.some_until("pong");
    drop(tunnel);
    eventually("room for one more", || {
        let mut wire = keyside.wire();
        wire.send(upgrade().bytes());
        wire.head().filter(|head| head.status() == 101)
    });
}

fn impatient(upstream: &Upstream, idle: &str) -> Keyside {
    Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.deadlines.stream_idle", &format!("{idle:?}"))
        .start()
        .with_key()
}

#[test]
fn a_side_that_only_listens_is_not_cut_off_while_the_other_talks() {
    // Longer together than the deadline, which is longer than a busy machine makes a pause.
    const PAUSE: Duration = Duration::from_millis(100);
    const PAUSES: usize = 50;
    const IDLE: &str = "4s";
    let (listening, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let talking = switching(move |line| {
        let gone = gone.lock().expect("one tunnel");
        let pause = || gone.recv_timeout(PAUSE);
        let said = (0..PAUSES).take_while(|_| line.write(text(".")) && pause().is_err());
        if said.count() == PAUSES {
            line.write(text("that is all"));
        }
    });
    let keyside = impatient(&talking, IDLE);
    opened(&keyside).some_until("that is all");
    drop(listening);

    let silent = switching(|line| {
        let mut heard = 0;
        while heard < PAUSES {
            match line.some(u64::MAX) {
                Ok(bytes) if !bytes.is_empty() => heard += bytes.len(),
                _ => return,
            }
        }
        line.write(text("that is all"));
    });
    let keyside = impatient(&silent, IDLE);
    let mut wire = opened(&keyside);
    wire.drip(|| b'.', PAUSE);
    wire.some_until("that is all");
}

#[test]
fn a_tunnel_in_which_nobody_says_anything_is_closed() {
    let upstream = switching(echo);
    let keyside = impatient(&upstream, "1s");
    assert_eq!(opened(&keyside).until_close(), b"");
}
