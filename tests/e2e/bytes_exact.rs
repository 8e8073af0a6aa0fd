//! Each side receives exactly the bytes that the other sends, over HTTP/1.1.

use crate::harness::{
    Ask, Ending, Keyside, Pair, Upstream, chunk_of, chunked_head, reply, reply_in_chunks,
};
use std::thread;

/// Bytes without a pattern that a copy of the wrong block could repeat.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

const TEN_MEGABYTES: usize = 10 * 1024 * 1024;

/// gzip of "hello, hello, hello, hello\n" (RFC 1952), as a compressor wrote it.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xd7,
    0x51, 0xc8, 0xc0, 0xa4, 0xb8, 0x00, 0x4b, 0x21, 0xa1, 0x29, 0x1b, 0x00, 0x00, 0x00,
];

fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("one byte", vec![0]),
        (
            "JSON",
            br#"{"model":"m","n":1.0e2,"s":"\u00e9","messages":[]}"#.to_vec(),
        ),
        ("not UTF-8", vec![0xff, 0xfe, 0xc3, 0x28, 0x00, 0x80]),
        ("every byte", (0..=255).collect()),
        (
            "what looks like a response",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        ("what looks like an end", b"0\r\n\r\n".to_vec()),
        ("gzip", GZIP.to_vec()),
        ("64 KiB and a byte", noise(65_537)),
        ("10 MB", noise(TEN_MEGABYTES)),
    ]
}

/// Fails with a position instead of ten megabytes of text.
fn assert_same(name: &str, got: &[u8], sent: &[u8]) {
    let differs = got.iter().zip(sent).position(|(a, b)| a != b);
    let lengths = (got.len(), sent.len());
    assert!(
        got == sent,
        "{name}: first difference at {differs:?}, lengths {lengths:?}"
    );
}

#[test]
fn a_request_body_of_known_length_arrives_exactly() {
    let pair = Pair::new();
    for (name, body) in corpus() {
        let (seen, _) = pair.exchange(&Ask::chat().body(&body), reply(200, "", b"ok"));
        assert_same(name, &seen.body, &body);
        assert_eq!(
            seen.header("content-length"),
            Some(&*body.len().to_string()),
            "{name}"
        );
        assert_eq!(
            seen.header("content-type"),
            Some("application/json"),
            "{name}"
        );
    }
}

#[test]
fn a_chunked_request_body_arrives_exactly() {
    let pair = Pair::new();
    for (name, body) in corpus() {
        let chunks: Vec<_> = body.chunks(10_007).collect();
        let (seen, _) = pair.exchange(&Ask::chat().chunks(&chunks, ""), reply(200, "", b"ok"));
        assert_same(name, &seen.body, &body);
        assert_eq!(
            seen.header("content-length"),
            None,
            "{name}: its length was not known"
        );
    }
}

#[test]
fn an_answer_of_known_length_arrives_exactly() {
    let pair = Pair::new();
    for (name, body) in corpus() {
        let headers = "Content-Type: application/octet-stream\r\nX-Request-Id: from-upstream\r\n";
        let (_, got) = pair.exchange(&Ask::chat(), reply(200, headers, &body));
        assert_same(name, &got.body, &body);
        assert_eq!(got.ending, Ending::Length, "{name}");
        assert_eq!(
            got.header("content-type"),
            Some("application/octet-stream"),
            "{name}"
        );
        assert_eq!(got.header("x-request-id"), Some("from-upstream"), "{name}");
    }
}

#[test]
fn a_chunked_answer_arrives_exactly() {
    let pair = Pair::new();
    for (name, body) in corpus() {
        let chunks: Vec<_> = body.chunks(10_007).collect();
        let (_, got) = pair.exchange(&Ask::chat(), reply_in_chunks("", &chunks, ""));
        assert_same(name, &got.body, &body);
        assert_eq!(got.ending, Ending::Chunked, "{name}");
    }
}

#[test]
fn an_answer_that_comes_compressed_arrives_exactly() {
    let pair = Pair::new();
    let (_, got) = pair.exchange(&Ask::chat(), reply(200, "Content-Encoding: gzip\r\n", GZIP));
    assert_same("gzip", &got.body, GZIP);
    assert_eq!(got.header("content-encoding"), Some("gzip"));
}

#[test]
fn a_compressed_request_arrives_exactly() {
    let pair = Pair::new();
    let ask = Ask::chat().header("Content-Encoding", "gzip").body(GZIP);
    let (seen, _) = pair.exchange(&ask, reply(200, "", b"ok"));
    assert_same("gzip", &seen.body, GZIP);
    assert_eq!(seen.header("content-encoding"), Some("gzip"));
}

