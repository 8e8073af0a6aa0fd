//! A request is sent again only if its provider cannot have processed it.

mod serial;

use crate::harness::frames::{DATA, HEADERS};
use crate::harness::h2_session::{Bodies, REFUSED_STREAM, Session, over_frames};
use crate::harness::h2c::H2c;
use crate::harness::{Ask, Keyside, Message, Upstream, expect};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// When a stream is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Head,
    /// When so many bytes of its body have come.
    Bytes(usize),
    End,
}

/// A provider that refuses streams, and the requests that it processed.
struct Refuser {
    at: At,
    /// Whether the request of this number, counted from 0 over all attempts, is refused.
    refuses: fn(usize) -> bool,
    attempts: AtomicUsize,
    processed: Mutex<Vec<Vec<u8>>>,
}

impl Refuser {
    fn start(at: At, refuses: fn(usize) -> bool) -> (Arc<Self>, Upstream, Keyside) {
        let refuser = Arc::new(Self {
            at,
            refuses,
            attempts: AtomicUsize::new(0),
            processed: Mutex::default(),
        });
        let playing = Arc::clone(&refuser);
        let (upstream, keyside) = over_frames(move |_, session| playing.serve(session));
        (refuser, upstream, keyside)
    }

    fn serve(&self, session: &mut Session<'_>) {
        let mut bodies = Bodies::default();
        let (mut doomed, mut refused) = (HashSet::new(), HashSet::new());
        while let Some(frame) = session.event() {
            let stream = frame.stream;
            let begins = frame.kind == HEADERS;
            if begins && (self.refuses)(self.attempts.fetch_add(1, Ordering::SeqCst)) {
                doomed.insert(stream);
            }
            let whole = bodies.take(&frame);
            let due = match self.at {
                At::Head => begins,
                At::Bytes(count) => frame.kind == DATA && bodies.so_far(stream) >= count,
                At::End => whole.is_some(),
            };
            if doomed.contains(&stream) {
                if due && refused.insert(stream) {
                    session.reset(stream, REFUSED_STREAM);
                }
            } else if let Some(body) = whole {
                let length = body.len().to_string();
                self.processed.lock().expect("no panic").push(body);
                session.answer(stream, 200, length);
            }
        }
    }

    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }

    fn processed(&self) -> Vec<Vec<u8>> {
        self.processed.lock().expect("no panic").clone()
    }
}

