//! How a request ended is reported three times (in its run record, in the metrics, in the log),
//! each time the same, for any HTTP versions of the two sides.

use crate::harness::h2_upstream::{H2Answer, over_h2};
use crate::harness::h2c::H2c;
use crate::harness::{
    Ask, Keyside, Then, Upstream, chunk_of, chunked_head, eventually, field, reply, reply_in_chunks,
};
use serde_json::Value;

/// A name, the outcome, what an HTTP/1.1 upstream writes, and what happens to its connection.
type Ending = (&'static str, &'static str, Vec<u8>, Then);

fn endings() -> Vec<Ending> {
    let half = || b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf".to_vec();
    let half_in_chunks = || [chunked_head(""), chunk_of(b"half")].concat();
    let trailers = reply_in_chunks("Trailer: X-Sum\r\n", &[b"body"], "X-Sum: 42\r\n");
    let to_close = b"HTTP/1.1 200 OK\r\n\r\nbody".to_vec();
    vec![
        ("its length", "ok", reply(200, "", b"body"), Then::Keep),
        ("no body", "ok", reply(200, "", b""), Then::Keep),
        (
            "chunks",
            "ok",
            reply_in_chunks("", &[b"body"], ""),
            Then::Keep,
        ),
        ("trailers", "ok", trailers, Then::Keep),
        ("a redirect", "ok", reply(307, "", b"moved"), Then::Keep),
        ("a 4xx", "client_error", reply(404, "", b"none"), Then::Keep),
        (
            "a 429",
            "rate_limited",
            reply(429, "", b"later"),
            Then::Keep,
        ),
        (
            "a 5xx",
            "server_error",
            reply(500, "", b"sorry"),
            Then::Keep,
        ),
        ("the close", "ok", to_close, Then::Close),
        ("no answer", "unanswered", Vec::new(), Then::Close),
        ("half of it", "upstream_aborted", half(), Then::Close),
        (
            "half the chunks",
            "upstream_aborted",
            half_in_chunks(),
            Then::Close,
        ),
        ("a client that leaves", "client_closed", half(), Then::Keep),
    ]
}

/// A client of either HTTP version, as far as it affects how a request ends.
#[derive(Clone, Copy, Debug)]
enum Client {
    Http1,
    Http2,
}

impl Client {
    const BOTH: [Self; 2] = [Self::Http1, Self::Http2];

    /// Reads the whole response, or disconnects after its head.
    fn ask(self, keyside: &Keyside, ask: &Ask, leaves: bool) {
        match (self, leaves) {
            (Self::Http1, false) => {
                let mut wire = keyside.wire();
                wire.send(ask.bytes());
                // `None` if it was aborted before anything could be sent.
                drop(wire.answer());
            }
            (Self::Http2, false) => drop(H2c::connect(keyside.proxy_addr()).ask(ask)),
            (Self::Http1, true) => {
                let mut wire = keyside.wire();
                wire.send(ask.bytes());
                wire.head();
            }
            (Self::Http2, true) => {
                let mut http = H2c::connect(keyside.proxy_addr());
                let mut stream = http.open(ask, false);
                http.send(&mut stream, ask.payload(), true);
                http.head(&mut stream);
            }
        }
    }
}

/// What Keyside has reported of ended requests so far.
struct Reports<'a> {
    keyside: &'a Keyside,
    outcomes: Vec<&'static str>,
}

impl<'a> Reports<'a> {
    fn of(keyside: &'a Keyside) -> Self {
        let outcomes = Vec::new();
        Self { keyside, outcomes }
    }

