//! HTTP/2: without TLS from clients, over TLS to upstreams, exact in both directions.

use crate::harness::h2_upstream::{H2Answer, over_h2};
use crate::harness::h2c::H2c;
use crate::harness::{
    Ask, Ending, KEY, Keyside, Pair, Then, Upstream, chunk_of, chunked_head, expect, reply,
    reply_in_chunks,
};
use std::sync::Mutex;
use std::sync::mpsc::channel;

fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let large = (0..10 * 1024 * 1024_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    vec![
        ("empty", Vec::new()),
        ("one byte", vec![0]),
        ("every byte", (0..=255).collect()),
        ("64 KiB and a byte", vec![7; 65_537]),
        ("10 MB", large.collect()),
    ]
}

fn assert_same(name: &str, got: &[u8], sent: &[u8]) {
    assert!(
        got == sent,
        "{name}: {} bytes of {} differ",
        got.len(),
        sent.len()
    );
}

#[test]
fn bodies_arrive_exactly_over_h2c() {
    let pair = Pair::new();
    let mut client = H2c::connect(pair.keyside.proxy_addr());
    for (n, (name, body)) in corpus().into_iter().enumerate() {
        pair.will_answer(reply(200, "X-Plain: kept\r\n", &body));
        let answer = client.ask(&Ask::chat().body(&body));
        assert_eq!(answer.status(), 200, "{name}");
        assert_eq!(answer.header("x-plain"), Some("kept"), "{name}");
        assert_same(name, &answer.body, &body);
        let seen = &pair.upstream.requests()[n];
        assert_same(name, &seen.body, &body);
        assert_eq!(
            seen.headers_named("authorization"),
            [format!("Bearer {KEY}")]
        );
        assert_eq!(seen.target(), "/v1/chat/completions");
    }
}

#[test]
fn trailers_arrive_both_ways_over_h2c() {
    let upstream =
        Upstream::answering(|_| reply_in_chunks("Trailer: X-Sum\r\n", &[b"body"], "X-Sum: 42\r\n"));
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut client = H2c::connect(keyside.proxy_addr());
    let ask = Ask::chat()
        .bare()
        .header("te", "trailers")
        .header("trailer", "x-check");
    let mut stream = client.open(&ask, false);
    client.send(&mut stream, b"one", false);
    client.send_trailers(&mut stream, "x-check", "7");
    let answer = client.finish(stream);
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "42".to_owned())]);
    let seen = upstream.only();
    assert_eq!(seen.body, b"one");
    assert_eq!(seen.trailers.len(), 1, "{:?}", seen.trailers);
    assert_eq!(seen.trailers[0].1, "7");
}

#[test]
fn streams_of_one_connection_do_not_wait_for_each_other() {
    let upstream = Upstream::answering(|seen| reply(200, "", &seen.body));
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut client = H2c::connect(keyside.proxy_addr());
    let mut open: Vec<_> = (0..50)
        .map(|_| client.open(&Ask::chat().bare(), false))
        .collect();
    // The last one opened is finished first.
    for n in (0..open.len()).rev() {
        let mut stream = open.remove(n);
        client.send(&mut stream, format!("stream {n}").as_bytes(), true);
        assert_eq!(client.finish(stream).text(), format!("stream {n}"));
    }
    assert_eq!(upstream.requests().len(), 50);
}