/// A version of HTTP, and how to ask over it.
type Client = (&'static str, Box<dyn FnMut(&Ask) -> Message>);

fn clients(keyside: &Keyside) -> [Client; 2] {
    let mut wire = keyside.wire();
    let mut h2c = H2c::connect(keyside.proxy_addr());
    [
        ("HTTP/1.1", Box::new(move |ask: &Ask| wire.ask(ask))),
        ("h2c", Box::new(move |ask: &Ask| h2c.ask(ask))),
    ]
}

fn of_size(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

/// Requests that are small enough to be buffered, with their bodies.
fn small() -> Vec<(&'static str, Ask, Vec<u8>)> {
    let (some, much) = (of_size(10 * 1024), of_size(60 * 1024));
    let pieces: Vec<_> = some.chunks(1000).collect();
    vec![
        ("a GET", Ask::get("/openai/v1/models"), Vec::new()),
        ("a POST without a body", Ask::chat().bare(), Vec::new()),
        ("a POST of 10 KB", Ask::chat().body(&some), some.clone()),
        (
            "a POST of 10 KB in chunks",
            Ask::chat().chunks(&pieces, ""),
            some.clone(),
        ),
        ("a POST of 60 KB", Ask::chat().body(&much), much),
    ]
}

#[test]
fn a_refused_stream_is_sent_again_whole() {
    for at in [At::Head, At::End] {
        // Each first attempt is refused, and each second is not.
        let (refuser, _upstream, keyside) = Refuser::start(at, |n| n.is_multiple_of(2));
        for (client, mut ask_over) in clients(&keyside) {
            for (name, ask, body) in small() {
                // A client of HTTP/2 has no chunks.
                if client == "h2c" && name.ends_with("chunks") {
                    continue;
                }
                let name = format!("{name} over {client}, refused at its {at:?}");
                let before = (refuser.attempts(), refuser.processed().len());
                let answer = ask_over(&ask);
                assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
                assert_eq!(answer.text(), body.len().to_string(), "{name}");
                assert_eq!(refuser.attempts() - before.0, 2, "{name}: attempts");
                let processed = refuser.processed().split_off(before.1);
                assert!(
                    processed == [body],
                    "{name}: processed bodies of {:?} bytes",
                    processed.iter().map(Vec::len).collect::<Vec<_>>()
                );
            }
        }
    }
}

#[test]
fn a_refused_stream_whose_body_is_partly_gone_is_not_sent_again() {
    let (refuser, _upstream, keyside) =
        Refuser::start(At::Bytes(256 * 1024), |n| n.is_multiple_of(2));
    let ask = Ask::chat().body(&of_size(1024 * 1024));
    for (n, (client, mut ask_over)) in clients(&keyside).into_iter().enumerate() {
        let answer = ask_over(&ask);
        expect::refused(client, &answer, 502, "upstream_unreachable");
        assert_eq!(refuser.attempts(), 2 * n + 1, "{client}: attempts");
        assert_eq!(refuser.processed().len(), n, "{client}: processed");
        let answer = keyside.ask(&Ask::chat());
        assert_eq!(
            answer.status(),
            200,
            "{client}, the next: {}",
            answer.text()
        );
    }
}

#[test]
fn a_request_that_is_always_refused_is_given_up() {
    for at in [At::Head, At::End] {
        let (refuser, _upstream, keyside) = Refuser::start(at, |_| true);
        for (client, mut ask_over) in clients(&keyside) {
            let before = refuser.attempts();
            let answer = ask_over(&Ask::chat());
            expect::refused(client, &answer, 502, "upstream_unreachable");
            let attempts = refuser.attempts() - before;
            assert!(
                (2..=10).contains(&attempts),
                "{client}, at {at:?}: {attempts} attempts"
            );
        }
    }
}

/// How often each request was processed, by its body.
type Processed = Arc<Mutex<BTreeMap<String, usize>>>;

fn count(processed: &Processed, body: Vec<u8>) {
    let name = String::from_utf8(body).expect("text");
    let mut processed = processed.lock().expect("no panic");
    *processed.entry(name).or_default() += 1;
}

/// Sends requests with these bodies at once over one connection, and returns their answers.
fn at_once(keyside: &Keyside, bodies: &[String]) -> Vec<Message> {
    let mut client = H2c::connect(keyside.proxy_addr());
    let streams: Vec<_> = bodies
        .iter()
        .map(|body| {
            let mut stream = client.open(&Ask::chat().bare(), false);
            client.send(&mut stream, body.as_bytes(), true);
            stream
        })
        .collect();
    streams
        .into_iter()
        .map(|stream| client.finish(stream))
        .collect()
}

#[test]
fn no_request_fails_while_connections_go_away() {
    // The last stream that each of the first connections processes.
    const LAST: u32 = 39;
    const LEAVING: usize = 3;
    const EACH: usize = 100;
    let processed = Processed::default();
    let counted = Arc::clone(&processed);
    let (upstream, keyside) = over_frames(move |number, session| {
        let mut bodies = Bodies::default();
        let mut gone = false;
        while let Some(frame) = session.event() {
            let beyond = number < LEAVING && frame.stream > LAST;
            if beyond && !std::mem::replace(&mut gone, true) {
                session.go_away(LAST);
            }
            if let Some(body) = bodies.take(&frame)
                && !beyond
            {
                count(&counted, body);
                session.answer(frame.stream, 200, "done");
            }
        }
    });
    thread::scope(|scope| {
        for client in 0..3 {
            let keyside = &keyside;
            scope.spawn(move || {
                let bodies: Vec<_> = (0..EACH).map(|n| format!("{client}-{n}")).collect();
                let answers = at_once(keyside, &bodies);
                let failed: Vec<_> = answers
                    .iter()
                    .filter(|answer| answer.status() != 200)
                    .map(|answer| format!("{} {}", answer.start, answer.text()))
                    .collect();
                assert!(
                    failed.is_empty(),
                    "{} of {EACH} failed: {failed:?}",
                    failed.len()
                );
            });
        }
    });
    let processed = processed.lock().expect("no panic");
    assert_eq!(processed.len(), 3 * EACH, "requests were processed");
    let twice: Vec<_> = processed.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "processed more than once: {twice:?}");
    let connections = upstream.connections();
    assert!(connections > LEAVING, "{connections} connections only");
}

#[test]
fn streams_that_a_provider_may_have_processed_are_not_sent_again_when_it_goes_away() {
    // Stream 1 opens the connection. Of the ten that follow, the provider may have processed five
    // according to its GOAWAY, and then it breaks off.
    const LAST: u32 = 11;
    let first = Processed::default();
    let later = Processed::default();
    let (counted, counted_later) = (Arc::clone(&first), Arc::clone(&later));
    let perhaps = Processed::default();
    let noted = Arc::clone(&perhaps);
    let (_upstream, keyside) = over_frames(move |number, session| {
        let mut bodies = Bodies::default();
        let mut waiting = 0;
        while let Some(frame) = session.event() {
            let stream = frame.stream;
            let Some(body) = bodies.take(&frame) else {
                continue;
            };
            if number > 0 || stream == 1 {
                count(&counted_later, body);
                session.answer(stream, 200, "done");
                continue;
            }
            if stream <= LAST {
                count(&noted, body.clone());
            }
            count(&counted, body);
            waiting += 1;
            if waiting == 10 {
                session.go_away(LAST);
                return;
            }
        }
    });
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200, "the first");
    let bodies: Vec<_> = (0..10).map(|n| format!("request {n}")).collect();
    let answers = at_once(&keyside, &bodies);
    let (first, later) = (
        first.lock().expect("no panic"),
        later.lock().expect("no panic"),
    );
    let perhaps = perhaps.lock().expect("no panic");
    assert_eq!(first.len(), 10, "{first:?} came over the first connection");
    assert_eq!(perhaps.len(), 5, "{perhaps:?} stand up to stream {LAST}");
    for (body, answer) in bodies.iter().zip(&answers) {
        if perhaps.contains_key(body) {
            expect::refused(body, answer, 502, "upstream_unreachable");
            assert_eq!(answer.header("x-should-retry"), Some("false"), "{body}");
            assert_eq!(later.get(body), None, "{body} was sent again");
        } else {
            assert_eq!(answer.status(), 200, "{body}: {}", answer.text());
            assert_eq!(later.get(body), Some(&1), "{body} was not sent once more");
        }
    }
}

