//! Memory for clients that do not read is limited per process, whatever their windows, and returned
//! afterwards.

use crate::harness::crowd::Crowd;
use crate::harness::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, block, frame};
use crate::harness::h2_upstream::{H2Answer, over_h2_answering};
use crate::harness::{Ask, Keyside, allow_sockets, eventually, settled};

const CLIENTS: usize = 30;
/// As many as one connection may have by default.
const STREAMS: u32 = 128;
const ANSWER: usize = 1024 * 1024;
/// KiB above idle: with the clients connected, and after they have disconnected. A request in
/// flight takes 40 to 60 KiB in a debug build before anything is buffered for it.
const HELD: u64 = 384 * 1024;
const GIVEN_BACK: u64 = 80 * 1024;

const MODELS: &str = "/openai/v1/models";

/// Requests as many concurrent responses as a connection may have, allows all of them, and reads
/// nothing.
fn unreading(keyside: &Keyside) -> Frames {
    let mut client = Frames::connect_wide(keyside.proxy_addr());
    let head = block(&[
        (":method", b"GET"),
        (":scheme", b"http"),
        (":path", MODELS.as_bytes()),
        (":authority", b"localhost"),
        ("x-keyside-workspace", b"acme"),
    ]);
    let requests: Vec<u8> = (0..STREAMS)
        .flat_map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head))
        .collect();
    assert!(client.write_raw(&requests), "closed while it was asking");
    client
}

/// `sent` says how much of its answers the provider could send so far.
fn check(name: &str, keyside: &Keyside, sent: impl Fn() -> usize) {
    let other = Ask::get(MODELS).workspace("other");
    assert_eq!(keyside.ask(&other).body.len(), ANSWER, "{name}: at first");
    let (idle, before) = (keyside.resident_memory(), sent());

    let clients: Vec<_> = (0..CLIENTS).map(|_| unreading(keyside)).collect();
    eventually("the first answers", || (sent() > before).then_some(()));
    settled("what the provider can send", &sent);
    let answer = keyside.ask(&other);
    assert_eq!(answer.status(), 200, "{name}: another: {}", answer.text());
    assert_eq!(answer.body.len(), ANSWER, "{name}: another");
    let held = keyside.peak_memory().saturating_sub(idle);
    assert!(
        held < HELD,
        "{name}: {held} KiB more than the {idle} of an idle process, for {} answers of which the provider could send {} bytes",
        CLIENTS * STREAMS as usize,
        sent() - before,
    );

    drop(clients);
    let limit = idle + GIVEN_BACK;
    let given_back = format!("{name}: less than {limit} KiB, and {idle} before the clients came");
    eventually(&given_back, || {
        (keyside.resident_memory() < limit).then_some(())
    });
    assert_eq!(keyside.ask(&other).status(), 200, "{name}: and serves on");
}

#[test]
fn clients_that_do_not_read_cost_bounded_memory_over_an_http_1_upstream() {
    allow_sockets(CLIENTS * STREAMS as usize + 500);
    let crowd = Crowd::answering(ANSWER);
    let keyside = Keyside::with_openai(&crowd.base_url()).with_other_key();
    check("HTTP/1.1", &keyside, || crowd.sent());
}

#[test]
fn clients_that_do_not_read_cost_bounded_memory_over_an_http_2_upstream() {
    let (upstream, keyside) = over_h2_answering(|_| H2Answer {
        zeroes: ANSWER,
        ..H2Answer::default()
    });
    let keyside = keyside.with_other_key();
    check("HTTP/2", &keyside, || upstream.zeroes());
}
