//! Unreadable frames could hide an echo: the tunnel ends before they reach the client.

use super::{Line, frame, opened, switching, text, upgrade};
use crate::harness::{KEY, Keyside, Message, Then, Upstream, expect, field, holds};

/// A log line of this very message.
fn says(message: &str) -> impl Fn(&serde_json::Value) -> bool {
    move |line| field(line, "message").as_deref() == Some(message)
}

#[test]
fn a_frame_that_no_server_may_send_ends_the_tunnel_before_it() {
    let mask = [1_u8, 2, 3, 4];
    let masked: Vec<_> = KEY
        .bytes()
        .zip(mask.iter().cycle())
        .map(|(byte, with)| byte ^ with)
        .collect();
    let masked = [&[0x81, 0x80 | KEY.len() as u8][..], &mask, &masked].concat();
    for (name, bad) in [
        ("masked", masked),
        ("masked with zeros", {
            let mut frame = frame(0x81, [&[0; 4][..], KEY.as_bytes()].concat());
            frame[1] = 0x80 | KEY.len() as u8;
            frame
        }),
        ("compressed", frame(0xc1, KEY)),
        ("the second reserved bit", frame(0xa1, KEY)),
        ("the third reserved bit", frame(0x91, KEY)),
        ("a ping with a reserved bit", frame(0xc9, KEY)),
        ("opcode 3", frame(0x83, KEY)),
        ("opcode 11", frame(0x8b, KEY)),
        ("a continuation of nothing", frame(0x80, KEY)),
        (
            "a message within a message",
            [frame(0x01, "a"), frame(0x81, KEY)].concat(),
        ),
        ("a ping in fragments", frame(0x09, KEY)),
        ("a ping of 126 bytes", frame(0x89, "x".repeat(126))),
        (
            "a length of 2^63",
            [&b"\x82\x7f\x80\0\0\0\0\0\0\0"[..], KEY.as_bytes()].concat(),
        ),
        ("no frame at all", format!("hello, {KEY}").into_bytes()),
    ] {
        let sent = [text("before"), bad].concat();
        let upstream = switching(move |line: &mut Line| {
            line.write(&sent);
            // Keyside closes it, not this side.
            while line.some(u64::MAX).is_ok_and(|bytes| !bytes.is_empty()) {}
        });
        let keyside = Keyside::with_openai(&upstream.base_url());
        let said = opened(&keyside).until_close();
        assert!(said.starts_with(&text("before")), "{name}: {said:?}");
        assert!(!holds(&said, KEY), "{name}: {said:?}");
        assert!(
            said.len() <= text("before").len() + frame(0x01, "a").len(),
            "{name}: {said:?}"
        );
        let request = keyside.log_line(says("request"));
        let outcome = field(&request, "outcome");
        assert_eq!(
            outcome.as_deref(),
            Some("upstream_aborted"),
            "{name}: {request}"
        );
        let cut = keyside.log_line(says(
            "a WebSocket was closed because its upstream sent invalid data",
        ));
        for (field_name, expected) in [
            ("request_id", field(&request, "request_id")),
            ("workspace", Some("acme".to_owned())),
            ("provider", Some("openai".to_owned())),
        ] {
            assert!(expected.is_some(), "{name}: {request}");
            let carried = cut[field_name].as_str();
            assert_eq!(carried, expected.as_deref(), "{name}: {cut}");
        }
    }
}

/// The answer to a handshake that offers `offered`, from an upstream that agrees to `agreed` and
/// then sends a compressed frame; and what follows it.
fn agreeing(settings: &str, offered: Option<&str>, agreed: &str) -> (Message, Vec<u8>) {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: {agreed}\r\n\r\n"
    );
    let upstream = Upstream::scripted(move |_, line| {
        line.write([head.as_bytes(), &frame(0xc1, "compressed"), &text(KEY)].concat());
        Then::Close
    });
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.accept_encoding", settings)
        .start()
        .with_key();
    let ask = upgrade().without("Sec-WebSocket-Extensions");
    let ask = match offered {
        Some(offered) => ask.header("Sec-WebSocket-Extensions", offered),
        None => ask,
    };
    let mut wire = keyside.wire();
    wire.send(ask.bytes());
    let head = wire.head().expect("an answer");
    match head.status() {
        101 => {
            let rest = wire.until_close();
            (head, rest)
        }
        _ => {
            let mut body = Vec::new();
            while let Some(piece) = wire.piece() {
                body.extend(piece);
            }
            (Message { body, ..head }, Vec::new())
        }
    }
}

const DEFLATE: &str = "permessage-deflate; client_max_window_bits";

#[test]
fn an_extension_that_was_not_offered_is_refused_with_the_handshake() {
    for (settings, offered, agreed) in [
        (r#""identity""#, None, "permessage-deflate"),
        (r#""identity""#, Some(DEFLATE), "permessage-deflate"),
        (r#""identity""#, Some(DEFLATE), "x-other; a=1"),
        (r#""pass""#, None, "permessage-deflate"),
        (r#""pass""#, Some(DEFLATE), "x-other"),
        (r#""pass""#, Some(DEFLATE), "permessage-deflate, x-other"),
    ] {
        let name = format!("{settings}: {agreed} to {offered:?}");
        let (answer, rest) = agreeing(settings, offered, agreed);
        expect::refused(&name, &answer, 502, "upstream_unreachable");
        assert_eq!(rest, b"", "{name}");
    }
}

#[test]
fn with_encodings_let_through_a_compressed_message_passes_and_a_plain_one_is_masked() {
    let (answer, rest) = agreeing(
        r#""pass""#,
        Some(DEFLATE),
        "Permessage-Deflate; server_no_context_takeover",
    );
    assert_eq!(answer.status(), 101);
    let expected = [frame(0xc1, "compressed"), text("*".repeat(KEY.len()))];
    assert_eq!(rest, expected.concat());
}