/// A peer that has begun to respond did process the request, whatever it claims afterwards.
#[test]
fn a_request_whose_answer_had_begun_is_not_sent_again() {
    type End = fn(&mut Session<'_>, u32);
    let ends: [(&str, End); 2] = [
        ("REFUSED_STREAM", |session, stream| {
            session.reset(stream, REFUSED_STREAM);
        }),
        ("GOAWAY", |session, stream| {
            session.go_away(stream - 2);
        }),
    ];
    for (name, end) in ends {
        let processed = Processed::default();
        let counted = Arc::clone(&processed);
        let (_upstream, keyside) = over_frames(move |number, session| {
            let mut bodies = Bodies::default();
            while let Some(frame) = session.event() {
                let Some(body) = bodies.take(&frame) else {
                    continue;
                };
                count(&counted, body);
                if number > 0 || frame.stream == 1 {
                    session.answer(frame.stream, 200, "done");
                    continue;
                }
                session.early_hints(frame.stream);
                end(session, frame.stream);
            }
        });
        assert_eq!(keyside.ask(&Ask::chat().body(b"first")).status(), 200);
        let answer = keyside.ask(&Ask::chat().body(b"hinted"));
        expect::refused(name, &answer, 502, "upstream_unreachable");
        assert_eq!(answer.header("x-should-retry"), Some("false"), "{name}");
        let processed = processed.lock().expect("no panic");
        assert_eq!(processed.get("hinted"), Some(&1), "{name}: {processed:?}");
    }
}
