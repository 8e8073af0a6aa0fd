//! A provider that responds before it has read the request: the client gets the complete response,
//! and its connection stays open.

use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, RST_STREAM, block,
};
use crate::harness::h2_session::{NO_ERROR, over_frames};
use crate::harness::h2c::H2c;
use crate::harness::tls::{Authority, VALID};
use crate::harness::{
    Ask, CHAT, Keyside, Line, Message, PATIENCE, Upstream, Wire, chunk_of, holds, reply,
};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

/// Far more than sockets and windows buffer.
const LARGE: usize = 20 * 1024 * 1024;
const TRIES: usize = 30;
const SAID: &str = "that is too large for me";
const CONTINUE: &[u8; 25] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Reads the beginning of a request, responds, and closes with the rest unread, which resets the
/// connection.
fn too_large(line: &mut Line) {
    if let Ok(Some(_)) = line.head("") {
        let _ = line.piece();
        line.write(reply(413, "Connection: close\r\n", SAID.as_bytes()));
    }
}

fn plain() -> (Upstream, Keyside) {
    let upstream = Upstream::raw(too_large);
    let keyside = Keyside::with_openai(&upstream.base_url());
    (upstream, keyside)
}

fn over_tls() -> (Upstream, Keyside) {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"], VALID);
    let upstream = identity.raw_upstream(&["http/1.1"], too_large);
    let builder = authority.trusted_at(&upstream.url_for("localhost"));
    (upstream, builder.start().with_key())
}

/// Uploads on one thread and reads on another, like clients that detect an early response.
fn by_http_1(keyside: &Keyside, ask: &Ask) -> Option<Message> {
    let stream = TcpStream::connect(keyside.proxy_addr()).expect("a listener");
    let [mut writing, ending] = [0; 2].map(|_| stream.try_clone().expect("a socket"));
    let patience = writing.set_write_timeout(Some(PATIENCE));
    patience.expect("a TCP socket");
    thread::scope(|scope| {
        scope.spawn(move || drop(writing.write_all(&ask.bytes())));
        let answer = Wire::from_tcp(stream).answer();
        // Ends the upload if it has not ended yet.
        let _ = ending.shutdown(Shutdown::Both);
        answer
    })
}

fn by_h2c(keyside: &Keyside, ask: &Ask) -> Option<Message> {
    Some(H2c::connect(keyside.proxy_addr()).ask(ask))
}

/// Uploads often enough that the race would lose a response, alternating between a length and
/// chunks.
fn check(
    name: &str,
    tries: usize,
    keyside: &Keyside,
    send: fn(&Keyside, &Ask) -> Option<Message>,
    asks: [Ask; 2],
) {
    let answers: Vec<_> = (0..tries)
        .map(|n| match send(keyside, &asks[n % asks.len()]) {
            None => "a close without an answer".to_owned(),
            Some(answer) => format!("{} {}", answer.status(), answer.text()),
        })
        .collect();
    let right = format!("413 {SAID}");
    let lost: Vec<_> = answers.iter().filter(|answer| **answer != right).collect();
    assert!(
        lost.is_empty(),
        "{name}: {} of {tries} lost: {lost:?}",
        lost.len()
    );
}

/// For HTTP/1.1, where a body of unknown length comes in chunks.
fn asks_by_http_1() -> [Ask; 2] {
    let body = vec![b'x'; LARGE];
    let pieces: Vec<_> = body.chunks(64 * 1024).collect();
    [Ask::chat().body(&body), Ask::chat().chunks(&pieces, "")]
}

/// For HTTP/2, where the length is omitted.
fn asks_by_h2c() -> [Ask; 2] {
    let ask = Ask::chat().body(&vec![b'x'; LARGE]);
    [ask.clone(), ask.without("Content-Length")]
}

#[test]
fn a_413_in_the_middle_of_an_upload_reaches_an_http_1_client() {
    let (_upstream, keyside) = plain();
    check("plain", TRIES, &keyside, by_http_1, asks_by_http_1());
}

#[test]
fn a_413_in_the_middle_of_an_upload_reaches_an_http_1_client_from_behind_tls() {
    let (_upstream, keyside) = over_tls();
    check("TLS", TRIES, &keyside, by_http_1, asks_by_http_1());
}

/// Its rest is read, as if the client had sent it without waiting.
#[test]
fn a_client_that_waited_for_100_continue_can_send_its_whole_body_before_it_reads_a_413() {
    let (_upstream, keyside) = plain();
    let body = vec![b'x'; LARGE];
    let ask = Ask::chat().header("Expect", "100-continue").body(&body);
    let mut stream = TcpStream::connect(keyside.proxy_addr()).expect("a listener");
    let patience = [
        stream.set_read_timeout(Some(PATIENCE)),
        stream.set_write_timeout(Some(PATIENCE)),
    ];
    assert!(patience.iter().all(Result::is_ok), "{patience:?}");
    stream.write_all(&ask.head()).expect("a reader");
    let mut interim = [0; CONTINUE.len()];
    stream.read_exact(&mut interim).expect("a response");
    assert_eq!(&interim, CONTINUE);
    stream.write_all(&body).expect("a reader of the whole body");
    let answer = Wire::from_tcp(stream).answer().expect("an answer");
    assert_eq!((answer.status(), answer.text().as_str()), (413, SAID));
}

#[test]
fn a_413_in_the_middle_of_an_upload_reaches_an_h2c_client() {
    let (_upstream, keyside) = plain();
    check("plain", TRIES, &keyside, by_h2c, asks_by_h2c());
}

#[test]
fn a_413_in_the_middle_of_an_upload_reaches_an_h2c_client_from_behind_tls() {
    let (_upstream, keyside) = over_tls();
    check("TLS", TRIES, &keyside, by_h2c, asks_by_h2c());
}

