//! Shutdown: requests in flight finish, new ones are served with `Connection: close`, and the
//! process exits when nothing is left, or cuts off the rest at the deadline.

use crate::harness::frames::{self, END_HEADERS, END_STREAM, Frames};
use crate::harness::gate::Gate;
use crate::harness::{
    Ask, Ending, Exit, Keyside, Message, PATIENCE, Then, Upstream, Wire, allow_sockets, chunk_of,
    chunked_head, eventually, field, reply,
};
use nix::sys::signal::Signal;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The signals for a graceful shutdown.
const ASKING: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// How many streams are in flight when the signal comes.
const STREAMS: usize = 1_000;

#[test]
fn a_thousand_streams_finish_after_sigterm_and_new_requests_get_connection_close() {
    allow_sockets(4 * STREAMS);
    let (upstream, gate) = streaming();
    // Longer than the test waits: streams end only because they are finished.
    let mut keyside = draining_for(&upstream, "300s");
    let mut kept = keyside.wire();
    assert_eq!(kept.ask(&Ask::get("/openai/v1/models")).status(), 200);
    let mut streams: Vec<_> = (0..STREAMS).map(|_| opened(&keyside)).collect();
    assert_eq!(keyside.observed("/readyz").status(), 200);

    keyside.term();
    eventually("readiness turns", || {
        (keyside.observed("/readyz").status() == 503).then_some(())
    });
    assert_eq!(keyside.observed("/healthz").status(), 200, "it is alive");

    check_answered_and_closed("on a connection from before", kept);
    for _ in 0..5 {
        check_answered_and_closed("on a new connection", keyside.wire());
    }
    gate.open(1);
    for stream in &mut streams {
        stream.body_until("second");
    }
    gate.open(2);
    for stream in &mut streams {
        stream.body_until("last");
        while stream.piece().is_some() {}
        assert_eq!(stream.ending(), Ending::Chunked, "a stream was cut");
    }
    let exit = keyside.exit_within(PATIENCE);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    check_waited_in_vain_for_nothing(&exit);
}

#[test]
fn a_stream_that_does_not_end_is_aborted_visibly_at_the_deadline() {
    let (upstream, _gate) = streaming();
    let mut keyside = draining_for(&upstream, "1s");
    let mut over_http1 = opened(&keyside);
    let mut over_http2 = opened_over_http2(&keyside);
    let told = Instant::now();
    keyside.term();
    while over_http1.piece().is_some() {}
    assert_eq!(over_http1.ending(), Ending::Cut, "a cut stream looks whole");
    let lasted = told.elapsed();
    assert!(lasted >= Duration::from_secs(1), "cut early: {lasted:?}");
    let rest = rest_of(&mut over_http2);
    let whole = rest.iter().any(ends_stream);
    assert!(!whole, "a cut stream looks whole: {rest:#?}");
    let exit = keyside.exit_within(PATIENCE);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let says_so = |line: &serde_json::Value| {
        field(line, "in_flight").as_deref() == Some("2")
            && field(line, "message").is_some_and(|said| said.contains("proxy.deadlines.drain"))
    };
    let mut lines = exit
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    assert!(lines.any(|line| says_so(&line)), "{}", exit.stderr);
}

#[test]
fn a_response_cut_at_the_deadline_never_looks_complete() {
    for (name, head) in [
        ("chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"),
        ("a length", "Content-Length: 100\r\n\r\nfirst"),
        ("until it closes", "Connection: close\r\n\r\nfirst"),
    ] {
        let gate = Arc::new(Gate::default());
        let at = Arc::clone(&gate);
        let upstream = Upstream::scripted(move |_, line| {
            line.write(format!("HTTP/1.1 200 OK\r\n{head}"));
            at.wait_for(1);
            Then::Close
        });
        let mut keyside = draining_for(&upstream, "200ms");
        let mut wire = keyside.wire();
        wire.send(Ask::chat().bytes());
        let head = wire.head().expect("an answer");
        assert_eq!(head.status(), 200, "{name}");
        wire.body_until("first");
        keyside.term();
        while wire.piece().is_some() {}
        assert_eq!(wire.ending(), Ending::Cut, "{name}: {head:#?}");
        assert_eq!(keyside.exit_within(PATIENCE).code, Some(0), "{name}");
        gate.open(1);
    }
}

