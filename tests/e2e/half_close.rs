//! A client that closes its sending side: after its last request it waits for the response,
//! otherwise it has disconnected.

use crate::harness::gate::Gate;
use crate::harness::{
    Ask, Ending, Keyside, PATIENCE, Then, Upstream, Wire, chunk_of, chunked_head, eventually,
    expect, reply,
};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

/// An upstream that responds to a request with `X-Waits` when the gate is at 1, in two events, and
/// to others at once.
fn waiting() -> (Upstream, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let at = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |seen, line| {
        if seen.header("x-waits").is_none() {
            line.write(reply(200, "", b"at once"));
            return Then::Keep;
        }
        at.wait_for(1);
        line.write(chunked_head("Content-Type: text/event-stream\r\n"));
        line.write(chunk_of(b"data: one\n\n"));
        at.wait_for(2);
        line.write(chunk_of(b"data: two\n\n"));
        line.write("0\r\n\r\n");
        Then::Keep
    });
    (upstream, gate)
}

/// Keyside has one thread: when it has responded on another connection, it has read everything that
/// arrived earlier.
fn let_it_be_seen(keyside: &Keyside) {
    assert_eq!(keyside.ask(&Ask::chat()).text(), "at once");
}

fn last(ask: Ask) -> Vec<u8> {
    ask.header("Connection", "close").bytes()
}

fn old(method: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} /openai/v1/models HTTP/1.0\r\nHost: localhost\r\nX-Keyside-Workspace: acme\r\n\
        X-Waits: 1\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn a_client_that_half_closes_after_its_last_request_gets_its_answer() {
    let get = || Ask::get("/openai/v1/models").header("X-Waits", "1");
    let chat = || Ask::chat().header("X-Waits", "1");
    for (name, request, ending) in [
        ("a GET", last(get()), Ending::Chunked),
        ("a body", last(chat()), Ending::Chunked),
        (
            "a large body",
            last(chat().body(&vec![b'x'; 1024 * 1024])),
            Ending::Chunked,
        ),
        (
            "chunks",
            last(chat().chunks(&[b"one", b"two"], "")),
            Ending::Chunked,
        ),
        ("HTTP/1.0", old("GET", ""), Ending::Close),
    ] {
        let (upstream, gate) = waiting();
        let keyside = Keyside::with_openai(&upstream.base_url());
        let mut wire = keyside.wire();
        wire.send(request);
        wire.finish();
        upstream.wait_for(1);
        let_it_be_seen(&keyside);
        gate.open(1);
        let head = wire.head().unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(head.status(), 200, "{name}");
        wire.body_until("one");
        gate.open(2);
        wire.body_until("two");
        while wire.piece().is_some() {}
        assert_eq!(wire.ending(), ending, "{name}");
        // Without keep-alive.
        assert!(wire.until_close().is_empty(), "{name}");
    }
}

#[test]
fn a_client_that_half_closes_after_its_last_request_hears_a_refusal() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for (name, ask) in [
        ("without a body", Ask::get("/openai/v1/models")),
        ("with a body", Ask::chat()),
        ("with a large one", Ask::chat().body(&vec![b'x'; 1 << 20])),
    ] {
        let mut wire = keyside.wire();
        wire.send(last(ask.workspace("nobody")));
        wire.finish();
        let answer = wire.answer().unwrap_or_else(|| panic!("{name}: no answer"));
        expect::refused(name, &answer, 400, "workspace_unknown");
        assert!(wire.until_close().is_empty(), "{name}");
    }
    assert!(upstream.requests().is_empty());
}

/// An upstream that reports when a connection closes before the response.
fn abandoned() -> (Upstream, Receiver<()>) {
    let (gone, left) = channel();
    let gone = Mutex::new(gone);
    let upstream = Upstream::scripted(move |_, line| {
        let _ = line.peek();
        let _ = gone.lock().expect("no panic").send(());
        Then::Close
    });
    (upstream, left)
}

fn check_left(keyside: &Keyside, left: &Receiver<()>) {
    left.recv_timeout(PATIENCE)
        .expect("the upstream hears of it");
    eventually("the outcome", || {
        let runs = keyside.admin("GET", "/api/runs", None).json();
        (runs["items"][0]["outcome"] == "client_closed").then_some(())
    });
}

#[test]
fn a_client_of_a_kept_connection_that_ends_its_half_has_left() {
    for ask in [Ask::chat(), Ask::get("/openai/v1/models")] {
        let (upstream, left) = abandoned();
        let keyside = Keyside::with_openai(&upstream.base_url());
        let mut wire = keyside.wire();
        wire.send(ask.bytes());
        upstream.wait_for(1);
        wire.finish();
        check_left(&keyside, &left);
        assert!(wire.until_close().is_empty());
    }
}

#[test]
fn a_last_request_whose_body_breaks_off_is_not_delivered() {
    let (upstream, _gate) = waiting();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for (name, beginning) in [
        ("a length", last(Ask::chat().set("Content-Length", "1000"))),
        (
            "chunks",
            [
                Ask::chat()
                    .header("Connection", "close")
                    .chunks(&[], "")
                    .head(),
                chunk_of(b"only the beginning"),
            ]
            .concat(),
        ),
    ] {
        let mut wire = keyside.wire();
        wire.send(beginning);
        wire.finish();
        if let Some(answer) = wire.answer() {
            expect::refused(name, &answer, 400, "request_malformed");
        }
        // Well before `body_idle`, because the rest can no longer arrive.
        assert!(wire.until_close().is_empty(), "{name}");
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

#[test]
fn a_client_of_a_last_request_that_is_gone_for_good_is_noticed_when_it_is_written_to() {
    let upstream = Upstream::scripted(|_, line| {
        line.write(chunked_head("Content-Type: text/event-stream\r\n"));
        while line.write(chunk_of(b"data: one\n\n")) {}
        Then::Close
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire: Wire = keyside.wire();
    wire.send(last(Ask::chat()));
    wire.head().expect("an answer");
    drop(wire);
    eventually("nothing in flight", || {
        let metrics = keyside.metrics();
        metrics
            .contains("\nkeyside_streams_in_flight 0\n")
            .then_some(())
    });
}
