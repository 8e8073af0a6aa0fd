//! A response that breaks off at the upstream reaches the client as far as it arrived, and then
//! breaks off there.

use crate::harness::h2_upstream::{H2Answer, over_h2};
use crate::harness::h2c::H2c;
use crate::harness::{
    Ask, Ending, Keyside, Message, PATIENCE, Stream, Then, Upstream, chunk_of, chunked_head,
};
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// How the upstream's connection ends.
#[derive(Clone, Copy, Debug)]
enum Break {
    /// After everything that was written is delivered.
    Close,
    /// By a reset, which discards bytes that have not arrived.
    Reset,
}

#[derive(Clone, Copy, Debug)]
enum Client {
    Http1,
    Http2,
}

/// An upstream that writes `answer` to each request and breaks off, behind Keyside.
fn breaking(how: Break, answer: Vec<u8>) -> (Upstream, Keyside) {
    let accept = Box::new(move |stream: TcpStream| -> io::Result<Box<dyn Stream>> {
        if let Break::Reset = how {
            let at_once = linger {
                l_onoff: 1,
                l_linger: 0,
            };
            setsockopt(&stream, sockopt::Linger, &at_once)?;
        }
        Ok(Box::new(stream))
    });
    let upstream = Upstream::accepting(accept, move |_, line| {
        line.write(&answer);
        Then::Close
    });
    let keyside = Keyside::with_openai(&format!("http://{}", upstream.address()));
    (upstream, keyside)
}

/// The part of a response that a client receives. The head must always arrive.
fn answer_to(client: Client, keyside: &Keyside) -> Message {
    match client {
        Client::Http1 => {
            let mut wire = keyside.wire();
            wire.send(Ask::chat().bytes());
            wire.answer().expect("the head that came")
        }
        Client::Http2 => H2c::connect(keyside.proxy_addr()).ask(&Ask::chat()),
    }
}

fn check_breaks(name: &str, answer: &Message, body: &[u8]) {
    assert_eq!(answer.status(), 200, "{name}");
    assert_eq!(answer.header("x-came"), Some("first"), "{name}");
    let came = (answer.body.len(), body.len());
    assert!(answer.body == body, "{name}: {came:?} bytes");
    assert_eq!(answer.ending, Ending::Cut, "{name}: looks whole");
}

fn heads() -> [(&'static str, Vec<u8>); 3] {
    let of_length = b"HTTP/1.1 200 OK\r\nX-Came: first\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    let events = "X-Came: first\r\nContent-Type: text/event-stream\r\n";
    [
        ("a length", of_length),
        ("chunks", chunked_head("X-Came: first\r\n")),
        ("events", chunked_head(events)),
    ]
}

#[test]
fn a_head_that_arrived_is_passed_on_before_the_break() {
    for (name, head) in heads() {
        for how in [Break::Close, Break::Reset] {
            let (_upstream, keyside) = breaking(how, head.clone());
            for client in [Client::Http1, Client::Http2] {
                let name = format!("{name}, {how:?}, {client:?}");
                check_breaks(&name, &answer_to(client, &keyside), b"");
            }
        }
    }
}

#[test]
fn every_byte_of_a_body_that_arrived_is_passed_on_before_the_break() {
    for (name, head) in heads() {
        let events = b"data: one\n\ndata: t";
        let body = match name {
            "a length" => events.to_vec(),
            // The last one is itself cut.
            _ => [chunk_of(b"data: one\n\n"), b"40\r\ndata: t".to_vec()].concat(),
        };
        for how in [Break::Close, Break::Reset] {
            let (_upstream, keyside) = breaking(how, [head.clone(), body.clone()].concat());
            for client in [Client::Http1, Client::Http2] {
                let name = format!("{name}, {how:?}, {client:?}");
                check_breaks(&name, &answer_to(client, &keyside), events);
            }
        }
    }
}

#[test]
fn a_body_larger_than_a_window_is_passed_on_before_the_break_too() {
    // Several times as much as an HTTP/2 client accepts before it enlarges its window.
    let body = vec![b'x'; 300_000];
    let [(_, head), ..] = heads();
    let (_upstream, keyside) = breaking(Break::Close, [head, body.clone()].concat());
    for client in [Client::Http1, Client::Http2] {
        check_breaks(&format!("{client:?}"), &answer_to(client, &keyside), &body);
    }
}

#[test]
fn bytes_held_back_as_a_possible_key_are_passed_on_before_the_break() {
    let beginning = &crate::harness::KEY[..12];
    let [(_, head), ..] = heads();
    let answer = [head, b"echo: ".to_vec(), beginning.into()].concat();
    let (_upstream, keyside) = breaking(Break::Close, answer);
    for client in [Client::Http1, Client::Http2] {
        let body = format!("echo: {beginning}");
        check_breaks(
            &format!("{client:?}"),
            &answer_to(client, &keyside),
            body.as_bytes(),
        );
    }
}

#[test]
fn an_aborted_response_without_framing_ends_in_a_reset() {
    let ask =
        "GET /openai/v1/models HTTP/1.0\r\nHost: localhost\r\nX-Keyside-Workspace: acme\r\n\r\n";
    let [_, (_, head), _] = heads();
    let half = [head.clone(), chunk_of(b"half")].concat();
    let whole = [half.clone(), b"0\r\n\r\n".to_vec()].concat();
    for (answer, breaks) in [(half, true), (whole, false)] {
        let (_upstream, keyside) = breaking(Break::Close, answer);
        let mut stream = TcpStream::connect(keyside.proxy_addr()).expect("a listener");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(ask.as_bytes()).expect("sent");
        let mut came = Vec::new();
        let ended = stream.read_to_end(&mut came);
        let came = String::from_utf8_lossy(&came).into_owned();
        assert!(came.starts_with("HTTP/1.0 200 "), "{came}");
        assert!(came.ends_with("\r\n\r\nhalf"), "{came}");
        let reset = ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
        assert_eq!(reset, breaks);
    }
}

#[test]
fn a_reset_without_an_error_does_not_end_a_response_cleanly() {
    let (_upstream, keyside) = over_h2(
        false,
        H2Answer {
            pieces: vec![b"half".to_vec()],
            stopped: true,
            ..H2Answer::default()
        },
    );
    for client in [Client::Http1, Client::Http2] {
        let answer = answer_to(client, &keyside);
        assert_eq!((answer.status(), answer.text()), (200, "half".to_owned()));
        assert!(!answer.is_whole(), "{client:?}: {:?}", answer.ending);
    }
}
