//! A client that is still sending when it is refused receives the refusal, not a reset.

use crate::harness::{Ask, Keyside, Message, PATIENCE, Upstream, Wire, expect, reply};
use std::io::Write;
use std::net::TcpStream;
use std::thread;

/// As large as a request with a few images: more than a socket's buffers.
const LARGE: usize = 10 * 1024 * 1024;

/// Sends the request as an SDK does, writing all of it before it reads.
fn answer_after_sending(keyside: &Keyside, ask: &Ask) -> Option<Message> {
    let stream = TcpStream::connect(keyside.proxy_addr()).expect("a listener");
    let mut writing = stream.try_clone().expect("a socket");
    let bytes = ask.bytes();
    let writer = thread::spawn(move || drop(writing.write_all(&bytes)));
    writer.join().expect("a writer");
    Wire::from_tcp(stream).answer()
}

#[test]
fn a_large_request_that_is_refused_hears_why() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    let body = vec![b'x'; LARGE];
    let ask = Ask::chat().body(&body);
    for (code, status, ask) in [
        ("credential_missing", 401, ask.clone()),
        ("workspace_unknown", 400, ask.clone().workspace("nobody")),
        (
            "browser_not_allowed",
            403,
            ask.clone().header("Origin", "null"),
        ),
        (
            "request_malformed",
            400,
            ask.header("X-Keyside-Environment", "neither"),
        ),
    ] {
        let answer = answer_after_sending(&keyside, &ask);
        let answer = answer.unwrap_or_else(|| panic!("{code}: a reset instead of an answer"));
        expect::refused(code, &answer, status, code);
    }
}

#[test]
fn a_large_request_that_the_upstream_refuses_early_hears_why() {
    let upstream = Upstream::raw(|line| {
        let Ok(Some(_)) = line.head("") else { return };
        line.write(reply(413, "Connection: close\r\n", b"too large for me"));
        while let Ok(Some(_)) = line.piece() {}
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let answer = answer_after_sending(&keyside, &Ask::chat().body(&vec![b'x'; LARGE]));
    let answer = answer.expect("an answer instead of a reset");
    assert_eq!(
        (answer.status(), answer.text()),
        (413, "too large for me".to_owned())
    );
}

#[test]
fn a_client_that_waits_for_100_continue_is_refused_before_it_sends() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let ask = Ask::chat()
        .workspace("nobody")
        .header("Expect", "100-continue")
        .body(&[b'x'; 1000]);
    let mut wire = keyside.wire();
    wire.send(ask.head());
    let answer = wire.answer().expect("a final answer at once");
    expect::refused("before the body", &answer, 400, "workspace_unknown");
    assert_eq!(upstream.connections(), 0);
}

/// Only `100-continue` makes a client wait: with any other expectation its body is on its way.
#[test]
fn a_client_with_another_expectation_can_send_its_whole_body_before_it_reads_why() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    let body = vec![b'x'; LARGE];
    let ask = Ask::chat().header("Expect", "200-ok").body(&body);
    let mut stream = TcpStream::connect(keyside.proxy_addr()).expect("a listener");
    let patience = stream.set_write_timeout(Some(PATIENCE));
    patience.expect("a TCP socket");
    stream
        .write_all(&ask.bytes())
        .expect("a reader of the whole body");
    let answer = Wire::from_tcp(stream).answer().expect("an answer");
    expect::refused("200-ok", &answer, 401, "credential_missing");
}
