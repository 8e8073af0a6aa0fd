//! Heads of 64 KB and of 256 fields pass, in requests and responses, for all combinations of HTTP
//! versions. Only larger ones are refused.

use crate::harness::h2_upstream::{H2Answer, H2Upstream, over_h2_answering};
use crate::harness::h2c::H2c;
use crate::harness::{Ask, Keyside, Message, Upstream, expect, reply};

type Fields = Vec<(String, String)>;

/// A name, and fields that are within the limits together with the usual ones.
fn within() -> Vec<(&'static str, Fields)> {
    vec![
        ("60 KB in one field", sized(1, 60 * 1024)),
        ("60 KB in 200 fields", sized(200, 60 * 1024)),
        ("60 KB in fields of one name", repeated(60, 60 * 1024)),
        // With the four that a request of the tests has anyway.
        ("256 fields", sized(252, 2520)),
    ]
}

/// Fields that are beyond them.
fn beyond() -> Vec<(&'static str, Fields)> {
    vec![
        ("200 KB in one field", sized(1, 200 * 1024)),
        ("200 KB in 200 fields", sized(200, 200 * 1024)),
        ("700 small fields", sized(700, 700)),
        ("700 fields of one name", repeated(700, 700)),
    ]
}

/// This many fields, with values of this total length.
fn sized(count: usize, bytes: usize) -> Fields {
    let value = "a".repeat(bytes / count);
    (0..count)
        .map(|n| (format!("x-field-{n}"), value.clone()))
        .collect()
}

fn repeated(count: usize, bytes: usize) -> Fields {
    vec![("x-field".to_owned(), "a".repeat(bytes / count)); count]
}

/// A request with these fields.
fn with(fields: &Fields) -> Ask {
    fields
        .iter()
        .fold(Ask::chat(), |ask, (name, value)| ask.header(name, value))
}

/// A request for a response with the fields at this index in the table.
fn asking_for(number: usize) -> Ask {
    Ask::chat().header("X-Wanted", number.to_string())
}