    /// Checks the reports of the next request, whose run is called `run`.
    fn check_next(&mut self, run: &str, outcome: &'static str) {
        let record = eventually(run, || self.run(run));
        assert_eq!(record["outcome"], outcome, "{run}: the run record");
        let id = record["requestId"].as_str();
        let of_it = |line: &Value| field(line, "message").as_deref() == Some("request");
        let line = self
            .keyside
            .log_line(|line| of_it(line) && field(line, "request_id").as_deref() == id);
        assert_eq!(
            field(&line, "outcome").as_deref(),
            Some(outcome),
            "{run}: the log line"
        );
        let id = id.expect("a request id");
        let logs = self.keyside.logs();
        let lines = logs.lines().filter(|line| line.contains(id)).count();
        assert_eq!(lines, 1, "{run}: one line a request");
        let explained = field(&line, "cause").is_some() && field(&line, "remedy").is_some();
        assert_eq!(explained, outcome == "unanswered", "{run}: {line}");
        // The line has these fields itself, so they are not added to it again.
        for name in ["request_id", "workspace", "provider"] {
            assert!(line["fields"].get(name).is_some(), "{run}: {line}");
            assert!(line.get(name).is_none(), "{run}: {line}");
        }
        self.outcomes.push(outcome);
        let counted = self.outcomes.iter().filter(|one| **one == outcome).count();
        let series = format!(
            "keyside_requests_total{{outcome=\"{outcome}\",provider=\"openai\"}} {counted}\n"
        );
        let metrics = self.keyside.metrics();
        assert!(metrics.contains(&series), "{run}: no {series} in {metrics}");
    }

    fn run(&self, run: &str) -> Option<Value> {
        let runs = self.keyside.admin("GET", "/api/runs", None).json();
        let runs = runs["items"].as_array().expect("a list").clone();
        runs.into_iter().find(|record| record["runId"] == run)
    }
}

fn chat(run: &str) -> Ask {
    Ask::chat()
        .header("TE", "trailers")
        .header("X-Keyside-Run", run)
}

#[test]
fn every_ending_over_an_http_1_upstream_is_reported_correctly() {
    let endings = endings();
    let script = endings.clone();
    let upstream = Upstream::scripted(move |seen, line| {
        let number = seen.header("x-ending").expect("a number").parse::<usize>();
        let (_, _, answer, then) = &script[number.expect("a number")];
        line.write(answer);
        *then
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut reports = Reports::of(&keyside);
    for client in Client::BOTH {
        for (number, (name, outcome, ..)) in endings.iter().enumerate() {
            let run = format!("{client:?}, {name}");
            let ask = chat(&run).header("X-Ending", number.to_string());
            client.ask(&keyside, &ask, *outcome == "client_closed");
            reports.check_next(&run, outcome);
        }
    }
    // After a successful end the next request uses the same connection, with or without trailers.
    let ill = endings
        .iter()
        .filter(|(_, outcome, _, then)| *then == Then::Close || *outcome == "client_closed");
    assert_eq!(upstream.connections(), 2 * ill.count());
}

#[test]
fn every_ending_over_an_http_2_upstream_is_reported_correctly() {
    let body = H2Answer {
        pieces: vec![b"body".to_vec()],
        ..H2Answer::default()
    };
    let of_length = |length| H2Answer {
        length: Some(length),
        ..body.clone()
    };
    let trailer = Some(("x-sum", "42"));
    for (name, outcome, answer) in [
        ("an empty frame", "ok", body.clone()),
        ("an empty frame after its length", "ok", of_length(4)),
        (
            "trailers",
            "ok",
            H2Answer {
                trailer,
                ..body.clone()
            },
        ),
        (
            "trailers after its length",
            "ok",
            H2Answer {
                trailer,
                ..of_length(4)
            },
        ),
    ] {
        let (_upstream, keyside) = over_h2(false, answer);
        let mut reports = Reports::of(&keyside);
        for client in Client::BOTH {
            let run = format!("{client:?}, {name}");
            client.ask(&keyside, &chat(&run), false);
            reports.check_next(&run, outcome);
        }
    }
    let (_upstream, keyside) = over_h2(false, of_length(8));
    Client::Http1.ask(&keyside, &chat("half of it"), false);
    Reports::of(&keyside).check_next("half of it", "upstream_aborted");
}
