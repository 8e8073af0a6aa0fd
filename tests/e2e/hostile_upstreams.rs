//! Upstreams that violate the protocol: the client gets an error or an aborted response, never
//! another client's.

use crate::harness::{Ask, KEY, Keyside, Then, Upstream, expect, reply};
use std::sync::Mutex;
use std::sync::mpsc::channel;

/// Responds with these bytes and closes; the client must get a 502 from Keyside.
fn check_unusable(cases: &[(&str, Vec<u8>)]) {
    let answers: Vec<_> = cases.iter().map(|(_, answer)| answer.clone()).collect();
    let upstream = Upstream::scripted(move |seen, line| {
        let n: usize = seen
            .header("x-n")
            .and_then(|n| n.parse().ok())
            .expect("a number");
        line.write(&answers[n]);
        Then::Close
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    for (n, (name, _)) in cases.iter().enumerate() {
        let answer = wire.ask(&Ask::chat().header("X-N", n.to_string()));
        expect::refused(name, &answer, 502, "upstream_unreachable");
        assert_eq!(upstream.requests().len(), n + 1, "{name}: delivered once");
    }
}

#[test]
fn an_answer_that_is_no_http_is_an_error() {
    let many = (0..1000)
        .map(|n| format!("X-{n}: 1\r\n"))
        .collect::<String>();
    let large = "a".repeat(4 * 1024 * 1024);
    check_unusable(&[
        ("nothing", Vec::new()),
        ("garbage", vec![0xff; 100]),
        ("another protocol", b"220 smtp.example ESMTP\r\n".to_vec()),
        (
            "a version that is none",
            b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        (
            "a status of two digits",
            b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        (
            "a status of letters",
            b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        (
            "a length that is negative",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".to_vec(),
        ),
        (
            "two lengths that differ",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
        ),
        (
            "a NUL in a header",
            b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        (
            "a header without a colon",
            b"HTTP/1.1 200 OK\r\nabc\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        (
            "a thousand headers",
            format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 0\r\n\r\n").into_bytes(),
        ),
        (
            "a header of 4 MB",
            format!("HTTP/1.1 200 OK\r\nX: {large}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        ),
    ]);
}

#[test]
fn a_second_answer_that_nobody_asked_for_is_nobody_s() {
    let upstream = Upstream::scripted(|seen, line| {
        let n = seen.header("x-n").unwrap_or_default().to_owned();
        let own = reply(200, "", format!("for {n}").as_bytes());
        let poison = reply(200, "", b"poison for whoever comes next");
        line.write([own, poison].concat());
        Then::Keep
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    for n in 0..20 {
        let answer = wire.ask(&Ask::chat().header("X-N", n.to_string()));
        match answer.status() {
            200 => assert_eq!(answer.text(), format!("for {n}")),
            status => assert_eq!(status, 502, "{}", answer.text()),
        }
    }
}

#[test]
fn a_late_second_answer_is_nobody_s_either() {
    let (go, gate) = channel::<()>();
    let (done, sent) = channel();
    let (gate, done) = (Mutex::new(gate), Mutex::new(done));
    let upstream = Upstream::scripted(move |seen, line| {
        line.write(reply(
            200,
            "",
            seen.header("x-n").unwrap_or_default().as_bytes(),
        ));
        if seen.header("x-n") == Some("first") {
            let _ = gate.lock().expect("one at a time").recv();
            line.write(reply(200, "", b"poison"));
            let _ = done.lock().expect("one at a time").send(());
        }
        Then::Keep
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    assert_eq!(
        wire.ask(&Ask::chat().header("X-N", "first")).text(),
        "first"
    );
    go.send(()).expect("the upstream");
    sent.recv().expect("the upstream");
    for _ in 0..5 {
        let answer = wire.ask(&Ask::chat().header("X-N", "second"));
        assert!(!answer.holds("poison"), "{}", answer.text());
        assert!([200, 502].contains(&answer.status()), "{}", answer.text());
    }
}

#[test]
fn an_answer_with_two_framings_is_read_in_one_way_by_everybody() {
    let framed = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n0\r\n\r\n";
    let upstream = Upstream::scripted(move |_, line| {
        line.write(framed);
        Then::Close
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    for _ in 0..2 {
        let answer = wire.ask(&Ask::chat());
        match answer.status() {
            200 => assert_eq!(
                (answer.text(), answer.is_whole()),
                ("hello".to_owned(), true)
            ),
            status => assert_eq!(status, 502, "{}", answer.text()),
        }
    }
}

#[test]
fn interim_answers_are_no_first_byte() {
    let upstream = Upstream::scripted(|_, line| {
        for _ in 0..10_000 {
            line.write("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        }
        // And nothing more, until Keyside gives up.
        let _ = line.peek();
        Then::Close
    });
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.deadlines.first_byte", "\"1s\"")
        .start()
        .with_key();
    expect::refused("hints", &keyside.ask(&Ask::chat()), 504, "upstream_timeout");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn an_interim_answer_with_the_key_in_it_does_not_show_it() {
    let interim = format!("HTTP/1.1 103 Early Hints\r\nLink: <{KEY}>\r\n\r\n");
    let upstream =
        Upstream::answering(move |_| [interim.as_bytes(), &reply(200, "", b"final")].concat());
    let keyside = Keyside::with_openai(&upstream.base_url());
    let said = keyside.raw(Ask::chat().header("Connection", "close").bytes());
    assert!(
        !crate::harness::holds(&said, KEY),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