/// The fields of a message that the test has added.
fn ours<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Fields {
    fields
        .into_iter()
        .filter(|(name, _)| name.to_ascii_lowercase().starts_with("x-field"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect()
}

fn of_message(message: &Message) -> Fields {
    ours(
        message
            .headers
            .iter()
            .map(|(name, value)| (&**name, &**value)),
    )
}

/// Whether both have the same fields; the order of different names does not matter.
fn check_same(name: &str, mut got: Fields, sent: &Fields) {
    let mut sent = sent.clone();
    got.sort();
    sent.sort();
    let size = |fields: &Fields| fields.iter().map(|(_, value)| value.len()).sum::<usize>();
    assert!(
        got == sent,
        "{name}: {} fields of {} bytes became {} of {}",
        sent.len(),
        size(&sent),
        got.len(),
        size(&got),
    );
}

/// An upstream over HTTP/1.1 that answers with the wanted of these fields.
fn answering(table: Vec<(&'static str, Fields)>) -> Upstream {
    Upstream::answering(move |seen| {
        let wanted = seen.header("x-wanted").map(|n| n.parse::<usize>());
        let line = |(name, value): &(String, String)| format!("{name}: {value}\r\n");
        let fields = match wanted {
            Some(n) => table[n.expect("a number")].1.iter().map(line).collect(),
            None => String::new(),
        };
        reply(200, &fields, b"{}")
    })
}

fn http_1(table: Vec<(&'static str, Fields)>) -> (Upstream, Keyside) {
    let upstream = answering(table);
    let keyside = Keyside::with_openai(&upstream.base_url());
    (upstream, keyside)
}

/// The same over HTTP/2.
fn http_2(table: Vec<(&'static str, Fields)>) -> (H2Upstream, Keyside) {
    over_h2_answering(move |seen| {
        let wanted = seen.head.headers().get("x-wanted");
        let wanted = wanted.map(|n| n.to_str().expect("text").parse::<usize>());
        H2Answer {
            headers: wanted.map_or(Vec::new(), |n| table[n.expect("a number")].1.clone()),
            pieces: vec![b"{}".to_vec()],
            ..H2Answer::default()
        }
    })
}

/// The answers to one request of a client over HTTP/1.1 and of one over HTTP/2.
fn both(keyside: &Keyside, ask: &Ask) -> [(&'static str, Message); 2] {
    [
        ("HTTP/1.1", keyside.ask(ask)),
        ("h2c", H2c::connect(keyside.proxy_addr()).ask(ask)),
    ]
}

#[test]
fn answers_within_the_limits_pass_from_an_http_1_upstream() {
    let (_upstream, keyside) = http_1(within());
    check_answers_pass(&keyside);
}

#[test]
fn answers_within_the_limits_pass_from_an_http_2_upstream() {
    let (_upstream, keyside) = http_2(within());
    check_answers_pass(&keyside);
}

fn check_answers_pass(keyside: &Keyside) {
    for (n, (name, fields)) in within().iter().enumerate() {
        for (client, answer) in both(keyside, &asking_for(n)) {
            let name = format!("{name}, {client}");
            assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
            assert_eq!(answer.text(), "{}", "{name}");
            check_same(&name, of_message(&answer), fields);
        }
    }
}

#[test]
fn requests_within_the_limits_pass_to_an_http_1_upstream() {
    let (upstream, keyside) = http_1(Vec::new());
    for (name, fields) in within() {
        for (client, answer) in both(&keyside, &with(&fields)) {
            let name = format!("{name}, {client}");
            assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
            let requests = upstream.requests();
            check_same(&name, of_message(&requests[requests.len() - 1]), &fields);
        }
    }
}

#[test]
fn requests_within_the_limits_pass_to_an_http_2_upstream() {
    let (upstream, keyside) = http_2(Vec::new());
    for (name, fields) in within() {
        for (client, answer) in both(&keyside, &with(&fields)) {
            let name = format!("{name}, {client}");
            assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
            let requests = upstream.requests();
            let head = &requests[requests.len() - 1].head;
            let text = |value: &http::HeaderValue| value.to_str().expect("text").to_owned();
            let got: Fields = head
                .headers()
                .iter()
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect();
            let got = ours(got.iter().map(|(name, value)| (&**name, &**value)));
            check_same(&name, got, &fields);
        }
    }
}

#[test]
fn requests_beyond_the_limits_are_refused_in_both_versions_and_others_are_not() {
    let (upstream, keyside) = http_1(Vec::new());
    let mut client = H2c::connect(keyside.proxy_addr());
    for (name, fields) in beyond() {
        let ask = with(&fields);
        let answer = keyside.ask(&ask);
        assert_eq!(answer.status(), 431, "{name}, HTTP/1.1: {}", answer.text());
        let answer = client.ask(&ask.bare());
        assert_eq!(answer.status(), 431, "{name}, h2c: {}", answer.text());
        assert!(
            upstream.requests().is_empty(),
            "{name} reached the upstream"
        );
    }
    let answer = client.ask(&Ask::chat());
    assert_eq!(
        answer.status(),
        200,
        "the same connection: {}",
        answer.text()
    );
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200, "another one");
}

#[test]
fn a_refused_request_does_not_end_the_other_streams_of_its_connection() {
    let (_upstream, keyside) = http_1(Vec::new());
    let mut client = H2c::connect(keyside.proxy_addr());
    let mut half = client.open(&Ask::chat().bare(), false);
    client.send(&mut half, b"half", false);
    for (name, fields) in beyond() {
        let answer = client.ask(&with(&fields).bare());
        assert_eq!(answer.status(), 431, "{name}: {}", answer.text());
    }
    client.send(&mut half, b" and the rest", true);
    let answer = client.finish(half);
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

#[test]
fn answers_beyond_the_limits_are_refused_from_an_http_1_upstream() {
    let (upstream, keyside) = http_1(beyond());
    check_answers_refused(&keyside);
    upstream.assert_only_requests();
}

#[test]
fn answers_beyond_the_limits_are_refused_from_an_http_2_upstream() {
    let (upstream, keyside) = http_2(beyond());
    check_answers_refused(&keyside);
    assert_eq!(
        upstream.connections(),
        1,
        "such an answer cost the whole connection"
    );
}

fn check_answers_refused(keyside: &Keyside) {
    let mut wire = keyside.wire();
    let mut client = H2c::connect(keyside.proxy_addr());
    for (n, (name, _)) in beyond().iter().enumerate() {
        for (version, answer) in [
            ("HTTP/1.1", wire.ask(&asking_for(n))),
            ("h2c", client.ask(&asking_for(n))),
        ] {
            let name = format!("{name}, {version}");
            expect::refused(&name, &answer, 502, "upstream_unreachable");
        }
        let small = Ask::chat();
        assert_eq!(wire.ask(&small).status(), 200, "after {name}, HTTP/1.1");
        assert_eq!(client.ask(&small).status(), 200, "after {name}, h2c");
    }
}

#[test]
fn lower_limits_hold_on_both_sides_and_in_both_versions() {
    let many = || {
        vec![
            ("40 fields", sized(40, 400)),
            ("20 KB", sized(1, 20 * 1024)),
        ]
    };
    let upstream = answering(many());
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.limits.headers", "20")
        .set("proxy.limits.header_bytes", "8192")
        .start()
        .with_key();
    for (n, (name, fields)) in many().iter().enumerate() {
        for (client, answer) in both(&keyside, &with(fields).bare()) {
            assert_eq!(answer.status(), 431, "{name}, {client}: {}", answer.text());
        }
        for (client, answer) in both(&keyside, &asking_for(n)) {
            let name = format!("{name}, {client}");
            expect::refused(&name, &answer, 502, "upstream_unreachable");
        }
    }
    for (client, answer) in both(&keyside, &with(&sized(5, 50))) {
        assert_eq!(answer.status(), 200, "{client}: {}", answer.text());
    }
}

/// hyper checks a head's size only if it arrives in several pieces.
#[test]
fn a_head_is_as_large_in_one_piece_as_in_many() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for (bytes, status) in [(80_000, 200), (83_000, 431)] {
        let whole = with(&sized(1, bytes)).bytes();
        for piece in [whole.len(), 4_096] {
            let mut wire = keyside.wire();
            whole.chunks(piece).for_each(|piece| {
                wire.send(piece);
            });
            let answer = wire.answer().expect("an answer");
            assert_eq!(
                answer.status(),
                status,
                "{bytes} bytes in pieces of {piece}"
            );
        }
    }
}