#[test]
fn an_idle_process_ends_at_once_on_each_signal_that_asks_it_to() {
    let upstream = Upstream::ok();
    for signal in ASKING {
        let mut keyside = draining_for(&upstream, "300s");
        // Idle connections do not delay the exit.
        let mut idle = keyside.wire();
        assert_eq!(idle.ask(&Ask::chat()).status(), 200);
        let (unused, admin) = (keyside.wire(), Wire::tcp(keyside.admin_addr()));
        let mut over_http2 = requested_over_http2(&keyside);
        let answered = std::iter::from_fn(|| over_http2.read()).any(|frame| ends_stream(&frame));
        assert!(answered, "closed without an answer");
        keyside.signal(signal);
        let exit = keyside.exit_within(PATIENCE);
        assert_eq!(exit.code, Some(0), "{signal}: {exit:#?}");
        check_waited_in_vain_for_nothing(&exit);
        assert!(
            idle.until_close().is_empty(),
            "{signal}: an idle peer was told something"
        );
        let said = rest_of(&mut over_http2);
        let goaway = said.iter().any(|frame| frame.kind == frames::GOAWAY);
        assert!(goaway, "{signal}: {said:#?}");
        drop((unused, admin));
    }
}

#[test]
fn a_sighup_that_was_ignored_at_the_start_stays_ignored() {
    let keyside = Keyside::builder()
        .launched_by(&["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"])
        .start();
    let status = std::fs::read_to_string(format!("/proc/{}/status", keyside.pid()));
    let status = status.expect("a running process");
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.expect("a mask").trim(), 16).expect("hexadecimal")
    };
    // SIGHUP is signal 1 and the lowest bit.
    assert_eq!(mask("SigIgn:") & 1, 1, "{status}");
    assert_eq!(mask("SigCgt:") & 1, 0, "{status}");
}

#[test]
fn each_signal_that_asks_it_to_end_lets_a_stream_end_first() {
    for signal in ASKING {
        let (upstream, gate) = streaming();
        let mut keyside = draining_for(&upstream, "300s");
        let mut stream = opened(&keyside);
        keyside.signal(signal);
        let line = keyside.log_line(says("draining"));
        assert_eq!(field(&line, "signal").as_deref(), Some(signal.as_str()));
        gate.open(2);
        while stream.piece().is_some() {}
        assert_eq!(stream.ending(), Ending::Chunked, "{signal}: it was cut");
        assert_eq!(keyside.exit_within(PATIENCE).code, Some(0), "{signal}");
    }
}

#[test]
fn a_second_signal_ends_it_without_waiting_and_says_so_first() {
    for (first, second) in [
        (Signal::SIGINT, Signal::SIGINT),
        (Signal::SIGTERM, Signal::SIGHUP),
    ] {
        let (upstream, _gate) = streaming();
        let mut keyside = draining_for(&upstream, "300s");
        let mut stream = opened(&keyside);
        keyside.signal(first);
        let line = keyside.log_line(says("draining"));
        assert!(says("a second signal stops at once")(&line), "{line}");
        assert_eq!(field(&line, "in_flight").as_deref(), Some("1"), "{line}");
        assert_eq!(field(&line, "deadline").as_deref(), Some("300s"), "{line}");
        keyside.signal(second);
        while stream.piece().is_some() {}
        assert_eq!(stream.ending(), Ending::Cut);
        let exit = keyside.exit_within(PATIENCE);
        assert_eq!(exit.signal, None, "it was killed, not ended: {exit:#?}");
        let at = |text: &str| exit.stderr.find(text).expect(text);
        assert!(at("stopping at once") < at("cut_by_drain"), "{exit:#?}");
        assert_eq!(recorded(keyside), ["cut_by_drain"]);
    }
}