#[test]
fn a_413_from_an_http_2_upstream_that_stops_the_upload_reaches_every_client() {
    // Answers at the first piece of a body, and resets the stream without an error (RFC 9113,
    // section 8.1).
    let (_upstream, keyside) = over_frames(|_, session| {
        let mut answered = 0;
        while let Some(frame) = session.event() {
            if frame.kind == DATA && frame.stream > answered {
                answered = frame.stream;
                session.answer(answered, 413, SAID);
                session.reset(answered, NO_ERROR);
            }
        }
    });
    check("HTTP/1.1", 10, &keyside, by_http_1, asks_by_http_1());
    check("h2c", 10, &keyside, by_h2c, asks_by_h2c());
}

/// A client in the middle of a request's body.
fn half_sent(keyside: &Keyside, workspace: &str) -> Frames {
    let mut client = Frames::connect(keyside.proxy_addr());
    request(&mut client, 1, workspace, 0);
    client.write(DATA, 0, 1, b"half of it");
    client
}

fn request(client: &mut Frames, stream: u32, workspace: &str, flags: u8) {
    let head = block(&[
        (":method", b"POST"),
        (":scheme", b"http"),
        (":path", CHAT.as_bytes()),
        (":authority", b"localhost"),
        ("x-keyside-workspace", workspace.as_bytes()),
    ]);
    client.write(HEADERS, END_HEADERS | flags, stream, &head);
}

/// Reads a stream to the end of its answer; there has to be one. Returns its body.
fn whole_answer(name: &str, client: &mut Frames, stream: u32) -> Vec<u8> {
    let mut body = Vec::new();
    let mut seen = Vec::new();
    while let Some(frame) = client.read() {
        let Frame { kind, flags, .. } = frame;
        seen.push((kind, flags, frame.stream));
        if frame.stream != stream {
            continue;
        }
        assert_ne!(kind, RST_STREAM, "{name}: reset before its end: {seen:?}");
        if kind == DATA {
            body.extend_from_slice(&frame.payload);
        }
        if [HEADERS, DATA].contains(&kind) && flags & END_STREAM != 0 {
            return body;
        }
    }
    panic!("{name}: closed before the end of the answer: {seen:?}")
}

/// While the client continues to send, only frames about the connection arrive.
fn check_not_reset(name: &str, client: &mut Frames, rounds: usize) {
    for round in 0..rounds {
        assert!(
            client.write(DATA, 0, 1, b"more of it"),
            "{name}: closed in round {round}"
        );
        let seen = client.until_pong();
        let bad = |frame: &&Frame| [RST_STREAM, GOAWAY].contains(&frame.kind);
        let bad = seen.iter().find(bad);
        assert!(
            bad.is_none(),
            "{name}: {bad:?} in round {round}, before the client had ended its stream"
        );
    }
}

fn check_answered_early(name: &str, keyside: &Keyside, workspace: &str, said: &str) {
    let mut client = half_sent(keyside, workspace);
    let body = whole_answer(name, &mut client, 1);
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(holds(&body, said), "{name}: {text}");
    check_not_reset(name, &mut client, 20);
    client.write(DATA, END_STREAM, 1, b" and the rest");
    let seen = client.until_pong();
    let gone = seen.iter().find(|frame| frame.kind == GOAWAY);
    assert!(gone.is_none(), "{name}: {gone:?} after the stream's end");
    request(&mut client, 3, workspace, END_STREAM);
    let body = whole_answer(name, &mut client, 3);
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(holds(&body, said), "{name}: the next request: {text}");
}

#[test]
fn an_early_answer_does_not_reset_the_stream_of_an_h2c_client_that_is_still_sending() {
    let early = |line: &mut Line| {
        while let Ok(Some(_)) = line.head("") {
            line.write(reply(200, "", b"early"));
            while let Ok(Some(_)) = line.piece() {}
        }
    };
    let upstream = Upstream::raw(early);
    let keyside = Keyside::with_openai(&upstream.base_url());
    check_answered_early("an upstream that reads on", &keyside, "acme", "early");

    let upstream = Upstream::raw(|line| {
        if let Ok(Some(_)) = line.head("") {
            line.write(reply(200, "Connection: close\r\n", b"early"));
        }
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    check_answered_early("an upstream that closes", &keyside, "acme", "early");
}

#[test]
fn an_early_answer_of_an_http_2_upstream_does_not_reset_the_client_s_stream() {
    let (_upstream, keyside) = over_frames(|_, session| {
        while let Some(frame) = session.event() {
            if frame.kind == HEADERS {
                session.answer(frame.stream, 200, "early");
                session.reset(frame.stream, NO_ERROR);
            }
        }
    });
    check_answered_early("HTTP/2", &keyside, "acme", "early");
}

#[test]
fn a_refusal_does_not_reset_the_stream_of_an_h2c_client_that_is_still_sending() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    check_answered_early("a refusal", &keyside, "nobody", "workspace_unknown");
    assert_eq!(upstream.connections(), 0, "a refused request left");
}

#[test]
fn an_early_answer_comes_before_the_client_sends_more() {
    let upstream = Upstream::raw(|line| {
        let Ok(Some(_)) = line.head("") else { return };
        let _ = line.piece();
        line.write(reply(200, "", SAID.as_bytes()));
        while let Ok(Some(_)) = line.piece() {}
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send(Ask::chat().chunks(&[], "").head());
    wire.send(chunk_of(b"the first piece"));
    let answer = wire.answer().expect("an answer");
    assert_eq!((answer.status(), answer.text()), (200, SAID.to_owned()));
}
