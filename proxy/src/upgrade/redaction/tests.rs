use keyside_credentials::Secret;

use super::*;
use crate::websocket::Frames;

const SECRET: &str = "sk-wsCanary+0123456789";

fn scrub() -> Scrub {
    Scrub::new(Secret::from_plaintext(SECRET.into()).unwrap(), Vec::new())
}

/// A server's frame with at most 125 bytes of payload.
fn frame(first: u8, payload: &str) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, length][..], payload.as_bytes()].concat()
}

fn fragments(pieces: &[&str]) -> Vec<u8> {
    let last = pieces.len() - 1;
    let frames = pieces.iter().enumerate().map(|(at, piece)| {
        let opcode = if at == 0 { 1 } else { 0 };
        let end = if at == last { 0x80 } else { 0 };
        frame(opcode | end, piece)
    });
    frames.collect::<Vec<_>>().concat()
}

/// What the client has received after each of these pieces.
fn after_each(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let (mut frames, mut redaction, mut scrub) = (Frames::new(true), Redaction::new(), scrub());
    let mut out = Vec::new();
    let mut after = Vec::new();
    for piece in pieces {
        let piece = Bytes::copy_from_slice(piece);
        let read = frames.push(&piece, |part| redaction.part(part, &piece, &mut scrub));
        read.unwrap();
        out.extend_from_slice(&redaction.take());
        after.push(out.clone());
    }
    redaction.finish(&mut scrub);
    out.extend_from_slice(&redaction.take());
    after.push(out);
    after
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn through(pieces: &[&[u8]]) -> String {
    shown(&after_each(pieces).pop().unwrap())
}

fn check_at_every_cut(sent: &[u8], expected: &[u8]) {
    let expected = shown(expected);
    let singly: Vec<_> = sent.chunks(1).collect();
    assert_eq!(through(&singly), expected, "byte by byte");
    for cut in 0..=sent.len() {
        let out = through(&[&sent[..cut], &sent[cut..]]);
        assert_eq!(out, expected, "cut at {cut}");
    }
}

fn stars(text: &str) -> String {
    "*".repeat(text.len())
}

#[test]
fn a_secret_is_masked_wherever_frames_and_reads_cut_it() {
    for secret in [SECRET, "\\u0073k-wsCanary%2b0123456789"] {
        let text = format!("a {secret} b");
        let masked = format!("a {} b", stars(secret));
        for a in 0..=text.len() {
            let b = text.len().min(a + 7);
            let cut = |text: &str| fragments(&[&text[..a], &text[a..b], &text[b..]]);
            check_at_every_cut(&cut(&text), &cut(&masked));
        }
        let singly = |text: &str| {
            let pieces: Vec<_> = (0..text.len()).map(|at| &text[at..=at]).collect();
            fragments(&pieces)
        };
        check_at_every_cut(&singly(&text), &singly(&masked));
    }
}

#[test]
fn text_that_only_begins_like_a_secret_passes_unchanged_within_its_message() {
    let begun = &SECRET[..9];
    let sent = [
        fragments(&["a ", begun, "", begun]),
        fragments(&[&SECRET[9..], begun]),
        fragments(&[&SECRET[9..]]),
        frame(0x82, begun),
        frame(0x89, &SECRET[9..]),
    ]
    .concat();
    check_at_every_cut(&sent, &sent);
}

#[test]
fn the_secret_is_masked_in_a_ping_and_in_the_reason_of_a_close() {
    let frames = |secret: &str| {
        let ping = frame(0x89, &format!("p {secret}"));
        let close = frame(0x88, &format!("\u{3}@because of {secret}, sorry"));
        [ping, frame(0x8a, secret), close].concat()
    };
    check_at_every_cut(&frames(SECRET), &frames(&stars(SECRET)));
}

#[test]
fn a_control_frame_between_fragments_does_not_wait() {
    let ping = frame(0x89, "now");
    for cut in 1..SECRET.len() {
        let (begun, rest) = SECRET.split_at(cut);
        let first = [frame(0x01, begun), ping.clone()].concat();
        let after = after_each(&[&first, &frame(0x80, rest)]);
        let [after_ping, after_all, _] = &after[..] else {
            panic!("two pieces and an end");
        };
        let begun = match cut {
            ..4 => begun.to_owned(),
            _ => stars(begun),
        };
        let came = [frame(0x01, &begun), ping.clone()].concat();
        assert_eq!(shown(after_ping), shown(&came), "cut at {cut}");
        let all = [came, frame(0x80, &stars(rest))].concat();
        assert_eq!(shown(after_all), shown(&all), "cut at {cut}");
    }
}

#[test]
fn a_message_waits_only_until_the_next_fragment_decides() {
    let (begun, rest) = SECRET.split_at(8);
    let pieces = [
        frame(0x01, &format!("one {begun}")),
        frame(0x00, ""),
        frame(0x00, rest),
        frame(0x00, &format!(" two {begun}")),
        frame(0x00, "not it"),
        frame(0x00, begun),
        frame(0x80, ""),
    ];
    let sent: Vec<_> = pieces.iter().map(|piece| &piece[..]).collect();
    let after = after_each(&sent);
    // Waiting: the beginning of the secret, and the header after it.
    for (at, waits) in [8, 8 + 2, 0, 8, 0, 8, 0].into_iter().enumerate() {
        let came = pieces[..=at].concat().len();
        assert_eq!(after[at].len(), came - waits, "after {at}");
    }
}

#[test]
fn endless_empty_fragments_do_not_accumulate() {
    let mut sent = frame(0x01, &SECRET[..10]);
    for _ in 0..10_000 {
        sent.extend_from_slice(&frame(0x00, ""));
    }
    let after = after_each(&[&sent, &frame(0x80, &SECRET[10..])]);
    let waits = sent.len() - after[0].len();
    assert!(waits <= SECRET.len() + 2 * MAX_PENDING, "{waits}");
    assert!(after[1].ends_with(stars(&SECRET[10..]).as_bytes()));
}

#[test]
fn a_compressed_message_passes_unchecked_and_the_next_is_checked() {
    let sent = [
        frame(0x41, SECRET),
        frame(0x80, SECRET),
        frame(0x81, SECRET),
    ]
    .concat();
    let expected = [
        frame(0x41, SECRET),
        frame(0x80, SECRET),
        frame(0x81, &stars(SECRET)),
    ]
    .concat();
    check_at_every_cut(&sent, &expected);
}
