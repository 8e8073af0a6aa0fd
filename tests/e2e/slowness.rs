//! Slow clients and silent upstreams: cut off at the deadline, while others are served.

use crate::harness::frames::{
    END_HEADERS, END_STREAM, Fate, Frames, HEADERS, NO_STREAM_WINDOW, RST_STREAM, block,
};
use crate::harness::{
    Ask, CHAT, Keyside, Then, Upstream, Wire, chunk_of, chunked_head, expect, reply,
};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, socket,
};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(1);
/// For clients that must not be cut off: longer than a busy machine stalls a process.
const LONG_DEADLINE: Duration = Duration::from_secs(3);
/// Allowed delay of a close after the deadline, on a busy machine.
const GRACE: Duration = Duration::from_secs(10);
/// Between two bytes of a slow client: often enough to defeat any limit on single reads.
const PAUSE: Duration = Duration::from_millis(50);

const EVERY: [&str; 6] = [
    "header",
    "idle",
    "body_idle",
    "write_idle",
    "first_byte",
    "stream_idle",
];

/// Keyside with these deadlines at [`DEADLINE`]. The defaults of all others are longer than any
/// test, so only these can cut.
fn hasty(upstream: &Upstream, deadlines: &[&str]) -> Keyside {
    with_deadlines(upstream, deadlines, DEADLINE)
}

/// The same with [`LONG_DEADLINE`].
fn patient(upstream: &Upstream, deadlines: &[&str]) -> Keyside {
    with_deadlines(upstream, deadlines, LONG_DEADLINE)
}

fn with_deadlines(upstream: &Upstream, deadlines: &[&str], deadline: Duration) -> Keyside {
    let deadline = format!("\"{}s\"", deadline.as_secs());
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    deadlines
        .iter()
        .fold(
            builder.set("proxy.deadlines.header", "\"60s\""),
            |builder, name| builder.set(&format!("proxy.deadlines.{name}"), &deadline),
        )
        .start()
        .with_key()
}

/// Runs `slow` and expects it to be cut off between the deadline and its grace.
fn check_cut(name: &str, slow: impl FnOnce()) {
    let start = Instant::now();
    slow();
    let took = start.elapsed();
    let early = Duration::from_millis(500);
    assert!(
        took > early && took < DEADLINE + GRACE,
        "{name}: cut after {took:?}"
    );
}

/// A request that is not answered in time names the setting to raise, and the log says what was
/// waited for.
fn check_timeout(keyside: &Keyside, setting: &str, cause: &str) {
    let answer = keyside.ask(&Ask::chat());
    expect::refused("silence", &answer, 504, "upstream_timeout");
    assert!(answer.text().contains(setting), "{}", answer.text());
    keyside.log_line(|line| line["level"] == "WARN" && line.to_string().contains(cause));
}

fn drip_headers(wire: &mut Wire) {
    let mut bytes = b"X-Slow: aaaa\r\n".iter().copied().cycle();
    wire.drip(|| bytes.next().expect("endless"), PAUSE);
    wire.until_close();
}

