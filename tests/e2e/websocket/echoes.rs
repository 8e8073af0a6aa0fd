//! An upstream that echoes the key over a WebSocket: the client never sees it, and every frame
//! keeps its size.

use super::{Line, frame, opened, switching, text, upgrade};
use crate::harness::{KEY, Keyside, Then, Upstream, expect, holds};

fn stars(text: &str) -> String {
    "*".repeat(text.len())
}

/// The bytes that the client reads if the upstream writes these pieces, each in a separate write.
fn through(pieces: Vec<Vec<u8>>) -> Vec<u8> {
    let upstream = switching(move |line: &mut Line| {
        for piece in &pieces {
            line.write(piece);
        }
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    opened(&keyside).until_close()
}

fn check(name: &str, pieces: Vec<Vec<u8>>, expected: &[Vec<u8>]) {
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(shown(&through(pieces)), shown(&expected.concat()), "{name}");
}

/// A text message in these fragments.
fn fragments(pieces: &[&str]) -> Vec<Vec<u8>> {
    let last = pieces.len() - 1;
    let first = |at: usize| u8::from(at == 0) | if at == last { 0x80 } else { 0 };
    let pieces = pieces.iter().enumerate();
    pieces.map(|(at, piece)| frame(first(at), piece)).collect()
}

#[test]
fn a_key_in_a_message_is_masked_wherever_reads_cut_it() {
    let sent = text(format!("a {KEY} z {KEY} end"));
    let masked = text(format!("a {0} z {0} end", stars(KEY)));
    for cut in [1, 2, 10, 30, sent.len() - 6] {
        let (first, second) = sent.split_at(cut);
        let pieces = vec![first.to_vec(), second.to_vec()];
        check(
            &format!("cut at {cut}"),
            pieces,
            std::slice::from_ref(&masked),
        );
    }
}

#[test]
fn a_key_across_the_fragments_of_a_message_is_masked() {
    let (front, back) = KEY.split_at(20);
    let sent = fragments(&[&format!("a {front}"), &format!("{back} z")]);
    let masked = fragments(&[
        &format!("a {}", stars(front)),
        &format!("{} z", stars(back)),
    ]);
    check("two fragments", sent.clone(), &masked);
    check("in one write", vec![sent.concat()], &masked);

    let bytes: Vec<_> = (0..KEY.len()).map(|at| &KEY[at..=at]).collect();
    let stars: Vec<_> = bytes.iter().map(|_| "*").collect();
    let (sent, masked) = (fragments(&bytes), fragments(&stars));
    check("byte by byte", sent.clone(), &masked);
    check("byte by byte in one write", vec![sent.concat()], &masked);

    let sent = fragments(&["a ", front, "", back, ""]);
    let masked = fragments(&["a ", &stars[..20].concat(), "", &stars[20..].concat(), ""]);
    check("with empty fragments", sent, &masked);
}

#[test]
fn an_escaped_key_is_masked_in_frames_too() {
    let json = KEY.replace('-', "\\u002D");
    let (front, back) = json.split_at(5);
    check(
        "cut in an escape",
        fragments(&[front, back]),
        &fragments(&[&stars(front), &stars(back)]),
    );
    let url = KEY.replacen("sk", "%73k", 1);
    let binary = |text: &str| vec![frame(0x82, text)];
    check("in binary", binary(&url), &binary(&stars(&url)));
}

#[test]
fn a_ping_between_fragments_passes_at_once_and_the_key_around_it_is_masked() {
    for cut in [4, 20, KEY.len() - 1] {
        let (front, back) = KEY.split_at(cut);
        let upstream = switching(move |line| {
            line.write(frame(0x01, front));
            line.write(frame(0x89, "ping"));
            // Continues after the client's response.
            if line.some(u64::MAX).is_ok_and(|pong| holds(&pong, "pong")) {
                line.write(frame(0x80, back));
            }
        });
        let keyside = Keyside::with_openai(&upstream.base_url());
        let mut wire = opened(&keyside);
        let mut said = wire.some_until("ping");
        wire.send(frame(0x8a, "pong"));
        said.extend(wire.until_close());
        let expected = [
            frame(0x01, stars(front)),
            frame(0x89, "ping"),
            frame(0x80, stars(back)),
        ];
        assert_eq!(said, expected.concat(), "cut at {cut}");
    }
}

#[test]
fn a_key_in_a_ping_a_pong_or_a_close_is_masked() {
    let frames = |key: &str| {
        vec![
            frame(0x89, key),
            frame(0x8a, format!("pong {key}")),
            frame(0x88, [&b"\x03\xe8bye "[..], key.as_bytes()].concat()),
        ]
    };
    check("control frames", frames(KEY), &frames(&stars(KEY)));
}

#[test]
fn text_that_only_begins_like_the_key_is_unchanged() {
    let (front, back) = KEY.split_at(20);
    let sent = [
        fragments(&["a ", front, "and no more"]),
        fragments(&["a ", front]),
        fragments(&[back, front]),
        vec![frame(0x89, back), text(back)],
    ]
    .concat();
    check("beginnings", sent.clone(), &sent);
}

#[test]
fn a_key_in_the_head_of_the_handshake_is_masked() {
    let head = format!(
        "HTTP/1.1 101 Switching {KEY}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Echo: {KEY}\r\nX-{KEY}: 1\r\n\r\n"
    );
    let upstream = Upstream::scripted(move |_, line| {
        line.write(&head);
        Then::Close
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send(upgrade().bytes());
    let answer = wire.head().expect("an answer");
    assert_eq!(answer.status(), 101);
    expect::keyless("a handshake", &answer);
    let lower = KEY.to_lowercase();
    let named = |(name, _): &(String, String)| name.to_lowercase().contains(&lower);
    assert!(!answer.headers.iter().any(named), "{:?}", answer.headers);
}