#[test]
fn requests_cut_by_the_deadline_are_recorded_as_cut_by_drain() {
    let (upstream, gate) = streaming();
    let mut keyside = draining_for(&upstream, "200ms");
    let _over_http1 = opened(&keyside);
    let _over_http2 = opened_over_http2(&keyside);
    let mut tunnel = keyside.wire();
    tunnel.send(upgrade().bytes());
    tunnel.some_until("hello");
    let mut unanswered = keyside.wire();
    unanswered.send(Ask::chat().header("X-Unanswered", "1").bytes());
    upstream.wait_for(4);
    // One that ended earlier does not count.
    assert_eq!(keyside.ask(&Ask::get("/openai/v1/models")).status(), 200);
    keyside.term();
    let exit = keyside.exit_within(PATIENCE);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let said = exit
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let cut = said.filter(|line: &serde_json::Value| {
        says("request")(line) && field(line, "outcome").as_deref() == Some("cut_by_drain")
    });
    assert_eq!(cut.count(), 4, "{}", exit.stderr);
    let mut outcomes = recorded(keyside);
    outcomes.sort();
    let expected = ["cut_by_drain"; 4].into_iter().chain(["ok"]);
    assert_eq!(outcomes, expected.collect::<Vec<_>>());
    gate.open(2);
}

/// A log line whose message begins so, or holds it.
fn says(message: &str) -> impl Fn(&serde_json::Value) -> bool {
    move |line| field(line, "message").is_some_and(|said| said.contains(message))
}

/// The outcomes in the run records of a stopped process, read by the next one.
fn recorded(ended: Keyside) -> Vec<String> {
    let keyside = ended.builder_of().clone().start();
    let runs = keyside.admin("GET", "/api/runs", None).json();
    let runs = runs["items"].as_array().expect("a list");
    let outcome = |run: &serde_json::Value| run["outcome"].as_str().map(str::to_owned);
    runs.iter().filter_map(outcome).collect()
}

#[test]
fn an_http2_connection_is_sent_goaway_and_its_open_stream_is_finished() {
    let (upstream, gate) = streaming();
    let mut keyside = draining_for(&upstream, "300s");
    let mut connection = opened_over_http2(&keyside);
    keyside.term();
    let goaway = std::iter::from_fn(|| connection.read())
        .inspect(|frame| assert!(!ends_stream(frame), "{frame:?}"))
        .find(|frame| frame.kind == frames::GOAWAY)
        .expect("GOAWAY");
    assert_eq!(goaway.payload[4..8], [0; 4], "no error: {goaway:?}");
    gate.open(2);
    let rest = rest_of(&mut connection);
    let body: Vec<u8> = rest
        .iter()
        .filter(|frame| frame.kind == frames::DATA)
        .flat_map(|frame| frame.payload.clone())
        .collect();
    assert!(String::from_utf8_lossy(&body).contains("last"), "{rest:#?}");
    assert!(rest.iter().any(ends_stream), "{rest:#?}");
    assert_eq!(keyside.exit_within(PATIENCE).code, Some(0));
}

/// Until its first request Keyside does not know that it is HTTP/2.
#[test]
fn an_http2_connection_whose_first_request_comes_during_the_drain_is_sent_goaway() {
    let upstream = Upstream::ok();
    let keyside = draining_for(&upstream, "300s");
    let silent = TcpStream::connect(keyside.proxy_addr()).expect("a listener");
    silent.set_read_timeout(Some(PATIENCE)).expect("a socket");
    // The next connection is accepted after it.
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    keyside.signal(Signal::SIGUSR1);
    eventually("readiness turns", || {
        (keyside.observed("/readyz").status() == 503).then_some(())
    });
    let mut connection = Frames::over(silent);
    connection.write_raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    connection.write(frames::SETTINGS, 0, 0, &[]);
    request(&mut connection);
    let told = std::iter::from_fn(|| connection.read()).any(|frame| frame.kind == frames::GOAWAY);
    assert!(told, "no GOAWAY");
}

