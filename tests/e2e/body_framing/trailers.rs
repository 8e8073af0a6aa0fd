//! Trailers over HTTP/2 with pseudo-header fields are refused in every encoding, and fields that
//! belong into a head are dropped.

use super::{Field, head, send};
use crate::harness::frames::{DATA, END_HEADERS, END_STREAM, Fate, Frames, HEADERS, block, frame};
use crate::harness::h2_upstream::{H2Answer, over_h2, over_h2_answering};
use crate::harness::h2c::H2c;
use crate::harness::{Ask, CHAT, Keyside, Upstream};

/// The trailers that end a request.
fn trailers(field: Field<'_>) -> Vec<u8> {
    let block = block(&[("x-check", b"7"), field]);
    let data = frame(DATA, 0, 1, b"hello");
    let end = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
    [data, end].concat()
}

const PSEUDO: &[Field<'static>] = &[
    (":path", b"/v1/models"),
    (":method", b"GET"),
    (":authority", b"attacker.example"),
    (":scheme", b"https"),
    (":status", b"200"),
    (":protocol", b"websocket"),
    (":unknown", b"1"),
];

#[test]
fn trailers_with_a_pseudo_header_are_refused() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let fields = head("POST", CHAT);
    for field in PSEUDO {
        let fate = send(&keyside, &fields, &trailers(*field));
        assert_ne!(fate, Fate::Answered { ok: true }, "{field:?}");
        let arrived = upstream.requests();
        assert!(arrived.is_empty(), "{field:?} arrived whole: {arrived:#?}");
    }
    upstream.assert_only_requests();
    let fate = send(&keyside, &fields, &trailers(("x-other", b"8")));
    assert_eq!(fate, Fate::Answered { ok: true }, "trailers without any");
    assert_eq!(upstream.only().body, b"hello");
}

#[test]
fn trailers_with_a_pseudo_header_are_refused_before_an_http_2_upstream() {
    let (upstream, keyside) = over_h2(true, H2Answer::default());
    for field in PSEUDO {
        let fate = send(&keyside, &head("POST", CHAT), &trailers(*field));
        assert_ne!(fate, Fate::Answered { ok: true }, "{field:?}");
    }
    let arrived = upstream.requests();
    assert!(arrived.is_empty(), "arrived whole: {arrived:#?}");
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200, "and it serves on");
}

/// Like compressing clients, which refer to an earlier field by its index in the connection's
/// table.
#[test]
fn the_same_trailers_pass_request_after_request() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut client = Frames::connect(keyside.proxy_addr());
    let first = [&[0x40, 5][..], b"x-sum", &[1], b"8"].concat();
    for (stream, trailers) in [(1, &first[..]), (3, &[0xbe]), (5, &[0x7e, 1, b'9'])] {
        client.write(HEADERS, END_HEADERS, stream, &block(&head("POST", CHAT)));
        client.write(DATA, 0, stream, b"hello");
        client.write(HEADERS, END_HEADERS | END_STREAM, stream, trailers);
        assert_eq!(client.fate(stream), Fate::Answered { ok: true }, "{stream}");
    }
    assert_eq!(upstream.requests().len(), 3);
}

/// A field can be an index into a table that only both ends of the connection know.
#[test]
fn trailers_with_a_pseudo_header_of_an_earlier_request_are_refused() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let path = [&[0x44, CHAT.len() as u8][..], CHAT.as_bytes()].concat();
    let ordinary = [&[0x40, 5][..], b"x-sum", &[1], b"8"].concat();
    // The path is the newest entry but one when the trailers come: it has index 63, the ordinary
    // field 62.
    for hidden in [
        &[0xbf][..],
        &[0xbe, 0xbf],
        &[0x0f, 0x30, 1, b'/'],
        &[0x7f, 0, 1, b'/'],
    ] {
        let before = upstream.requests().len();
        let mut client = Frames::connect(keyside.proxy_addr());
        let mut fields = head("POST", CHAT);
        fields.retain(|(name, _)| *name != ":path");
        let head = [&path[..], &block(&fields), &ordinary].concat();
        client.write(HEADERS, END_HEADERS, 1, &head);
        client.write(DATA, 0, 1, b"hello");
        client.write(HEADERS, END_HEADERS | END_STREAM, 1, hidden);
        assert_ne!(client.fate(1), Fate::Answered { ok: true }, "{hidden:02x?}");
        assert_eq!(
            upstream.requests().len(),
            before,
            "{hidden:02x?} arrived whole"
        );
    }
}

/// A gateway behind the other end could take them for the head's, such as another length.
const OF_A_HEAD: [&str; 8] = [
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "max-forwards",
    "set-cookie",
    "trailer",
];

#[test]
fn fields_of_a_head_are_no_trailers_in_either_direction() {
    let (upstream, keyside) = over_h2_answering(|seen| {
        let wanted = seen.head.headers().get("x-wanted");
        let named = |name: &&str| wanted.is_some_and(|wanted| *wanted == **name);
        H2Answer {
            pieces: vec![b"body".to_vec()],
            trailer: OF_A_HEAD.into_iter().find(named).map(|name| (name, "9")),
            ..H2Answer::default()
        }
    });
    let mut client = H2c::connect(keyside.proxy_addr());
    for name in OF_A_HEAD {
        let ask = Ask::chat()
            .bare()
            .header("te", "trailers")
            .header("x-wanted", name);
        let mut stream = client.open(&ask, false);
        client.send(&mut stream, b"one", false);
        client.send_trailers(&mut stream, name, "9");
        let answer = client.finish(stream);
        assert!(answer.is_whole(), "{name}: {:?}", answer.ending);
        assert_eq!((answer.text().as_str(), answer.trailers.len()), ("body", 0));
        let seen = upstream.requests().pop().expect("a request");
        assert_eq!(
            (seen.body.as_slice(), seen.trailers.len()),
            (&b"one"[..], 0)
        );
    }
    assert_eq!(upstream.requests().len(), OF_A_HEAD.len());
}