#[test]
fn headers_that_come_byte_by_byte_are_cut_at_the_deadline() {
    let upstream = Upstream::ok();
    let keyside = hasty(&upstream, &["header"]);
    check_cut("from the start line on", || {
        let mut wire = keyside.wire();
        wire.send(format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n"));
        drip_headers(&mut wire);
    });
    check_cut("nothing at all", || {
        keyside.wire().until_close();
    });
    check_cut("half a start line", || {
        let mut wire = keyside.wire();
        wire.send("POST /openai/v1");
        wire.until_close();
    });
    assert_eq!(upstream.connections(), 0);
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
}

#[test]
fn slow_headers_are_cut_on_the_second_request_of_a_connection_too() {
    let upstream = Upstream::ok();
    let keyside = hasty(&upstream, &["header"]);
    let mut wire = keyside.wire();
    assert_eq!(wire.ask(&Ask::chat()).status(), 200);
    check_cut("the second request", || {
        wire.send(format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n"));
        drip_headers(&mut wire);
    });
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_connection_that_idles_between_requests_is_closed() {
    let upstream = Upstream::ok();
    let keyside = hasty(&upstream, &["idle"]);
    let mut wire = keyside.wire();
    assert_eq!(wire.ask(&Ask::chat()).status(), 200);
    check_cut("idle", || assert!(wire.until_close().is_empty()));
}

#[test]
fn a_body_that_stops_coming_is_cut_and_never_delivered_whole() {
    let upstream = Upstream::ok();
    let keyside = hasty(&upstream, &["body_idle"]);
    check_cut("a body of known length", || {
        let mut wire = keyside.wire();
        wire.send(Ask::chat().set("Content-Length", "100").bytes());
        check_refused(&mut wire);
    });
    check_cut("a chunked body", || {
        let mut wire = keyside.wire();
        let ask = Ask::chat().chunks(&[], "");
        wire.send([ask.head(), chunk_of(b"first")].concat());
        check_refused(&mut wire);
    });
    assert_eq!(upstream.requests().len(), 0, "no request arrived whole");
}

/// An answer that says so, or a close without one.
fn check_refused(wire: &mut Wire) {
    if let Some(answer) = wire.answer() {
        expect::refused("half a body", &answer, 400, "request_malformed");
    }
}

#[test]
fn slow_clients_do_not_delay_others() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.deadlines.header", "\"600s\"")
        .start()
        .with_key();
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(keyside.proxy_addr()).expect("a listener");
            stream
                .write_all(b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: lo")
                .expect("sent");
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    }
    // They were served in parallel with the slow ones, not after them.
    for stream in &slow {
        stream.set_nonblocking(true).expect("a socket");
        let waiting = stream.peek(&mut [0]).expect_err("nothing was said to it");
        assert_eq!(waiting.kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn an_upstream_that_never_answers_is_a_timeout() {
    let upstream = Upstream::scripted(|_, line| {
        let _ = line.peek();
        Then::Close
    });
    let keyside = hasty(&upstream, &["first_byte"]);
    check_cut("no first byte", || {
        check_timeout(
            &keyside,
            "proxy.deadlines.first_byte",
            "did not arrive in time",
        );
    });
    assert_eq!(upstream.requests().len(), 1, "and it is not asked again");
}

#[test]
fn a_stream_that_stalls_ends_in_an_error() {
    let upstream = Upstream::scripted(|_, line| {
        line.write(chunked_head("Content-Type: text/event-stream\r\n"));
        line.write(chunk_of(b"data: one\n\n"));
        let _ = line.peek();
        Then::Close
    });
    let keyside = hasty(&upstream, &["stream_idle"]);
    check_cut("a silent stream", || {
        let answer = keyside.ask(&Ask::chat());
        assert_eq!(answer.body, b"data: one\n\n");
        assert!(
            !answer.is_whole(),
            "a cut stream must not look whole: {:?}",
            answer.ending
        );
    });
}

#[test]
fn a_stream_that_keeps_coming_outlives_every_idle_limit() {
    let upstream = Upstream::scripted(|_, line| {
        line.write(chunked_head("Content-Type: text/event-stream\r\n"));
        let start = Instant::now();
        while start.elapsed() < 2 * LONG_DEADLINE {
            // As fast as the client reads: what counts is that it goes on for longer than a limit.
            if !line.write(chunk_of(&[b'.'; 1024])) {
                return Then::Close;
            }
        }
        line.write("0\r\n\r\n");
        Then::Keep
    });
    let keyside = patient(&upstream, &EVERY);
    let start = Instant::now();
    let answer = keyside.ask(&Ask::chat());
    assert!(
        answer.is_whole(),
        "{:?} after {:?}",
        answer.ending,
        start.elapsed()
    );
    assert!(answer.body.iter().all(|byte| *byte == b'.'));
}

/// An upstream whose responses to chat completions never end.
fn endless() -> Upstream {
    Upstream::scripted(|seen, line| {
        if seen.target() != "/v1/chat/completions" {
            line.write(reply(200, "", b"{}"));
            return Then::Keep;
        }
        line.write(chunked_head(""));
        // Until the other side closes: a client that reads nothing must not block this forever.
        while line.write(chunk_of(&[b'x'; 64 * 1024])) {}
        Then::Close
    })
}

fn check_nothing_in_flight(keyside: &Keyside) {
    crate::harness::eventually("nothing in flight", || {
        let metrics = keyside.metrics();
        let gauge = metrics
            .lines()
            .find(|line| line.starts_with("keyside_streams_in_flight"));
        gauge.is_some_and(|line| line.ends_with(" 0")).then_some(())
    });
}

#[test]
fn a_client_that_stops_reading_is_disconnected() {
    let upstream = endless();
    let keyside = hasty(&upstream, &["write_idle"]);
    let mut wire = keyside.wire();
    wire.send(Ask::chat().bytes());
    upstream.wait_for(1);
    check_nothing_in_flight(&keyside);
}

/// Asks over HTTP/2, with a request without a body.
fn asking(client: &mut Frames, stream: u32, method: &str, path: &str) {
    let head = block(&[
        (":method", method.as_bytes()),
        (":scheme", b"http"),
        (":path", path.as_bytes()),
        (":authority", b"localhost"),
        ("x-keyside-workspace", b"acme"),
    ]);
    client.write(HEADERS, END_HEADERS | END_STREAM, stream, &head);
}

fn wait_for_reset(client: &mut Frames, stream: u32) {
    while let Some(frame) = client.read() {
        if frame.kind == RST_STREAM && frame.stream == stream {
            return;
        }
    }
    panic!("the connection was closed")
}

/// The client reads its connection, but the stream's window stays closed.
#[test]
fn a_stream_whose_client_takes_nothing_is_reset_and_its_connection_serves_on() {
    let upstream = endless();
    let keyside = hasty(&upstream, &["write_idle"]);
    let mut client = Frames::connect(keyside.proxy_addr());
    check_cut("a response", || {
        asking(&mut client, 1, "POST", CHAT);
        wait_for_reset(&mut client, 1);
    });
    check_nothing_in_flight(&keyside);
    asking(&mut client, 3, "GET", "/openai/v1/models");
    assert_eq!(client.fate(3), Fate::Answered { ok: true });
}

#[test]
fn a_stream_whose_client_does_not_take_a_refusal_is_reset() {
    let upstream = Upstream::ok();
    let keyside = hasty(&upstream, &["write_idle"]);
    let mut client = Frames::connect_with(keyside.proxy_addr(), NO_STREAM_WINDOW);
    check_cut("a refusal", || {
        asking(&mut client, 1, "GET", "/openai/v1/nonsense");
        wait_for_reset(&mut client, 1);
    });
}

/// Long enough that the kernel reports a full socket as writable only after a deadline (it
/// first has to send a megabyte, and this client reads some 50 KB at a time), but short enough that
/// many fit into a deadline.
const SIP: Duration = Duration::from_millis(200);

/// Reads slowly for two deadlines; a client that was cut off would no longer be in flight
/// afterwards.
fn check_kept_while_it_reads(name: &str, keyside: &Keyside, wire: &mut Wire) {
    let start = Instant::now();
    wire.sip(SIP, || start.elapsed() < 2 * LONG_DEADLINE);
    let metrics = keyside.metrics();
    assert!(
        metrics.contains("\nkeyside_streams_in_flight 1\n"),
        "{name}: {metrics}"
    );
}

#[test]
fn a_client_that_reads_slowly_is_not_disconnected() {
    let upstream = Upstream::scripted(|_, line| {
        line.write(chunked_head(""));
        while line.write(chunk_of(&[b'x'; 64 * 1024])) {}
        Then::Close
    });
    let keyside = patient(&upstream, &["write_idle"]);
    let mut wire = Wire::narrow(keyside.proxy_addr());
    wire.send(Ask::chat().bytes());
    check_kept_while_it_reads("an answer", &keyside, &mut wire);
}

#[test]
fn a_client_that_reads_slowly_from_a_tunnel_keeps_it() {
    let upstream = Upstream::scripted(|_, line| {
        line.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        );
        // Frames of 125 bytes of binary data.
        let frame = [&[0x82, 125][..], &[b'x'; 125]].concat();
        while line.write(frame.repeat(512)) {}
        Then::Close
    });
    let keyside = patient(&upstream, &["write_idle", "stream_idle"]);
    let mut wire = Wire::narrow(keyside.proxy_addr());
    let upgrade = Ask::get("/openai/v1/realtime?model=m")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    wire.send(upgrade.bytes());
    check_kept_while_it_reads("a tunnel", &keyside, &mut wire);
}

#[test]
fn a_client_whose_upstream_reads_its_body_slowly_is_not_taken_for_silent() {
    let upstream = Upstream::raw(|line| {
        let Ok(Some(_)) = line.head("") else { return };
        let start = Instant::now();
        while start.elapsed() < 2 * LONG_DEADLINE {
            // So small that the rest does not fit into the sockets' buffers.
            std::thread::park_timeout(SIP);
            let _ = line.piece();
        }
        while let Ok(Some(_)) = line.piece() {}
        line.write(reply(200, "", b"read it all"));
    });
    let keyside = patient(&upstream, &["body_idle", "write_idle", "header", "idle"]);
    let mut wire = keyside.wire();
    wire.send(Ask::chat().body(&vec![b'x'; 32 * 1024 * 1024]).bytes());
    let answer = wire.answer().expect("an answer");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.text(), "read it all");
}

#[test]
fn an_upstream_that_accepts_no_connection_is_a_timeout() {
    let (listener, _held) = full_queue();
    let address = listener.local_addr().expect("a bound port");
    let keyside = Keyside::builder()
        .provider("openai", &format!("http://{address}"))
        .set("proxy.deadlines.connect", "\"1s\"")
        .start()
        .with_key();
    check_cut("no connection", || {
        check_timeout(&keyside, "proxy.deadlines.connect", "took too long to open");
    });
}

/// A listener whose queue is full, so that connections to it get no response (listen(2)).
fn full_queue() -> (TcpListener, Vec<TcpStream>) {
    let (family, kind) = (AddressFamily::Inet, SockType::Stream);
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a free port");
    listen(&socket, Backlog::new(0).expect("no queue")).expect("a listener");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("a bound port");
    let one_more = || TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok();
    let held = std::iter::from_fn(one_more).take(16).collect::<Vec<_>>();
    assert!(held.len() < 16, "its queue does not fill");
    (listener, held)
}

#[test]
fn an_upstream_that_accepts_and_never_shakes_hands_is_a_timeout() {
    let upstream = Upstream::raw(
        |line| {
            while line.some(u64::MAX).is_ok_and(|bytes| !bytes.is_empty()) {}
        },
    );
    let keyside = Keyside::builder()
        .provider(
            "openai",
            &upstream.base_url().replace("http://", "https://"),
        )
        .set("proxy.deadlines.connect", "\"1s\"")
        .start()
        .with_key();
    check_cut("no handshake", || {
        check_timeout(&keyside, "proxy.deadlines.connect", "took too long to open");
    });
}