#[test]
fn each_event_arrives_before_the_next_is_sent_over_h2c() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let upstream = Upstream::scripted(move |_, line| {
        line.write(chunked_head("Content-Type: text/event-stream\r\n"));
        let gate = gate.lock().expect("one request");
        for n in 0..5 {
            line.write(chunk_of(format!("data: {n}\n\n").as_bytes()));
            if gate.recv().is_err() {
                return Then::Close;
            }
        }
        line.write("0\r\n\r\n");
        Then::Keep
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut client = H2c::connect(keyside.proxy_addr());
    let mut stream = client.open(&Ask::chat().bare(), true);
    assert_eq!(client.head(&mut stream).status(), 200);
    for n in 0..5 {
        let piece = client.piece(&mut stream).expect("more").expect("no error");
        assert_eq!(piece, format!("data: {n}\n\n"));
        go.send(()).expect("the upstream");
    }
    assert!(client.piece(&mut stream).is_none());
}

#[test]
fn an_answer_cut_by_the_upstream_is_an_error_over_h2c() {
    let upstream = Upstream::scripted(|_, line| {
        line.write(chunked_head(""));
        line.write(chunk_of(b"half"));
        Then::Close
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let answer = H2c::connect(keyside.proxy_addr()).ask(&Ask::chat());
    assert_eq!(
        answer.ending,
        Ending::Cut,
        "a cut answer must not look whole"
    );
}

#[test]
fn refusals_and_echoes_are_the_same_over_h2c() {
    let body = format!("you sent {KEY}");
    let upstream =
        Upstream::answering(move |_| reply(401, &format!("X-E: {KEY}\r\n"), body.as_bytes()));
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut client = H2c::connect(keyside.proxy_addr());
    let echo = client.ask(&Ask::chat());
    expect::keyless("an echo", &echo);
    assert_eq!(echo.text(), format!("you sent {}", "*".repeat(KEY.len())));
    let refused: &[(&str, u16, Ask)] = &[
        ("workspace_unknown", 400, Ask::chat().workspace("nobody")),
        (
            "host_not_allowed",
            403,
            Ask::chat().set("Host", "attacker.example"),
        ),
        (
            "browser_not_allowed",
            403,
            Ask::chat().header("Origin", "null"),
        ),
        (
            "path_not_allowed",
            403,
            Ask::get("/openai/v1/../v1/organization/users"),
        ),
        (
            "request_malformed",
            400,
            Ask::chat().header("X-Keyside-Workspace", "other"),
        ),
    ];
    for (code, status, ask) in refused {
        expect::refused(code, &client.ask(ask), *status, code);
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn more_streams_than_an_upstream_allows_on_one_connection_get_another() {
    let answer = H2Answer {
        streams: Some(2),
        together: 7,
        ..H2Answer::default()
    };
    let (upstream, keyside) = over_h2(true, answer);
    // With its answer comes what the upstream allows.
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    let asking: Vec<_> = (0..7)
        .map(|n| {
            let ask = Ask::chat()
                .header("X-Together", "1")
                .body(format!("stream {n}").as_bytes());
            let mut wire = keyside.wire();
            std::thread::spawn(move || wire.ask(&ask).text())
        })
        .collect();
    for (n, asking) in asking.into_iter().enumerate() {
        assert_eq!(asking.join().expect("an answer"), format!("stream {n}"));
    }
    assert_eq!(upstream.requests().len(), 8);
}

#[test]
fn bodies_arrive_exactly_over_an_http_2_upstream() {
    let (upstream, keyside) = over_h2(true, H2Answer::default());
    let mut wire = keyside.wire();
    for (n, (name, body)) in corpus().into_iter().enumerate() {
        let chunks: Vec<_> = body.chunks(10_007).collect();
        let answer = wire.ask(&Ask::chat().chunks(&chunks, ""));
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        assert_same(name, &answer.body, &body);
        let seen = &upstream.requests()[n];
        assert_same(name, &seen.body, &body);
        let keys: Vec<_> = seen
            .head
            .headers()
            .get_all("authorization")
            .iter()
            .collect();
        assert_eq!(keys, [format!("Bearer {KEY}").as_str()], "{name}");
        assert_eq!(seen.head.uri().path(), "/v1/chat/completions");
        let authority = seen.head.uri().authority().map(ToString::to_string);
        assert_eq!(
            authority,
            Some(upstream.url_for("localhost")[8..].to_owned())
        );
        assert!(
            !seen
                .head
                .headers()
                .keys()
                .any(|name| name.as_str().starts_with("x-keyside"))
        );
    }
    assert_eq!(upstream.connections(), 1, "one connection carries them all");
}

#[test]
fn trailers_and_resets_pass_over_an_http_2_upstream() {
    let (upstream, keyside) = over_h2(
        false,
        H2Answer {
            pieces: vec![b"body".to_vec()],
            trailer: Some(("x-sum", "42")),
            ..H2Answer::default()
        },
    );
    let ask = Ask::chat()
        .header("TE", "trailers")
        .chunks(&[b"one"], "X-Check: 7\r\n");
    let answer = keyside.ask(&ask);
    assert_eq!(answer.text(), "body");
    assert_eq!(answer.trailers.len(), 1, "{:?}", answer.trailers);
    assert_eq!(
        upstream.requests()[0]
            .trailers
            .get("x-check")
            .expect("the trailer"),
        "7"
    );

    let (_upstream, keyside) = over_h2(
        false,
        H2Answer {
            pieces: vec![b"half".to_vec()],
            reset: true,
            ..H2Answer::default()
        },
    );
    let answer = keyside.ask(&Ask::chat());
    assert!(
        answer.status() == 502 || !answer.is_whole(),
        "a reset must not look whole"
    );
}

#[test]
fn a_key_echoed_over_an_http_2_upstream_is_masked() {
    let (first, second) = KEY.split_at(11);
    let (_upstream, keyside) = over_h2(
        false,
        H2Answer {
            pieces: vec![
                format!("a {first}").into_bytes(),
                format!("{second} z").into_bytes(),
            ],
            ..H2Answer::default()
        },
    );
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.text(), format!("a {} z", "*".repeat(KEY.len())));
}
