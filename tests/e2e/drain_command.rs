//! `keyside drain`: the process reports not ready, serves on, and the command waits until nothing
//! is in flight.

use crate::harness::gate::Gate;
use crate::harness::{
    Ask, Ending, Exit, Keyside, PATIENCE, Process, Then, Upstream, Wire, chunk_of, chunked_head,
    eventually, reply,
};
use nix::sys::signal::Signal;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn drain_waits_for_requests_in_flight_while_new_ones_are_served() {
    let (keyside, gate, _upstream) = streaming();
    let mut stream = opened(&keyside);
    let mut drain = draining(&keyside, &["--timeout", "5m"]);
    let readiness = eventually("readiness turns", || {
        let page = keyside.observed("/readyz");
        (page.status() == 503).then(|| page.text())
    });
    assert!(readiness.contains("requests in flight: 1"), "{readiness}");
    for _ in 0..5 {
        let answer = keyside.ask(&Ask::get("/openai/v1/models"));
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    assert_eq!(drain.stdout(), "", "it did not wait");
    gate.open(1);
    while stream.piece().is_some() {}
    assert_eq!(stream.ending(), Ending::Chunked);
    let exit = drain.exit_within(PATIENCE);
    assert_eq!((exit.code, &*exit.stdout), (Some(0), "drained\n"));
}

#[test]
fn a_drained_process_serves_until_it_is_stopped_and_then_drains_as_usual() {
    let (mut keyside, gate, _upstream) = streaming();
    assert_eq!(drained(&keyside, &[]).code, Some(0));
    // Such as a runner beside the sidecar that has not stopped yet.
    let mut late = opened(&keyside);
    keyside.signal(Signal::SIGTERM);
    gate.open(1);
    while late.piece().is_some() {}
    assert_eq!(late.ending(), Ending::Chunked, "it was cut");
    assert_eq!(keyside.exit_within(PATIENCE).code, Some(0));
}

#[test]
fn drain_twice_is_like_once() {
    let (keyside, _gate, _upstream) = streaming();
    for _ in 0..2 {
        assert_eq!(drained(&keyside, &[]).code, Some(0));
    }
    assert_eq!(keyside.ask(&Ask::get("/openai/v1/models")).status(), 200);
}

#[test]
fn drain_waits_as_long_as_load_balancers_need() {
    let (keyside, _gate, _upstream) = streaming();
    let started = Instant::now();
    assert_eq!(drained(&keyside, &["--at-least", "1s"]).code, Some(0));
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn drain_fails_if_requests_outlast_its_timeout() {
    let (keyside, _gate, _upstream) = streaming();
    let _stream = opened(&keyside);
    let exit = drained(&keyside, &["--timeout", "1s"]);
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(
        exit.stderr.contains("in flight after 1s, found 1"),
        "{exit:#?}"
    );
}

#[test]
fn drain_of_something_else_fails_and_says_what_to_check() {
    let (keyside, _gate, _upstream) = streaming();
    let url = format!("http://{}", keyside.observe_addr());
    // Above the kernel's limit on process ids.
    let nobody = ["drain", "--url", &url, "--pid", "2147483647"];
    let exit = keyside.builder_of().run(&nobody, b"");
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stderr.contains("--pid"), "{exit:#?}");
    assert_eq!(keyside.observed("/readyz").status(), 200);
    let mut other = std::process::Command::new("sleep")
        .arg("300")
        .spawn()
        .expect("sleep");
    let pid = other.id().to_string();
    let exit = keyside
        .builder_of()
        .run(&["drain", "--url", &url, "--pid", &pid], b"");
    let survived = other.try_wait().expect("its state").is_none();
    other.kill().expect("it runs, or was not waited for");
    other.wait().expect("its end");
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stderr.contains("nothing was signalled"), "{exit:#?}");
    assert!(survived, "another program was signalled");
    // Nothing listens on port 1.
    let pid = keyside.pid().to_string();
    let nowhere = ["drain", "--url", "http://127.0.0.1:1", "--pid", &pid];
    let exit = keyside.builder_of().run(&nowhere, b"");
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stderr.contains("--url"), "{exit:#?}");
    assert_eq!(
        keyside.observed("/readyz").status(),
        200,
        "it was signalled"
    );
}

/// A Keyside whose provider's streams wait for the gate before their last event.
fn streaming() -> (Keyside, Arc<Gate>, Upstream) {
    let gate = Arc::new(Gate::default());
    let at = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |seen, line| {
        if seen.method() == "GET" {
            line.write(reply(200, "", b"{}"));
            return Then::Keep;
        }
        line.write(chunked_head("Content-Type: text/event-stream\r\n"));
        line.write(chunk_of(b"data: first\n\n"));
        if !at.wait_for(1) {
            return Then::Close;
        }
        line.write(chunk_of(b"data: last\n\n"));
        line.write("0\r\n\r\n");
        Then::Keep
    });
    (Keyside::with_openai(&upstream.base_url()), gate, upstream)
}

/// A stream whose first event has arrived.
fn opened(keyside: &Keyside) -> Wire {
    let mut wire = keyside.wire();
    wire.send(Ask::chat().bytes());
    assert_eq!(wire.head().map(|head| head.status()), Some(200));
    wire.body_until("first");
    wire
}

fn draining(keyside: &Keyside, options: &[&str]) -> Process {
    let url = format!("http://{}", keyside.observe_addr());
    let pid = keyside.pid().to_string();
    let command = ["drain", "--url", &url, "--pid", &pid];
    keyside
        .builder_of()
        .spawn(&[&command[..], options].concat(), None)
}

fn drained(keyside: &Keyside, options: &[&str]) -> Exit {
    draining(keyside, options).exit_within(PATIENCE)
}