#[test]
fn ten_megabytes_go_both_ways_at_once() {
    let body = noise(TEN_MEGABYTES);
    // Sends each piece back before it reads the next: neither side may wait for the whole.
    let upstream = Upstream::raw(|line| {
        let Ok(Some(_)) = line.head("") else { return };
        line.write(chunked_head(""));
        while let Ok(Some(piece)) = line.piece() {
            line.write(chunk_of(&piece));
        }
        line.write("0\r\n\r\n");
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let address = keyside.proxy_addr();
    let stream = std::net::TcpStream::connect(address).expect("a listener");
    let (mut writing, ask) = (
        stream.try_clone().expect("a socket"),
        Ask::chat().body(&body),
    );
    let writer = thread::spawn(move || {
        use std::io::Write;
        writing.write_all(&ask.bytes())
    });
    let got = crate::harness::Wire::from_tcp(stream)
        .answer()
        .expect("an answer");
    writer
        .join()
        .expect("a writer")
        .expect("a body that is read to its end");
    assert_same("there and back", &got.body, &body);
    assert_eq!(got.ending, Ending::Chunked);
}

#[test]
fn trailers_arrive_both_ways() {
    let pair = Pair::new();
    let answer = reply_in_chunks("Trailer: X-Sum\r\n", &[b"body"], "X-Sum: 42\r\n");
    let ask = Ask::chat()
        .header("TE", "trailers")
        .header("Trailer", "X-Check")
        .chunks(&[b"one", b"two"], "X-Check: 7\r\n");
    let (seen, got) = pair.exchange(&ask, answer);
    assert_eq!(got.body, b"body");
    assert_eq!(
        lowered(&got.trailers),
        [("x-sum".to_owned(), "42".to_owned())],
        "answer"
    );
    assert_eq!(seen.body, b"onetwo");
    assert_eq!(
        lowered(&seen.trailers),
        [("x-check".to_owned(), "7".to_owned())],
        "request"
    );
}

fn lowered(fields: &[(String, String)]) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect()
}

#[test]
fn statuses_without_a_body_stay_without_one() {
    let pair = Pair::new();
    for (status, line) in [
        (204, "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            304,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: \"x\"\r\n\r\n",
        ),
        (200, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let (_, got) = pair.exchange(&Ask::get("/openai/v1/models"), line.as_bytes().to_vec());
        assert_eq!(got.status(), status);
        assert!(
            got.body.is_empty() && got.is_whole(),
            "{status}: {:?}",
            got.ending
        );
    }
}

#[test]
fn the_upstream_s_own_errors_arrive_as_they_are() {
    let pair = Pair::new();
    for status in [400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 529] {
        let body = format!(r#"{{"error":{{"message":"mine","code":{status}}}}}"#);
        let headers = "Retry-After: 7\r\nX-RateLimit-Remaining: 0\r\n";
        let (_, got) = pair.exchange(&Ask::chat(), reply(status, headers, body.as_bytes()));
        assert_eq!((got.status(), got.text()), (status, body));
        assert_eq!(got.header("retry-after"), Some("7"), "{status}");
        assert_eq!(got.header("x-ratelimit-remaining"), Some("0"), "{status}");
    }
}

#[test]
fn an_interim_response_does_not_replace_the_final_one() {
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_vec();
    let both = [interim, reply(200, "", b"final")].concat();
    let upstream = Upstream::answering(move |_| both.clone());
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send(Ask::chat().bytes());
    let mut answer = wire.answer().expect("an answer");
    if answer.status() == 103 {
        answer = wire.answer().expect("the final one");
    }
    assert_eq!((answer.status(), answer.text()), (200, "final".to_owned()));
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let ask = Ask::chat().header("Expect", "100-continue").body(b"waited");
    let mut wire = keyside.wire();
    wire.send(ask.head());
    assert_eq!(wire.answer().expect("an interim answer").status(), 100);
    wire.send("waited");
    assert_eq!(wire.answer().expect("an answer").status(), 200);
    assert_eq!(upstream.only().body, b"waited");
}

#[test]
fn repeated_headers_and_odd_values_arrive_each() {
    let latin: &[u8] = b"caf\xe9 \xff";
    let ask = Ask::chat()
        .header("X-Many", "1")
        .header("X-Many", "2, 3")
        .header("X-Empty", "")
        .header("X-Latin", latin);
    let mut answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Latin: ".to_vec();
    answer.extend_from_slice(latin);
    answer.extend_from_slice(b"\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n");
    let (seen, got) = Pair::new().exchange(&ask, answer);
    assert_eq!(seen.headers_named("x-many"), ["1", "2, 3"]);
    assert_eq!(seen.headers_named("x-empty"), [""]);
    assert_eq!(got.headers_named("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(got.headers_named("x-empty"), [""]);
    for (side, raw) in [("upstream", &seen.raw), ("client", &got.raw)] {
        assert!(
            raw.windows(latin.len()).any(|window| window == latin),
            "{side}: {raw:?}"
        );
    }
}