#[test]
fn a_tunnel_counts_as_in_flight_and_ends_with_its_peers() {
    let gate = Arc::new(Gate::default());
    let at = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |_, line| {
        line.write(SWITCHING);
        at.wait_for(1);
        line.write(b"\x81\x07goodbye");
        Then::Close
    });
    let mut keyside = draining_for(&upstream, "300s");
    let mut wire = keyside.wire();
    wire.send(upgrade().bytes());
    assert_eq!(wire.head().map(|head| head.status()), Some(101));
    wire.some_until("hello");
    keyside.term();
    eventually("readiness turns", || {
        (keyside.observed("/readyz").status() == 503).then_some(())
    });
    gate.open(1);
    wire.some_until("goodbye");
    wire.until_close();
    assert_eq!(keyside.exit_within(PATIENCE).code, Some(0));
}

/// With the first message behind it.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: upgrade\r\n\r\n\x81\x05hello";

fn upgrade() -> Ask {
    Ask::get("/openai/v1/realtime?model=m")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// A provider whose streams wait for the gate between events. Tunnels wait as well, and so do
/// requests that must get no response; all other requests except chats get one at once.
fn streaming() -> (Upstream, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let at = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |seen, line| {
        let tunnel = seen.header("upgrade").is_some();
        if tunnel || seen.header("x-unanswered").is_some() {
            line.write(if tunnel { SWITCHING } else { b"" });
            at.wait_for(2);
            return Then::Close;
        }
        if seen.method() == "GET" {
            line.write(reply(200, "", b"{}"));
            return Then::Keep;
        }
        line.write(chunked_head("Content-Type: text/event-stream\r\n"));
        for (step, event) in ["first", "second", "last"].iter().enumerate() {
            if !at.wait_for(step) {
                return Then::Close;
            }
            line.write(chunk_of(format!("data: {event}\n\n").as_bytes()));
        }
        line.write("0\r\n\r\n");
        Then::Keep
    });
    (upstream, gate)
}

fn draining_for(upstream: &Upstream, deadline: &str) -> Keyside {
    Keyside::builder()
        .provider("openai", &upstream.base_url())
        .open_files("-Sn 1024")
        .set("proxy.deadlines.drain", &format!("{deadline:?}"))
        .start()
        .with_key()
}

/// A stream whose first event has arrived.
fn opened(keyside: &Keyside) -> Wire {
    let mut wire = keyside.wire();
    wire.send(Ask::chat().bytes());
    assert_eq!(wire.head().map(|head| head.status()), Some(200));
    wire.body_until("first");
    wire
}

/// The same over HTTP/2, as stream 1.
fn opened_over_http2(keyside: &Keyside) -> Frames {
    let mut connection = requested_over_http2(keyside);
    let first = std::iter::from_fn(|| connection.read()).find(|frame| frame.kind == frames::DATA);
    assert!(first.is_some(), "closed before the first event");
    connection
}

fn requested_over_http2(keyside: &Keyside) -> Frames {
    let mut connection = Frames::connect(keyside.proxy_addr());
    request(&mut connection);
    connection
}

fn request(connection: &mut Frames) {
    let head = frames::block(&[
        (":method", b"POST"),
        (":scheme", b"http"),
        (":authority", b"localhost"),
        (":path", b"/w/acme/openai/v1/chat/completions"),
    ]);
    connection.write(frames::HEADERS, END_HEADERS | END_STREAM, 1, &head);
}

fn rest_of(connection: &mut Frames) -> Vec<frames::Frame> {
    std::iter::from_fn(|| connection.read()).collect()
}

fn ends_stream(frame: &frames::Frame) -> bool {
    [frames::DATA, frames::HEADERS].contains(&frame.kind) && frame.flags & END_STREAM != 0
}

/// Each wait at the end of a process has a limit, and a warning if it was reached.
fn check_waited_in_vain_for_nothing(exit: &Exit) {
    let (_, end) = exit.stderr.split_once("draining").expect("a line of it");
    assert!(!end.contains("\"WARN\""), "{end}");
}

fn check_answered_and_closed(name: &str, mut wire: Wire) {
    let answer: Message = wire.ask(&Ask::get("/openai/v1/models"));
    assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
    let connection = answer.header("connection").unwrap_or_default();
    assert!(
        connection.eq_ignore_ascii_case("close"),
        "{name}: {:?}",
        answer.headers
    );
    assert!(wire.until_close().is_empty(), "{name}: something follows");
}
